"""MIT Indoor 67 (Quattoni and Torralba, CVPR 2009): TrainImages.txt, TestImages.txt, Images/<class>/<name>.

Ids are the lines of the lists, `kitchen/int474.jpg`; the class is the folder. No list gives the images' sizes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth, empty_objects, encode_labels
from bench.data.lists import index_ids, read_lines, require_file
from bench.errors import BadFileError, MissingDataError

_LISTS = {"train": "TrainImages.txt", "test": "TestImages.txt"}


class Mit67Dataset(Dataset):
    """MIT67 at `folder`, the one that holds both lists. Splits: train (5,360 images), test (1,340)."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.recipe: dict[str, Any] = {"loss": "softmax"}
        self.how_to_get = (
            f"Get TrainImages.txt, TestImages.txt and indoorCVPR_09.tar (web.mit.edu/torralba/www/indoor.html) into "
            f"{folder}, or: python -m bench data fetch mit67."
        )
        if not folder.is_dir():
            raise MissingDataError(name, folder, self.how_to_get)
        self._ids = {split: self._read_ids(file) for split, file in _LISTS.items()}
        self.classes = tuple(sorted({_parse_class(image) for ids in self._ids.values() for image in ids}))

    def splits(self) -> tuple[str, ...]:
        """Return the names of the two lists."""
        return tuple(_LISTS)

    def ground_truth(self, split: str) -> GroundTruth:
        """Return one class per image; no objects, sizes 0."""
        if split not in _LISTS:
            raise self.unknown_split(split)
        ids, index = self._ids[split], {name: label for label, name in enumerate(self.classes)}
        labels = encode_labels(np.array([index[_parse_class(image)] for image in ids]), len(self.classes))
        return GroundTruth(
            self.name, split, self.classes, ids, np.zeros((len(ids), 2), np.int32), labels, empty_objects()
        )

    def image_path(self, image: str) -> Path:
        """Return the path of an image."""
        return self.folder / "Images" / image

    def _read_ids(self, name: str) -> tuple[str, ...]:
        path = require_file(self.folder / name, f"{name} of {self.name}", self.how_to_get)
        ids = tuple(line.strip() for line in read_lines(path))
        index_ids(path, ids)
        for row, image in enumerate(ids):
            if image.count("/") != 1:
                raise BadFileError(path, f"expected class/name, but got {image[:80]!r}", row=row)
        return ids


def _parse_class(image: str) -> str:
    return image.partition("/")[0]


def open_dataset(name: str, data_root: Path, cache: Path) -> Dataset:
    """Open `mit67`, in `<data root>/MIT67`. Raises MissingDataError."""
    return Mit67Dataset(name, data_root / "MIT67")
