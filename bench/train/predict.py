"""Prediction: one pass over a split's photographs, every kind that is asked for; killed, it goes on where it stopped.

Images are predicted in parts of `PART` (see `parts`). Of a map method every class is written, but where there are many
(`MANY`) the best `KEPT` of each image, and those that it shows, which localization with the class given asks for. Of a
proposal method its `proposals` are those of the classes that an image shows, with their scores as probabilities.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from bench.boxes import FloatArray
from bench.data.proposals import Proposals, filtered
from bench.decode import detections, mask_of, peaks, points_and_boxes
from bench.errors import RunError
from bench.method import MapConfig, MapMethod, ProposalConfig, ProposalMethod
from bench.predictions import FOLDERS, KINDS, About
from bench.progress import SILENT, Progress
from bench.train.device import as_input, autocast, deterministic
from bench.train.feed import Images, ahead, mirrored, scaled, sizes
from bench.train.parts import Drawn, Made, Parts
from bench.truth import ONLY_DIFFICULT, Truth

VERSION = 1
"""Bumped by hand whenever the same weights would predict something else."""

PART = 64
MANY, KEPT = 100, 10

OF_MAPS = (*MapMethod.kinds, "objectness")
"""What can be written of a map method; objectness, if it has any."""

Tables = dict[str, pa.Table]


@dataclass(frozen=True, eq=False)
class Split:
    """What is predicted: a truth, for its ids, sizes and classes (labels: see above), photographs and proposals."""

    truth: Truth
    images: Images
    proposals: Proposals | None = None


def predict(
    method: MapMethod | ProposalMethod,
    split: Split,
    kinds: Sequence[str],
    folder: Path,
    *,
    device: torch.device,
    workers: int = 0,
    progress: Progress = SILENT,
    check: Callable[[], None] = lambda: None,
) -> tuple[Tables, dict[str, float]]:
    """Tables of the kinds for the whole split, and what it took; parts that are in `folder` are not made again.

    Kinds that are folders are left whole in `folder`/parts. `check` raises if this process may no longer publish.
    Raises RunError for values that are no numbers, BadFileError for a photograph that cannot be read.
    """
    method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    method.eval()
    begin, total = time.monotonic(), len(split.truth.ids)
    parts = [range(start, min(start + PART, total)) for start in range(0, total, PART)]
    kept = Parts(folder, About(method.name, split.truth.dataset, split.truth.split), split.truth.ids)
    todo = [rows for rows in parts if not all(kept.done(kind, rows) for kind in kinds)]
    images = sum(map(len, todo))
    with (
        deterministic(device),
        torch.inference_mode(),
        progress.task(f"Predicting with {method.name}", total, start=total - images) as step,
    ):
        for rows in todo:
            made = _made(method, split, kinds, rows, device, workers)
            check()
            for kind in kinds:
                kept.write(kind, rows, made[kind])
            step(len(rows))
    seconds = time.monotonic() - begin
    took = {"images": float(images), "seconds": seconds, "images_per_second": images / seconds if images else 0.0}
    return {kind: kept.table(kind, parts) for kind in kinds if kind not in FOLDERS}, took


def _made(
    method: MapMethod | ProposalMethod,
    split: Split,
    kinds: Sequence[str],
    rows: range,
    device: torch.device,
    workers: int,
) -> Made:
    if isinstance(method, MapMethod):
        return _of_maps(method, split, kinds, rows, device, workers)
    return _of_proposals(method, split, kinds, rows, device, workers)


@dataclass(frozen=True, eq=False)
class _Mapped:
    """What a map method gives of an image: classes that are written (c,), and of all their scores (C,) and maps."""

    row: int
    label: NDArray[np.int64]
    score: FloatArray
    maps: NDArray[np.float32]
    objectness: NDArray[np.float32] | None


def _of_maps(
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
            made[kind] = _table(truth, kind, image, label, score, *columns)
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


def _of_proposals(
    method: ProposalMethod, split: Split, kinds: Sequence[str], rows: range, device: torch.device, workers: int
) -> Made:
    """Boxes that are left after suppression; a score for every image and class; every proposal of each class shown."""
    truth, config = split.truth, method.config
    if not isinstance(config, ProposalConfig):
        raise TypeError(f"{method.name}: the Config of a proposal method must be a ProposalConfig")
    scores, kept, every = np.zeros((len(rows), len(truth.classes))), [], [_nothing("proposals")]
    for row, boxes, score, moved in _scored(method, config, split, rows, device, workers):
        if len(boxes):
            scores[row - rows.start] = method.image_scores(score).double().cpu().numpy()
        values = score.double().cpu().numpy()
        label, value, box = detections(
            boxes if moved is None else moved,
            values,
            nms=config.nms,
            score_floor=config.score_floor,
            max_boxes=config.max_boxes,
        )
        kept.append((np.full(len(label), row), label, value, *box.T))
        for shown in np.flatnonzero(truth.labels[row] >= ONLY_DIFFICULT) if "proposals" in kinds else ():
            every.append((np.full(len(boxes), row), np.full(len(boxes), shown), *boxes.T, values[:, shown]))
    image, label = (each.ravel() for each in np.indices(scores.shape))
    columns, proposals = ([np.concatenate(column) for column in zip(*parts, strict=True)] for parts in (kept, every))
    return {
        "scores": _table(truth, "scores", image + rows.start, label, scores.ravel()),
        "boxes": _table(truth, "boxes", *columns),
        "proposals": _table(truth, "proposals", *proposals),
    }


def _nothing(kind: str) -> tuple[NDArray[Any], ...]:
    """Columns of no rows."""
    index, number = np.zeros(0, dtype=np.int64), np.zeros(0)
    return (index, index, *[number] * (len(KINDS[kind]) - 2))


def _scored(
    method: ProposalMethod, config: ProposalConfig, split: Split, rows: range, device: torch.device, workers: int
) -> Iterator[tuple[int, FloatArray, torch.Tensor, FloatArray | None]]:
    """Each image's row, its proposals (R, 4), their scores (R, C), and boxes (R, C, 4) where the method moves them.

    Scores and moved boxes are means over scales and mirror images.
    """
    ids, proposals = split.truth.ids, split.proposals
    if proposals is None:
        raise TypeError(f"{method.name} scores proposals, and was given none")

    def load(number: int) -> list[tuple[torch.Tensor, float, float]]:
        return [split.images.fitted(ids[rows[number]], size) for size in sizes(config)]

    for row, views in zip(rows, ahead(load, len(rows), workers), strict=True):
        boxes = filtered(proposals.of(ids[row]), config.min_proposal)
        if not len(boxes):
            yield row, np.zeros((0, 4)), torch.zeros(0, len(split.truth.classes)), None
            continue
        scores, moved = [], []
        for image, *scale in views:
            pixels, here = as_input(image[None], device), scaled(boxes, *scale)
            flips = (False, True) if config.flip_test else (False,)
            for flip in flips:
                turned = mirrored(here, image.shape[-1]) if flip else here
                with autocast(device, config.precision):
                    score, found = method.detect(pixels.flip(-1) if flip else pixels, turned.to(device))
                scores.append(score.float())
                if found is not None:
                    moved.append(_moved_back(found, scale, image.shape[-1] if flip else None))
        yield row, boxes.astype(np.float64), torch.stack(scores).mean(0), np.mean(moved, axis=0) if moved else None


def _moved_back(found: torch.Tensor, scale: list[float], mirror: int | None) -> FloatArray:
    """Boxes (R, C, 4) found in a resized, perhaps mirrored image of this width, in pixels of the original image."""
    flat = found.reshape(-1, 4).double().cpu()
    turned = flat if mirror is None else mirrored(flat, mirror)
    return np.asarray(turned.numpy() / (scale * 2)).reshape(found.shape)


def _table(
    truth: Truth, kind: str, image: NDArray[np.int64], label: NDArray[np.int64], *values: FloatArray
) -> pa.Table:
    """Columns of a kind: images and classes by row, then its numbers. Raises RunError for what is no number."""
    if not all(np.isfinite(value).all() for value in values):
        raise RunError(f"The {kind} of a method must be finite, but it gave NaN or infinity.")
    names = [_named(truth.ids, image), _named(truth.classes, label)]
    return pa.table([*names, *(pa.array(value, pa.float64()) for value in values)], names=list(KINDS[kind]))


def _named(names: Sequence[str], index: NDArray[np.int64]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index, pa.int64()))
