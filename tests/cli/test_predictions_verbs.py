"""`score`, `audit` and `export` as their users meet them: what they read, what they refuse, what they write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.predictions import KINDS, About, write

IDS = ("000001", "000002", "000003", "000004")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with four images of VOC 2007: each holds one dog, 0..8 x 0..8, in a picture of 16 x 16."""
    from PIL import Image

    root = tmp_path_factory.mktemp("data")
    folder = root / "VOCdevkit" / "VOC2007"
    for name in ("ImageSets/Main", "ImageSets/Segmentation", "Annotations", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    for name in ("Main", "Segmentation"):
        (folder / "ImageSets" / name / "test.txt").write_text("\n".join(IDS))
    (folder / "ImageSets" / "Main" / "val.txt").write_text("\n".join(IDS[:2]))
    size = "<size><width>16</width><height>16</height><depth>3</depth></size>"
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox>"
    dog = f"<object><name>dog</name><difficult>0</difficult>{box}</object>"
    mask = np.zeros((16, 16), np.uint8)
    mask[:8, :8] = 12
    for name in IDS:
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{dog}</annotation>")
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"{name}.png")
    return root


@pytest.fixture
def asked(here: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`asked("score", "voc07-det", file, ...)`."""
    monkeypatch.setattr("bench.audit.ORDERS", 2)

    def run(verb: str, protocol: str, file: object, *more: object) -> Any:
        return here(verb, "--protocol", protocol, "--predictions", file, "--data-root", root, *more)

    return run


def boxes(path: Path, ids: tuple[str, ...] = IDS, **about: Any) -> Path:
    """The dog of each image, found."""
    rows: dict[str, Any] = {"image": ids, "label": ["dog"] * len(ids), "score": [0.5] * len(ids)}
    rows |= {name: [0.0 if name in ("x1", "y1") else 8.0] * len(ids) for name in KINDS["boxes"][3:]}
    write(path, "boxes", pa.table(rows), About(**{"made_by": "hand", "split": "test", "ids": ids, **about}))
    return path


def test_an_audit_says_what_each_switch_does_and_records_nothing(asked: Any, tmp_path: Path) -> None:
    found = asked("audit", "voc07-det", boxes(tmp_path / "p.parquet"), "--json").json()
    assert (found["method"], found["protocol"], found["split"]) == ("hand", "voc07-det", "test")
    assert found["metrics"] == {"mAP_11pt": 1.0, "mAP_area": 1.0}
    settings = {(one["switch"], one["value"]): one for one in found["settings"]}
    assert len(settings) == 8
    assert settings["rounding", "devkit"]["ranges"] == {"mAP_11pt": [1.0, 1.0], "mAP_area": [1.0, 1.0]}
    assert settings["iou_compare", ">"]["differences"] == {"mAP_11pt": 0.0, "mAP_area": 0.0}
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("results"))


@pytest.mark.parametrize(("format_", "says"), [("text", "hand · voc07-det on"), ("markdown", "| plus_one")])
def test_an_audit_is_read_as_a_table(asked: Any, tmp_path: Path, format_: str, says: str) -> None:
    answer = asked("audit", "voc07-det", boxes(tmp_path / "p.parquet"), "--format", format_)
    assert answer.code == 0
    assert says in answer.out
    assert "100.00 +0.00 [100.00, 100.00]" in answer.out
