"""Largest proposal: the largest region proposal of each image for every class, a baseline for proposal methods.

It learns nothing: its results reflect only the proposals and how much of a photograph objects fill.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from bench.core.boxes import area
from bench.data.ground_truth import GroundTruth
from bench.data.proposals import drop_small_boxes
from bench.method import BaseConfig, Predictor
from methods.layers.choice import ChoiceConfig


class LargestProposal(Predictor):
    """An image's largest proposal, the first of equals, scored by its share of the image; none without proposals."""

    Config: ClassVar[type[BaseConfig]] = ChoiceConfig
    kinds: ClassVar[tuple[str, ...]] = ("boxes",)
    needs_proposals: ClassVar[bool] = True
    config: ChoiceConfig

    def predict(self, truth: GroundTruth, proposals: Any) -> dict[str, pa.Table]:
        """Predict one box for each image and class, from `proposals.of(id)` (n, 4)."""
        largest = [self._find_largest(proposals.of(name)) for name in truth.ids]
        count = np.array([len(box) for box in largest])  # 0 or 1
        boxes = np.concatenate([np.zeros((0, 4)), *largest])
        share = area(boxes) / truth.size[count > 0].prod(axis=1)
        row, label = np.indices(truth.labels.shape)[:, count > 0].reshape(2, -1)
        x1, y1, x2, y2 = np.repeat(boxes, len(truth.classes), axis=0).T
        columns = {
            "image": pa.array(truth.ids, pa.string()).take(pa.array(row)),
            "label": pa.array(truth.classes, pa.string()).take(pa.array(label)),
            "score": np.repeat(share, len(truth.classes)),
            **{"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        }
        return {"boxes": pa.table(columns)}

    def _find_largest(self, proposals: np.ndarray) -> np.ndarray:
        """Return the largest proposal (1, 4), or (0, 4) if there is none."""
        boxes = drop_small_boxes(proposals, self.config.min_proposal)
        return boxes[area(boxes).argmax()][None] if len(boxes) else boxes.reshape(0, 4)
