"""PxAP of maps in memory and masks on disk against the released algorithm, done plainly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import made
import numpy as np
import pytest
from PIL import Image
from timing import times_faster

from bench import registry
from bench.data.ground_truth import GroundTruth, Masks
from bench.predictions.table import ResolvedPredictions
from bench.scoring.score import score

pytestmark = pytest.mark.slow

SIDE = 224
THRESHOLDS = np.append(np.arange(0, 1, 0.001), [1.0, 2.0, 3.0])
Maps = list[np.ndarray]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, full: bool) -> tuple[GroundTruth, Maps]:
    folder, generator = tmp_path_factory.mktemp("masks"), np.random.default_rng(0)
    truth = made.made_truth(300 if full else 40, ("bird",), objects=1, difficult=0)
    files = []
    for row, (x1, y1, x2, y2) in enumerate(truth.objects.box.astype(int).tolist()):
        mask = np.zeros((375, 500), dtype=np.uint8)
        cv2.ellipse(mask, ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) // 2, (y2 - y1) // 2), 0, 0, 360, 255, -1)
        files.append(folder / f"{row}.png")
        Image.fromarray(mask).save(files[-1])
    masks = Masks(indexed=False, files=tuple((one,) for one in files), ignore=(None,) * len(files))
    maps = [generator.random((SIDE, SIDE)).astype(np.float32) for _ in files]
    for one in maps:  # a map of the released code spans 0 to 1
        one.flat[:2] = 0, 1
    return replace(truth, masks=masks), maps


def ours(truth: GroundTruth, maps: Maps) -> float | None:
    rows = np.arange(len(maps), dtype=np.int32)
    shown, covered = np.zeros(len(maps), dtype=np.int32), np.ones(len(maps), dtype=np.bool_)
    found = ResolvedPredictions("maps", rows, shown, {}, covered, {}, (), lambda: iter(maps))
    protocol = registry.bind(registry.protocol("openimages-pxap"))
    return score(protocol, truth, {"maps": found}, replicates=0).metrics["PxAP"]


def plain(truth: GroundTruth, maps: Maps) -> float:
    """wsolevaluation's MaskEvaluator: a histogram of the scores of each image's object, and of the rest."""
    assert truth.masks is not None
    true, false = np.zeros((2, len(THRESHOLDS) - 1))
    for (file,), found in zip(truth.masks.files, maps, strict=True):
        mask = cv2.resize(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        double = found.astype(np.float64)
        true += np.histogram(double[mask > 0], bins=THRESHOLDS)[0]
        false += np.histogram(double[mask == 0], bins=THRESHOLDS)[0]
    hits, others = true[::-1].cumsum(), false[::-1].cumsum()
    precision = np.divide(hits, hits + others, out=np.zeros_like(hits), where=hits + others > 0)
    recall = hits / hits[-1]
    return float((np.diff(recall, prepend=0) * precision).sum())


def test_it_comes_as_fast_as_from_the_released_algorithm(
    case: tuple[GroundTruth, Maps], full: bool, benchmark: Callable[..., Any]
) -> None:
    assert benchmark(ours, *case) == pytest.approx(plain(*case), abs=1e-12)
    assert times_faster(lambda: ours(*case), lambda: plain(*case), rounds=3) > (
        0.9 if full else 0.6
    )  # the rest is reading PNG files
