"""Runs made by version 0.1.0 are found by their addresses: its runs folder, without weights, lies in an archive."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Answer

ARCHIVE = Path(__file__).with_name("runs_0_1.tar.gz")
DATA = ["--data", "shapes", "--data-option", "train=12,val=6,test=6,size=64,classes=3,version=3"]
HERE = ["--threads", "1", "--device", "cpu", "--workers", "0"]
RUNS = {
    ("center", "voc07-point", ""): {"f1c7cf4baf9356920364"},
    (
        "cam",
        "voc07-point,voc07-corloc",
        "net=tiny,weights=none,epochs=2,SIZE=32,HEAD=4,CLIP=2,snapshots=1,EPOCH=1,batch_size=4,map_alignment=resize",
    ): {"6b40c54cf0a2ac66ae07", "bef1e57592fe50515b89"},
    (
        "wsddn",
        "voc07-det",
        "net=tiny,weights=none,epochs=1,SIZE=64,HEAD=4,FREEZE=false,NMS=0.4,MOST=20,FLOOR=0.001,min_proposal=8,"
        "max_proposals=50",
    ): {"be0085a8d283b7fb40fb"},
}
NAMES = {
    "SIZE": ("size", "input_size"),
    "HEAD": ("head_lr", "head_lr_multiplier"),
    "CLIP": ("clip", "grad_clip_norm"),
    "EPOCH": ("epoch", "checkpoint_epoch"),
    "FREEZE": ("freeze", "freeze_backbone"),
    "NMS": ("nms", "nms_iou"),
    "MOST": ("max_boxes", "max_detections"),
    "FLOOR": ("score_floor", "score_threshold"),
}


def files(folder: Path) -> dict[str, int]:
    """Every file of trainings and predictions, by when it was written."""
    kept = [path for part in ("trainings", "predictions") for path in (folder / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in kept}


@pytest.mark.parametrize("names", [0, 1], ids=["old names", "new names"])
@pytest.mark.parametrize("request_", RUNS, ids=lambda request: request[0])
def test_what_0_1_0_ran_is_not_run_again(
    here: Callable[..., Answer], tmp_path: Path, request_: tuple[str, str, str], names: int
) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    before = files(tmp_path / "runs")
    method, protocols, settings = request_
    for placeholder, choices in NAMES.items():
        settings = settings.replace(f"{placeholder}=", f"{choices[names]}=")
    chosen = ["--set", settings] if settings else []
    answer = here("run", "--method", method, "--protocol", protocols, *DATA, *chosen, *HERE, "--json")
    assert {result["address"] for result in answer.json()["results"]} == RUNS[request_]
    assert files(tmp_path / "runs") == before
