"""MaxBoxAcc against the plain loop: threshold and contours a thousand times an image.

What limits ours is OpenCV following contours: an 8-bit map has 256 different foregrounds at most, so that the loop can
be beaten by no more than 3.9 on smooth maps. Noise has thousands of contours too small to hit anything, which are
removed first (level_contours.py). Noise of a hundredth of the map's span then takes about twice as long as no noise, of
two hundredths three to four times, of ten eight to ten times; with all contours it was 12 times and 60.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import made
import numpy as np
import pytest
from timing import peak_mib, times_faster

from bench import registry
from bench.core.boxes import iou
from bench.data.ground_truth import GroundTruth
from bench.predictions.table import ResolvedPredictions
from bench.scoring.score import score
from protocols.scoring.maxbox import scale_map

pytestmark = pytest.mark.slow

SIDE, TAUS, IOUS = 224, np.arange(0, 1, 0.001), np.array([0.3, 0.5, 0.7])
Maps = list[np.ndarray]


def bumps(truth: GroundTruth) -> Maps:
    """A map of 14 x 14 an image: a bump on its object, two elsewhere and some noise, as activation maps are."""
    generator = np.random.default_rng(0)
    return [_bumps(generator, box / [500, 375, 500, 375]) for box in truth.objects.box]


def _bumps(generator: np.random.Generator, box: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[0:14, 0:14] / 14
    strays = generator.uniform([0.2, 0.2, 0.2, 0.05, 0.05], [0.6, 0.8, 0.8, 0.2, 0.2], (2, 5))
    all_ = [(1, *(box[:2] + box[2:]) / 2, *(box[2:] - box[:2]) / 3), *strays]
    bumps = sum(h * np.exp(-(((x - a) / s) ** 2) - ((y - b) / t) ** 2) for h, a, b, s, t in all_)
    return np.maximum(bumps + generator.normal(0, 0.05, (14, 14)), 0).astype(np.float32)


def ours(truth: GroundTruth, maps: Maps) -> dict[str, float | None]:
    rows = np.arange(len(maps), dtype=np.int32)
    shown = np.argmax(truth.labels, axis=1).astype(np.int32)
    covered = np.ones(len(maps), dtype=np.bool_)
    found = ResolvedPredictions("maps", rows, shown, {}, covered, {}, (), lambda: iter(maps))
    protocol = registry.bind(registry.protocol("cub-maxbox"))
    return dict(score(protocol, truth, {"maps": found}, replicates=0).metrics)


def plain(truth: GroundTruth, maps: Maps) -> dict[str, float | None]:
    """As wsolevaluation does it, but for the ends of boxes."""
    hits = np.zeros((1 + len(IOUS), len(TAUS)))
    for row, found in enumerate(maps):
        large = cv2.resize(found, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        grey = ((large - large.min()) / (large.max() - large.min()) * 255).astype(np.uint8)
        boxes, first, largest = [], [], []
        for tau in TAUS:
            _, foreground = cv2.threshold(grey, int(tau * grey.max()), 255, cv2.THRESH_BINARY)
            contours, _ = cv2.findContours(foreground, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            first.append(len(boxes))
            areas = [cv2.contourArea(one) for one in contours]
            largest.append(len(boxes) + areas.index(max(areas)))
            boxes += [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, contours)]
        size = np.tile(truth.size[row].astype(np.float64), 2)
        overlap = iou(boxes, np.trunc(truth.objects.box[[row]] * SIDE / size))[:, 0]
        hits += np.stack([overlap[largest] >= 0.5, *(np.maximum.reduceat(overlap, first) >= IOUS[:, None])])
    best = (hits / len(maps)).max(axis=1)
    return {"MaxBoxAccV2": float(best[1:].mean()), "MaxBoxAcc": float(best[0])}


@pytest.fixture(scope="module")
def case(full: bool) -> tuple[GroundTruth, Maps]:
    number = 60 if full else 6
    truth = made.made_truth(number, ("bird",), objects=1, difficult=0)
    return truth, bumps(truth)


def test_it_comes_faster_than_from_a_loop_over_thresholds(
    case: tuple[GroundTruth, Maps], full: bool, benchmark: Callable[..., Any]
) -> None:
    truth, maps = case
    found, expected = benchmark(ours, truth, maps), plain(truth, maps)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert times_faster(lambda: ours(truth, maps), lambda: plain(truth, maps), rounds=3) > (3 if full else 1.5)


def test_noise_takes_few_times_as_long_as_smooth_maps(case: tuple[GroundTruth, Maps]) -> None:
    truth, maps = case
    generator = np.random.default_rng(0)
    smooth = [scale_map(one).astype(np.float32) for one in maps]
    noisy = [(one + generator.normal(0, 0.01, one.shape)).astype(np.float32) for one in smooth]
    assert times_faster(lambda: ours(truth, noisy), lambda: ours(truth, smooth), rounds=3) > 1 / 4


def test_it_takes_less_than_two_gib(case: tuple[GroundTruth, Maps]) -> None:
    assert peak_mib(ours, *case) < 2048
