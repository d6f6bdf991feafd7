"""Best proposal: the region proposal of highest IoU with an object of the class, the ceiling of proposal methods.

It uses the ground truth, so its results are `test-oracle` and never ranked. No other choice of proposals localises more
objects.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from bench.core.boxes import iou
from bench.data.ground_truth import GroundTruth
from bench.data.proposals import drop_small_boxes
from bench.method import BaseConfig, Predictor
from methods.layers.choice import ChoiceConfig


class BestProposal(Predictor):
    """The first proposal of highest IoU with any object of a class, scored by that IoU; none without proposals."""

    Config: ClassVar[type[BaseConfig]] = ChoiceConfig
    kinds: ClassVar[tuple[str, ...]] = ("boxes",)
    needs_proposals: ClassVar[bool] = True
    uses_truth: ClassVar[bool] = True
    config: ChoiceConfig

    def predict(self, truth: GroundTruth, proposals: Any) -> dict[str, pa.Table]:
        """Predict one box for each image and class with objects, from `proposals.of(id)` (n, 4)."""
        rows = [row for image in range(len(truth.ids)) for row in self._find_best(truth, image, proposals)]
        image, label = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2).T
        score, *corners = np.array([row[2:] for row in rows]).reshape(-1, 5).T
        columns = {
            "image": pa.array(truth.ids, pa.string()).take(pa.array(image)),
            "label": pa.array(truth.classes, pa.string()).take(pa.array(label)),
            "score": score,
            **dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)),
        }
        return {"boxes": pa.table(columns)}

    def _find_best(self, truth: GroundTruth, image: int, proposals: Any) -> list[tuple[float, ...]]:
        """Return (image, label, IoU, x1, y1, x2, y2) of the best proposal for each class present in an image."""
        boxes = drop_small_boxes(proposals.of(truth.ids[image]), self.config.min_proposal)
        if not len(boxes):
            return []
        objects = truth.objects.where(truth.objects.image == image)
        overlap = iou(boxes, objects.box)
        found = []
        for label in np.unique(objects.label):
            best = overlap[:, objects.label == label].max(axis=1)
            found.append((image, label, best.max(), *boxes[best.argmax()]))
        return found
