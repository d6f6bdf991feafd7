"""PASCAL VOC of any year, in its publisher's layout: Annotations, ImageSets/Main, JPEGImages, SegmentationClass.

The ground truth of a split is its id list and the annotations; no image is needed. Files are not trusted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.core.boxes import from_voc
from bench.core.files import digest, require_regular_file
from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth, Masks, Objects, derive_labels, empty_objects
from bench.data.lists import require_file
from bench.data.pixels import read_size
from bench.data.truth_cache import fingerprint, image_rows, load_or_parse, stack_sizes
from bench.errors import BadFileError, MissingDataError, UnknownNameError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

_PARSER_VERSION = "1"
_SEGMENTATION = "Segmentation/"
_LONGEST_SIDE = 1_000_000
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SAFE_NAME = r"\w[\w.-]*"
_LIST_LINE = re.compile(rf"\s*({_SAFE_NAME})(?:\s+(?:[+-]?1|0))?\s*")
_HOW = {
    "voc2007": "Unpack VOCtrainval_06-Nov-2007.tar and VOCtest_06-Nov-2007.tar",
    "voc2010": "Unpack VOCtrainval_03-May-2010.tar",
    "voc2012": "Unpack VOCtrainval_11-May-2012.tar",
}


Columns = tuple[NDArray[np.int32], Objects]
"""Sizes (N, 2), and the objects of N images."""

Rules = Mapping[str, Callable[[Callable[[str], tuple[str, ...]]], tuple[str, ...]]]
"""For each derived list, the function that makes it; its argument reads a list by name."""


class Annotation(NamedTuple):
    """The content of one annotation file: n objects in file order.

    label: n class indices. box: n boxes of VOC's own 1-based inclusive corners. difficult: n flags.
    """

    width: int
    height: int
    label: list[int]
    box: list[list[float]]
    difficult: list[bool]


class Annotations:
    """The annotations of a folder, parsed once and cached as columns."""

    def __init__(self, name: str, folder: Path, classes: tuple[str, ...], cache: Path, how_to_get: str) -> None:
        self._name, self._folder, self._classes, self._cache, self._how = name, folder, classes, cache, how_to_get
        self._parsed: dict[str, Columns] = {}

    def parse(self, ids: Sequence[str]) -> Columns:
        """Return sizes (N, 2) and objects of N images, from the cache if no annotation has changed.

        Raises MissingDataError for an absent annotation, BadFileError for one that breaks a rule.
        """
        names = [f"{image}.xml" for image in ids]
        try:
            made_from = fingerprint(self._folder, names, self._classes, (_PARSER_VERSION,))
        except FileNotFoundError as error:
            missing = self._folder / error.filename
            raise MissingDataError(f"{missing.name} of {self._name}", missing, self._how) from None
        if made_from not in self._parsed:
            path = self._cache / "truth" / f"{self._name}-{digest([str(self._folder.resolve()), names])}.parquet"
            table = load_or_parse(path, made_from, lambda: parse_annotations(self._folder, names, self._classes))
            self._parsed[made_from] = _to_columns(table)
        return self._parsed[made_from]


class VocDataset(Dataset):
    """A VOC year, or any dataset in the same layout, at `folder` (the one that holds `Annotations`).

    Splits are the lists of ImageSets/Main, those of ImageSets/Segmentation as `Segmentation/val` (their ground truth
    has the class masks too), and those of the folder `lists`, which VOC does not include (SBD's `train_aug`). `rules`
    derive further lists; if a derived list also has a file, both must have the same images.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        cache: Path,
        classes: tuple[str, ...] = CLASSES,
        *,
        lists: Path | None = None,
        rules: Rules = MappingProxyType({}),
    ) -> None:
        self.name, self.folder, self.classes, self._rules = name, folder, classes, rules
        self.recipe: dict[str, Any] = {}
        unpack = _HOW.get(name, "Unpack it")
        self.how_to_get = f"{unpack} (host.robots.ox.ac.uk/pascal/VOC) so that {folder} holds Annotations and the rest."
        if name in _HOW:
            self.how_to_get += f" Or: python -m bench data fetch {name}."
        sets = folder / "ImageSets"
        if not (sets / "Main").is_dir():
            raise MissingDataError(name, folder, self.how_to_get)
        self._lists = [("", sets / "Main"), (_SEGMENTATION, sets / "Segmentation"), ("", lists or sets / "Main")]
        self._annotations = Annotations(name, folder / "Annotations", classes, cache, self.how_to_get)

    def splits(self) -> tuple[str, ...]:
        """Return the names of the lists on disk, without those of a single class (`aeroplane_train`)."""
        paths = ((prefix, path) for prefix, folder in self._lists for path in folder.glob("*.txt"))
        names = {f"{prefix}{path.stem}" for prefix, path in paths if re.fullmatch(_SAFE_NAME, path.stem)}
        of_a_class = {f"{label}_{split}" for label in self.classes for split in names}
        return tuple(sorted(names - of_a_class))

    def ground_truth(self, split: str) -> GroundTruth:
        """Return the ground truth of a list; for the list of a single class, of all its ids and of all classes."""
        ids = self._read_list(split)
        size, objects = self.annotations(ids)
        labels = derive_labels(len(ids), len(self.classes), objects)
        masks = self._find_masks(ids) if split.startswith(_SEGMENTATION) else None
        return GroundTruth(self.name, split, self.classes, ids, size, labels, objects, masks)

    def unscored_ground_truth(self, split: str) -> GroundTruth:
        """Return the images of a list whose annotations may be withheld, such as a test set scored by a server.

        Sizes are those of the image files, 0 where a file is missing.
        """
        ids = self._read_list(split)
        paths = [self.image_path(image) for image in ids]
        size = np.array([read_size(path) if path.is_file() else (0, 0) for path in paths], dtype=np.int32)
        objects = empty_objects()
        labels = derive_labels(len(ids), len(self.classes), objects)
        return GroundTruth(self.name, split, self.classes, ids, size, labels, objects)

    def annotations(self, ids: Sequence[str]) -> Columns:
        """Return sizes (N, 2) and objects of N images, from the cache if no annotation has changed.

        Raises MissingDataError for an absent annotation, BadFileError for one that breaks a rule.
        """
        return self._annotations.parse(ids)

    def image_path(self, image: str) -> Path:
        """Return the path of an image."""
        return self.folder / "JPEGImages" / f"{image}.jpg"

    def mask_path(self, image: str) -> Path:
        """Return the path of the class mask of an image, an indexed PNG: 0 background, 1 + class index, 255 ignore."""
        return self.folder / "SegmentationClass" / f"{image}.png"

    def _read_list(self, split: str) -> tuple[str, ...]:
        path, derived = self._find_list(split), self._derive(split)
        if path is None:
            if derived is None:
                raise self.unknown_split(split)
            return derived
        if derived not in (None, ids := read_ids(path)):
            raise BadFileError(path, f"not the images that {split} of {self.name} has: delete it, or rename it")
        return ids

    def _find_list(self, split: str) -> Path | None:
        for prefix, folder in self._lists:
            stem = split.removeprefix(prefix)
            path = folder / f"{stem}.txt"
            if split.startswith(prefix) and re.fullmatch(_SAFE_NAME, stem) and path.is_file():
                return path
        return None

    def _derive(self, split: str) -> tuple[str, ...] | None:
        """Make a list by its rule; None without a rule, or without the lists that it needs."""

        def read(name: str) -> tuple[str, ...]:
            if (path := self._find_list(name)) is None:
                raise LookupError(name)
            return read_ids(path)

        with suppress(LookupError):
            return self._rules[split](read)
        return None

    def _find_masks(self, ids: Sequence[str]) -> Masks:
        paths = [
            require_file(self.mask_path(image), f"class mask {image} of {self.name}", self.how_to_get) for image in ids
        ]
        return Masks(indexed=True, files=tuple((path,) for path in paths), ignore=(None,) * len(paths))


def read_ids(path: Path) -> tuple[str, ...]:
    """Read the ids of a list, one per line, in file order; the second column of a class list (1, -1, 0) is ignored.

    Raises BadFileError for an empty list, a repeated id, an id that is no file name, or anything else on a line.
    """
    try:
        lines = require_regular_file(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadFileError(path, "not a list of ids (it is not text)") from None
    ids: dict[str, None] = {}
    for row, line in ((row, line) for row, line in enumerate(lines) if line.strip()):
        match = _LIST_LINE.fullmatch(line)
        if match is None:
            raise BadFileError(path, f"expected an id, and at most 1, -1 or 0 after it, but got {line[:80]!r}", row=row)
        if match[1] in ids:
            raise BadFileError(path, f"id {match[1]} is listed twice; write it once", row=row)
        ids[match[1]] = None
    if not ids:
        raise BadFileError(path, "lists no image")
    return tuple(ids)


def read_annotation(path: Path, class_index: Mapping[str, int]) -> Annotation:
    """Read one annotation; an image may have no objects, and a missing `difficult` means 0.

    Raises BadFileError, naming the file, the object (from 0) and the rule.
    """
    root = parse_xml(path)
    width, height = (int(_parse_number(path, root, f"size/{side}", None)) for side in ("width", "height"))
    if not (1 <= width <= _LONGEST_SIDE and 1 <= height <= _LONGEST_SIDE):
        raise BadFileError(path, f"<size> must be 1 to {_LONGEST_SIDE} pixels a side, but says {width}x{height}")
    annotation = Annotation(width, height, [], [], [])
    for row, item in enumerate(root.iterfind("object")):
        annotation.label.append(_parse_label(path, item, class_index, row))
        annotation.box.append(_parse_box(path, item, row))
        annotation.difficult.append(_parse_difficult(path, item, row))
    return annotation


def parse_annotations(folder: Path, names: Sequence[str], classes: tuple[str, ...]) -> pa.Table:
    """Parse annotations to columns: one row per image, objects as lists; boxes as in VOC, 4 numbers per object."""
    class_index = {name: index for index, name in enumerate(classes)}
    parsed = [read_annotation(folder / name, class_index) for name in names]
    columns = {
        "width": pa.array([each.width for each in parsed], pa.int32()),
        "height": pa.array([each.height for each in parsed], pa.int32()),
        "label": pa.array([each.label for each in parsed], pa.list_(pa.int32())),
        "difficult": pa.array([each.difficult for each in parsed], pa.list_(pa.bool_())),
        "box": pa.array([[side for box in each.box for side in box] for each in parsed], pa.list_(pa.float64())),
    }
    return pa.table(columns)


def _to_columns(table: pa.Table) -> Columns:
    size, image = stack_sizes(table), image_rows(table)
    label, difficult, box = (pc.list_flatten(table[name]).to_numpy() for name in ("label", "difficult", "box"))
    return size, Objects(image, label, from_voc(box), difficult)


def parse_xml(path: Path) -> ElementTree.Element:
    """Parse an annotation as UTF-8 whatever it declares, so that no document type hides in another encoding.

    Raises BadFileError for malformed XML, a document type, and another element than <annotation>.
    """
    try:
        text = require_regular_file(path).read_bytes().decode("utf-8")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise BadFileError(path, "an annotation must not declare a document type or entities")
        root = ElementTree.fromstring(text)
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise BadFileError(path, f"malformed XML ({error}); annotations are XML in UTF-8, save it as that") from None
    if root.tag != "annotation":
        raise BadFileError(path, f"expected an <annotation>, but got <{root.tag[:40]}>; move other files elsewhere")
    return root


def _parse_number(path: Path, parent: ElementTree.Element, name: str, row: int | None) -> float:
    text = parent.findtext(name)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadFileError(path, f"<{name}> must be a number, but got {text!r}", row=row)
    return value


def _parse_label(path: Path, item: ElementTree.Element, class_index: Mapping[str, int], row: int) -> int:
    name = (item.findtext("name") or "").strip()
    if name not in class_index:
        raise BadFileError(path, str(UnknownNameError("class", name, class_index)), row=row)
    return class_index[name]


def _parse_box(path: Path, item: ElementTree.Element, row: int) -> list[float]:
    box = [_parse_number(path, item, f"bndbox/{corner}", row) for corner in _CORNERS]
    (x1, y1, x2, y2) = from_voc(box)[0]
    if x2 <= x1 or y2 <= y1:
        raise BadFileError(
            path, f"inverted box: xmin, ymin, xmax, ymax are {', '.join(map('{:g}'.format, box))}", row=row
        )
    return box


def _parse_difficult(path: Path, item: ElementTree.Element, row: int) -> bool:
    text = (item.findtext("difficult") or "0").strip()
    if text not in {"0", "1"}:
        raise BadFileError(path, f"<difficult> must be 0 or 1, but got {text!r}", row=row)
    return text == "1"
