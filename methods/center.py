"""Center: the image center for every class, the baseline of the pointing game.

The point is the pixel index (W/2, H/2), unrounded. On VOC07 test its accuracy is 69.6 % (All) and 42.4 % (Difficult),
as published by TorchRay (Fong et al. 2019).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from bench.data.ground_truth import GroundTruth
from bench.method import Predictor


class Center(Predictor):
    """Points at the image center with score 1, for every class."""

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    def predict(self, truth: GroundTruth, proposals: Any) -> dict[str, pa.Table]:
        """Predict one point for each image and class."""
        row, label = np.indices(truth.labels.shape).reshape(2, -1)
        x, y = truth.size[row].T / 2
        columns = {
            "image": pa.array(truth.ids, pa.string()).take(pa.array(row)),
            "label": pa.array(truth.classes, pa.string()).take(pa.array(label)),
            "score": np.ones(len(row)),
            "x": x,
            "y": y,
        }
        return {"points": pa.table(columns)}
