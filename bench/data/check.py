"""Checks of the datasets on disk: each split is counted, and compared with the published counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.core.files import Places, digest, file_digest
from bench.core.progress import SILENT, Progress
from bench.data.datasets import DATASETS, Dataset, open_dataset
from bench.data.ground_truth import ABSENT, ONLY_DIFFICULT
from bench.data.oddities import list_oddities
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
    contents: str = ""
    """Digest of ids and of the photographs' contents, if asked for."""


@dataclass(frozen=True)
class DatasetCheck:
    """One dataset; `missing` gives the path searched and how to get it."""

    name: str
    splits: tuple[SplitCheck, ...] = ()
    missing: str = ""
    notes: tuple[str, ...] = ()
    """What is odd about a dataset of one's own."""

    @property
    def ok(self) -> bool:
        """Whether the dataset is on disk and has no problem."""
        return not self.missing and not any(split.problem for split in self.splits)

    def document(self) -> dict[str, Any]:
        """Return all fields, as JSON values."""
        return {**asdict(self), "ok": self.ok}


def check_dataset(name: str, places: Places, progress: Progress = SILENT, *, contents: bool = False) -> DatasetCheck:
    """Count one dataset's splits and compare them with the published counts. Raises UnknownNameError.

    contents: read every photograph for a digest. A dataset of one's own is looked at for oddities.
    """
    try:
        dataset = open_dataset(name, places)
        dataset.splits()
    except MissingDataError as error:
        return DatasetCheck(name, missing=str(error))
    return check_opened(dataset, progress, contents=contents)


def check_opened(
    dataset: Dataset, progress: Progress = SILENT, *, contents: bool = False, notes: Sequence[str] = ()
) -> DatasetCheck:
    """Check a dataset as `check_dataset` does; `notes` are added to."""
    splits, checks = dataset.splits(), []
    with progress.task(f"count {dataset.name}", len(splits), unit="splits") as step:
        for split in splits:
            checks.append(_check_split(dataset, split, contents=contents))
            step()
    if dataset.name not in DATASETS and not any(check.problem for check in checks):
        notes = (*notes, *list_oddities(dataset, progress))
    return DatasetCheck(dataset.name, tuple(checks), notes=tuple(notes))


def _check_split(dataset: Dataset, name: str, *, contents: bool) -> SplitCheck:
    try:
        truth = dataset.ground_truth(name)
        content = _digest_contents(dataset, truth.ids) if contents else ""
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
    problem = _compare_counts(counts, PUBLISHED.get(dataset.name, {}).get(name, {}))
    return SplitCheck(name, counts, photographs, problem, content)


def _digest_contents(dataset: Dataset, ids: Sequence[str]) -> str:
    """Compute the digest of ids and contents of photographs. Raises MissingDataError for one that is not on disk."""
    dataset.require_images(ids)
    return digest([[image, file_digest(dataset.image_path(image))] for image in ids])


def _compare_counts(counts: Counts, published: Mapping[str, int]) -> str:
    actual = asdict(counts)
    differing = {key: value for key, value in published.items() if actual[key] != value}
    return "; ".join(f"{actual[key]} {key}, published {value}" for key, value in differing.items())
