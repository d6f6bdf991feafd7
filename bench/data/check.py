"""Checks of the datasets on disk: each split is counted, and compared with the published counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.core.files import Places, digest, file_digest
from bench.core.progress import SILENT, Progress
from bench.data.datasets import DATASETS, Dataset, open_dataset
from bench.data.left_out import LeftOut
from bench.data.oddities import describe_annotations, list_oddities
from bench.data.published import PUBLISHED, Counts, compare_counts, count_truth
from bench.errors import BadFileError, MissingDataError, RequestError

_LOOKED_AT = 5000
"""Photographs of a published split whose size is compared with the annotated one."""


@dataclass(frozen=True)
class SplitCheck:
    """One split on disk. problem: its fault, if any: incomplete ground truth, or a count that differs."""

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
    """Oddities of the data, such as missing photographs or boxes outside their images."""
    left_out: tuple[LeftOut, ...] = ()
    """The files in its folder that are not read."""

    @property
    def ok(self) -> bool:
        """Whether the dataset is on disk and has no problem."""
        return not self.missing and not any(split.problem for split in self.splits)

    def document(self) -> dict[str, Any]:
        """Return all fields, as JSON values."""
        return {**asdict(self), "ok": self.ok}


def check_dataset(name: str, places: Places, progress: Progress = SILENT, *, contents: bool = False) -> DatasetCheck:
    """Count one dataset's splits and compare them with the published counts. Raises UnknownNameError.

    contents: read every photograph for a digest. A user's own dataset is also checked for oddities.
    """
    try:
        dataset = open_dataset(name, places)
        dataset.splits()
    except MissingDataError as error:
        return DatasetCheck(name, missing=str(error))
    try:
        return check_opened(dataset, progress, contents=contents)
    except BadFileError as error:
        if name not in DATASETS:
            raise
        return DatasetCheck(name, (SplitCheck("all", problem=str(error)),))  # other datasets are still checked


def check_opened(
    dataset: Dataset,
    progress: Progress = SILENT,
    *,
    contents: bool = False,
    notes: Sequence[str] = (),
    left_out: Sequence[LeftOut] = (),
) -> DatasetCheck:
    """Check a dataset as `check_dataset` does; `notes` and `left_out` are added to."""
    splits, checks = dataset.splits(), []
    with progress.task(f"count {dataset.name}", len(splits), unit="splits") as step:
        for split in splits:
            checks.append(_check_split(dataset, split, contents=contents))
            step()
    if dataset.name not in DATASETS and not any(check.problem for check in checks):
        notes = (*notes, *list_oddities(dataset, progress))
        left_out = (*left_out, *dataset.find_left_out())
    elif dataset.name in DATASETS:
        truths = [dataset.ground_truth(check.name) for check in checks if check.counts is not None]
        notes = (*notes, *(line for truth in truths for line in describe_annotations(dataset, truth, _LOOKED_AT)))
    return DatasetCheck(dataset.name, tuple(checks), notes=tuple(notes), left_out=tuple(left_out))


def _check_split(dataset: Dataset, name: str, *, contents: bool) -> SplitCheck:
    try:
        truth = dataset.ground_truth(name)
        content = _digest_contents(dataset, truth.ids) if contents else ""
    except BadFileError:
        raise
    except RequestError as error:  # ground truth that is missing, or a part of a small split that is empty
        return SplitCheck(name, problem=str(error))
    counts = count_truth(truth)
    photographs = len(truth.ids) - len(dataset.list_missing_images(truth.ids))
    problem = compare_counts(counts, PUBLISHED.get(dataset.name, {}).get(name, {}))
    return SplitCheck(name, counts, photographs, problem, content)


def _digest_contents(dataset: Dataset, ids: Sequence[str]) -> str:
    """Compute the digest of ids and contents of photographs. Raises MissingDataError for one that is not on disk."""
    dataset.require_images(ids)
    return digest([[image, file_digest(dataset.image_path(image))] for image in ids])
