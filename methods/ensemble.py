"""Ensemble: the mean scores of several runs, followed by non-maximum suppression.

It learns nothing. Name runs on the same images: `--set runs=A+B+C`. Boxes are averaged proposal by proposal, so the
runs must share their proposals and must not have suppressed any: `--set nms_iou=1,max_detections=2000` predicts again
without training. A box missing from the 2,000 best boxes that a run wrote for an image has score 0 in that run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.core.files import read_json
from bench.data.ground_truth import GroundTruth
from bench.errors import RequestError
from bench.method import BaseConfig, Predictor, prediction
from bench.predictions import prior_runs
from bench.predictions.decode import detections
from bench.predictions.table import KINDS, ResolvedPredictions

ENOUGH = 2000
"""Minimum number of an image's best boxes in a run that did not write them all."""


class EnsembleConfig(BaseConfig):
    """Settings of ensembles; `ProposalConfig` has the same fields for suppression."""

    runs: tuple[str, ...] = prediction(
        (), "runs by address, possibly abbreviated, or files of predictions; joined by +"
    )
    nms_iou: float = prediction(
        0.3, "IoU above which non-maximum suppression drops the lower-scoring box of a class", gt=0, le=1
    )
    score_threshold: float = prediction(1e-6, "boxes with a lower score are dropped", ge=0)
    max_detections: int = prediction(100, "maximum number of boxes per image, over all classes", ge=1)


class Ensemble(Predictor):
    """The average of each kind of prediction, boxes or scores, that all runs contain."""

    Config: ClassVar[type[BaseConfig]] = EnsembleConfig
    kinds: ClassVar[tuple[str, ...]] = ("boxes", "scores")
    config: EnsembleConfig

    def predict(self, truth: GroundTruth, proposals: Any) -> dict[str, pa.Table]:
        """Average the kinds all runs contain. Raises RequestError for missing images or boxes, or other proposals."""
        predictions = {
            kind: [prior_runs.read_prior_predictions(run, kind, truth) for run in self.config.runs]
            for kind in self.kinds
        }
        complete = {
            kind: [table for table in tables if table is not None]
            for kind, tables in predictions.items()
            if None not in tables
        }
        average = {"boxes": self._average_boxes, "scores": self._average_scores}
        return {kind: average[kind](truth, tables) for kind, tables in complete.items()}

    def _average_scores(self, truth: GroundTruth, tables: Sequence[ResolvedPredictions]) -> pa.Table:
        total = np.zeros(truth.labels.shape)
        for table in tables:
            total[table.image, table.label] += table.score
        image, label = np.indices(total.shape).reshape(2, -1)
        return _make_table("scores", truth, image, label, total.ravel() / len(tables))

    def _average_boxes(self, truth: GroundTruth, tables: Sequence[ResolvedPredictions]) -> pa.Table:
        for run, table in zip(self.config.runs, tables, strict=True):
            _refuse_truncated(Path(run), table)
        _refuse_other_proposals([Path(run) for run in self.config.runs])
        member = np.repeat(np.arange(len(tables)), [len(table.image) for table in tables])
        image, label, score, box = (
            np.concatenate([getattr(table, name) for table in tables]) for name in ("image", "label", "score", "box")
        )
        by_image = np.argsort(image, kind="stable")
        bounds = np.searchsorted(image[by_image], np.arange(len(truth.ids) + 1))
        detected = []
        for number, (start, end) in enumerate(pairwise(bounds)):
            rows = by_image[start:end]
            boxes, proposal = np.unique(box[rows], axis=0, return_inverse=True)
            scores = np.zeros((len(tables), len(boxes), len(truth.classes)))
            scores[member[rows], proposal.ravel(), label[rows]] = score[rows]
            labels, values, corners = self._decode(boxes, scores.mean(axis=0))
            detected.append((np.full(len(labels), number), labels, values, *corners.T))
        return _make_table("boxes", truth, *(np.concatenate(column) for column in zip(*detected, strict=True)))

    def _decode(self, boxes: FloatArray, scores: FloatArray) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        config = self.config
        return detections(
            boxes,
            scores,
            nms_iou=config.nms_iou,
            score_threshold=config.score_threshold,
            max_detections=config.max_detections,
        )


def _refuse_truncated(run: Path, predictions: ResolvedPredictions) -> None:
    """Raise RequestError if a run from this runs folder suppressed boxes or wrote too few of them."""
    config = _read_metadata(run).get("config", {})
    nms_iou, most = config.get("nms", 1), config.get("max_boxes", ENOUGH)  # addresses use the former field names
    full = len(predictions.image) > 0 and np.bincount(predictions.image).max() >= most
    if nms_iou < 1 or (most < ENOUGH and full):
        cut = f"nms_iou={nms_iou}" if nms_iou < 1 else f"max_detections={most}"
        raise RequestError(
            f"{run.name} has only some of its boxes ({cut}), but an ensemble averages the scores of proposals. "
            f"Run it again with --set nms_iou=1,max_detections={ENOUGH}, which does not train again, and name that run."
        )


def _refuse_other_proposals(runs: Sequence[Path]) -> None:
    """Raise RequestError for runs from this runs folder whose proposals differ from those of the first one."""
    known = [(run, proposals) for run in runs if (proposals := _read_metadata(run).get("proposals"))]
    for run, proposals in known[1:]:
        if proposals != known[0][1]:
            raise RequestError(
                f"{known[0][0].name} and {run.name} scored different proposals, so their boxes cannot be averaged."
            )


def _read_metadata(run: Path) -> dict[str, Any]:
    """Return a run's metadata; empty for a file that is not from a run."""
    path = run / "config.json"
    return dict(read_json(path)) if path.exists() else {}


def _make_table(
    kind: str, truth: GroundTruth, image: NDArray[np.int64], label: NDArray[np.int64], *values: FloatArray
) -> pa.Table:
    names = [
        pa.array(names, pa.string()).take(pa.array(index))
        for names, index in ((truth.ids, image), (truth.classes, label))
    ]
    return pa.table([*names, *(pa.array(value, pa.float64()) for value in values)], names=list(KINDS[kind]))
