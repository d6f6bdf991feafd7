"""A site of 300 results and 2,000 images, as `report` writes it: its pages open without an error in a real Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.core.files import Places
from bench.records.collection import list_results
from bench.records.replicates import replicates_path
from bench.records.result import compute_address

pytestmark = pytest.mark.slow

RESULTS, ON_IMAGES, IMAGES, FEW = 300, 60, 2000, 20
"""Results, those on the images that have pages, these images, and how many of each are opened unless all are."""


def publish_copies(places: Places, folder: Path) -> None:
    """Publish the only result of a runs folder many times over, as results of other methods."""
    (here,) = list_results(places, folder)
    folder.mkdir(parents=True)
    for number in range(1, RESULTS):
        result, predictions = here.result, f"{number:020x}"
        address = compute_address(predictions, result.protocol, result.digest, result.truth_digest)
        fields = {"address": address, "predictions": predictions, "method": f"method-{number}"}
        fields["split"] = result.split if number < ON_IMAGES else "other"
        record = folder / f"{number}.json"
        record.write_text(result.model_copy(update=fields).model_dump_json(by_alias=True))
        shutil.copy(here.record.with_suffix(".parquet"), record.with_suffix(".parquet"))
        shutil.copy(replicates_path(here.record), replicates_path(record))


def test_all_pages_of_many_results_and_images_open(
    bench: Callable[..., Any], tmp_path: Path, visit: Any, full: bool
) -> None:
    data = ("--data", "shapes", "--data-option", f"train=4,val=4,test={IMAGES},size=64,classes=4")
    assert bench("run", "--method", "center", "--protocol", "voc07-point", *data, "--runs", "runs").code == 0
    publish_copies(Places(tmp_path / "runs"), tmp_path / "results" / "measured")
    site, numbers = tmp_path / "site", list[dict[str, int]]()
    for _ in range(2):
        answer = bench("report", "--out", site, "--images", IMAGES, "--runs", "runs", "--results", "results")
        assert answer.code == 0, answer.err
        numbers.append({str(path): path.stat().st_ino for path in site.rglob("[!.]*")})
    files = {path for path in numbers[0] if Path(path).is_file()}
    assert [path for path in files if numbers[0][path] != numbers[1][path]] == []  # linked, not made again
    kinds = [sorted((site / folder).glob("*.html")) for folder in ("image/shapes/test", "run", "method")]
    of_images, of_runs, of_methods = map(len, kinds)
    assert (of_images, of_runs) == (IMAGES, RESULTS)
    assert of_methods >= RESULTS  # those without a result too
    many = {path for some in kinds for path in some}
    chosen = [path for some in kinds for path in some[:: 1 if full else len(some) // FEW]]
    page = visit(site / "index.html")
    for path in (*(path for path in site.rglob("*.html") if path not in many), *chosen):
        page.goto(path.as_uri())
        if path in kinds[0]:
            page.locator(".cards svg").first.wait_for()
            assert page.locator(".cards li").count() == ON_IMAGES
