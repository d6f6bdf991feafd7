"""Checks of the datasets on disk: each split is counted, and compared with the published counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench.core.files import Places
from bench.core.progress import SILENT, Progress
from bench.data.datasets import Dataset, open_dataset
from bench.data.ground_truth import ABSENT, ONLY_DIFFICULT
from bench.errors import MissingDataError


@dataclass(frozen=True)
class Counts:
    """Counts of one split's ground truth.

    pairs: (image, class) pairs with an object. difficult_only: pairs whose objects are all difficult.
    """

    images: int
    objects: int
    not_difficult: int
    pairs: int
    difficult_only: int


PUBLISHED: dict[str, dict[str, dict[str, int]]] = {
    "voc2007": {
        "trainval": asdict(Counts(5011, 15662, 12608, 7913, 607)),
        "test": asdict(Counts(4952, 14976, 12032, 7632, 619)),
        "Segmentation/trainval": {"images": 422},
        "Segmentation/test": {"images": 210},
    },
    "voc2010": {"train": {"images": 4998}, "val": {"images": 5105}, "trainval": {"images": 10103}},
    "voc2012": {
        "train": {"images": 5717},
        "val": {"images": 5823},
        "trainval": {"images": 11540},
        "Segmentation/train": {"images": 1464},
        "Segmentation/val": {"images": 1449},
        "train_aug": {"images": 10582},
    },
    "voc2012-actions": {"images/train": {"images": 2296}, "images/val": {"images": 2292}},
    "coco2014": {"train": {"images": 82783, "objects": 604907}, "val": {"images": 40504, "objects": 291875}},
    "coco2017": {"train": {"images": 118287, "objects": 860001}, "val": {"images": 5000, "objects": 36781}},
    "ilsvrc2012": {
        "train": {"images": 1281167},
        "val": {"images": 50000, "pairs": 50000},
        "wsolevaluation/val": {"images": 10000},
        "wsolevaluation/test": {"images": 50000},
    },
    "ilsvrc2013-det": {"val": {"images": 20121, "objects": 55502}},
    "cub": {
        "train": {"images": 5994, "objects": 5994},
        "test": {"images": 5794, "objects": 5794},
        "wsolevaluation/train": {"images": 5994},
        "wsolevaluation/val": {"images": 1000},
        "wsolevaluation/test": {"images": 5794},
    },
    "openimages": {"train": {"images": 29819}, "val": {"images": 2500}, "test": {"images": 5000}},
    "mit67": {"train": {"images": 5360}, "test": {"images": 1340}},
}
"""The published counts of each split: some fields of `Counts`."""


@dataclass(frozen=True)
class SplitCheck:
    """One split on disk; `problem` says what is wrong with it: its ground truth is incomplete, or a count differs."""

    name: str
    counts: Counts | None = None
    photographs: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class DatasetCheck:
    """One dataset; `missing` gives the path searched and how to get it."""

    name: str
    splits: tuple[SplitCheck, ...] = ()
    missing: str = ""

    @property
    def ok(self) -> bool:
        """Whether the dataset is on disk and has no problem."""
        return not self.missing and not any(split.problem for split in self.splits)

    def document(self) -> dict[str, Any]:
        """Return all fields, as JSON values."""
        return {**asdict(self), "ok": self.ok}


def check_dataset(name: str, places: Places, progress: Progress = SILENT) -> DatasetCheck:
    """Count one dataset's splits and compare them with the published counts. Raises UnknownNameError."""
    try:
        dataset = open_dataset(name, places)
        splits = dataset.splits()
    except MissingDataError as error:
        return DatasetCheck(name, missing=str(error))
    checks = []
    with progress.task(f"count {name}", len(splits), unit="splits") as step:
        for split in splits:
            checks.append(_check_split(dataset, split))
            step()
    return DatasetCheck(name, tuple(checks))


def _check_split(dataset: Dataset, name: str) -> SplitCheck:
    try:
        truth = dataset.ground_truth(name)
    except MissingDataError as error:
        return SplitCheck(name, problem=str(error))
    objects, labels = truth.objects, truth.labels
    counts = Counts(
        images=len(truth.ids),
        objects=len(objects),
        not_difficult=int((~objects.difficult).sum()),
        pairs=int((labels != ABSENT).sum()),
        difficult_only=int((labels == ONLY_DIFFICULT).sum()),
    )
    photographs = len(truth.ids) - len(dataset.list_missing_images(truth.ids))
    return SplitCheck(name, counts, photographs, _compare_counts(counts, PUBLISHED.get(dataset.name, {}).get(name, {})))


def _compare_counts(counts: Counts, published: Mapping[str, int]) -> str:
    actual = asdict(counts)
    differing = {key: value for key, value in published.items() if actual[key] != value}
    return "; ".join(f"{actual[key]} {key}, published {value}" for key, value in differing.items())
