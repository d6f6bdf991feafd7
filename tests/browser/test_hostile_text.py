"""Hostile text in every field of a record is text on every page, in every plot, tip and file that can be saved."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from browser_cases import draw_plots, generated
from pydantic import ValidationError

from bench.errors import LeftOutWarning
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.site.build import write
from bench.site.paths import method_page, run_page

pytestmark = pytest.mark.slow

MARKUP = "</script><script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
HOSTILE = f"=1+1 {MARKUP} '&quot;`${{1}} \x1b[31m\x07\x00 \u202edetsrever \u2028 عربى {'m' * 10_000}"
KEPT = {
    "schema",
    "status",
    "address",
    "protocol",
    "family",
    "digest",
    "truth_digest",
    "ids_digest",
    "created",
    "metrics",
}
"""Fields without which the record would be refused, or stand on no leaderboard."""


OTHERS = {
    *("images", "partial", "seed", "tuned_on", "tier", "uses", "made_from", "intervals", "class_intervals"),
    *("parameters", "flops", "peak_memory_mib"),
}
"""Fields that take numbers or certain words only."""

LONGEST = """Math.max(...[...document.querySelectorAll("main *:not(pre, script, details)")]
    .filter((one) => one.checkVisibility())
    .flatMap((one) => [...one.childNodes].filter((node) => node.nodeType === 3).map((node) => node.length)))"""
"""The longest text that a page shows."""


def poison(result: Result) -> Result:
    """Put hostile text into every field that takes it, as a value and, in mappings, as a key too."""
    fields = result.model_dump(mode="json", by_alias=True)
    for name, value in fields.items():
        of_metrics = name in ("higher_is_better", "intervals", "per_class", "class_intervals", "undefined")
        for hostile in () if name in KEPT or of_metrics else _list_hostile(value):
            try:
                Result.model_validate({**fields, name: hostile})
            except ValidationError:
                continue
            fields[name] = hostile
            break
    fields["metrics"] |= {HOSTILE: 0.5}
    fields["higher_is_better"] |= {HOSTILE: True}
    fields["per_class"] = {"mAP_area": {HOSTILE: 0.5, f"2 {HOSTILE}": 0.7, "cat": 0.1}}
    fields["undefined"] = {"mAP_area": [HOSTILE]}
    return Result.model_validate(fields)


def _list_hostile(value: Any) -> Iterator[Any]:
    yield HOSTILE
    yield [HOSTILE]
    if isinstance(value, dict):
        yield {**value, HOSTILE: {HOSTILE: HOSTILE}}
        yield {**value, HOSTILE: HOSTILE}
        yield {**value, HOSTILE: 1}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A site of a usual result and a hostile one, and the latter."""
    folder = tmp_path_factory.mktemp("hostile")
    usual, other = generated(folder, 2)
    poisoned = poison(other.result)
    with pytest.warns(LeftOutWarning, match="is no name of a file"):  # its training
        write([usual, StoredResult(poisoned, other.record)], folder / "site")
    return folder / "site", poisoned


def test_nearly_every_field_takes_hostile_text(hostile: tuple[Path, Result]) -> None:
    fields = hostile[1].model_dump(mode="json", by_alias=True)
    takes = {name for name, value in fields.items() if "onerror" in json.dumps(value)}
    assert {*fields} - takes - KEPT == OTHERS


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_it_is_text_on_every_page(visit: Any, hostile: tuple[Path, Result], width: int) -> None:
    site, result = hostile
    page = visit(site / "index.html", viewport={"width": width, "height": 900})
    compared = f"compare.html#a={result.address}"
    for path in (
        "index.html",
        "protocol/voc10-det.html",
        method_page(result.method),
        run_page(result.address),
        compared,
    ):
        page.goto(f"{site.as_uri()}/{path}")
        title = page.title()
        draw_plots(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == title != "run"
        assert page.evaluate(LONGEST) < 700, path
    page.goto((site / run_page(result.address)).as_uri())
    assert page.locator("details", has_text="m" * 10_000).count() > 10


def test_it_is_text_in_tips_and_files(visit: Any, hostile: tuple[Path, Result], tmp_path: Path) -> None:
    site, _ = hostile
    page = visit(site / "protocol" / "voc10-det.html", accept_downloads=True)
    draw_plots(page)
    page.locator("figure.plot svg a circle").first.hover()
    (tip,) = page.locator("figure.plot [aria-label=tip]", has_text="=1+1").all_text_contents()
    assert MARKUP[:90] in tip.replace("\u200b", " ")  # where a line ends, as Plot wraps them
    assert page.locator("figure.plot :is(img, svg script)").count() == 0
    texts = []
    for number, figure in enumerate(page.locator("figure.plot").all()):
        with page.expect_download() as waits:
            figure.get_by_role("button", name="Save as SVG").click()
        waits.value.save_as(path := tmp_path / f"{number}.svg")
        texts.append("".join(ElementTree.parse(path).getroot().itertext()))
    assert sum("</script><script>" in text for text in texts) > 1
    boards = [path.read_text(encoding="utf-8").splitlines() for path in (site / "protocol").glob("voc10-det.*.csv")]
    rows = [row for board in boards for row in csv.reader(board)]
    assert any(cell.startswith("'=1+1 </script>") for row in rows for cell in row)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
