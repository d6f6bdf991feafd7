"""What of a dataset is on disk: its splits counted, held against the published counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from bench.data.datasets import Dataset, open_dataset
from bench.errors import MissingDataError
from bench.files import Places
from bench.progress import SILENT, Progress
from bench.truth import ABSENT, ONLY_DIFFICULT


@dataclass(frozen=True)
class Counts:
    """What a truth holds. pairs: (image, class) with an object; difficult_only: those with difficult objects only."""

    images: int
    objects: int
    not_difficult: int
    pairs: int
    difficult_only: int


PUBLISHED = {
    ("voc2007", "trainval"): Counts(5011, 15662, 12608, 7913, 607),
    ("voc2007", "test"): Counts(4952, 14976, 12032, 7632, 619),
}


@dataclass(frozen=True)
class Split:
    """One split on disk; `problem` says what is wrong with it: its truth is incomplete, or a count is off."""

    name: str
    counts: Counts | None = None
    photographs: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Inventory:
    """One dataset; `missing` says where it was looked for and how to get it."""

    name: str
    splits: tuple[Split, ...] = ()
    missing: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is there and nothing is wrong with it."""
        return not self.missing and not any(split.problem for split in self.splits)

    def document(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return {**asdict(self), "ok": self.ok}


def take(name: str, places: Places, progress: Progress = SILENT) -> Inventory:
    """Count one dataset's splits. Raises UnknownNameError for a dataset that nobody knows."""
    try:
        dataset = open_dataset(name, places)
        splits = dataset.splits()
    except MissingDataError as error:
        return Inventory(name, missing=str(error))
    found = []
    with progress.task(f"count {name}", len(splits), unit="splits") as step:
        for split in splits:
            found.append(_counted(dataset, split))
            step()
    return Inventory(name, tuple(found))


def _counted(dataset: Dataset, name: str) -> Split:
    try:
        truth = dataset.truth(name)
    except MissingDataError as error:
        return Split(name, problem=str(error))
    objects, labels = truth.objects, truth.labels
    counts = Counts(
        images=len(truth.ids),
        objects=len(objects),
        not_difficult=int((~objects.difficult).sum()),
        pairs=int((labels != ABSENT).sum()),
        difficult_only=int((labels == ONLY_DIFFICULT).sum()),
    )
    photographs = len(truth.ids) - len(dataset.missing_images(truth.ids))
    return Split(name, counts, photographs, _difference(counts, PUBLISHED.get((dataset.name, name), counts)))


def _difference(counts: Counts, published: Counts) -> str:
    mine, theirs = asdict(counts), asdict(published)
    off = [f"{mine[key]} {key}, published {theirs[key]}" for key in mine if mine[key] != theirs[key]]
    return "; ".join(off)
