"""Caltech-UCSD Birds-200-2011 in its publisher's layout: images.txt, image_class_labels.txt, classes.txt,
train_test_split.txt, bounding_boxes.txt, images/.

Image ids are the names in images.txt, which wsolevaluation uses too; a box `x, y, width, height` becomes
x, y, x + width, y + height. CUB lists no image sizes: they come from wsolevaluation's lists, or from the images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray, from_coco
from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth, Objects, encode_labels
from bench.data.lists import index_ids, parse_integer, parse_number, read_rows, require_file
from bench.data.pixels import read_size
from bench.data.wsol import PREFIX, list_splits, metadata_folder, read_ground_truth, read_sizes
from bench.errors import BadFileError, MissingDataError

_SPLITS = ("test", "train")


class CubDataset(Dataset):
    """CUB at `folder`. Splits: train, test, and wsolevaluation's as `wsolevaluation/test` if its lists are on disk."""

    def __init__(self, name: str, folder: Path, metadata: Path) -> None:
        self.name, self.folder, self.metadata = name, folder, metadata
        self.recipe: dict[str, Any] = {"loss": "softmax"}
        self.how_to_get = (
            f"Unpack CUB_200_2011.tgz (vision.caltech.edu) so that {folder} holds images.txt, "
            "or: python -m bench data fetch cub."
        )
        if not folder.is_dir():
            raise MissingDataError(name, folder, self.how_to_get)
        self.classes = tuple(self._read_column("classes.txt"))

    def splits(self) -> tuple[str, ...]:
        """Return train and test, and those of wsolevaluation; its val is CUBV2, whose images go to `images` too."""
        return (*_SPLITS, *(PREFIX + split for split in list_splits(self.metadata)))

    def ground_truth(self, split: str) -> GroundTruth:
        """Return one class and one box per image."""
        if split not in self.splits():
            raise self.unknown_split(split)
        if split.startswith(PREFIX):
            folder = self.metadata / split.removeprefix(PREFIX)
            return read_ground_truth(self.name, split, folder, self.classes, self.folder)
        ids = self._read_column("images.txt")
        index_ids(self.folder / "images.txt", ids)
        in_training = self._read_integers("train_test_split.txt", len(ids), low=0, high=1)
        label = self._read_integers("image_class_labels.txt", len(ids), low=1, high=len(self.classes)) - 1
        box = self._read_boxes(len(ids))
        rows = np.flatnonzero(in_training == (split == "train"))
        image = np.arange(len(rows), dtype=np.int32)
        objects = Objects(image, label[rows], box[rows], np.zeros(len(rows), dtype=np.bool_))
        names = tuple(ids[row] for row in rows)
        labels = encode_labels(label[rows], len(self.classes))
        return GroundTruth(self.name, split, self.classes, names, self._read_sizes(names, split), labels, objects)

    def image_path(self, image: str) -> Path:
        """Return the path of an image."""
        return self.folder / "images" / image

    def _read_integers(self, name: str, images: int, *, low: int, high: int) -> NDArray[np.int32]:
        path, texts = self.folder / name, self._read_column(name, images)
        return np.array(
            [parse_integer(path, text, row, low=low, high=high) for row, text in enumerate(texts)], dtype=np.int32
        )

    def _read_boxes(self, images: int) -> FloatArray:
        path = self.folder / "bounding_boxes.txt"
        rows = self._read_numbered_rows(path.name, 5, images)
        box = np.array([[parse_number(path, text, row) for text in fields[1:]] for row, fields in enumerate(rows)])
        if (is_flat := (box[:, 2:] <= 0).any(axis=1)).any():
            raise BadFileError(path, "a box needs a width and a height above 0", row=int(np.argmax(is_flat)))
        return from_coco(box)

    def _read_column(self, name: str, images: int | None = None) -> list[str]:
        return [fields[1] for fields in self._read_numbered_rows(name, 2, images)]

    def _read_numbered_rows(self, name: str, fields: int, images: int | None) -> list[list[str]]:
        """Read a list whose first field counts rows from 1; return the fields of each line."""
        path = require_file(self.folder / name, f"{name} of {self.name}", self.how_to_get)
        rows = read_rows(path, fields)
        for row, values in enumerate(rows):
            if values[0] != str(row + 1):
                raise BadFileError(path, f"expected number {row + 1}, but got {values[0][:80]!r}", row=row)
        if images not in (None, len(rows)):
            raise BadFileError(path, f"has {len(rows)} rows, but images.txt has {images}")
        return rows

    def _read_sizes(self, ids: tuple[str, ...], split: str) -> NDArray[np.int32]:
        listed = self.metadata / split / "image_sizes.txt"
        if listed.is_file():
            return read_sizes(listed, {name: row for row, name in enumerate(ids)})
        if missing := self.list_missing_images(ids):
            how = f"Put wsolevaluation's list there, or the images ({len(missing)} are missing) into {self.folder}."
            raise MissingDataError(f"Sizes of {self.name} {split}", listed, how)
        return np.array([read_size(self.image_path(name)) for name in ids], dtype=np.int32)


def open_dataset(name: str, data_root: Path, cache: Path) -> Dataset:
    """Open `cub`, in `<data root>/CUB_200_2011`. Raises MissingDataError."""
    return CubDataset(name, data_root / "CUB_200_2011", metadata_folder(data_root, "CUB"))
