"""Prediction: one pass over a split's photographs, every kind that is asked for; killed, it goes on where it stopped.

Images are predicted in parts of `PART`. A part's tables appear whole, in `parts/`; the last part joined, they become
`<kind>.parquet`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from bench.boxes import FloatArray
from bench.data.proposals import Proposals, filtered
from bench.decode import detections, peaks, points_and_boxes
from bench.errors import RunError
from bench.files import atomic
from bench.method import MapConfig, MapMethod, ProposalConfig, ProposalMethod
from bench.predictions import KINDS
from bench.progress import SILENT, Progress
from bench.train.device import as_input, autocast, deterministic
from bench.train.feed import Images, ahead, mirrored, scaled, sizes
from bench.truth import Truth

VERSION = 1
"""Bumped by hand whenever the same weights would predict something else."""

PART = 64

Tables = dict[str, pa.Table]


@dataclass(frozen=True, eq=False)
class Split:
    """What is predicted: a truth, for its ids, sizes and classes alone, with its photographs and proposals."""

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

    `check` raises if this process may no longer publish. Raises RunError for values that are no numbers, BadFileError
    for a photograph that cannot be read.
    """
    method.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    method.eval()
    begin, total = time.monotonic(), len(split.truth.ids)
    parts = [range(start, min(start + PART, total)) for start in range(0, total, PART)]
    todo = [rows for rows in parts if not all(_part(folder, kind, rows).exists() for kind in kinds)]
    images = sum(map(len, todo))
    with (
        deterministic(device),
        torch.inference_mode(),
        progress.task(f"Predicting with {method.name}", total, start=total - images) as step,
    ):
        for rows in todo:
            tables = _tables(method, split, kinds, rows, device, workers)
            check()
            for kind in kinds:
                with atomic(_part(folder, kind, rows)) as part:
                    pq.write_table(tables[kind], part)
            step(len(rows))
    seconds = time.monotonic() - begin
    took = {"images": float(images), "seconds": seconds, "images_per_second": images / seconds if images else 0.0}
    return {kind: pa.concat_tables(pq.read_table(_part(folder, kind, rows)) for rows in parts) for kind in kinds}, took


def _part(folder: Path, kind: str, rows: range) -> Path:
    return folder / "parts" / f"{kind}-{rows.start:08d}-{rows.stop:08d}.parquet"


def _tables(
    method: MapMethod | ProposalMethod,
    split: Split,
    kinds: Sequence[str],
    rows: range,
    device: torch.device,
    workers: int,
) -> Tables:
    if isinstance(method, MapMethod):
        return _map_tables(method, split, kinds, rows, device, workers)
    return _proposal_tables(method, split, rows, device, workers)


def _map_tables(
    method: MapMethod, split: Split, kinds: Sequence[str], rows: range, device: torch.device, workers: int
) -> Tables:
    """The kinds, for every image and class; the threads that loaded the images decode their maps."""
    truth, config = split.truth, method.config
    if not isinstance(config, MapConfig):
        raise TypeError(f"{method.name}: the Config of a map method must be a MapConfig")
    mapped = list(_mapped(method, split, rows, device, workers))

    def decode(number: int) -> dict[str, FloatArray]:
        row, _, maps = mapped[number]
        width, height = truth.size[row].tolist()
        return _decoded(kinds, maps, width, height, config)

    decoded = list(ahead(decode, len(mapped), workers))
    score = np.concatenate([score for _, score, _ in mapped])
    image, label = (each.ravel() for each in np.indices((len(rows), len(truth.classes))))
    columns = {kind: np.concatenate([one[kind] for one in decoded]).T for kind in kinds}
    return {kind: _table(truth, kind, image + rows.start, label, score, *columns[kind]) for kind in kinds}


def _decoded(
    kinds: Sequence[str], maps: NDArray[np.float32], width: int, height: int, config: MapConfig
) -> dict[str, FloatArray]:
    """What each kind says of an image's classes besides a score: nothing (C, 0), a point (C, 2), a box (C, 4)."""
    found: dict[str, FloatArray] = {"scores": np.zeros((len(maps), 0))}
    if "boxes" in kinds:
        points, found["boxes"] = points_and_boxes(
            maps, width, height, rule=config.box_rule, threshold=config.box_threshold
        )
        found["points"] = points.astype(np.float64)
    elif "points" in kinds:
        found["points"] = peaks(maps, width, height).astype(np.float64)
    return found


def _mapped(
    method: MapMethod, split: Split, rows: range, device: torch.device, workers: int
) -> Iterator[tuple[int, FloatArray, NDArray[np.float32]]]:
    """Each image's row, probabilities (C,) and maps (C, h, w)."""
    config = method.config
    batches = [rows[first : first + config.batch_size] for first in range(0, len(rows), config.batch_size)]

    def load(number: int) -> torch.Tensor:
        return torch.stack([split.images.square(split.truth.ids[row], config.size) for row in batches[number]])

    for batch, images in zip(batches, ahead(load, len(batches), workers), strict=True):
        pixels = as_input(images, device)
        views = [pixels, pixels.flip(-1)] if config.flip_test else [pixels]
        with autocast(device, config.precision):
            found = [method(view) for view in views]
        scores = torch.stack([method.probabilities(one.scores.float()) for one in found]).mean(0)
        turned = [found[0].maps.float(), *(one.maps.float().flip(-1) for one in found[1:])]
        maps = torch.stack(turned).mean(0)
        yield from zip(batch, scores.double().cpu().numpy(), maps.cpu().numpy(), strict=True)


def _proposal_tables(method: ProposalMethod, split: Split, rows: range, device: torch.device, workers: int) -> Tables:
    """Boxes that are left after suppression, and a score for every image and class."""
    truth, config = split.truth, method.config
    if not isinstance(config, ProposalConfig):
        raise TypeError(f"{method.name}: the Config of a proposal method must be a ProposalConfig")
    classes = len(truth.classes)
    scores, kept = np.zeros((len(rows), classes)), []
    for row, boxes, score in _scored(method, config, split, rows, device, workers):
        if len(boxes):
            scores[row - rows.start] = method.image_scores(score).double().cpu().numpy()
        label, value, box = detections(
            boxes,
            score.double().cpu().numpy(),
            nms=config.nms,
            score_floor=config.score_floor,
            max_boxes=config.max_boxes,
        )
        kept.append((np.full(len(label), row), label, value, *box.T))
    image, label = (each.ravel() for each in np.indices(scores.shape))
    columns = [np.concatenate(column) for column in zip(*kept, strict=True)]
    return {
        "scores": _table(truth, "scores", image + rows.start, label, scores.ravel()),
        "boxes": _table(truth, "boxes", *columns),
    }


def _scored(
    method: ProposalMethod, config: ProposalConfig, split: Split, rows: range, device: torch.device, workers: int
) -> Iterator[tuple[int, FloatArray, torch.Tensor]]:
    """Each image's row, its proposals (R, 4), and their scores (R, C), the mean over scales and mirror images."""
    ids, proposals = split.truth.ids, split.proposals
    if proposals is None:
        raise TypeError(f"{method.name} scores proposals, and was given none")

    def load(number: int) -> list[tuple[torch.Tensor, float, float]]:
        return [split.images.fitted(ids[rows[number]], size) for size in sizes(config)]

    for row, views in zip(rows, ahead(load, len(rows), workers), strict=True):
        boxes = filtered(proposals.of(ids[row]), config.min_proposal)
        if not len(boxes):
            yield row, np.zeros((0, 4)), torch.zeros(0, len(split.truth.classes))
            continue
        scores = []
        for image, *scale in views:
            pixels, moved = as_input(image[None], device), scaled(boxes, *scale)
            flips = (False, True) if config.flip_test else (False,)
            for flip in flips:
                turned = mirrored(moved, image.shape[-1]) if flip else moved
                with autocast(device, config.precision):
                    scores.append(method(pixels.flip(-1) if flip else pixels, turned.to(device)).float())
        yield row, boxes.astype(np.float64), torch.stack(scores).mean(0)


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
