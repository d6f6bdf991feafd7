"""The middle of the image for every class: the anchor of pointing without a network.

Its point is the pixel index (W/2, H/2), unrounded. On VOC07 test it is right for 69.6 % (All) and 42.4 % (Difficult),
as TorchRay (Fong et al. 2019) publishes.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from bench.data.ground_truth import GroundTruth
from bench.method import Predictor


class Center(Predictor):
    """Points at the middle of the image, with score 1, whatever the class."""

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    def predict(self, truth: GroundTruth, proposals: Any) -> dict[str, pa.Table]:
        """One point an image and class."""
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
