"""Predictions as COCO results JSON: a list of detections, each with a box, a segment, or both.

`image_id` is the number of the image, or its id as text; `category_id` is COCO's own, or 1 + the class's index for
other datasets. An image without entries has no detections; rows are counted from 0. Entries are decoded by type, a few
thousand at a time; those that break a rule are read again, one by one, to describe the error.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.boxes import from_coco
from bench.core.files import grow_limit
from bench.data.coco import CATEGORY_IDS, CLASSES
from bench.data.ground_truth import GroundTruth
from bench.data.rle import to_rle
from bench.errors import BadFileError, UnknownImageError
from bench.predictions.formats.names import Names
from bench.predictions.formats.rows import accept, cover_all_images, make_table, read_bytes
from bench.predictions.table import MAX_ROWS, About, Predictions

MAX_BYTES = 1 << 30
"""The most bytes that a gzipped JSON file may unpack to, since all of it is held in memory."""

MAX_COMMAS = 1 << 26
"""The most commas, unless the file is large: each may stand for an entry, which takes a hundred bytes."""

_AT_ONCE = 4096
"""Entries that are decoded together."""


class _Entry(msgspec.Struct, gc=False):
    """A detection in its most common form."""

    image_id: int
    category_id: int
    score: float
    bbox: tuple[float, float, float, float] | msgspec.UnsetType = msgspec.UNSET
    segmentation: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _RunLengths(msgspec.Struct, gc=False):
    """A segment in its most common form."""

    size: tuple[int, int]
    counts: str


_RUN_LENGTHS = msgspec.json.Decoder(list[_RunLengths])
_DECODER = msgspec.json.Decoder(list[_Entry])
_SPLITTER = msgspec.json.Decoder(list[msgspec.Raw])
_NO_BOX = (0.0, 0.0, 0.0, 0.0)
_LARGEST = 1.7e308


class _Part(NamedTuple):
    """Columns of n entries.

    box: (n, 4). error: that of the first invalid box. segment: n; UNSET for an entry without one.
    """

    image: NDArray[np.int32]
    label: NDArray[np.int32]
    score: NDArray[np.float64]
    box: NDArray[np.float64]
    has_box: NDArray[np.bool_]
    error: BadFileError | None
    segment: list[Any]


def read_coco(path: Path, truth: GroundTruth, kinds: Sequence[str]) -> list[Predictions]:
    """Read boxes and segments, if in `kinds` and present in every entry. Raises BadFileError, naming the row."""
    reader = _Reader(path, truth)
    parts = list(reader.read())
    has_segment = [one is not msgspec.UNSET for part in parts for one in part.segment]
    are_segments = all(has_segment) and not all(part.has_box.all() for part in parts)
    found = []
    if "boxes" in kinds and not ("segments" in kinds and are_segments):
        for error in (part.error for part in parts if part.error):
            raise error
        found.append(_make_boxes(path, truth, parts))
    if "segments" in kinds and (all(has_segment) or not found):
        found.append(_make_segments(path, truth, parts))
    if not found:
        accept(path, "segments" if are_segments else "boxes", kinds)
    notes = tuple(reader.names.list_notes())
    return [cover_all_images(replace(one, notes=(*one.notes, *notes)), truth) for one in found]


def category_ids(truth: GroundTruth) -> Sequence[int]:
    """Return the `category_id` of each class."""
    return CATEGORY_IDS if truth.classes == CLASSES else range(1, len(truth.classes) + 1)


def _split(path: Path) -> Iterator[tuple[int, list[Any]]]:
    """Yield the first row and the entries of each part, raw, or decoded by Python if the JSON is not strict."""
    content = _content(path)
    entries: list[Any]
    try:
        entries = _SPLITTER.decode(content)
    except (msgspec.MsgspecError, RecursionError):
        entries = _parse_leniently(path, content)
    if len(entries) > (most := grow_limit(MAX_ROWS, path, 1 / 32)):
        raise BadFileError(path, f"has {len(entries)} entries; at most {most} are read")
    for row in range(0, len(entries), _AT_ONCE):
        yield row, entries[row : row + _AT_ONCE]


def _content(path: Path) -> bytes:
    """Read the file. Raises BadFileError if parsing it would take gigabytes."""
    content = read_bytes(path, grow_limit(MAX_BYTES, path, 1))
    if content.count(b",") > (most := grow_limit(MAX_COMMAS, path, 1 / 8)):
        raise BadFileError(path, f"COCO JSON of more than {most} values is not read; write parquet")
    return content.removeprefix(b"\xef\xbb\xbf")


def _parse_leniently(path: Path, content: bytes) -> list[Any]:
    """Parse JSON that may have NaN or lone surrogates, in order to describe its errors."""
    try:
        entries = json.loads(content) if len(content) <= MAX_BYTES >> 3 else msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        raise BadFileError(path, f"not valid JSON ({error}). {_advise(content)}") from None
    if not isinstance(entries, list):
        raise BadFileError(path, _describe_other(entries))
    return entries


def _advise(content: bytes) -> str:
    """Advise how to write a file that is not JSON."""
    start = content[:4096].lstrip()
    if re.match(rb"\{.*\}\s*\n\s*\{", start):
        return "It has an entry a line: write one list, [{...}, {...}]"
    if re.match(rb"\[?\s*\{'", start):
        return "It is Python's print of a list: write it with json.dump"
    return "Write it with json.dump, as one list of entries"


def _describe_other(document: Any) -> str:
    expected = "COCO results are a list of detections, [{image_id, category_id, bbox, score}, ...]"
    if not isinstance(document, dict):
        return f"{expected}, but this is {reprlib.repr(document)}"
    keys = ", ".join(map(reprlib.repr, list(document)[:6]))
    if "annotations" in document and "images" in document:
        return f"{expected}, but this is an object with {keys}: an annotation file, not results"
    inside = next((key for key, value in document.items() if isinstance(value, list)), None)
    advice = f"; write the list {inside!r} alone" if inside else ""
    return f"{expected}, but this is an object with {keys}{advice}"


class _Reader:
    """Reads entries, and finds their images and classes by number or name."""

    def __init__(self, path: Path, truth: GroundTruth) -> None:
        self._path, self._truth, self.names = path, truth, Names(path, truth)
        self._label_of: dict[int | None, int] = {number: label for label, number in enumerate(category_ids(truth))}

    def read(self) -> Iterator[_Part]:
        """Yield the columns of all entries, part by part."""
        for row, entries in _split(self._path):
            yield self._read_typed(entries) or self._read_one_by_one(row, entries)

    @cached_property
    def _image_numbers(self) -> dict[int | None, int]:
        """The index of each image by its COCO number."""
        dataset = self._truth.dataset
        try:
            numbers: dict[int | None, int] = {int(name): index for index, name in enumerate(self._truth.ids)}
        except ValueError:
            raise BadFileError(
                self._path,
                f"numbers cannot name the images of {dataset}, whose ids are no numbers; write the id as text, such as "
                f"{self._truth.ids[0]!r}",
            ) from None
        if len(numbers) < len(self._truth.ids):
            raise BadFileError(self._path, f"numbers cannot name the images of {dataset}: two have the same number")
        return numbers

    def _read_typed(self, entries: list[Any]) -> _Part | None:
        """Read entries of the usual types; None if one has others, or an unknown image or class."""
        if not isinstance(entries[0], msgspec.Raw):
            return None
        try:
            rows = _DECODER.decode(b"[%b]" % b",".join(entries))
            images = [self._image_numbers.get(entry.image_id, -1) for entry in rows]
            labels = [self._label_of.get(entry.category_id, -1) for entry in rows]
        except (msgspec.MsgspecError, BadFileError):
            return None
        image, label = (np.array(column, dtype=np.int32) for column in (images, labels))
        score = np.array([entry.score for entry in rows])
        boxes = [_NO_BOX if entry.bbox is msgspec.UNSET else entry.bbox for entry in rows]
        if (
            min(image.min(), label.min()) < 0
            or not _are_finite(score)
            or not _are_finite(box := np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(rows)).reshape(-1, 4))
        ):
            return None
        has_box = np.array([entry.bbox is not msgspec.UNSET for entry in rows])
        if not has_box.all() and any(entry.segmentation is msgspec.UNSET for entry in rows):
            return None
        return _Part(image, label, score, box, has_box, None, [entry.segmentation for entry in rows])

    def _read_one_by_one(self, first: int, entries: list[Any]) -> _Part:
        """Read entries of any types. Raises BadFileError for the first that breaks a rule."""
        plain = [_parse(self._path, row, one) for row, one in enumerate(entries, start=first)]
        pairs, boxes, error = [], [], None
        for row, entry in enumerate(plain, start=first):
            pairs.append(self._read_pair(row, entry))
            try:
                boxes.append(self._read_box(row, entry))
            except BadFileError as wrong:
                error = error or wrong
                boxes.append(_NO_BOX)
        image, label = np.array(pairs, dtype=np.int32).T
        score = np.array([float(entry["score"]) for entry in plain])
        has_box = np.array(["bbox" in entry for entry in plain])
        segment = [one.get("segmentation", msgspec.UNSET) for one in plain]
        return _Part(image, label, score, np.array(boxes), has_box, error, segment)

    def _read_pair(self, row: int, entry: Any) -> tuple[int, int]:
        """Return the image and class of an entry, after checking that it has a numeric score, and a box or segment."""
        if not isinstance(entry, dict):
            self._refuse(row, f"expected an object, but got {reprlib.repr(entry)}")
        needed = ("image_id", "category_id", *(() if "segmentation" in entry else ("bbox",)), "score")
        if missing := [key for key in needed if key not in entry]:
            self._refuse(row, f"needs {', '.join(missing)}; it has {reprlib.repr(list(entry))}")
        pair = self._find_image(row, entry["image_id"]), self._find_label(row, entry["category_id"])
        if not _is_number(entry["score"]):
            self._refuse(row, f"bbox and score must be finite numbers, but got {reprlib.repr(entry['score'])}")
        return pair

    def _read_box(self, row: int, entry: dict[str, Any]) -> Sequence[float]:
        bbox = entry.get("bbox")
        if "bbox" not in entry:
            self._refuse(row, f"needs bbox; it has {reprlib.repr(list(entry))}")
        if not isinstance(bbox, list) or len(bbox) != 4:
            self._refuse(row, f"bbox must be [x, y, width, height], but got {reprlib.repr(bbox)}")
        if not all(map(_is_number, bbox)):
            self._refuse(row, f"bbox and score must be finite numbers, but got {reprlib.repr(bbox)}")
        return [float(value) for value in bbox]

    def _find_image(self, row: int, value: Any) -> int:
        """Find an image by its number, or by any name that `Names.find_image` accepts."""
        if isinstance(value, str):
            return self.names.find_image(value, row)
        found = self._image_numbers.get(_to_integer(value), -1)
        if found < 0:
            where = f"{self._truth.dataset} {self._truth.split}"
            rule = f"{where} does not have it; its ids are like {next(iter(self._image_numbers))}"
            rule = f"unknown image_id {reprlib.repr(value)}: {rule}"
            raise UnknownImageError(self._path, rule, str(_to_integer(value)), row=row)
        return found

    def _find_label(self, row: int, value: Any) -> int:
        """Find a class by its number, or by its name."""
        number = int(value) if isinstance(value, str) and value.isdecimal() else _to_integer(value)
        if number is None and isinstance(value, str):
            return self.names.find_label(value, row)
        found = self._label_of.get(number, -1)
        if found < 0:
            low, *_, high = sorted(category_ids(self._truth)) * 2
            rule = f"{self._truth.dataset} has {low} ... {high}, {low} for {self._truth.classes[0]}"
            self._refuse(row, f"unknown category_id {reprlib.repr(value)}: {rule}")
        return found

    def _refuse(self, row: int, rule: str) -> NoReturn:
        raise BadFileError(self._path, rule, row=row)


def _make_boxes(path: Path, truth: GroundTruth, parts: list[_Part]) -> Predictions:
    image, label, score, box = (_join(parts, name) for name in ("image", "label", "score", "box"))
    columns = np.column_stack([score, from_coco(box.reshape(-1, 4))])
    return make_table(path, truth, "boxes", image, label, columns, About(made_by=path.stem))


def _make_segments(path: Path, truth: GroundTruth, parts: list[_Part]) -> Predictions:
    image, label, score = (_join(parts, name) for name in ("image", "label", "score"))
    width, height = truth.size[image.astype(np.int32)].T.astype(np.int64)
    segments: list[bytes] = []
    for part in parts:
        end = len(segments) + len(part.image)
        rows = slice(len(segments), end)
        typed = _read_run_lengths(part.segment, width[rows], height[rows])
        sizes = zip(range(len(segments), end), part.segment, width[rows].tolist(), height[rows].tolist(), strict=True)
        segments += typed or [_read_segment(path, *one) for one in sizes]
    found = make_table(path, truth, "segments", image, label, score[:, None], About(made_by=path.stem))
    text = pa.array(segments, pa.binary()).cast(pa.string())
    return replace(found, table=found.table.append_column("segment", text))


def _join(parts: list[_Part], name: str) -> NDArray[Any]:
    return np.concatenate([np.zeros((0, 4) if name == "box" else 0), *(getattr(part, name) for part in parts)])


def _read_run_lengths(segments: list[Any], width: NDArray[np.int64], height: NDArray[np.int64]) -> list[bytes] | None:
    """Read segments that are all compressed run lengths of their images' sizes; None if one is not.

    The text itself is checked at scoring, whatever file it comes from.
    """
    try:
        decoded = _RUN_LENGTHS.decode(b"[%b]" % b",".join(segments))
    except (msgspec.MsgspecError, TypeError):
        return None
    sizes = np.array([one.size for one in decoded])
    is_size = (sizes == np.stack([height, width], axis=1)).all()
    return [one.counts.encode("utf-8", "replace") for one in decoded] if is_size else None


def _read_segment(path: Path, row: int, given: Any, width: int, height: int) -> bytes:
    if given is msgspec.UNSET:
        raise BadFileError(path, "needs segmentation; it has only a box", row=row)
    try:
        return to_rle(_parse(path, row, given), width, height)
    except ValueError as error:
        raise BadFileError(path, f"segmentation: {error}", row=row) from None


def _parse(path: Path, row: int, value: Any) -> Any:
    """Parse raw JSON as Python's reader does; what is parsed already stays."""
    try:
        return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value
    except (ValueError, RecursionError) as error:
        raise BadFileError(path, f"not valid JSON ({error})", row=row) from None


def _are_finite(values: NDArray[np.float64]) -> bool:
    return bool((np.abs(values) < _LARGEST).all())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST  # NaN and infinities are not; huge integers may be


def _to_integer(value: Any) -> int | None:
    """Return a whole number; None for anything else."""
    return int(value) if type(value) is int or (type(value) is float and value.is_integer()) else None
