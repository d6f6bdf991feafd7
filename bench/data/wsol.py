"""The lists of wsolevaluation (Choe et al., CVPR 2020) for ILSVRC, CUB and OpenImages, as it publishes them:
`metadata/<DATASET>/<split>/{image_ids,class_labels,image_sizes,localization}.txt`.

Image ids are its own: paths below the image folder. Its boxes `x0, y0, x1, y1` are taken as half-open corners,
unchanged: CUB's are x, y, x + w, y + h; ILSVRC's end on the last pixel, so they are one pixel short of tight, as in
its evaluation, whose published numbers are reproduced. Sizes are 0 if no list has them (OpenImages).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth, Masks, Objects, empty_objects, encode_labels
from bench.data.lists import (
    LONGEST_SIDE,
    check_name,
    index_ids,
    parse_integer,
    parse_number,
    read_lines,
    read_rows,
    require_file,
)
from bench.errors import BadFileError, MissingDataError

PREFIX = "wsolevaluation/"
"""Prefix of its splits in datasets that have other splits too."""

HOW = "It is the folder metadata of github.com/clovaai/wsolevaluation, or: python -m bench data fetch wsolevaluation."


class OpenImagesDataset(Dataset):
    """OpenImages30k: 100 classes by their Open Images names without `/m/`; splits train, val, test.

    folder: holds `val/0bt_c3/1cd9ac0169ec7df0.jpg`, with the masks beside the images.
    """

    def __init__(self, name: str, folder: Path, metadata: Path) -> None:
        self.name, self.folder, self.metadata = name, folder, metadata
        self.recipe: dict[str, Any] = {"loss": "softmax"}
        self.how_to_get = f"{HOW} Put the images and masks (linked from its README) into {folder}."
        if not (splits := self.splits()):
            raise MissingDataError(f"wsolevaluation's lists of {name}", metadata, HOW)
        self.classes = _read_classes(metadata / splits[0] / "class_labels.txt")

    def splits(self) -> tuple[str, ...]:
        """Return the splits whose lists are on disk."""
        return list_splits(self.metadata)

    def ground_truth(self, split: str) -> GroundTruth:
        """Return the labels of a split, and for val and test the masks, whose files must be on disk."""
        if split not in self.splits():
            raise self.unknown_split(split)
        return read_ground_truth(self.name, split, self.metadata / split, self.classes, self.folder)

    def image_path(self, image: str) -> Path:
        """Return the path of an image."""
        return self.folder / image


def list_splits(metadata: Path) -> tuple[str, ...]:
    """Return the splits in one dataset's metadata folder: some of `train`, `val` (train-fullsup), `test`."""
    return tuple(sorted(path.parent.name for path in metadata.glob("*/image_ids.txt")))


def read_ground_truth(dataset: str, split: str, folder: Path, classes: tuple[str, ...], masks: Path) -> GroundTruth:
    """Read the ground truth of one folder of lists; mask files are below `masks`.

    `localization.txt` may be missing for `train`, which then has no objects. Raises MissingDataError and BadFileError.
    """
    path = require_file(folder / "image_ids.txt", f"ids of {dataset} {split}", HOW)
    ids = tuple(line.strip() for line in read_lines(path))
    index = index_ids(path, ids)
    label = _read_labels(
        require_file(folder / "class_labels.txt", f"labels of {dataset} {split}", HOW), index, len(classes)
    )
    size = read_sizes(folder / "image_sizes.txt", index)
    objects, mask_files = _read_localization(folder, index, label, masks)
    return GroundTruth(dataset, split, classes, ids, size, encode_labels(label, len(classes)), objects, mask_files)


def read_sizes(path: Path, index: dict[str, int]) -> NDArray[np.int32]:
    """Return width and height (N, 2), int32, of each image; all 0 if there is no list. Raises BadFileError."""
    size = np.zeros((len(index), 2), dtype=np.int32)
    if not path.is_file():
        return size
    for row, (image, width, height) in enumerate(read_rows(path, 3, separator=",")):
        size[_find_row(path, image, index, row)] = [
            parse_integer(path, side, row, low=1, high=LONGEST_SIDE) for side in (width, height)
        ]
    _require_all_images(path, index, size[:, 0] > 0)
    return size


def _read_labels(path: Path, index: dict[str, int], classes: int) -> NDArray[np.int64]:
    label = np.full(len(index), -1, dtype=np.int64)
    for row, (image, text) in enumerate(read_rows(path, 2, separator=",")):
        label[_find_row(path, image, index, row)] = parse_integer(path, text, row, low=0, high=classes - 1)
    _require_all_images(path, index, label >= 0)
    return label


def _read_localization(
    folder: Path, index: dict[str, int], label: NDArray[np.int64], masks: Path
) -> tuple[Objects, Masks | None]:
    path = folder / "localization.txt"
    if folder.name == "train" and not path.is_file():
        return empty_objects(), None
    rows = read_rows(require_file(path, "wsolevaluation's localization.txt", HOW), (3, 5), separator=",")
    if len(rows[0]) == 3:
        return empty_objects(), _parse_masks(path, rows, index, masks)
    return _parse_boxes(path, rows, index, label), None


def _parse_boxes(path: Path, rows: list[list[str]], index: dict[str, int], label: NDArray[np.int64]) -> Objects:
    _require_field_count(path, rows, 5)
    image = np.array([_find_row(path, fields[0], index, row) for row, fields in enumerate(rows)], dtype=np.int32)
    box = np.array([[parse_number(path, text, row) for text in fields[1:]] for row, fields in enumerate(rows)])
    if (is_inverted := (box[:, 2:] < box[:, :2]).any(axis=1)).any():
        raise BadFileError(path, "inverted box: expected x0 <= x1 and y0 <= y1", row=int(np.argmax(is_inverted)))
    _require_all_images(path, index, np.bincount(image, minlength=len(index)) > 0)
    order = np.argsort(image, kind="stable")
    image = image[order]
    return Objects(image, label[image].astype(np.int32), box[order], np.zeros(len(image), dtype=np.bool_))


def _parse_masks(path: Path, rows: list[list[str]], index: dict[str, int], folder: Path) -> Masks:
    _require_field_count(path, rows, 3)
    files: list[list[Path]] = [[] for _ in index]
    ignore: list[Path | None] = [None] * len(index)
    for row, (image, mask, ignored) in enumerate(rows):
        at = _find_row(path, image, index, row)
        for name in filter(None, (mask, ignored)):
            check_name(path, name, row)
            require_file(folder / name, f"mask {name}", f"Unpack wsolevaluation's masks of OpenImages in {folder}.")
        if not mask or (ignored and files[at]):
            raise BadFileError(
                path, "expected a mask, and what to ignore with the first mask of an image only", row=row
            )
        files[at].append(folder / mask)
        ignore[at] = folder / ignored if ignored else ignore[at]
    _require_all_images(path, index, np.array([bool(masks) for masks in files]))
    return Masks(indexed=False, files=tuple(map(tuple, files)), ignore=tuple(ignore))


def _read_classes(path: Path) -> tuple[str, ...]:
    """Return the class of each label: the folder of its images, as `01226z` of `test/01226z/7af766bd43da900b.jpg`."""
    classes: dict[int, str] = {}
    for row, (image, text) in enumerate(
        read_rows(require_file(path, "wsolevaluation's class labels", HOW), 2, separator=",")
    ):
        name = re.fullmatch(r"[^/]+/([^/]+)/[^/]+", image)
        label = parse_integer(path, text, row, low=0, high=999)
        if name is None or classes.setdefault(label, name[1]) != name[1]:
            raise BadFileError(
                path, f"label {label} must have one folder, split/class/name, but got {image!r}", row=row
            )
    if sorted(classes) != list(range(len(classes))) or len(set(classes.values())) != len(classes):
        raise BadFileError(path, "labels must count from 0 without a gap, each with a folder of its own")
    return tuple(classes[label] for label in range(len(classes)))


def _find_row(path: Path, image: str, index: dict[str, int], row: int) -> int:
    if image not in index:
        raise BadFileError(path, f"image {image[:80]!r} is not in image_ids.txt", row=row)
    return index[image]


def _require_all_images(path: Path, index: dict[str, int], named: NDArray[np.bool_]) -> None:
    if not named.all():
        missing = list(index)[int(np.argmin(named))]
        raise BadFileError(path, f"lacks {int((~named).sum())} images (first: {missing})")


def _require_field_count(path: Path, rows: list[list[str]], fields: int) -> None:
    for row, values in enumerate(rows):
        if len(values) != fields:
            raise BadFileError(path, f"expected {fields} fields as in the first row, but got {len(values)}", row=row)


def open_dataset(name: str, data_root: Path, cache: Path) -> Dataset:
    """Open `openimages`. Raises MissingDataError."""
    return OpenImagesDataset(name, data_root / "OpenImages", metadata_folder(data_root, "OpenImages"))


def metadata_folder(data_root: Path, dataset: str) -> Path:
    """Return the folder of wsolevaluation's lists of ILSVRC, CUB or OpenImages."""
    return data_root / "lists" / "wsolevaluation" / "metadata" / dataset
