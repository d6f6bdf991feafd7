"""Pseudo objects: the boxes that another run predicted for the classes present in a training image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.ground_truth import ABSENT, GroundTruth
from bench.errors import RequestError
from bench.predictions import prior_runs


@dataclass(frozen=True, eq=False)
class PseudoObjects:
    """At most one object per class present in an image. image, label: (m,); box: (m, 4) float32; sorted by image."""

    ids: tuple[str, ...]
    image: NDArray[np.int64]
    label: NDArray[np.int64]
    box: NDArray[np.float32]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    def get_objects(self, image: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return an image's boxes (S, 4), half-open corners in its original pixels, and their classes (S,)."""
        first, last = np.searchsorted(self.image, [self._index[image], self._index[image] + 1])
        return self.box[first:last], self.label[first:last]


def pseudo_objects(run: str, truth: GroundTruth) -> PseudoObjects:
    """Return the best box (the first of equals) of each class present in an image, if the run has any.

    Uses the ids and labels of `truth` only. Raises as `prior_runs.read_prior_predictions`, and RequestError for a run
    without boxes.
    """
    found = prior_runs.read_prior_predictions(run, "boxes", truth)
    if found is None:
        raise RequestError(f"{Path(run).name} has no boxes: run it under a protocol that takes boxes (voc07-corloc).")
    shown = np.flatnonzero(truth.labels[found.image, found.label] > ABSENT)
    pair = truth.pair(found.image, found.label)[shown]
    order = np.lexsort((-found.score[shown], pair))
    best = order[np.diff(pair[order], prepend=-1) > 0]
    image, label = np.divmod(pair[best], len(truth.classes))
    return PseudoObjects(truth.ids, image, label, found.box[shown[best]].astype(np.float32))
