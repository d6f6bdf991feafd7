"""Predictions in other people's formats: COCO results JSON, and folders of PASCAL VOC's text files, masks or maps.

A format is recognised by content, never by name. In these formats absence means no detections, so that a file speaks
for every image. Each rule that a file breaks is named with the file and the row, counted from 0.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pyarrow as pa

from bench.boxes import FloatArray, from_coco, from_voc, to_coco, to_voc
from bench.data.coco import CATEGORY_IDS, CLASSES
from bench.data.rle import to_rle
from bench.errors import BadFileError, UnknownNameError
from bench.folders import read_folder
from bench.predictions import KINDS, About, Predictions, Resolved, read
from bench.truth import Truth

_TASKS = {"1": "cls", "2": "cls", "3": "det", "4": "det"}
"""VOC's competitions: 1 and 2 classify, 3 and 4 detect; the even ones with outside data."""

_VOC_NAME = re.compile(r"comp([1-4])_(cls|det)_(.+)\.txt", re.ASCII)
_COLUMNS = {"det": ("score", "xmin", "ymin", "xmax", "ymax"), "cls": ("score",)}
_KIND = {"det": "boxes", "cls": "scores"}

Row = tuple[int, int, list[float]]
"""Index of the image, index of the class, and numbers."""


class _CocoNames(NamedTuple):
    """From COCO's numbers to indices."""

    images: dict[int, int]
    labels: dict[int, int]


def read_any(path: Path, truth: Truth, kinds: Sequence[str]) -> Predictions:
    """Read predictions of one of `kinds` from parquet, COCO results JSON, or a folder of VOC text files, masks or maps.

    Raises BadFileError, naming file, row and rule.
    """
    tables = tuple(kind for kind in kinds if kind in KINDS)
    if path.is_dir():
        return read_folder(path, truth, kinds) or _read_voc(path, truth, tables)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise BadFileError(path, f"not a readable file ({error.strerror})") from None
    if not start:
        raise BadFileError(path, "is empty")
    if start.startswith(b"PAR1"):
        return read(path, *tables)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{"):
        return _read_coco(path, truth, tables)
    raise BadFileError(path, "neither parquet, nor a COCO results JSON, nor a folder of predictions")


def coco_results(boxes: Resolved, truth: Truth) -> list[dict[str, Any]]:
    """Boxes as COCO results: `image_id` the id's number, `category_id` COCO's own or 1 + the class's index."""
    categories = _category_ids(truth)
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


def _accept(path: Path, kind: str, kinds: Sequence[str]) -> None:
    if kind not in kinds:
        raise BadFileError(path, f"holds {kind}, but {' or '.join(kinds) or 'no table'} is expected")


def _predictions(
    path: Path, truth: Truth, kind: str, rows: list[Row], split: str | None, convert: Callable[[FloatArray], FloatArray]
) -> Predictions:
    """Rows (score, then a box's corners for `convert`) as predictions that speak for every image."""
    image, label = (pa.array([row[part] for row in rows], pa.int32()) for part in (0, 1))
    names = [name for name in KINDS[kind] if name not in ("image", "label")]
    numbers = np.array([row[2] for row in rows], dtype=np.float64).reshape(len(rows), len(names))
    if kind == "boxes":
        numbers[:, 1:] = convert(numbers[:, 1:])
    columns = {
        "image": pa.DictionaryArray.from_arrays(image, pa.array(truth.ids, pa.string())),
        "label": pa.DictionaryArray.from_arrays(label, pa.array(truth.classes, pa.string())),
        **{name: numbers[:, column] for column, name in enumerate(names)},
    }
    about = About(made_by=path.stem, split=split, ids=truth.ids)
    return Predictions(kind, pa.table(columns), about, str(path))


def _read_coco(path: Path, truth: Truth, kinds: Sequence[str]) -> Predictions:
    """Boxes, or segments where every entry has one and no box, or boxes are not asked for."""
    try:
        detections = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadFileError(path, f"not valid JSON ({error})") from None
    if not isinstance(detections, list):
        raise BadFileError(path, "COCO results are a list of detections, but this is an object (an annotation file?)")
    names = _CocoNames(_image_numbers(path, truth), {one: label for label, one in enumerate(_category_ids(truth))})
    segments = bool(detections) and all(isinstance(one, dict) and "segmentation" in one for one in detections)
    if segments and "segments" in kinds:
        return _coco_segments(path, truth, names, detections)
    _accept(path, "boxes", kinds)
    rows = [_coco_row(path, truth, names, row, entry) for row, entry in enumerate(detections)]
    return _predictions(path, truth, "boxes", rows, None, from_coco)


def _coco_segments(path: Path, truth: Truth, names: _CocoNames, detections: list[dict[str, Any]]) -> Predictions:
    rows = [_coco_pair(path, truth, names, row, entry) for row, entry in enumerate(detections)]
    segments = []
    for row, ((image, _), entry) in enumerate(zip(rows, detections, strict=True)):
        try:
            segments.append(to_rle(entry["segmentation"], *map(int, truth.size[image])))
        except ValueError as error:
            raise BadFileError(path, f"segmentation: {error}", row=row) from None
    columns = {
        "image": pa.array([truth.ids[image] for image, _ in rows], pa.string()),
        "label": pa.array([truth.classes[label] for _, label in rows], pa.string()),
        "score": pa.array([float(entry["score"]) for entry in detections]),
        "segment": pa.array(segments, pa.binary()).cast(pa.string()),
    }
    return Predictions("segments", pa.table(columns), About(made_by=path.stem, ids=truth.ids), str(path))


def _category_ids(truth: Truth) -> Sequence[int]:
    """The `category_id` of each class."""
    return CATEGORY_IDS if truth.classes == CLASSES else range(1, len(truth.classes) + 1)


def _image_numbers(path: Path, truth: Truth) -> dict[int, int]:
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


def _coco_row(path: Path, truth: Truth, names: _CocoNames, row: int, entry: Any) -> Row:
    image, label = _coco_pair(path, truth, names, row, entry, "bbox")
    bbox = entry["bbox"]
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise BadFileError(path, f"bbox must be [x, y, width, height], but got {reprlib.repr(bbox)}", row=row)
    if not all(map(_is_number, bbox)):
        raise BadFileError(path, f"bbox and score must be finite numbers, but got {reprlib.repr(bbox)}", row=row)
    return image, label, [entry["score"], *bbox]


def _coco_pair(path: Path, truth: Truth, names: _CocoNames, row: int, entry: Any, *more: str) -> tuple[int, int]:
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


def _read_voc(folder: Path, truth: Truth, kinds: Sequence[str]) -> Predictions:
    """A folder of `comp3_det_<split>_<class>.txt` (or comp4; comp1 and comp2 `_cls_`), one for each class."""
    comp, split, files = _voc_files(folder, truth)
    task = _TASKS[comp]
    _accept(folder, _KIND[task], kinds)
    rows = [row for label, file in sorted(files.items()) for row in _voc_rows(file, truth, label, _COLUMNS[task])]
    found = _predictions(folder, truth, _KIND[task], rows, split, from_voc)
    absent = [name for label, name in enumerate(truth.classes) if label not in files]
    notes = (f"no file for {', '.join(absent)}: no predictions of {'it' if len(absent) == 1 else 'them'}",)
    return Predictions(found.kind, found.table, found.about, found.source, notes if absent else ())


def _voc_files(folder: Path, truth: Truth) -> tuple[str, str, dict[int, Path]]:
    """The competition, the split, and the file of each class (by index) in a folder."""
    found: dict[tuple[str, str], dict[int, Path]] = {}
    for file in _listed(folder):
        match = _VOC_NAME.fullmatch(file.name)
        if match is None or _TASKS[match[1]] != match[2]:
            continue
        split, label = _split_and_class(file, truth, match[3])
        found.setdefault((match[1], split), {})[label] = file
    if not found:
        expected = f"comp4_det_{truth.split}_{truth.classes[0]}.txt"
        raise BadFileError(folder, f"a folder without VOC text files; expected names like {expected}")
    if len(found) > 1:
        sets = ", ".join(f"comp{comp} on {split}" for comp, split in found)
        raise BadFileError(folder, f"holds several sets of VOC text files ({sets}); give each a folder of its own")
    ((comp, split), files), *_ = found.items()
    return comp, split, files


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise BadFileError(folder, f"not a readable folder ({error.strerror})") from None


def _split_and_class(file: Path, truth: Truth, name: str) -> tuple[str, int]:
    for label, class_name in enumerate(truth.classes):
        if name.endswith(f"_{class_name}"):
            return name.removesuffix(f"_{class_name}"), label
    unknown = UnknownNameError(f"class of {truth.dataset}", name.rpartition("_")[2], truth.classes)
    raise BadFileError(file, str(unknown))


def _voc_rows(file: Path, truth: Truth, label: int, columns: tuple[str, ...]) -> Iterator[Row]:
    """Rows of one class's file; corners become half-open, blank lines are passed over."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFileError(file, f"not readable as UTF-8 text ({error})") from None
    seen = set()
    for row, line in enumerate(lines):
        name, *fields = line.split() or [""]
        if not name:
            continue
        if name not in truth.index:
            raise BadFileError(file, f"unknown image of {truth.dataset} {truth.split}: {reprlib.repr(name)}", row=row)
        if columns == _COLUMNS["cls"] and name in seen:
            raise BadFileError(file, f"a second score of image {name!r}", row=row)
        numbers = _numbers(fields)
        if len(numbers) != len(columns):
            expected = f"an image id and {len(columns)} finite numbers ({' '.join(columns)})"
            raise BadFileError(file, f"expected {expected}, but got {reprlib.repr(line)}", row=row)
        seen.add(name)
        yield truth.index[name], label, numbers


def _numbers(fields: list[str]) -> list[float]:
    """The fields as finite numbers; none at all, if any is not one."""
    try:
        numbers = [float(field) for field in fields]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
