"""What the browser's tests share: Chromium, and the results that their sites are made of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from bench import registry
from bench.records.collection import StoredResult
from bench.records.replicates import build_table, replicates_path
from bench.records.result import Result

MEASURED = registry.ROOT / "results" / "measured"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<script>alert(1)</script>"
COUNT = 300
NETS = ("vgg16", "resnet50", "squeezenet")
BOARD = "protocol/voc10-det.html"
PHONE = {"width": 390, "height": 844}
KINDS = (
    "index.html",
    "protocol/voc07-corloc.html",
    "protocol/voc07-point-val.html",
    "method/cam.html",
    "run/6335e8042b5c27534a1e.html",
    "paper/melm-3.html",
)
"""A page of each kind, of published results."""


class Site(NamedTuple):
    """Two builds of the same results, and all pages but most of those of runs, which are alike."""

    root: Path
    again: Path
    pages: tuple[str, ...]


def generated(folder: Path, count: int = COUNT) -> list[StoredResult]:
    """Results of 25 methods with 40 settings each; those of nearly the same number share a rank."""
    bound = registry.bind(registry.protocol("voc10-det"))
    random, known = np.random.default_rng(0), []
    for number in range(count):
        method = EVIL if number % 25 == 0 else f"method-{number % 25}"
        centre = random.uniform(0.2, 0.8) if number else 0.795  # so that the hostile name is among the first
        values = centre + random.normal(0, 0.01, 60)
        mean = float(values.mean())
        result = Result(
            address=f"{number:020d}",
            protocol="voc10-det",
            family=bound.record.family,
            digest="d",
            conventions=bound.conventions.model_dump(mode="json"),
            truth_digest="t",
            ids_digest="i",
            dataset="voc2010",
            split="test",
            images=100,
            partial=False,
            method=method,
            seed=0,
            config={"net": NETS[number % 3], "lr": number},
            predictions=str(number),
            metrics={"mAP_area": mean},
            higher_is_better={"mAP_area": True},
            intervals={"mAP_area": (mean - 0.02, mean + 0.02)},
            per_class={"mAP_area": {"cat": mean, "dog": None}},
            created=f"2026-01-{1 + number % 28:02d}T00:00:00+00:00",
        )
        record = folder / f"{number}.json"
        pq.write_table(build_table({"mAP_area": values}, 100, 0), replicates_path(record))
        known.append(StoredResult(result, record))
    return known


@contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # CI is root
        yield browser
        browser.close()


def draw_plots(page: Any) -> None:
    """Have a page draw its plots, which it does as they come near the window."""
    for figure in page.locator("figure.plot").all():
        figure.scroll_into_view_if_needed()
        figure.locator("svg").first.wait_for()
