"""The mean of several runs: what they score on average, box by box, overlaps suppressed afterwards; it learns nothing.

Name runs on the same images, `--set runs=A+B+C`. Boxes are averaged proposal by proposal, so the runs must share their
proposals and have suppressed none: `--set nms_iou=1,max_detections=2000` predicts again and trains nothing. What is not
among the 2,000 best scores that a run has written of an image counts as 0 there.
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
"""Boxes of an image of which the best, at least, must have been written where a run wrote not all."""


class EnsembleConfig(BaseConfig):
    """Which runs, and how boxes are suppressed, in the words of `ProposalConfig`."""

    runs: tuple[str, ...] = prediction((), "runs by address, or how one begins, or files of predictions; joined by +")
    nms_iou: float = prediction(0.3, "IoU above which the lower of two boxes of a class is dropped", gt=0, le=1)
    score_threshold: float = prediction(1e-6, "boxes that score less are not written", ge=0)
    max_detections: int = prediction(100, "at most so many boxes an image, over all classes", ge=1)


class Ensemble(Predictor):
    """Boxes and scores, of what all of its runs have."""

    Config: ClassVar[type[BaseConfig]] = EnsembleConfig
    kinds: ClassVar[tuple[str, ...]] = ("boxes", "scores")
    config: EnsembleConfig

    def predict(self, truth: GroundTruth, proposals: Any) -> dict[str, pa.Table]:
        """Average the kinds that all runs have. Raises RequestError for other images or suppressed boxes."""
        made = {
            kind: [prior_runs.read_prior_predictions(run, kind, truth) for run in self.config.runs]
            for kind in self.kinds
        }
        whole = {kind: [one for one in said if one is not None] for kind, said in made.items() if None not in said}
        mean = {"boxes": self._boxes, "scores": self._scores}
        return {kind: mean[kind](truth, said) for kind, said in whole.items()}

    def _scores(self, truth: GroundTruth, said: Sequence[ResolvedPredictions]) -> pa.Table:
        total = np.zeros(truth.labels.shape)
        for one in said:
            total[one.image, one.label] += one.score
        image, label = np.indices(total.shape).reshape(2, -1)
        return _table("scores", truth, image, label, total.ravel() / len(said))

    def _boxes(self, truth: GroundTruth, said: Sequence[ResolvedPredictions]) -> pa.Table:
        for run, one in zip(self.config.runs, said, strict=True):
            _refuse_cut(Path(run), one)
        _refuse_other_proposals([Path(run) for run in self.config.runs])
        member = np.repeat(np.arange(len(said)), [len(one.image) for one in said])
        image, label, score, box = (
            np.concatenate([getattr(one, name) for one in said]) for name in ("image", "label", "score", "box")
        )
        by_image = np.argsort(image, kind="stable")
        bounds = np.searchsorted(image[by_image], np.arange(len(truth.ids) + 1))
        found = []
        for number, (start, end) in enumerate(pairwise(bounds)):
            rows = by_image[start:end]
            boxes, which = np.unique(box[rows], axis=0, return_inverse=True)
            scores = np.zeros((len(said), len(boxes), len(truth.classes)))
            scores[member[rows], which.ravel(), label[rows]] = score[rows]
            of, value, kept = self._decoded(boxes, scores.mean(axis=0))
            found.append((np.full(len(of), number), of, value, *kept.T))
        return _table("boxes", truth, *(np.concatenate(column) for column in zip(*found, strict=True)))

    def _decoded(self, boxes: FloatArray, scores: FloatArray) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        config = self.config
        return detections(
            boxes,
            scores,
            nms_iou=config.nms_iou,
            score_threshold=config.score_threshold,
            max_detections=config.max_detections,
        )


def _refuse_cut(run: Path, said: ResolvedPredictions) -> None:
    """Raise RequestError for boxes of a run of ours of which too few were written."""
    config = _made_by(run).get("config", {})
    nms_iou, most = config.get("nms", 1), config.get("max_boxes", ENOUGH)  # addresses keep the former names
    full = len(said.image) > 0 and np.bincount(said.image).max() >= most
    if nms_iou < 1 or (most < ENOUGH and full):
        cut = f"nms_iou={nms_iou}" if nms_iou < 1 else f"max_detections={most}"
        raise RequestError(
            f"{run.name} has only some of its boxes ({cut}), but an ensemble averages the scores of proposals. "
            f"Run it again with --set nms_iou=1,max_detections={ENOUGH}, which trains nothing, and name that run."
        )


def _refuse_other_proposals(runs: Sequence[Path]) -> None:
    """Raise RequestError for runs of ours that scored other proposals than the first one did."""
    known = [(run, proposals) for run in runs if (proposals := _made_by(run).get("proposals"))]
    for run, proposals in known[1:]:
        if proposals != known[0][1]:
            raise RequestError(f"{known[0][0].name} and {run.name} scored other proposals: their boxes have no mean.")


def _made_by(run: Path) -> dict[str, Any]:
    """Return the metadata of one of our runs; nothing for an outside file."""
    path = run / "config.json"
    return dict(read_json(path)) if path.exists() else {}


def _table(
    kind: str, truth: GroundTruth, image: NDArray[np.int64], label: NDArray[np.int64], *values: FloatArray
) -> pa.Table:
    names = [
        pa.array(names, pa.string()).take(pa.array(index))
        for names, index in ((truth.ids, image), (truth.classes, label))
    ]
    return pa.table([*names, *(pa.array(value, pa.float64()) for value in values)], names=list(KINDS[kind]))
