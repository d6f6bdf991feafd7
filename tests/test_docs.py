"""The pages in `docs/`: they say what is so, what they tell to do works, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from markdown_it import MarkdownIt

from bench import registry
from bench.scoring.protocol import read_record
from tools.docs import FOLDER, rebuild

if TYPE_CHECKING:
    from conftest import Answer

PAGES = sorted(FOLDER.rglob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_says_of_the_protocols_is_what_their_files_say(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert rebuild(page) == page, f"{path.name} is behind the protocols' files; run: python -m tools.docs"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_row_of_a_pages_tables_is_broken_in_two(path: Path) -> None:
    for above, line in pairwise(path.read_text(encoding="utf-8").splitlines()):
        if above.startswith("|"):
            assert line == "" or line.startswith(("|", "<!-- end -->")), line


def test_every_protocol_and_the_switches_of_every_family_are_on_the_page() -> None:
    page = (FOLDER / "protocols.md").read_text(encoding="utf-8")
    records = [read_record(Path(one.origin)) for one in registry.protocols().values()]
    assert len(records) >= 33
    for record in records:
        assert f"\n| `{record.name}` | {record.dataset or 'any'} " in page
        assert f"<!-- made: switches {record.family} -->" in page


def test_every_method_has_a_section_with_its_settings() -> None:
    page = (FOLDER / "methods.md").read_text(encoding="utf-8")
    names = re.findall(r"^### `(\S+)`\n[^\n<].*?\n<!-- made: method (\S+) -->$", page, re.MULTILINE | re.DOTALL)
    assert all(heading == made for heading, made in names)
    assert sorted(heading for heading, _ in names) == sorted(registry.methods())


def test_the_examples_of_scoring_a_file_do_what_the_page_says(here: Callable[..., Answer], tmp_path: Path) -> None:
    page = (FOLDER / "scoring-your-own-file.md").read_text(encoding="utf-8").partition("## Try it")[2]
    names: dict[str, Any] = {}
    small = said = ""
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        if language == "python":
            exec(block, names)  # it writes files into the working directory, which is empty
        elif block.startswith("SMALL="):
            small = shlex.split(block)[0].removeprefix("SMALL=")
        elif language == "bash":
            for line in block.splitlines():
                answer = here(*line.replace("$SMALL", small).split()[3:])
                assert (answer.code == 0) == ("Error: " not in answer.err), answer
            said = answer.err if answer.code else answer.out.partition("\n\n")[0] + "\n"
        else:
            assert OutputChecker().check_output(block, said, ELLIPSIS | NORMALIZE_WHITESPACE), f"{block}\nis\n{said}"


@pytest.mark.slow
@pytest.mark.parametrize(("page", "row"), [("adding-a-method.md", "top:few"), ("adding-a-protocol.md", "largest-pro")])
def test_a_page_followed_word_by_word_in_a_copy_gives_a_row_in_the_table(
    page: str, row: str, bench: Callable[..., Answer], tmp_path: Path
) -> None:
    """One new file, and the commands of the page as they stand; every one of them ends well."""
    for folder in ("bench", "methods", "protocols", "slurm"):
        shutil.copytree(registry.ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    text = (FOLDER / page).read_text(encoding="utf-8")
    (name, content), *more = re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert not more
    assert not (tmp_path / name).exists()
    (tmp_path / name).write_text(content, encoding="utf-8")
    said = [bench(*line.split()[3:]) for line in _commands(text)]
    assert [answer.err for answer in said if answer.code] == []
    assert any(line.startswith(row) for line in said[-1].out.splitlines())


def _commands(text: str) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("python -m bench ")]


@pytest.mark.parametrize("path", [*PAGES, *registry.ROOT.glob("*.md")], ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(path: Path) -> None:
    for link in _links(path):
        if "://" in link:
            continue
        file, _, heading = link.partition("#")
        target = path.parent / file if file else path
        assert target.is_file(), link
        heads = [_anchor(line) for line in target.read_text(encoding="utf-8").splitlines()] if heading else [heading]
        assert heading in heads, link


def _links(path: Path) -> list[str]:
    tokens = [
        child
        for one in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8"))
        for child in one.children or ()
    ]
    return [str(one.attrs[key]) for one in tokens for key in ("href", "src") if key in one.attrs]


def _anchor(line: str) -> str:
    """A heading as links name it."""
    return re.sub(r"[^\w -]", "", line.lstrip("#").strip().lower()).replace(" ", "-") if line.startswith("#") else ""


def test_the_navigation_has_every_page_once() -> None:
    nav = yaml.safe_load((registry.ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(_leaves(nav)) == sorted(str(page.relative_to(FOLDER)) for page in PAGES)


def _leaves(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [leaf for entry in (nav.values() if isinstance(nav, dict) else nav) for leaf in _leaves(entry)]


@pytest.mark.parametrize("name", sorted(registry.protocols()))
def test_every_switch_says_what_it_does(name: str) -> None:
    fields = registry.bind(registry.protocol(name)).family.Conventions.model_fields
    assert [switch for switch, field in fields.items() if not field.description] == []


def test_a_part_is_made_anew_and_the_text_around_it_stays() -> None:
    page = rebuild("before\n<!-- made: switches single-label -->\nold | text\n<!-- end -->\nafter\n")
    assert page.startswith("before\n<!-- made: switches single-label -->\n| switch | value | of | source |")
    assert page.endswith("|\n<!-- end -->\nafter\n")
    assert "| `classes` | mit67-cls | Quattoni" in page
    assert "old" not in page
