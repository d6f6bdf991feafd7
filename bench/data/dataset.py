"""What a dataset is: classes, splits with their truth, and photographs that may or may not be on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.files import digest
from bench.errors import MissingDataError, UnknownNameError

if TYPE_CHECKING:
    from bench.data.ground_truth import GroundTruth


class Dataset(ABC):
    """One dataset on disk. `recipe` holds the config fields it wants when nobody says otherwise."""

    name: str
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    how_to_get: str
    """One sentence for the error that says that something is missing."""

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of its id lists."""

    @abstractmethod
    def ground_truth(self, split: str) -> GroundTruth:
        """Return the ground truth of a split; no photographs are needed.

        Raises UnknownNameError for an unknown split, MissingDataError and BadFileError for its files.
        """

    def unknown_split(self, split: str) -> UnknownNameError:
        """Return the error for a split that the dataset does not have."""
        return UnknownNameError(f"split of {self.name}", split, self.splits(), hint=f"python -m bench show {self.name}")

    def unscored_ground_truth(self, split: str) -> GroundTruth:
        """Return ids and sizes of a split's images to predict on, even if its annotations are withheld.

        Labels and objects may be missing from it. Raises as `truth`.
        """
        return self.ground_truth(split)

    @abstractmethod
    def image_path(self, image: str) -> Path:
        """Where the photograph of an id is, or would be."""

    def list_missing_images(self, ids: Sequence[str]) -> list[str]:
        """Return the ids whose photograph is not on disk, in the given order."""
        return [image for image in ids if not self.image_path(image).is_file()]

    def require_images(self, ids: Sequence[str]) -> None:
        """Raise MissingDataError, with their number and the first, if photographs of `ids` are not on disk."""
        if missing := self.list_missing_images(ids):
            what = f"{len(missing)} of {len(ids)} images of {self.name} (first: {missing[0]})"
            raise MissingDataError(what, self.image_path(missing[0]).parent, self.how_to_get)


def data_digest(dataset: Dataset, ids: Sequence[str]) -> str:
    """Digest of ids and of their image files' names and sizes in bytes; the contents are not read.

    Raises MissingDataError if an image is not on disk.
    """
    paths = [dataset.image_path(image) for image in ids]
    try:
        return digest([[image, path.name, path.stat().st_size] for image, path in zip(ids, paths, strict=True)])
    except (FileNotFoundError, NotADirectoryError):
        dataset.require_images(ids)
        raise
