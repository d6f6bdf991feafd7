"""The action task of PASCAL VOC 2012: ImageSets/Action/<action>_<split>.txt, lines `image person 1|-1`.

It classifies persons, not images: in the splits train, val and trainval an id is the image and the person's number
among the objects of its annotation, `2010_006215_1`, and the person's box is an object of each of its actions. The
splits `images/train` ... have one row per image, with the actions of all its persons (as WELDON counts: 2,296 and
2,292 images). `other` is no action.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.data.dataset import Dataset
from bench.data.ground_truth import ABSENT, PRESENT, GroundTruth, Objects
from bench.data.lists import check_name, parse_integer, read_rows, require_file
from bench.data.voc import CLASSES, Annotations
from bench.errors import BadFileError, MissingDataError

ACTIONS = (
    "jumping", "phoning", "playinginstrument", "reading", "ridingbike",
    "ridinghorse", "running", "takingphoto", "usingcomputer", "walking",
)  # fmt: skip

IMAGES = "images/"
"""Prefix of a split whose rows are images, not persons."""

_SPLITS = ("train", "trainval", "val")
_MOST_PERSONS = 9999


class _Persons(NamedTuple):
    """P persons: image ids, numbers from 1 among their image's objects, and labels (P, 10)."""

    image: tuple[str, ...]
    number: tuple[int, ...]
    labels: NDArray[np.int8]


class ActionDataset(Dataset):
    """The action task at `folder`, VOC 2012's."""

    def __init__(self, name: str, folder: Path, cache: Path) -> None:
        self.name, self.folder, self.classes = name, folder, ACTIONS
        self.recipe: dict[str, Any] = {}
        self.how_to_get = (
            f"Unpack VOCtrainval_11-May-2012.tar (host.robots.ox.ac.uk/pascal/VOC) so that {folder} holds "
            "ImageSets/Action, or: python -m bench data fetch voc2012."
        )
        self._sets = folder / "ImageSets" / "Action"
        if not self._sets.is_dir():
            raise MissingDataError(name, self._sets, self.how_to_get)
        self._annotations = Annotations(name, folder / "Annotations", CLASSES, cache, self.how_to_get)

    def splits(self) -> tuple[str, ...]:
        """Return the lists, of persons and of images."""
        own = [split for split in _SPLITS if (self._sets / f"{ACTIONS[0]}_{split}.txt").is_file()]
        return (*own, *(IMAGES + split for split in own))

    def ground_truth(self, split: str) -> GroundTruth:
        """Return the actions of persons, or of images; one object for each person and action."""
        if split not in self.splits():
            raise self.unknown_split(split)
        persons = self._read_persons(split.removeprefix(IMAGES))
        images = tuple(dict.fromkeys(persons.image))
        ids = images if split.startswith(IMAGES) else _person_ids(persons)
        index = {name: row for row, name in enumerate(images)}
        shown_on = np.array([index[image] for image in persons.image], dtype=np.int32)
        size, box = self._locate_persons(images, persons, shown_on)
        row = shown_on if split.startswith(IMAGES) else np.arange(len(ids), dtype=np.int32)
        labels = np.full((len(ids), len(ACTIONS)), ABSENT, dtype=np.int8)
        np.maximum.at(labels, row, persons.labels)
        size = size if split.startswith(IMAGES) else size[shown_on]
        return GroundTruth(self.name, split, ACTIONS, ids, size, labels, _build_objects(persons, row, box))

    def image_path(self, image: str) -> Path:
        """Return the path of an image, or of the whole image that shows a person."""
        person = re.fullmatch(r"(.+_.+)_[0-9]+", image)
        return self.folder / "JPEGImages" / f"{person[1] if person else image}.jpg"

    def _read_persons(self, split: str) -> _Persons:
        lists = [self._read_list(f"{action}_{split}.txt") for action in ACTIONS]
        for action, labels_of_action in zip(ACTIONS, lists, strict=True):
            if labels_of_action.keys() != lists[0].keys():
                raise BadFileError(
                    self._sets / f"{action}_{split}.txt", f"lists other persons than that of {ACTIONS[0]}"
                )
        labels = np.array([[values[person] for values in lists] for person in lists[0]], dtype=np.int8)
        return _Persons(tuple(image for image, _ in lists[0]), tuple(number for _, number in lists[0]), labels)

    def _read_list(self, name: str) -> dict[tuple[str, int], int]:
        """Read 1, 0 or -1 for each image and person's number."""
        path = require_file(self._sets / name, f"{name} of {self.name}", self.how_to_get)
        labels: dict[tuple[str, int], int] = {}
        for row, (image, number, value) in enumerate(read_rows(path, 3)):
            check_name(path, image, row)
            person = image, parse_integer(path, number, row, low=1, high=_MOST_PERSONS)
            if person in labels:
                raise BadFileError(path, f"person {number} of {image} is listed twice", row=row)
            labels[person] = parse_integer(path, value, row, low=-1, high=1)
        return labels

    def _locate_persons(
        self, images: tuple[str, ...], persons: _Persons, shown_on: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], FloatArray]:
        """Return the sizes (N, 2) of the images, and the box (P, 4) of each person."""
        size, objects = self._annotations.parse(images)
        count = np.bincount(objects.image, minlength=len(images))
        number = np.array(persons.number)
        at = np.minimum((np.cumsum(count) - count)[shown_on] + number - 1, max(len(objects) - 1, 0))
        is_person = (number <= count[shown_on]) & (objects.label[at] == CLASSES.index("person"))
        if not is_person.all():
            first = int(np.argmin(is_person))
            path = self.folder / "Annotations" / f"{persons.image[first]}.xml"
            raise BadFileError(path, f"the action lists name its object {number[first]}, but that is no person")
        return size, objects.box[at]


def _person_ids(persons: _Persons) -> tuple[str, ...]:
    return tuple(f"{image}_{number}" for image, number in zip(persons.image, persons.number, strict=True))


def _build_objects(persons: _Persons, row: NDArray[np.int32], box: FloatArray) -> Objects:
    """Build an object for each person and action, on the person's row (P,) of the ground truth."""
    person, label = np.nonzero(persons.labels == PRESENT)
    order = np.argsort(row[person], kind="stable")
    person = person[order]
    return Objects(row[person], label[order].astype(np.int32), box[person], np.zeros(len(person), dtype=np.bool_))


def open_dataset(name: str, data_root: Path, cache: Path) -> Dataset:
    """Open `voc2012-actions`, in VOC 2012's folder. Raises MissingDataError."""
    return ActionDataset(name, data_root / "VOCdevkit" / "VOC2012", cache)
