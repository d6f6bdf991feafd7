"""Region proposals of a list of images: computed here, or read from files of several layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.core.files import Places, array_digest, atomic_file
from bench.core.progress import SILENT, Progress
from bench.data.dataset import Dataset
from bench.errors import BadFileError, MissingDataError, UnknownNameError

if TYPE_CHECKING:
    from bench.data.computed import Search

FloatBoxes = NDArray[np.float32]

SEARCHES = ("selective-search", "edge-boxes")
"""What is computed here; anything else is a file."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Proposals of N images, P in all, best first where whoever made them had an order.

    offsets: (N + 1,) int64; image i has the rows offsets[i] to offsets[i + 1]. boxes: (P, 4) float32, half-open
    corners in pixels of the original image. scores: (P,) float32, or None.
    """

    ids: tuple[str, ...]
    offsets: NDArray[np.int64]
    boxes: FloatBoxes = field(repr=False)
    scores: NDArray[np.float32] | None = field(default=None, repr=False)

    @classmethod
    def from_arrays(
        cls, ids: Sequence[str], boxes: Sequence[NDArray[Any]], scores: Sequence[NDArray[Any]] | None = None
    ) -> Proposals:
        """Proposals from one array (n, 4) an image, and one (n,) of scores."""
        offsets = np.cumsum([0, *(len(rows) for rows in boxes)], dtype=np.int64)
        joined = np.concatenate([np.zeros((0, 4), np.float32), *boxes]).astype(np.float32)
        if scores is None:
            return cls(tuple(ids), offsets, joined)
        return cls(tuple(ids), offsets, joined, np.concatenate([np.zeros(0, np.float32), *scores]).astype(np.float32))

    @cached_property
    def index(self) -> dict[str, int]:
        """From image id to row of `offsets`."""
        return {image: row for row, image in enumerate(self.ids)}

    @cached_property
    def digest(self) -> str:
        """Digest of all of it."""
        return array_digest(self.ids, self.offsets, self.boxes, *([] if self.scores is None else [self.scores]))

    def rows(self, image: str) -> slice:
        """Where an image's proposals are in `boxes` and `scores`."""
        row = self.index[image]
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))

    def of(self, image: str) -> FloatBoxes:
        """Boxes (n, 4) of an image."""
        return self.boxes[self.rows(image)]

    def scores_of(self, image: str) -> NDArray[np.float32] | None:
        """Scores (n,) of an image's boxes, if there are any."""
        return None if self.scores is None else self.scores[self.rows(image)]


def load_proposals(
    spec: str, dataset: Dataset, ids: Sequence[str], places: Places, progress: Progress = SILENT, *, workers: int
) -> Proposals:
    """Proposals of `ids`: `selective-search`, `edge-boxes`, or those of a file (see `proposal_files` for the layouts).

    Raises UnknownNameError for another `spec`, MissingDataError where images, the file or what a search needs are not
    on disk, BadFileError where one breaks a rule or the file lacks an image.
    """
    from bench.data.proposal_files import READERS, read_proposals

    if spec in SEARCHES:
        from bench.data.computed import search_all

        dataset.require_images(ids)
        images = [dataset.image_path(image) for image in ids]
        return Proposals.from_arrays(ids, search_all(_search(spec, places), images, progress, workers))
    path = Path(spec)
    if path.suffix not in READERS:
        raise UnknownNameError("proposals", spec, [*SEARCHES, *(f"FILE{suffix}" for suffix in READERS)])
    if not path.is_file():
        raise MissingDataError("Proposals", path, f"Give a file that is there, or {' or '.join(SEARCHES)}.")
    return Proposals.from_arrays(ids, *read_proposals(path, ids))


def _search(spec: str, places: Places) -> Search:
    if spec == "edge-boxes":
        from bench.data.edge_boxes import build_edge_boxes_search

        return build_edge_boxes_search(places)
    from bench.data.selective_search import build_selective_search

    return build_selective_search(places.cache)


def drop_small_boxes(boxes: FloatBoxes, min_side: float) -> FloatBoxes:
    """Return the boxes (n, 4) of which no side is under `min_side` pixels, in the same order; further columns stay."""
    return boxes[((boxes[:, 2:4] - boxes[:, :2]) >= min_side).all(axis=1)]


def save_npz(path: Path, proposals: Proposals) -> None:
    """Write proposals in our own layout, atomically: `ids`, `offsets`, `boxes`, and `scores` if there are any.

    Raises BadFileError for a name by which they could not be read again.
    """
    if path.suffix != ".npz":
        raise BadFileError(path, "a proposals file of our own must be named .npz")
    arrays: dict[str, Any] = {"ids": np.array(proposals.ids), "offsets": proposals.offsets, "boxes": proposals.boxes}
    if proposals.scores is not None:
        arrays["scores"] = proposals.scores
    with atomic_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)
