"""The interface of a dataset: classes, splits with their ground truth, and images that may or may not be on disk."""

from __future__ import annotations

import glob
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.files import digest
from bench.errors import MissingDataError, RequestError, UnknownNameError

if TYPE_CHECKING:
    from bench.data.ground_truth import GroundTruth
    from bench.data.left_out import LeftOut

PART = re.compile(r"(?P<split>.+):(?P<first>\d+)(?:-(?P<last>\d+))?of(?P<count>\d+)")
"""The name of a part of a split: `train:1-4of5`."""


class Dataset(ABC):
    """One dataset on disk. `recipe` holds defaults for config fields that the user does not set."""

    name: str
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    how_to_get: str
    """One sentence for the error raised if data is missing."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""

    @abstractmethod
    def ground_truth(self, split: str) -> GroundTruth:
        """Return the ground truth of a split; needs no image on disk.

        Raises UnknownNameError for an unknown split, MissingDataError and BadFileError for its files.
        """

    def unknown_split(self, split: str) -> UnknownNameError:
        """Return the exception to raise for an unknown split."""
        return UnknownNameError(f"split of {self.name}", split, self.splits(), hint=f"python -m bench show {self.name}")

    def unscored_ground_truth(self, split: str) -> GroundTruth:
        """Return a split's image ids and sizes, to predict on, even if its annotations are withheld.

        Labels and objects may be absent. Raises as `ground_truth`.
        """
        return self.ground_truth(split)

    @abstractmethod
    def image_path(self, image: str) -> Path:
        """Return the path of an image, which need not exist."""

    def suggest_truth(self, what: str) -> str:
        """Suggest how to get ground truth that the dataset lacks: boxes, class masks, object masks."""
        return f"Choose a protocol that needs no {what}, or a dataset or split that has them"

    def find_left_out(self) -> list[LeftOut]:
        """Find the images on disk that are in no split; only of a user's own dataset."""
        return []

    def list_missing_images(self, ids: Sequence[str]) -> list[str]:
        """Return the ids whose image is not on disk, in the order given."""
        return [image for image in ids if not self.image_path(image).is_file()]

    def require_images(self, ids: Sequence[str]) -> None:
        """Raise MissingDataError, with their number and the first, if images of `ids` are not on disk."""
        if missing := self.list_missing_images(ids):
            path = self.image_path(missing[0])
            what = f"{len(missing)} of {len(ids)} images of {self.name} (first: {missing[0]})"
            raise MissingDataError(what, path, suggest_renaming(path) or self.how_to_get)


def suggest_renaming(path: Path) -> str:
    """Suggest renaming a file that exists under another suffix; empty if there is none."""
    siblings = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*")) if path.parent.is_dir() else []
    if not siblings:
        return ""
    return f"{siblings[0].name} is there instead: rename it, and those like it, to *{path.suffix}."


def read_split(dataset: Dataset, split: str) -> GroundTruth:
    """Return the ground truth of a split or of a part of it; needs no image on disk.

    `train:5of5` has every fifth image of train, `train:1-4of5` the others: part k of n has the images k, k + n, ... of
    the split's list. Raises RequestError for a part that does not exist or is empty, and as `Dataset.ground_truth`.
    """
    part = PART.fullmatch(split)
    if part is None:
        return dataset.ground_truth(split)
    first, count = int(part["first"]), int(part["count"])
    last = int(part["last"] or first)
    if not 1 <= first <= last <= count:
        example = f"{part['split']}:1-{count}of{count}"
        raise RequestError(f"Split {split}: expected parts from 1 to {count}, as in {example}.")
    whole = dataset.ground_truth(part["split"])
    ids = [image for row, image in enumerate(whole.ids) if first - 1 <= row % count < last]
    if not ids:
        raise RequestError(f"Split {split} is empty: {part['split']} has {len(whole.ids)} images.")
    return whole.subset(ids, split=split)


def data_digest(dataset: Dataset, ids: Sequence[str]) -> str:
    """Compute the digest of ids and of their image files' names and sizes in bytes; the contents are not read.

    Raises MissingDataError if an image is not on disk.
    """
    paths = [dataset.image_path(image) for image in ids]
    try:
        return digest([[image, path.name, path.stat().st_size] for image, path in zip(ids, paths, strict=True)])
    except (FileNotFoundError, NotADirectoryError):
        dataset.require_images(ids)
        raise
