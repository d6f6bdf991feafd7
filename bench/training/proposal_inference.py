"""Predictions of a proposal method for part of a split: boxes, image scores, and its proposals with their scores.

`proposals` are written only for the classes present in an image: the others are not needed and would fill a disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.data.ground_truth import ONLY_DIFFICULT
from bench.method import ProposalConfig, ProposalMethod
from bench.predictions.decode import detections
from bench.predictions.table import KINDS
from bench.training.device import autocast, to_input
from bench.training.feature_cache import ImageView, LoadedView, load_fitted_view, provide
from bench.training.inputs import mirror_boxes, prefetch, select_proposals, sizes
from bench.training.prediction_parts import Made, Split, table


def predict_from_proposals(
    method: ProposalMethod, split: Split, kinds: Sequence[str], rows: range, device: torch.device, workers: int
) -> Made:
    """Predict the boxes after suppression, a score for each image and class, and all proposals of present classes."""
    truth, config = split.truth, method.config
    if not isinstance(config, ProposalConfig):
        raise TypeError(f"{method.name}: the Config of a proposal method must be a ProposalConfig")
    scores, kept, every = np.zeros((len(rows), len(truth.classes))), [], [_make_empty_columns("proposals")]
    for row, boxes, score, moved in _score_proposals(method, config, split, rows, device, workers):
        if len(boxes):
            scores[row - rows.start] = method.image_scores(score).double().cpu().numpy()
        values = score.double().cpu().numpy()
        label, value, box = detections(
            boxes if moved is None else moved,
            values,
            nms_iou=config.nms_iou,
            score_threshold=config.score_threshold,
            max_detections=config.max_detections,
        )
        kept.append((np.full(len(label), row), label, value, *box.T))
        for shown in np.flatnonzero(truth.labels[row] >= ONLY_DIFFICULT) if "proposals" in kinds else ():
            every.append((np.full(len(boxes), row), np.full(len(boxes), shown), *boxes.T, values[:, shown]))
    image, label = (each.ravel() for each in np.indices(scores.shape))
    columns, proposals = ([np.concatenate(column) for column in zip(*parts, strict=True)] for parts in (kept, every))
    return {
        "scores": table(truth, "scores", image + rows.start, label, scores.ravel()),
        "boxes": table(truth, "boxes", *columns),
        "proposals": table(truth, "proposals", *proposals),
    }


def _make_empty_columns(kind: str) -> tuple[NDArray[Any], ...]:
    """Return the columns of a table without rows."""
    index, number = np.zeros(0, dtype=np.int64), np.zeros(0)
    return (index, index, *[number] * (len(KINDS[kind]) - 2))


def _score_proposals(
    method: ProposalMethod, config: ProposalConfig, split: Split, rows: range, device: torch.device, workers: int
) -> Iterator[tuple[int, FloatArray, torch.Tensor, FloatArray | None]]:
    """Yield each image's row, its proposals (R, 4), their scores (R, C), and boxes (R, C, 4) if the method moves them.

    Scores and moved boxes are averaged over scales and mirror images.
    """
    ids, proposals = split.truth.ids, split.proposals
    if proposals is None:
        raise TypeError(f"{method.name} scores proposals, and was given none")

    def load(number: int) -> list[LoadedView]:
        name = ids[rows[number]]
        return [load_fitted_view(split.images, split.features, name, view) for view in list_proposal_views(config)]

    for row, views in zip(rows, prefetch(load, len(rows), workers), strict=True):
        boxes = select_proposals(proposals, config, ids[row])
        if not len(boxes):
            yield row, np.zeros((0, 4)), torch.zeros(0, len(split.truth.classes)), None
            continue
        scores, moved = [], []
        for view in views:
            score, found = _look(method, split, view, view.place(boxes).to(device))
            scores.append(score.float())
            if found is not None:
                width = view.image.shape[-1]
                moved.append(_move_back(found, list(view.scale), width if view.mirrored else None))
        yield (
            row,
            boxes[:, :4].astype(np.float64),
            torch.stack(scores).mean(0),
            np.mean(moved, axis=0) if moved else None,
        )


def list_proposal_views(config: ProposalConfig) -> list[ImageView]:
    """List the views whose predictions are averaged."""
    mirrored = (False, True)[: 1 + config.flip_test]
    return [ImageView(size, one, config.longest_side) for size in sizes(config) for one in mirrored]


def _look(
    method: ProposalMethod, split: Split, view: LoadedView, boxes: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the scores (R, C) of boxes (R, 4) in a view, and the moved boxes (R, C, 4) if the method moves them."""
    image = view.image if view.image.is_meta else to_input(view.image, boxes.device)
    with autocast(boxes.device, method.config.precision), provide(split.features, image, view.features, boxes):
        return method.detect(image, boxes)


def _move_back(found: torch.Tensor, scale: list[float], mirror: int | None) -> FloatArray:
    """Map boxes (R, C, 4) of a resized image to the original one. mirror: the resized width if it was mirrored."""
    flat = found.reshape(-1, 4).double().cpu()
    turned = flat if mirror is None else mirror_boxes(flat, mirror)
    return np.asarray(turned.numpy() / (scale * 2)).reshape(found.shape)
