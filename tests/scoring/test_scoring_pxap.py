"""PxAP against a slow reference over thresholds and pixels, by hand, and what must not move it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scoring_cases import CLASSES, IDS, arrays, bound, judge, predicted, truth_of

from bench.data.ground_truth import GroundTruth, Masks, empty_objects, encode_labels
from bench.errors import RequestError
from protocols.scoring.maxbox import SIDE


def with_masks(folder: Path, images: list[tuple[list[Any], Any]]) -> GroundTruth:
    """A truth of cats with the masks of each image's objects, and what is ignored."""
    files: list[Any] = []
    ignored: list[Any] = []
    for row, (masks, ignore) in enumerate(images):
        names = [folder / f"{row}-{number}.png" for number in range(len(masks))]
        for name, mask in zip(names, masks, strict=True):
            Image.fromarray(np.asarray(mask, dtype=bool)).save(name)
        if ignore is not None:
            Image.fromarray(np.asarray(ignore, dtype=bool)).save(folder / f"{row}-ignore.png")
        files.append(tuple(names))
        ignored.append(None if ignore is None else folder / f"{row}-ignore.png")
    labels = encode_labels(np.zeros(4, dtype=int), len(CLASSES))
    masks_ = Masks(indexed=False, files=tuple(files), ignore=tuple(ignored))
    return replace(truth_of([]), labels=labels, objects=empty_objects(), masks=masks_)


def spanning(found: Any) -> Any:
    """A map from 0 to 1, in double precision."""
    above = found.astype(np.float64) - float(found.min())
    return above / above.max()


def slow_pxap(maps: list[Any], masks: list[Any], ignored: list[Any]) -> float:
    """From every threshold: precision and recall of the pixels at least as high, down from the highest."""
    kept = [~(ignore & ~mask) for mask, ignore in zip(masks, ignored, strict=True)]
    score = np.concatenate([one[keep] for one, keep in zip(maps, kept, strict=True)]).astype(np.float64)
    object_ = np.concatenate([one[keep] for one, keep in zip(masks, kept, strict=True)])
    area, recall = 0.0, 0.0
    for tau in [1.0, *np.arange(0, 1, 0.001)[::-1]]:
        found = score >= tau
        hits = (found & object_).sum()
        area += (hits / object_.sum() - recall) * (hits / found.sum() if found.any() else 0)
        recall = hits / object_.sum()
    return area


def drawn(seed: int, folder: Path) -> tuple[GroundTruth, list[Any], float]:
    generator = np.random.default_rng(seed)
    maps = [np.round(generator.random((SIDE, SIDE)), generator.integers(1, 5)).astype(np.float32) for _ in IDS]
    objects = [[generator.random((SIDE, SIDE)) < 0.2 for _ in range(generator.integers(1, 3))] for _ in IDS]
    ignored = [generator.random((SIDE, SIDE)) < 0.1 for _ in IDS]
    truth = with_masks(folder, list(zip(objects, ignored, strict=True)))
    together = [np.any(each, axis=0) for each in objects]
    return truth, maps, slow_pxap([spanning(one) for one in maps], together, ignored)


def given_to(truth: GroundTruth, maps: list[Any], factor: float = 1.0) -> Any:
    return arrays(truth, "maps", [(name, "cat", one * np.float32(factor)) for name, one in zip(IDS, maps, strict=True)])


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_slow_reference_in_any_order_of_images(seed: int, tmp_path: Path) -> None:
    truth, maps, expected = drawn(seed, tmp_path)
    evaluation = judge(bound("openimages-pxap"), truth, given_to(truth, maps), replicates=20)
    assert evaluation.metrics["PxAP"] == pytest.approx(expected, abs=1e-12)
    low, high = evaluation.intervals["PxAP"]
    assert low < expected < high
    moved = truth.subset(IDS[::-1], split="test")
    found = given_to(moved, maps, 2.0)
    assert judge(bound("openimages-pxap"), moved, found).metrics["PxAP"] == pytest.approx(expected, abs=1e-12)


def test_half_a_map_by_hand(tmp_path: Path) -> None:
    # Score 1 on the left half, 0 on the right; the object is the upper half. At 1: recall 1/2, precision 1/2; at 0:
    # recall 1, precision 1/2. With the left lower quarter ignored: 1/2 * 1 + 1/2 * 2/3. The others show nothing.
    left, upper = np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), bool)
    left[:, : SIDE // 2], upper[: SIDE // 2] = 1, True
    found: Any = [("b", "cat", left)]
    plain = with_masks(tmp_path, [([upper], None)] + [([], np.ones((9, 9)))] * 3)
    assert judge(bound("openimages-pxap"), plain, arrays(plain, "maps", found)).metrics["PxAP"] == pytest.approx(0.5)
    ignoring = with_masks(tmp_path, [([upper], left > 0)] + [([], np.ones((9, 9)))] * 3)
    evaluation = judge(bound("openimages-pxap"), ignoring, arrays(ignoring, "maps", found))
    assert evaluation.metrics["PxAP"] == pytest.approx(1 / 2 + 1 / 3)
    assert evaluation.counts["images_without_map"] == 3


def test_a_truth_without_masks_of_objects_is_refused() -> None:
    truth = truth_of([])
    with pytest.raises(RequestError, match="has no masks of objects"):
        judge(bound("openimages-pxap"), truth, arrays(truth, "maps", []))
    assert predicted(truth, "boxes", [])["boxes"].covered.all()


def test_scores_below_1_are_stretched_with_a_note_or_taken_as_they_are(tmp_path: Path) -> None:
    truth, maps, _ = drawn(5, tmp_path)
    shares = (0.2, 0.5, 0.8, 1.0)
    scaled = [(spanning(one) * share).astype(np.float32) for one, share in zip(maps, shares, strict=True)]
    stretched = judge(bound("openimages-pxap"), truth, given_to(truth, scaled))
    as_they_are = judge(bound("openimages-pxap", stretch="none"), truth, given_to(truth, scaled))
    assert any("3 of 4 maps did not span 0 ... 1, and each was stretched" in note for note in stretched.notes)
    assert not as_they_are.notes
    assert truth.masks is not None
    objects = [np.any([np.array(Image.open(file)) for file in files], axis=0) for files in truth.masks.files]
    ignored = [np.array(Image.open(file)) for file in truth.masks.ignore if file is not None]
    assert as_they_are.metrics["PxAP"] == pytest.approx(slow_pxap(scaled, objects, ignored), abs=1e-9)
    with pytest.raises(RequestError, match="stretch=none needs them within 0"):
        judge(bound("openimages-pxap", stretch="none"), truth, given_to(truth, scaled, 3.0))
