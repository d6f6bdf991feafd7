"""Predictions of a map method for part of a split: scores, points, boxes, masks, maps and objectness.

All classes are written; of more than `MANY`, the best `KEPT` of each image and those present in it, which localization
with a given class needs. With `map_classes=present`, points, boxes and maps are written for present classes only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.core.cells import Cells
from bench.data.ground_truth import ONLY_DIFFICULT, GroundTruth
from bench.errors import RunError
from bench.method import Attribution, MapConfig, MapMethod, Maps
from bench.predictions.decode import compute_mask, compute_shares, enlarge_map, peaks, points_and_boxes
from bench.predictions.dense_crf import refine_shares
from bench.predictions.table import KINDS
from bench.training.crops import load_test_crops
from bench.training.device import autocast, to_input
from bench.training.feature_cache import ImageView, make_placeholder, provide
from bench.training.inputs import prefetch
from bench.training.map_alignment import View, average_views
from bench.training.prediction_parts import Drawn, Made, Split, table

MANY, KEPT = 100, 10

OF_MAPS = (*MapMethod.kinds, "objectness")
"""The kinds that a map method can predict; objectness only if it has any."""


@dataclass(frozen=True, eq=False)
class _Mapped:
    """A map method's output for an image: scores (C,) and maps of all classes, and the classes (c,) to write.

    label: the classes of points, boxes and maps. scored: the classes of the kind `scores`. cells: where the maps' cells
    lie, in shares of the image; None: spread evenly.
    """

    row: int
    label: NDArray[np.int64]
    scored: NDArray[np.int64]
    score: FloatArray
    maps: NDArray[np.float32]
    objectness: NDArray[np.float32] | None
    cells: Cells | None


def predict_from_maps(
    method: MapMethod, split: Split, kinds: Sequence[str], rows: range, device: torch.device, workers: int
) -> Made:
    """Predict the kinds for every image and class; the threads that loaded the images decode their maps."""
    truth, config = split.truth, method.config
    if not isinstance(config, MapConfig):
        raise TypeError(f"{method.name}: the Config of a map method must be a MapConfig")
    mapped = list(_compute_maps(method, split, kinds, rows, device, workers))

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
        maps = [_store_evenly(one.maps[label], one.cells) for one in mapped for label in one.label]
        of_image = [truth.ids[one.row] for one in mapped for _ in one.label]
        of_class = [truth.classes[label] for one in mapped for label in one.label]
        made["maps"] = Drawn(of_image, _require_finite(maps, config), of_class, config.half_maps)
    return made


def _decode_columns(
    kinds: Sequence[str], mapped: _Mapped, size: tuple[int, int], config: MapConfig
) -> dict[str, list[FloatArray]]:
    """Decode the columns that each class has besides its score: none (1, 0), a point (1, 2), or boxes (n, 4)."""
    columns: dict[str, list[FloatArray]] = {"scores": [np.zeros((1, 0))] * len(mapped.scored)}
    maps = mapped.maps[mapped.label]
    if "boxes" in kinds:
        points, columns["boxes"] = points_and_boxes(
            maps, *size, rule=config.box_rule, threshold=config.box_threshold, cells=mapped.cells
        )
        columns["points"] = list(points[:, None].astype(np.float64))
    elif "points" in kinds:
        columns["points"] = list(peaks(maps, *size, mapped.cells)[:, None].astype(np.float64))
    return columns


def _table(
    truth: GroundTruth, kind: str, mapped: Sequence[_Mapped], placed: Sequence[Sequence[FloatArray]]
) -> pa.Table:
    """Build the table of a kind from the rows of each image and written class."""
    labels = [one.scored if kind == "scores" else one.label for one in mapped]
    rows = np.concatenate([np.zeros(0), *([len(some) for some in one] for one in placed)]).astype(np.int64)
    image = np.concatenate([np.full(len(own), one.row) for own, one in zip(labels, mapped, strict=True)]).repeat(rows)
    label = np.concatenate(labels).repeat(rows)
    score = np.concatenate([one.score[own] for own, one in zip(labels, mapped, strict=True)]).repeat(rows)
    columns = np.concatenate([np.zeros((0, len(KINDS[kind]) - 3)), *(some for one in placed for some in one)]).T
    return table(truth, kind, image, label, score, *columns)


def _mask(mapped: _Mapped, split: Split, config: MapConfig) -> NDArray[np.uint8]:
    """Compute an image's mask."""
    classes = (mapped.score >= config.mask_score) | (mapped.score == mapped.score.max())
    width, height = split.truth.size[mapped.row].tolist()
    shares = compute_shares(
        mapped.maps,
        classes,
        width,
        height,
        rule=config.mask_rule,
        threshold=config.mask_threshold,
        cells=mapped.cells,
    )
    if config.dense_crf is not None:
        shares = refine_shares(shares, split.images.pixels(split.truth.ids[mapped.row]), config.dense_crf)
    return compute_mask(shares, classes)


def _compute_maps(
    method: MapMethod, split: Split, kinds: Sequence[str], rows: range, device: torch.device, workers: int
) -> Iterator[_Mapped]:
    """Yield each image's probabilities and maps, averaged over its views: its sizes, and their mirror images."""
    config, truth = cast("MapConfig", method.config), split.truth
    # One image at a time if aspects are kept, or an attribution explains present classes only or reads inner layers of
    # a frozen net.
    present_only = getattr(config, "map_classes", "all") == "present"
    is_single = isinstance(method, Attribution) and (present_only or method.base.frozen_net() is not None)
    step = 1 if is_single or _shorter_side(config) else config.batch_size
    batches = [rows[first : first + step] for first in range(0, len(rows), step)]

    def load(number: int) -> tuple[list[_Loaded], torch.Tensor | None]:
        return _load_views(split, batches[number], config), _load_crops(split, batches[number], config)

    for batch, (loaded, crops) in zip(batches, prefetch(load, len(batches), workers), strict=True):
        asked = None
        if isinstance(method, Attribution) and (present_only or set(kinds) <= {"scores"}):
            asked = _list_present(truth, batch[0]) if present_only else []
        outputs = [_look(method, split, view, device, asked) for view in loaded]
        logits = [output.scores for output, _ in outputs] if crops is None else _score_crops(method, crops, device)
        score = torch.stack([method.probabilities(each.float()) for each in logits]).mean(0).double().cpu().numpy()
        maps, cells = _average_views([view for _, view in outputs])
        regions = [replace(view, maps=out.objectness[:, None]) for out, view in outputs if out.objectness is not None]
        objectness = _average_views(regions)[0] if regions else None
        for number, row in enumerate(batch):
            scored = _select_classes(score[number], truth.labels[row] >= ONLY_DIFFICULT)
            label = np.array(_list_present(truth, row), np.int64) if present_only else scored
            own = None if objectness is None else objectness[number, 0]
            yield _Mapped(row, label, scored, score[number], maps[number], own, cells)


def _list_present(truth: GroundTruth, row: int) -> list[int]:
    """List the classes that are present in an image, also those with difficult objects only."""
    return np.flatnonzero(truth.labels[row] >= ONLY_DIFFICULT).tolist()


@dataclass(frozen=True, eq=False)
class _Loaded:
    """Images of a batch in one view, (B, 3, size, size), as bytes; without pixels if there are cached features."""

    images: torch.Tensor
    is_mirrored: bool
    features: Sequence[torch.Tensor] | None = None


def list_map_views(config: MapConfig) -> list[ImageView]:
    """List the views whose predictions are averaged."""
    sides, mirrored = config.test_scales or (config.input_size,), (False, True)[: 1 + config.flip_test]
    return [ImageView(side, is_mirrored) for side in sides for is_mirrored in mirrored]


def _load_views(split: Split, rows: range, config: MapConfig) -> list[_Loaded]:
    """Load the views of a batch of images; pixels are read once per size, and only if features are not cached."""
    names, loaded = [split.truth.ids[row] for row in rows], list[_Loaded]()

    @cache
    def load_pixels(side: int) -> torch.Tensor:
        return torch.stack([_load_pixels(split, row, side, _shorter_side(config)) for row in rows])

    for view in list_map_views(config):
        given = split.features and split.features.read_batch(names, [view] * len(names))
        if given:
            placeholder = make_placeholder(len(names), view.size, view.size)
            loaded.append(_Loaded(placeholder, view.mirrored, given))
        else:
            pixels = load_pixels(view.size)
            loaded.append(_Loaded(pixels.flip(-1) if view.mirrored else pixels, view.mirrored))
    return loaded


def _load_crops(split: Split, rows: range, config: MapConfig) -> torch.Tensor | None:
    """Load the crops (K, B, 3, H, W) whose scores are averaged, as bytes; None if whole images are scored."""
    if not config.test_crops:
        return None
    return torch.stack([load_test_crops(split.images, split.truth.ids[row], config) for row in rows], dim=1)


def _score_crops(method: MapMethod, crops: torch.Tensor, device: torch.device) -> list[torch.Tensor]:
    """Compute the scores (B, C) of each of the crops (K, B, 3, H, W)."""
    ask: tuple[Any, ...] = ([],) if isinstance(method, Attribution) else ()  # an attribution then explains no class
    with autocast(device, method.config.precision):
        return [method(to_input(one, device), *ask).scores for one in crops]


def _shorter_side(config: MapConfig) -> int:
    """Return the shorter side of images that keep their aspect; 0 if they are warped to squares."""
    return int(getattr(config, "shorter_side", 0))


def _load_pixels(split: Split, row: int, side: int, shorter_side: int) -> torch.Tensor:
    image, size = split.truth.ids[row], split.truth.size[row]
    if not shorter_side:
        return split.images.load_square(image, side)
    return split.images.load_fitted(image, round(shorter_side * size.max() / size.min()))[0]


def _look(
    method: MapMethod, split: Split, view: _Loaded, device: torch.device, asked: Sequence[int] | None
) -> tuple[Maps, View]:
    """Return a method's output for a view of images; the maps of a mirrored view are flipped back.

    asked: the classes that an attribution explains; None: all.
    """
    config = cast("MapConfig", method.config)
    images = view.images if view.images.is_meta else to_input(view.images, device)
    with autocast(device, config.precision), provide(split.features, images, view.features):
        output = method(images) if asked is None else method(images, asked)
    if view.is_mirrored:
        turned = None if output.objectness is None else output.objectness.flip(-1)
        output = output._replace(maps=output.maps.flip(-1), objectness=turned)
    is_placed = output.cells is not None and config.map_alignment == "cells"
    cells = cast("Cells", output.cells).scale(1 / images.shape[-1]) if is_placed else None
    return output, View(output.maps, cells, view.is_mirrored)


def _average_views(views: Sequence[View]) -> tuple[NDArray[np.float32], Cells | None]:
    maps, cells = average_views(views)
    return np.asarray(maps.cpu().numpy()), cells


def _store_evenly(map: NDArray[np.float32], cells: Cells | None) -> NDArray[np.float32]:
    """Return a map to store: readers of map files take cells to be spread evenly.

    If they are not, the map is resampled to twice as many cells per side, so that none moves by more than a quarter of
    a cell.
    """
    return map if cells is None else enlarge_map(map, 2 * map.shape[1], 2 * map.shape[0], cells)


def _select_classes(score: FloatArray, shown: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Select the classes (c,) to write for an image, by its scores (C,)."""
    if len(score) <= MANY:
        return np.arange(len(score))
    return np.union1d(np.argsort(-score, kind="stable")[:KEPT], np.flatnonzero(shown))


def _objectness(method: MapMethod, mapped: _Mapped) -> NDArray[np.float32]:
    if mapped.objectness is None:
        raise RunError(f"{method.name} claims objectness, but its forward gives none.")
    objectness = _store_evenly(mapped.objectness, mapped.cells)
    return _require_finite([objectness], cast("MapConfig", method.config))[0]


def _require_finite(maps: list[NDArray[np.float32]], config: MapConfig) -> list[NDArray[np.float32]]:
    if not all(np.isfinite(one).all() for one in maps):
        raise RunError("Maps must be finite, but the method gave NaN or infinity.")
    most = max((float(np.abs(one).max()) for one in maps), default=0.0) if config.half_maps else 0.0
    if most > float(np.finfo(np.float16).max):
        raise RunError(f"Half precision ends at 65504, but a map has {most:.6g}. Use half_maps=false.")
    return maps
