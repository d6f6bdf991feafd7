"""Predictions as COCO results JSON: a list of detections, each with a box, a segment, or both.

`image_id` is the number of the image, `category_id` COCO's own, or of other datasets 1 + the class's index. An image
without entries has no detections; rows are counted from 0.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pyarrow as pa

from bench.core.boxes import from_coco
from bench.data.coco import CATEGORY_IDS, CLASSES
from bench.data.ground_truth import GroundTruth
from bench.data.rle import to_rle
from bench.errors import BadFileError
from bench.predictions.formats.rows import IndexedRow, accept, cover_all_images, make_predictions
from bench.predictions.table import About, Predictions

MAX_BYTES = 192 << 20
"""A larger JSON file is refused, and of text that is not ASCII one of a quarter: it is held in memory as a whole."""

MAX_VALUES = 24_000_000
"""A file with more brackets, braces, commas and colons is refused: each may stand for a hundred bytes."""


class _CocoNames(NamedTuple):
    """From COCO's numbers to indices."""

    images: dict[int, int]
    labels: dict[int, int]


def read_coco(path: Path, truth: GroundTruth, kinds: Sequence[str]) -> list[Predictions]:
    """Boxes and segments, those of `kinds` that every entry has. Raises BadFileError, naming the row."""
    try:
        entries = json.loads(_content(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadFileError(path, f"not valid JSON ({error})") from None
    if not isinstance(entries, list):
        raise BadFileError(path, "COCO results are a list of detections, but this is an object (an annotation file?)")
    names = _CocoNames(_image_numbers(path, truth), {one: label for label, one in enumerate(category_ids(truth))})
    with_segment = [isinstance(entry, dict) and "segmentation" in entry for entry in entries]
    found = []
    if "boxes" in kinds and not ("segments" in kinds and _are_segments(entries, with_segment)):
        rows = [_coco_row(path, truth, names, row, entry) for row, entry in enumerate(entries)]
        found.append(make_predictions(path, truth, "boxes", rows, About(made_by=path.stem), from_coco))
    if "segments" in kinds and (all(with_segment) or not found):
        found.append(_coco_segments(path, truth, names, entries))
    if not found:
        accept(path, "segments" if _are_segments(entries, with_segment) else "boxes", kinds)
    return [cover_all_images(one, truth) for one in found]


def _content(path: Path) -> bytes:
    """Parse the file. Raises BadFileError if reading it would take gigabytes."""
    content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    width = 1 if content.isascii() else 4  # bytes a character, once decoded
    values = sum(content.count(mark) for mark in (b"[", b"{", b",", b":"))
    if not content or len(content) * width > MAX_BYTES or values > MAX_VALUES:
        rule = f"COCO JSON of more than {MAX_BYTES >> 20} MiB, or {MAX_VALUES} values, is not read; write parquet"
        raise BadFileError(path, rule)
    return content


def category_ids(truth: GroundTruth) -> Sequence[int]:
    """Return the `category_id` of each class."""
    return CATEGORY_IDS if truth.classes == CLASSES else range(1, len(truth.classes) + 1)


def _are_segments(entries: list[Any], with_segment: list[bool]) -> bool:
    """Whether every entry has a segment and not every one a box."""
    return all(with_segment) and not all("bbox" in entry for entry in entries)


def _coco_segments(path: Path, truth: GroundTruth, names: _CocoNames, entries: list[Any]) -> Predictions:
    rows = [_coco_pair(path, truth, names, row, entry, "segmentation") for row, entry in enumerate(entries)]
    segments = []
    for row, ((image, _), entry) in enumerate(zip(rows, entries, strict=True)):
        try:
            segments.append(to_rle(entry["segmentation"], *map(int, truth.size[image])))
        except ValueError as error:
            raise BadFileError(path, f"segmentation: {error}", row=row) from None
    columns = {
        "image": pa.array([truth.ids[image] for image, _ in rows], pa.string()),
        "label": pa.array([truth.classes[label] for _, label in rows], pa.string()),
        "score": pa.array([float(entry["score"]) for entry in entries], pa.float64()),
        "segment": pa.array(segments, pa.binary()).cast(pa.string()),
    }
    return Predictions("segments", pa.table(columns), About(made_by=path.stem), str(path))


def _image_numbers(path: Path, truth: GroundTruth) -> dict[int, int]:
    """From COCO's number of an image to its index."""
    try:
        numbers = {int(name): index for index, name in enumerate(truth.ids)}
    except ValueError:
        raise BadFileError(
            path, f"COCO JSON cannot name the images of {truth.dataset}, whose ids are no numbers"
        ) from None
    if len(numbers) < len(truth.ids):
        raise BadFileError(path, f"COCO JSON cannot name the images of {truth.dataset}: two have the same number")
    return numbers


def _coco_row(path: Path, truth: GroundTruth, names: _CocoNames, row: int, entry: Any) -> IndexedRow:
    image, label = _coco_pair(path, truth, names, row, entry, "bbox")
    bbox = entry["bbox"]
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise BadFileError(path, f"bbox must be [x, y, width, height], but got {reprlib.repr(bbox)}", row=row)
    if not all(map(_is_number, bbox)):
        raise BadFileError(path, f"bbox and score must be finite numbers, but got {reprlib.repr(bbox)}", row=row)
    return image, label, [entry["score"], *bbox]


def _coco_pair(path: Path, truth: GroundTruth, names: _CocoNames, row: int, entry: Any, *more: str) -> tuple[int, int]:
    """Image and class of an entry that has all it needs, and a score that is a number."""

    def refuse(rule: str) -> NoReturn:
        raise BadFileError(path, rule, row=row)

    if not isinstance(entry, dict):
        refuse(f"expected an object, but got {reprlib.repr(entry)}")
    missing = [key for key in ("image_id", "category_id", *more, "score") if key not in entry]
    if missing:
        refuse(f"needs {', '.join(missing)}; it has {reprlib.repr(list(entry))}")
    image, category, score = entry["image_id"], entry["category_id"], entry["score"]
    if type(image) is not int or image not in names.images:
        refuse(f"unknown image_id {reprlib.repr(image)}: {truth.dataset} {truth.split} does not have it")
    if type(category) is not int or category not in names.labels:
        refuse(
            f"unknown category_id {reprlib.repr(category)}: {truth.dataset} has "
            f"{min(names.labels)} ... {max(names.labels)}"
        )
    if not _is_number(score):
        refuse(f"bbox and score must be finite numbers, but got {reprlib.repr(score)}")
    return names.images[image], names.labels[category]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1.7e308  # NaN and infinities are not; huge integers may be
