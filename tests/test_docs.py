"""The pages in `docs/`: what is made of the protocols' files is as they are now, and no protocol is left out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import registry
from bench.docs import FOLDER, remade
from bench.protocol import read_record

if TYPE_CHECKING:
    from conftest import Answer

PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_what_a_page_says_of_the_protocols_is_what_their_files_say(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert remade(page) == page, f"docs/{path.name} is behind the protocols' files; run: python -m bench.docs"


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
        assert f"\n| `{record.name}` | {record.dataset} " in page
        assert f"<!-- made: switches {record.family} -->" in page


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


@pytest.mark.parametrize("name", sorted(registry.protocols()))
def test_every_switch_says_what_it_does(name: str) -> None:
    fields = registry.bind(registry.protocol(name)).family.Conventions.model_fields
    assert [switch for switch, field in fields.items() if not field.description] == []


def test_a_part_is_made_anew_and_the_text_around_it_stays() -> None:
    page = remade("before\n<!-- made: switches single-label -->\nold | text\n<!-- end -->\nafter\n")
    assert page.startswith("before\n<!-- made: switches single-label -->\n| switch | value | of | source |")
    assert page.endswith("|\n<!-- end -->\nafter\n")
    assert "| `classes` | mit67-cls | Quattoni" in page
    assert "old" not in page
