"""What is read from a map method: scores, points, boxes, masks and maps of a part of a split's images, and objectness.

Every class is written; where there are many (`MANY`), the best `KEPT` of each image and those that it shows, which
localization with the class given asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from bench.boxes import FloatArray
from bench.decode import mask_of, peaks, points_and_boxes
from bench.errors import RunError
from bench.method import MapConfig, MapMethod
from bench.predictions import KINDS
from bench.train.device import as_input, autocast
from bench.train.feed import ahead
from bench.train.parts import Drawn, Made, Split, table
from bench.truth import ONLY_DIFFICULT

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


def of_maps(
    method: MapMethod, split: Split, kinds: Sequence[str], rows: range, device: torch.device, workers: int
) -> Made:
    """The kinds, for every image and class; the threads that loaded the images decode their maps."""
    truth, config = split.truth, method.config
    if not isinstance(config, MapConfig):
        raise TypeError(f"{method.name}: the Config of a map method must be a MapConfig")
    mapped = list(_mapped(method, split, rows, device, workers))

    def decode(number: int) -> dict[str, FloatArray]:
        width, height = truth.size[mapped[number].row].tolist()
        return _decoded(kinds, mapped[number], width, height, config)

    decoded = list(ahead(decode, len(mapped), workers))
    image = np.concatenate([np.full(len(one.label), one.row) for one in mapped])
    label = np.concatenate([one.label for one in mapped])
    score = np.concatenate([one.score[one.label] for one in mapped])
    made: dict[str, pa.Table | Drawn] = {}
    for kind in kinds:
        if kind in KINDS:
            columns = np.concatenate([one[kind] for one in decoded]).T
            made[kind] = table(truth, kind, image, label, score, *columns)
    names = [truth.ids[row] for row in rows]
    if "masks" in kinds:
        made["masks"] = Drawn(names, [one["masks"] for one in decoded])
    if "objectness" in kinds:
        made["objectness"] = Drawn(names, [_objectness(method, one) for one in mapped], half=config.half_maps)
    if "maps" in kinds:
        maps = [one.maps[label] for one in mapped for label in one.label]
        of_image, of_class = [truth.ids[row] for row in image], [truth.classes[one] for one in label]
        made["maps"] = Drawn(of_image, _finite(maps), of_class, config.half_maps)
    return made


def _decoded(kinds: Sequence[str], mapped: _Mapped, width: int, height: int, config: MapConfig) -> dict[str, Any]:
    """What each kind says of an image's c classes besides a score: nothing (c, 0), a point (c, 2), a box (c, 4).

    Of masks, the image's one.
    """
    found: dict[str, Any] = {"scores": np.zeros((len(mapped.label), 0))}
    maps = mapped.maps[mapped.label]
    if "boxes" in kinds:
        points, found["boxes"] = points_and_boxes(
            maps, width, height, rule=config.box_rule, threshold=config.box_threshold
        )
        found["points"] = points.astype(np.float64)
    elif "points" in kinds:
        found["points"] = peaks(maps, width, height).astype(np.float64)
    if "masks" in kinds:
        classes = (mapped.score >= config.mask_score) | (mapped.score == mapped.score.max())
        found["masks"] = mask_of(
            mapped.maps, classes, width, height, rule=config.mask_rule, threshold=config.mask_threshold
        )
    return found


def _mapped(method: MapMethod, split: Split, rows: range, device: torch.device, workers: int) -> Iterator[_Mapped]:
    """Each image's probabilities and maps, the mean over its views."""
    config, truth = method.config, split.truth
    batches = [rows[first : first + config.batch_size] for first in range(0, len(rows), config.batch_size)]

    def load(number: int) -> torch.Tensor:
        return torch.stack([split.images.square(truth.ids[row], config.size) for row in batches[number]])

    for batch, images in zip(batches, ahead(load, len(batches), workers), strict=True):
        pixels = as_input(images, device)
        views = [pixels, pixels.flip(-1)] if config.flip_test else [pixels]
        with autocast(device, config.precision):
            found = [method(view) for view in views]
        scores = torch.stack([method.probabilities(one.scores.float()) for one in found]).mean(0).double().cpu().numpy()
        maps = _turned([one.maps for one in found])
        objectness = None if found[0].objectness is None else _turned([one.objectness for one in found])
        for number, row in enumerate(batch):
            label = _written(scores[number], truth.labels[row] >= ONLY_DIFFICULT)
            own = None if objectness is None else objectness[number]
            yield _Mapped(row, label, scores[number], maps[number], own)


def _turned(maps: Sequence[Any]) -> NDArray[np.float32]:
    """The mean of the maps of an image and, if there are two, of its mirror image turned back."""
    turned = [maps[0].float(), *(one.float().flip(-1) for one in maps[1:])]
    return np.asarray(torch.stack(turned).mean(0).cpu().numpy())


def _written(score: FloatArray, shown: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Classes (c,) that an image is written for, of scores (C,)."""
    if len(score) <= MANY:
        return np.arange(len(score))
    return np.union1d(np.argsort(-score, kind="stable")[:KEPT], np.flatnonzero(shown))


def _objectness(method: MapMethod, mapped: _Mapped) -> NDArray[np.float32]:
    if mapped.objectness is None:
        raise RunError(f"{method.name} claims objectness, but its forward gives none.")
    return _finite([mapped.objectness])[0]


def _finite(maps: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    if not all(np.isfinite(one).all() for one in maps):
        raise RunError("Maps must be finite, but the method gave NaN or infinity.")
    return maps
