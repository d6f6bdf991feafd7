"""COCO 2014 and 2017 instances, in their publisher's layout: annotations/instances_val2014.json, val2014/*.jpg.

Image ids are the integer ids as strings, in rising order, as pycocotools orders them; classes are the 80 categories
in the order of their ids. A crowd region shows its class: the image's label is +1 (as in TorchRay's and other
multi-label readings of COCO); the protocol decides whether it counts as an object. The JSON is parsed once, in memory
(about six times its size, so 3 GB for train2014), and cached as columns. Files are not trusted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.core.boxes import from_coco
from bench.core.files import digest, require_regular_file
from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.data.lists import LONGEST_SIDE, check_name, require_file
from bench.data.rle import to_rle
from bench.data.truth_cache import fingerprint, image_rows, load_or_parse, stack_sizes
from bench.errors import BadFileError, MissingDataError, RequestError

CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

CATEGORY_IDS = tuple(sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}))
"""Return the `category_id` of each class."""

_PARSER_VERSION = "1"
_SPLITS = ("train", "val")


class CocoDataset(Dataset):
    """COCO of one year at `folder`, the one that holds `annotations`. Its splits: train, val."""

    def __init__(self, name: str, folder: Path, cache: Path) -> None:
        self.name, self.folder, self._cache = name, folder, cache
        self.year = name.removeprefix("coco")
        self.classes = CLASSES
        self.recipe: dict[str, Any] = {}
        archives = f"annotations_trainval{self.year}.zip, train{self.year}.zip and val{self.year}.zip"
        self.how_to_get = f"Unpack {archives} (cocodataset.org) in {folder}, or: python -m bench data fetch {name}."
        self._file_names: dict[str, dict[str, str]] = {}
        if not self.splits():
            raise MissingDataError(name, folder / "annotations", self.how_to_get)

    def splits(self) -> tuple[str, ...]:
        """Return those of train and val whose annotations are on disk."""
        return tuple(split for split in _SPLITS if self._annotations_path(split).is_file())

    def ground_truth(self, split: str) -> GroundTruth:
        """Return boxes, crowds, areas and segments of a split."""
        table = self._read_table(split)
        size, files = stack_sizes(table), self._read_file_names(split)
        objects = to_objects(table)
        labels = derive_labels(len(size), len(CLASSES), objects)
        return GroundTruth(self.name, split, CLASSES, tuple(files), size, labels, objects, files=tuple(files.values()))

    def image_path(self, image: str) -> Path:
        """Return the path of an image, under the file name in the annotations."""
        for split in sorted(self.splits(), key=lambda split: split not in self._file_names):
            if name := self._read_file_names(split).get(image):
                return self.folder / f"{split}{self.year}" / name
        raise RequestError(f"{self.name} has no image {image!r}.")

    def _annotations_path(self, split: str) -> Path:
        return self.folder / "annotations" / f"instances_{split}{self.year}.json"

    def _read_table(self, split: str) -> pa.Table:
        if split not in _SPLITS:
            raise self.unknown_split(split)
        path = require_file(self._annotations_path(split), f"{split} annotations of {self.name}", self.how_to_get)
        made_from = fingerprint(path.parent, [path.name], (_PARSER_VERSION,))
        cache = self._cache / "truth" / f"{self.name}-{split}-{digest(str(path.resolve()))}.parquet"
        return load_or_parse(cache, made_from, lambda: parse_instances(path))

    def _read_file_names(self, split: str) -> dict[str, str]:
        """Return file names by image id."""
        if split not in self._file_names:
            table = self._read_table(split)
            self._file_names[split] = dict(zip(table["id"].to_pylist(), table["file"].to_pylist(), strict=True))
        return self._file_names[split]


def parse_instances(path: Path, classes: Sequence[str] | None = None) -> pa.Table:
    """Read an instances file as columns: one row per image, by id; objects as lists, boxes as x, y, width, height.

    classes: the names of the categories to read; file names may then have folders, and `area` and segmentations may be
    missing. None: COCO's 80 categories, all required. Raises BadFileError, naming the entry, if the file does not have
    COCO's form.
    """
    document = read_document(path)
    if classes is None:
        _check_categories(path, document)
    label_of = {number: label for label, number in enumerate(CATEGORY_IDS)}
    if classes is not None:
        index = {name: label for label, name in enumerate(classes)}
        label_of = {number: index[name] for number, name in list_categories(path, document).items() if name in index}
    images: dict[int, dict[str, Any]] = {}
    for row, entry in enumerate(get_list(path, document, "images")):
        image = _parse_image(path, entry, f"{row} of images", is_own=classes is not None)
        if images.setdefault(int(image["id"]), image) is not image:
            raise BadFileError(path, f"image id {image['id']} is listed twice", row=f"{row} of images")
    _add_annotations(path, get_list(path, document, "annotations"), images, label_of, is_own=classes is not None)
    in_order = [images[key] for key in sorted(images)]
    return pa.table({name: pa.array([image[name] for image in in_order], type_) for name, type_ in _COLUMNS.items()})


_COLUMNS = {
    "id": pa.string(),
    "file": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "label": pa.list_(pa.int32()),
    "crowd": pa.list_(pa.bool_()),
    "area": pa.list_(pa.float64()),
    "box": pa.list_(pa.float64()),
    "segment": pa.list_(pa.binary()),
}


def to_objects(table: pa.Table) -> Objects:
    """Return the objects of parsed instances; without segments where one of them lacks its own."""
    label, crowd, area, box = (pc.list_flatten(table[name]).to_numpy() for name in ("label", "crowd", "area", "box"))
    return Objects(
        image_rows(table),
        label,
        from_coco(box),
        np.zeros(len(label), dtype=np.bool_),
        crowd=crowd,
        area=area,
        segment=None if (segments := pc.list_flatten(table["segment"])).null_count else tuple(segments.to_pylist()),
    )


def list_categories(path: Path, document: dict[str, Any]) -> dict[int, str]:
    """Return the names of the categories by their ids. Raises BadFileError for one without a name, or listed twice."""
    names: dict[int, str] = {}
    for position, entry in enumerate(get_list(path, document, "categories")):
        row = f"{position} of categories"
        number, name = _parse_integer(path, entry, "id", row, low=0, high=2**63 - 1), entry.get("name")
        if not isinstance(name, str) or number in names:
            raise BadFileError(path, f"a category needs an id of its own and a name, but got {entry!r:.80}", row=row)
        names[number] = name
    return names


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises BadFileError for anything else."""
    try:
        document = json.loads(require_regular_file(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadFileError(path, f"not valid JSON ({error})") from None
    if not isinstance(document, dict):
        raise BadFileError(path, f"expected an object with images and annotations, but got {type(document).__name__}")
    return document


def get_list(path: Path, document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of objects. Raises BadFileError for anything else."""
    entries = document.get(key)
    if not isinstance(entries, list):
        raise BadFileError(path, f"expected a list {key!r}, but got {type(entries).__name__}")
    for row, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise BadFileError(path, f"expected an object, but got {type(entry).__name__}", row=f"{row} of {key}")
    return entries


def _check_categories(path: Path, document: dict[str, Any]) -> None:
    names = {str(entry.get("id")): entry.get("name") for entry in get_list(path, document, "categories")}
    for number, name in zip(CATEGORY_IDS, CLASSES, strict=True):
        if names.get(str(number)) != name:
            raise BadFileError(path, f"category {number} must be {name!r}, but it is {names.get(str(number))!r}")
    if len(names) != len(CLASSES):
        raise BadFileError(path, f"expected COCO's {len(CLASSES)} categories, but got {len(names)}")


def _parse_image(path: Path, entry: dict[str, Any], row: str, *, is_own: bool) -> dict[str, Any]:
    number = _parse_integer(path, entry, "id", row, low=0, high=2**63 - 1)
    name = entry.get("file_name")
    if not isinstance(name, str) or ("/" in name and not is_own):
        raise BadFileError(path, f"file_name must be the name of a file, but got {name!r}", row=row)
    check_name(path, name, row)
    sides = {side: _parse_integer(path, entry, side, row, low=1, high=LONGEST_SIDE) for side in ("width", "height")}
    return {"id": str(number), "file": name, **sides, "label": [], "crowd": [], "area": [], "box": [], "segment": []}


def _add_annotations(
    path: Path,
    entries: list[dict[str, Any]],
    images: dict[int, dict[str, Any]],
    label_of: Mapping[int, int],
    *,
    is_own: bool,
) -> None:
    seen: set[int] = set()
    for position, entry in enumerate(entries):
        row = f"{position} of annotations"
        number = _parse_integer(path, entry, "id", row, low=0, high=2**63 - 1)
        if number in seen:
            raise BadFileError(path, f"annotation id {number} is listed twice", row=row)
        seen.add(number)
        image = images.get(_parse_integer(path, entry, "image_id", row, low=0, high=2**63 - 1))
        label = label_of.get(_parse_integer(path, entry, "category_id", row, low=0, high=2**63 - 1))
        if image is None or label is None:
            key = "image_id" if image is None else "category_id"
            raise BadFileError(path, f"unknown {key} {entry[key]}", row=row)
        image["label"].append(label)
        image["crowd"].append(bool(_parse_integer(path, {"iscrowd": 0, **entry}, "iscrowd", row, low=0, high=1)))
        box = _parse_numbers(path, entry.get("bbox"), "bbox", row, count=4, low=(-math.inf, -math.inf, 0.0, 0.0))
        image["box"] += box
        area = entry.get("area", box[2] * box[3] if is_own else None)
        image["area"] += _parse_numbers(path, [area], "area", row, count=1, low=(0.0,))
        has_segment = bool(entry.get("segmentation")) or not is_own
        image["segment"].append(_parse_segment(path, entry, image, row) if has_segment else None)


def _parse_segment(path: Path, entry: dict[str, Any], image: dict[str, Any], row: str) -> bytes:
    try:
        return to_rle(entry.get("segmentation"), image["width"], image["height"])
    except ValueError as error:
        raise BadFileError(path, f"segmentation: {error}", row=row) from None


def _parse_integer(path: Path, entry: dict[str, Any], key: str, row: str, *, low: int, high: int) -> int:
    value = entry.get(key)
    if type(value) is not int or not low <= value <= high:
        raise BadFileError(path, f"{key} must be a whole number from {low} to {high}, but got {value!r:.80}", row=row)
    return value


def _parse_numbers(path: Path, values: Any, key: str, row: str, *, count: int, low: tuple[float, ...]) -> list[float]:
    """Return `count` finite numbers, each at least its `low`."""
    listed = values if isinstance(values, list) else []
    are_valid = [
        type(value) in (int, float) and abs(value) < 1e9 and value >= least
        for value, least in zip(listed, low, strict=False)
    ]
    if len(listed) != count or not all(are_valid):
        raise BadFileError(path, f"{key} must be {count} number(s), sizes not below 0, but got {values!r:.80}", row=row)
    return [float(value) for value in listed]


def open_dataset(name: str, data_root: Path, cache: Path) -> Dataset:
    """Open `coco2014` or `coco2017`, in `<data root>/coco`. Raises MissingDataError."""
    return CocoDataset(name, data_root / "coco", cache)
