"""Fields of made-up records, which tests of tables, the gate, trends and the site share."""

from __future__ import annotations

from typing import Any

RECORD: dict[str, Any] = {
    "protocol": "voc07-det",
    "family": "detection",
    "digest": "d",
    "conventions": {"iou_threshold": 0.5},
    "truth_digest": "t",
    "ids_digest": "i",
    "dataset": "voc2007",
    "split": "test",
    "images": 100,
    "partial": False,
    "predictions": "p",
}
