"""Predictions in other people's formats: COCO results JSON, and the tar that PASCAL VOC's evaluation server takes."""

from __future__ import annotations

from typing import Any

from bench.boxes import to_coco, to_voc
from bench.formats.coco import category_ids
from bench.predictions import Resolved
from bench.truth import Truth


def coco_results(boxes: Resolved, truth: Truth) -> list[dict[str, Any]]:
    """Boxes as COCO results: `image_id` the id's number, `category_id` COCO's own or 1 + the class's index."""
    categories = category_ids(truth)
    columns = zip(boxes.image, boxes.label, to_coco(boxes.box).tolist(), boxes.score.tolist(), strict=True)
    return [
        {"image_id": int(truth.ids[image]), "category_id": categories[label], "bbox": box, "score": score}
        for image, label, box, score in columns
    ]


def voc_files(boxes: Resolved, truth: Truth, comp: int = 3) -> dict[str, str]:
    """Boxes as VOC's text files, name to content, one for each class; full precision, 1-based inclusive corners."""
    lines: dict[str, list[str]] = {name: [] for name in truth.classes}
    columns = zip(boxes.image, boxes.label, boxes.score.tolist(), to_voc(boxes.box).tolist(), strict=True)
    for image, label, score, corners in columns:
        lines[truth.classes[label]].append(" ".join([truth.ids[image], *map(repr, [score, *corners])]))
    return {f"comp{comp}_det_{truth.split}_{name}.txt": "".join(f"{x}\n" for x in rows) for name, rows in lines.items()}
