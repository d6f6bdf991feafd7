"""ILSVRC in its publisher's layout: `ILSVRC/{Annotations,Data,ImageSets}/{CLS-LOC,DET}`.

Ids are the lines of the lists (`n01440764/n01440764_10026` of train, `ILSVRC2012_val_00000001`), classes are WordNet
ids in sorted order. Its XML counts pixels from 0 and includes the last one (0 ... 499 of 500): `xmin, xmax` becomes
xmin, xmax + 1. For the training images of CLS-LOC, neither sizes nor boxes are read; their class is their folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Dataset
from bench.data.ground_truth import PRESENT, GroundTruth, derive_labels, empty_objects, encode_labels
from bench.data.lists import parse_integer, read_lines, read_rows, read_unique_ids, require_file
from bench.data.voc import Annotations, Columns
from bench.data.wsol import PREFIX, list_splits, metadata_folder, read_ground_truth
from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError

_WORDNET_ID = r"n[0-9]{8}"
_BLACKLISTS = ("2014", "2013", "none")
_LISTS = {"train": "train_cls.txt", "val": "val.txt"}


class ClsLocDataset(Dataset):
    """ILSVRC 2012 CLS-LOC. Splits: train, val, and wsolevaluation's as `wsolevaluation/test` if its lists are on disk.

    blacklist: the year of the development kit whose list of unsatisfactory val images is used, or `none`.
    """

    def __init__(self, name: str, data_root: Path, cache: Path, blacklist: str = "2014") -> None:
        self.name, self.folder, self.blacklist = name, data_root / "ILSVRC", blacklist
        self.recipe: dict[str, Any] = {"loss": "softmax"}
        self.how_to_get = (
            "Register at image-net.org or Kaggle (ImageNet Object Localization Challenge) and unpack it in "
            f"{data_root}, so that it holds ILSVRC and LOC_synset_mapping.txt."
        )
        if not (self.folder / "ImageSets" / "CLS-LOC").is_dir():
            raise MissingDataError(name, self.folder / "ImageSets" / "CLS-LOC", self.how_to_get)
        self.classes = self._read_classes(data_root / "LOC_synset_mapping.txt")
        self._lists, self._metadata = data_root / "lists" / name, metadata_folder(data_root, "ILSVRC")
        folder = self.folder / "Annotations" / "CLS-LOC" / "val"
        self._annotations = Annotations(name, folder, self.classes, cache, self.how_to_get)

    def splits(self) -> tuple[str, ...]:
        """Return those of train and val whose lists are on disk, and those of wsolevaluation."""
        sets = self.folder / "ImageSets" / "CLS-LOC"
        own = [split for split, file in _LISTS.items() if (sets / file).is_file()]
        return (*own, *(PREFIX + split for split in list_splits(self._metadata)))

    def ground_truth(self, split: str) -> GroundTruth:
        """Return one class per image; for val also boxes. The labels of train take 1.3 GB."""
        if split not in self.splits():
            raise self.unknown_split(split)
        if split.startswith(PREFIX):
            folder = self._metadata / split.removeprefix(PREFIX)
            return read_ground_truth(self.name, split, folder, self.classes, self.folder)
        path = self.folder / "ImageSets" / "CLS-LOC" / _LISTS[split]
        ids = read_unique_ids(path, (1, 2))
        return self._build_train(path, ids) if split == "train" else self._build_val(path, ids)

    def image_path(self, image: str) -> Path:
        """Return the path of an image; wsolevaluation's ids are paths below Data/CLS-LOC (ImageNetV2 is `val2`)."""
        data = self.folder / "Data" / "CLS-LOC"
        if re.search(r"\.jpe?g$", image, re.IGNORECASE):
            return data / image
        return data / ("train" if "/" in image else "val") / f"{image}.JPEG"

    def _build_train(self, path: Path, ids: tuple[str, ...]) -> GroundTruth:
        index = {name: label for label, name in enumerate(self.classes)}
        label = np.array([index.get(image.partition("/")[0], -1) for image in ids])
        if (label < 0).any():
            row = int(np.argmin(label))
            raise BadFileError(path, f"expected class/name with a known WordNet id, but got {ids[row][:80]!r}", row=row)
        size = np.zeros((len(ids), 2), dtype=np.int32)
        labels = encode_labels(label, len(self.classes))
        return GroundTruth(self.name, "train", self.classes, ids, size, labels, empty_objects())

    def _build_val(self, path: Path, ids: tuple[str, ...]) -> GroundTruth:
        size, objects = _shift_to_zero_based(self._annotations.parse(ids))
        labels = derive_labels(len(ids), len(self.classes), objects)
        if ((labels == PRESENT).sum(axis=1) != 1).any():
            image = ids[int(np.argmax((labels == PRESENT).sum(axis=1) != 1))]
            annotation = self.folder / "Annotations" / "CLS-LOC" / "val" / f"{image}.xml"
            raise BadFileError(annotation, "expected objects of exactly one class")
        return GroundTruth(
            self.name, "val", self.classes, ids, size, labels, objects, blacklist=self._read_blacklist(path, ids)
        )

    def _read_blacklist(self, ids_from: Path, ids: tuple[str, ...]) -> NDArray[np.bool_] | None:
        """Return the images (N,), bool, whose number, at the end of their id, is on the blacklist."""
        if self.blacklist == "none":
            return None
        name = f"ILSVRC{self.blacklist}_clsloc_validation_blacklist.txt"
        how = (
            f"It is data/{name} of that year's development kit. With --data-option blacklist=none, localization is "
            "evaluated on all images without it."
        )
        path = require_file(self._lists / name, "The list of blacklisted images", how)
        listed = {_parse_image_number(path, fields[0], row) for row, fields in enumerate(read_rows(path, 1))}
        numbers = [_parse_image_number(ids_from, image.rpartition("_")[2], row) for row, image in enumerate(ids)]
        return np.array([number in listed for number in numbers], dtype=np.bool_)

    def _read_classes(self, path: Path) -> tuple[str, ...]:
        lines = read_lines(require_file(path, f"Classes of {self.name}", self.how_to_get))
        return _check_wordnet_ids(path, [line.split()[0] for line in lines])


class DetDataset(Dataset):
    """ILSVRC 2013 DET, 200 classes. Splits: val, and the lists of `lists/ilsvrc2013-det` (R-CNN's val1 and val2)."""

    def __init__(self, name: str, data_root: Path, cache: Path) -> None:
        self.name, self.folder = name, data_root / "ILSVRC"
        self.recipe: dict[str, Any] = {}
        self.how_to_get = (
            "Register at image-net.org for ILSVRC DET and its development kit; unpack both in "
            f"{data_root}, and put val1.txt and val2.txt (R-CNN's halves of val) into {data_root / 'lists' / name}."
        )
        path = require_file(self.folder / "devkit" / "data" / "map_det.txt", f"Classes of {name}", self.how_to_get)
        self.classes = _check_wordnet_ids(path, [line.split()[0] for line in read_lines(path)])
        self._lists = (data_root / "lists" / name, self.folder / "ImageSets" / "DET")
        folder = self.folder / "Annotations" / "DET" / "val"
        self._annotations = Annotations(name, folder, self.classes, cache, self.how_to_get)

    def splits(self) -> tuple[str, ...]:
        """Return val and the added lists."""
        added = {path.stem for path in self._lists[0].glob("[!.]*.txt")}
        return tuple(sorted(added | {"val"} if (self._lists[1] / "val.txt").is_file() else added))

    def ground_truth(self, split: str) -> GroundTruth:
        """Return boxes of all 200 classes."""
        if split not in self.splits():
            raise self.unknown_split(split)
        path = next(file for folder in self._lists if (file := folder / f"{split}.txt").is_file())
        ids = read_unique_ids(path, (1, 2))
        size, objects = _shift_to_zero_based(self._annotations.parse(ids))
        return GroundTruth(
            self.name, split, self.classes, ids, size, derive_labels(len(ids), len(self.classes), objects), objects
        )

    def image_path(self, image: str) -> Path:
        """Return the path of an image."""
        return self.folder / "Data" / "DET" / "val" / f"{image}.JPEG"


def _check_wordnet_ids(path: Path, names: list[str]) -> tuple[str, ...]:
    for row, name in enumerate(names):
        if not re.fullmatch(_WORDNET_ID, name) or names.index(name) != row:
            raise BadFileError(path, f"expected a WordNet id that is not repeated, but got {name[:80]!r}", row=row)
    return tuple(sorted(names))


def _parse_image_number(path: Path, text: str, row: int) -> int:
    """Return the number of a val image."""
    return parse_integer(path, text, row, low=1, high=99_999_999)


def _shift_to_zero_based(columns: Columns) -> Columns:
    """Undo the 1-based convention that VOC's reader assumes."""
    size, objects = columns
    return size, replace(objects, box=objects.box + 1.0)


def open_dataset(name: str, data_root: Path, cache: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Dataset:
    """Open `ilsvrc2012`, with its option `blacklist`, or `ilsvrc2013-det`.

    Raises MissingDataError, and UnknownNameError or RequestError for an option.
    """
    if name == "ilsvrc2013-det":
        return DetDataset(name, data_root, cache)
    for key in options:
        if key != "blacklist":
            raise UnknownNameError(f"option of {name}", key, ["blacklist"])
    year = str(options.get("blacklist", _BLACKLISTS[0]))
    if year not in _BLACKLISTS:
        raise RequestError(f"Option blacklist of {name} must be {', '.join(_BLACKLISTS)}, but got {year!r}.")
    return ClsLocDataset(name, data_root, cache, year)
