"""What the cache keeps of an evaluation is forgotten when any code that evaluates is edited."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from record_cases import RECORD

from bench import registry
from bench.analysis.curves import digest_curve
from bench.analysis.errors import digest_analysis
from bench.records.result import Result


def compute_digests() -> dict[str, str]:
    """The digests of a result's errors and curve."""
    own = {"family": "coco", "address": "a", "method": "m", "metrics": {"mAP": 0.5}, "higher_is_better": {"mAP": True}}
    result = Result(**{**RECORD, **own})
    return {"errors": digest_analysis(result), "curve": digest_curve(result)}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of all code, which is digested from now on."""
    for name in ("bench", "protocols"):
        shutil.copytree(registry.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "edited",
    [
        "bench/analysis/errors.py",
        "bench/analysis/curves.py",
        "bench/core/boxes.py",
        "bench/data/ground_truth.py",
        "bench/gallery/evaluated.py",
        "bench/predictions/table.py",
        "bench/records/outcomes.py",
        "bench/scoring/protocol.py",
        "protocols/scoring/coco.py",
        "protocols/scoring/coco_matching.py",
        "protocols/scoring/coco_accumulation.py",
    ],
)
def test_other_code_that_evaluates_gives_other_digests(
    edited: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / edited).write_text("")
    other = compute_digests()
    monkeypatch.undo()
    assert not {*other.items()} & {*compute_digests().items()}


def test_the_same_code_elsewhere_gives_the_same_digests(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = compute_digests()
    monkeypatch.undo()
    assert elsewhere == compute_digests()
