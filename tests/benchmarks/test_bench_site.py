"""`report` on a thousand results: at first, with nothing new, and after one new result."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import pytest

from bench import registry
from bench.records.names import compute_address
from bench.records.result import list_records, read_result, write_result
from bench.records.training_log import LOG
from bench.tracks.track import read_track

PUBLISHED = registry.ROOT / "results" / "measured"
LIMITS = {"first": 20.0, "again": 3.0, "one more": 3.0}
"""Seconds of a processor, Python's start included, for a thousand results."""
FRONT = 400_000
"""Bytes of the first page with what it loads, but for photographs."""

pytestmark = pytest.mark.slow


def add_results(folder: Path, first: int, last: int) -> None:
    """Results of a track with what lies beside them, each under another setting, as results `first` to `last`."""
    track = read_track("voc07-laptop")
    records = [record for record in list_records(PUBLISHED) if track.includes(read_result(record))]
    for number in range(first, last):
        record = records[number % len(records)]
        known = read_result(record)
        address = compute_address(str(number), known.protocol, known.digest, known.truth_digest)
        more = {"address": address, "predictions": str(number), "config": {**known.config, "lr": number}}
        new = known.model_copy(update=more)
        for beside in (".parquet", ".replicates.parquet", f".{LOG}"):
            if record.with_suffix(beside).exists():
                shutil.copy(record.with_suffix(beside), folder / f"{address}{beside}")
        write_result(folder / f"{address}.json", new)


def test_a_site_of_a_thousand_results_and_one_more(bench: Callable[..., Any], tmp_path: Path, full: bool) -> None:
    count, took = 1000 if full else 30, {}
    results = tmp_path / "runs" / "results"
    results.mkdir(parents=True)
    add_results(results, 0, count)
    for name in LIMITS:
        if name == "one more":
            add_results(results, count, count + 1)
        before = getrusage(RUSAGE_CHILDREN)
        assert bench("report", "--out", "site", "--results", "none").code == 0
        after = getrusage(RUSAGE_CHILDREN)
        took[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(", ".join(f"{name}: {seconds:.1f} s" for name, seconds in took.items()))
    page = (tmp_path / "site" / "index.html").read_bytes()
    loaded = [tmp_path / "site" / name.decode() for name in re.findall(rb'(?:src|href)="([\w.]+\.(?:js|css))"', page)]
    size = len(page) + sum(path.stat().st_size for path in loaded)
    print(f"front page: {size / 1000:.0f} KB in {1 + len(loaded)} files")
    assert len(loaded) > 3
    assert size < FRONT
    assert took["again"] < took["one more"] < took["first"]
    if full:
        assert all(took[name] < limit for name, limit in LIMITS.items()), took
