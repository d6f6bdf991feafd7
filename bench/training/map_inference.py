"""What is read from a map method: scores, points, boxes, masks and maps of a part of a split's images, and objectness.

Every class is written; where there are many (`MANY`), the best `KEPT` of each image and those that it shows, which
localization with the class given asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from bench.core.boxes import FloatArray
from bench.data.ground_truth import ONLY_DIFFICULT, GroundTruth
from bench.errors import RunError
from bench.method import MapConfig, MapMethod, Maps
from bench.predictions.decode import compute_mask, compute_shares, peaks, points_and_boxes
from bench.predictions.dense_crf import refine_shares
from bench.predictions.table import KINDS
from bench.training.batches import prefetch
from bench.training.device import autocast, to_input
from bench.training.prediction_parts import Drawn, Made, Split, table

MANY, KEPT = 100, 10

OF_MAPS = (*MapMethod.kinds, "objectness")
"""What can be written of a map method; objectness, if it has any."""


@dataclass(frozen=True, eq=False)
class _Mapped:
    """What a map method gives of an image: classes that are written (c,), and of all their scores (C,) and maps."""

    row: int
    label: NDArray[np.int64]
    score: FloatArray
    maps: NDArray[np.float32]
    objectness: NDArray[np.float32] | None


def predict_from_maps(
    method: MapMethod, split: Split, kinds: Sequence[str], rows: range, device: torch.device, workers: int
) -> Made:
    """Predict the kinds for every image and class; the threads that loaded the images decode their maps."""
    truth, config = split.truth, method.config
    if not isinstance(config, MapConfig):
        raise TypeError(f"{method.name}: the Config of a map method must be a MapConfig")
    mapped = list(_compute_maps(method, split, rows, device, workers))

    def decode(number: int) -> tuple[dict[str, list[FloatArray]], NDArray[np.uint8] | None]:
        one = mapped[number]
        mask = _mask(one, split, config) if "masks" in kinds else None
        return _decode_columns(kinds, one, tuple(truth.size[one.row].tolist()), config), mask

    placed, masks = zip(*prefetch(decode, len(mapped), workers), strict=True)
    made: dict[str, pa.Table | Drawn] = {}
    for kind in kinds:
        if kind in KINDS:
            made[kind] = _table(truth, kind, mapped, [one[kind] for one in placed])
    names = [truth.ids[row] for row in rows]
    if "masks" in kinds:
        made["masks"] = Drawn(names, masks)
    if "objectness" in kinds:
        made["objectness"] = Drawn(names, [_objectness(method, one) for one in mapped], half=config.half_maps)
    if "maps" in kinds:
        maps = [one.maps[label] for one in mapped for label in one.label]
        of_image = [truth.ids[one.row] for one in mapped for _ in one.label]
        of_class = [truth.classes[label] for one in mapped for label in one.label]
        made["maps"] = Drawn(of_image, _require_finite(maps, config), of_class, config.half_maps)
    return made


def _decode_columns(
    kinds: Sequence[str], mapped: _Mapped, size: tuple[int, int], config: MapConfig
) -> dict[str, list[FloatArray]]:
    """Decode the columns of each class beside its score: none (1, 0), a point (1, 2), or boxes (n, 4)."""
    found: dict[str, list[FloatArray]] = {"scores": [np.zeros((1, 0))] * len(mapped.label)}
    maps = mapped.maps[mapped.label]
    if "boxes" in kinds:
        points, found["boxes"] = points_and_boxes(maps, *size, rule=config.box_rule, threshold=config.box_threshold)
        found["points"] = list(points[:, None].astype(np.float64))
    elif "points" in kinds:
        found["points"] = list(peaks(maps, *size)[:, None].astype(np.float64))
    return found


def _table(
    truth: GroundTruth, kind: str, mapped: Sequence[_Mapped], placed: Sequence[Sequence[FloatArray]]
) -> pa.Table:
    """Build the table of a kind from the rows of each image and written class."""
    rows = np.concatenate([[len(some) for some in one] for one in placed]).astype(np.int64)
    image = np.concatenate([np.full(len(one.label), one.row) for one in mapped]).repeat(rows)
    label = np.concatenate([one.label for one in mapped]).repeat(rows)
    score = np.concatenate([one.score[one.label] for one in mapped]).repeat(rows)
    columns = np.concatenate([some for one in placed for some in one]).T
    return table(truth, kind, image, label, score, *columns)


def _mask(mapped: _Mapped, split: Split, config: MapConfig) -> NDArray[np.uint8]:
    """Compute an image's mask."""
    classes = (mapped.score >= config.mask_score) | (mapped.score == mapped.score.max())
    size = split.truth.size[mapped.row].tolist()
    shares = compute_shares(mapped.maps, classes, *size, rule=config.mask_rule, threshold=config.mask_threshold)
    if config.dense_crf is not None:
        shares = refine_shares(shares, split.images.pixels(split.truth.ids[mapped.row]), config.dense_crf)
    return compute_mask(shares, classes)


def _compute_maps(
    method: MapMethod, split: Split, rows: range, device: torch.device, workers: int
) -> Iterator[_Mapped]:
    """Each image's probabilities and maps, the mean over its views: its sizes, and their mirror images."""
    config, truth = cast("MapConfig", method.config), split.truth
    sizes = config.test_scales or (config.input_size,)
    batches = [rows[first : first + config.batch_size] for first in range(0, len(rows), config.batch_size)]

    def load(number: int) -> list[torch.Tensor]:
        names = [truth.ids[row] for row in batches[number]]
        return [torch.stack([split.images.load_square(name, size) for name in names]) for size in sizes]

    for batch, loaded in zip(batches, prefetch(load, len(batches), workers), strict=True):
        found = [one for images in loaded for one in _views(method, to_input(images, device), device)]
        scores = torch.stack([method.probabilities(one.scores.float()) for one in found]).mean(0).double().cpu().numpy()
        maps = _average_maps([one.maps for one in found])
        regions = [one.objectness[:, None] for one in found if one.objectness is not None]
        objectness = _average_maps(regions) if regions else None
        for number, row in enumerate(batch):
            label = _select_classes(scores[number], truth.labels[row] >= ONLY_DIFFICULT)
            own = None if objectness is None else objectness[number, 0]
            yield _Mapped(row, label, scores[number], maps[number], own)


def _views(method: MapMethod, pixels: torch.Tensor, device: torch.device) -> Iterator[Maps]:
    """Yield a method's output for images and, with `flip_test`, for their mirror images, flipped back."""
    with autocast(device, method.config.precision):
        yield method(pixels)
        if method.config.flip_test:
            found = method(pixels.flip(-1))
            turned = None if found.objectness is None else found.objectness.flip(-1)
            yield Maps(found.scores, found.maps.flip(-1), turned)


def _average_maps(maps: Sequence[Any]) -> NDArray[np.float32]:
    """Average maps (B, C, h, w) of several sizes, at the largest size."""
    size = max((one.shape[2:] for one in maps), key=lambda shape: shape.numel())
    alike = [
        one.float() if one.shape[2:] == size else interpolate(one.float(), size, mode="bilinear", align_corners=False)
        for one in maps
    ]
    return np.asarray(torch.stack(alike).mean(0).cpu().numpy())


def _select_classes(score: FloatArray, shown: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Classes (c,) that an image is written for, of scores (C,)."""
    if len(score) <= MANY:
        return np.arange(len(score))
    return np.union1d(np.argsort(-score, kind="stable")[:KEPT], np.flatnonzero(shown))


def _objectness(method: MapMethod, mapped: _Mapped) -> NDArray[np.float32]:
    if mapped.objectness is None:
        raise RunError(f"{method.name} claims objectness, but its forward gives none.")
    return _require_finite([mapped.objectness], cast("MapConfig", method.config))[0]


def _require_finite(maps: list[NDArray[np.float32]], config: MapConfig) -> list[NDArray[np.float32]]:
    if not all(np.isfinite(one).all() for one in maps):
        raise RunError("Maps must be finite, but the method gave NaN or infinity.")
    if config.half_maps and (most := max(float(np.abs(one).max()) for one in maps)) > float(np.finfo(np.float16).max):
        raise RunError(f"Half precision ends at 65504, but a map has {most:.6g}. Use half_maps=false.")
    return maps
