"""mIoU of as many masks as VOC 2012's val has, against reading the PNGs alone, those of the truth and those found."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import made
import numpy as np
import pytest
from PIL import Image
from timing import peak_mib, times_faster

from bench import registry
from bench.data.ground_truth import GroundTruth, Masks
from bench.data.pixels import read_indices, write_indices
from bench.data.voc import CLASSES
from bench.predictions.arrays import read_folder
from bench.predictions.table import resolve
from bench.scoring.score import score

pytestmark = pytest.mark.slow

PROTOCOL = registry.bind(registry.protocol("voc12-seg"))
NAMES = 1 + len(CLASSES)


def write_masks(folder: Path, truth: GroundTruth, shift: int) -> tuple[Path, ...]:
    """Ellipses in the objects' boxes, a ring of silence around each, as VOC's masks have."""
    folder.mkdir()
    o, files = truth.objects, tuple(folder / f"{name}.png" for name in truth.ids)
    for row, file in enumerate(files):
        pixels = np.zeros(truth.size[row, ::-1], dtype=np.uint8)
        for label, box in zip(o.label[o.image == row].tolist(), o.box[o.image == row].astype(int), strict=True):
            centre, axes = (box[:2] + box[2:]) // 2 + shift, np.maximum((box[2:] - box[:2]) // 2, 1)
            cv2.ellipse(pixels, centre.tolist(), axes.tolist(), 0, 0, 360, label + 1, -1)
            cv2.ellipse(pixels, centre.tolist(), axes.tolist(), 0, 0, 360, 255, 3)
        write_indices(file, pixels)
    return files


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, full: bool) -> tuple[Path, GroundTruth]:
    folder = tmp_path_factory.mktemp("masks")
    truth = made.made_truth(1449 if full else 100, CLASSES, objects=2)
    files = write_masks(folder / "truth", truth, 0)
    write_masks(folder / "found", truth, 9)
    masks = Masks(indexed=True, files=tuple((file,) for file in files), ignore=(None,) * len(files))
    return folder / "found", replace(truth, masks=masks)


def ours(folder: Path, truth: GroundTruth) -> float | None:
    found = read_folder(folder, truth, ("masks",))
    assert found is not None
    return score(PROTOCOL, truth, {"masks": resolve(found, truth)}, replicates=0).metrics["mIoU"]


def plain(folder: Path, truth: GroundTruth) -> float:
    """From one confusion matrix, counted pixel by pixel; what has no answer is in a last column."""
    confusion = np.zeros((NAMES, NAMES + 1), dtype=np.int64)
    for file in files_of(truth):
        true, found = (np.array(Image.open(one)) for one in (file, folder / file.name))
        said = true != 255
        np.add.at(confusion, (true[said], np.where(found == 255, NAMES, found)[said]), 1)
    shared = np.diag(confusion)
    return float(np.mean(shared / (confusion.sum(axis=1) + confusion[:, :NAMES].sum(axis=0) - shared)))


def files_of(truth: GroundTruth) -> list[Path]:
    assert truth.masks is not None
    return [file for (file,) in truth.masks.files]


def test_scoring_takes_few_times_as_long_as_reading_the_masks(
    case: tuple[Path, GroundTruth], benchmark: Callable[..., Any]
) -> None:
    folder, truth = case
    assert benchmark(ours, *case) == pytest.approx(plain(*case), abs=1e-12)
    both = [one for file in files_of(truth) for one in (file, folder / file.name)]
    reading = times_faster(lambda: deque(map(read_indices, both), maxlen=0), lambda: ours(*case), rounds=3)
    assert reading < 5


def test_it_takes_less_than_two_gib(case: tuple[Path, GroundTruth]) -> None:
    assert peak_mib(ours, *case) < 2048
