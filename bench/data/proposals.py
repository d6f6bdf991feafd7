"""Region proposals of a list of images: computed here, or read from files of several layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.core.files import Places, array_digest
from bench.core.progress import SILENT, Progress
from bench.data.dataset import Dataset
from bench.errors import MissingDataError, UnknownNameError

if TYPE_CHECKING:
    from bench.data.computed import Search

FloatBoxes = NDArray[np.float32]

SEARCHES = ("selective-search", "edge-boxes")
"""The proposals that are computed here; any other name is a file's."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Proposals of N images, P in all, best first if their source ranks them.

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
        """Build from one array of boxes (R, 4) per image, and optionally one of scores (R,)."""
        offsets = np.cumsum([0, *(len(rows) for rows in boxes)], dtype=np.int64)
        joined = np.concatenate([np.zeros((0, 4), np.float32), *boxes]).astype(np.float32)
        if scores is None:
            return cls(tuple(ids), offsets, joined)
        return cls(tuple(ids), offsets, joined, np.concatenate([np.zeros(0, np.float32), *scores]).astype(np.float32))

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of `offsets` of each image id."""
        return {image: row for row, image in enumerate(self.ids)}

    @cached_property
    def digest(self) -> str:
        """Digest of all fields."""
        return array_digest(self.ids, self.offsets, self.boxes, *([] if self.scores is None else [self.scores]))

    def rows(self, image: str) -> slice:
        """Return the rows of an image in `boxes` and `scores`."""
        row = self.index[image]
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))

    def of(self, image: str) -> FloatBoxes:
        """Return the boxes (R, 4) of an image."""
        return self.boxes[self.rows(image)]

    def scores_of(self, image: str) -> NDArray[np.float32] | None:
        """Return the scores (R,) of an image's boxes, or None."""
        return None if self.scores is None else self.scores[self.rows(image)]


def load_proposals(
    spec: str, dataset: Dataset, ids: Sequence[str], places: Places, progress: Progress = SILENT, *, workers: int
) -> Proposals:
    """Load proposals of `ids`: `selective-search`, `edge-boxes`, or files (see `proposal_files` for the layouts).

    Several files, as when published one per split, are joined by `+`: `A.mat+B.mat`. Raises UnknownNameError for
    another `spec`, MissingDataError if images, a file or a search's model are not on disk, BadFileError if a file
    breaks a rule or the files lack an image.
    """
    from bench.data.proposal_files import READERS, read_proposals, read_several

    if spec in SEARCHES:
        from bench.data.computed import search_all

        dataset.require_images(ids)
        images = [dataset.image_path(image) for image in ids]
        return Proposals.from_arrays(ids, search_all(_build_search(spec, places), images, progress, workers))
    paths = [Path(spec)] if Path(spec).is_file() else [Path(part) for part in spec.split("+")]
    for path in paths:
        if path.suffix not in READERS:
            known = [*SEARCHES, *(f"FILE{suffix}" for suffix in READERS), "FILE.mat+FILE.mat"]
            raise UnknownNameError("proposals", spec, known)
        if not path.is_file():
            raise MissingDataError("Proposals", path, f"Give an existing file, or {' or '.join(SEARCHES)}.")
    read = read_proposals(paths[0], ids) if len(paths) == 1 else read_several(paths, ids)
    return Proposals.from_arrays(ids, *read)


def estimate_uncomputed(spec: str, dataset: Dataset, ids: Sequence[str], places: Places, *, sample: int = 50) -> int:
    """Estimate from a sample how many images still lack computed proposals; 0 if they come from a file.

    Raises MissingDataError if images or a search's model are not on disk.
    """
    if spec not in SEARCHES:
        return 0
    from bench.data.computed import is_cached

    dataset.require_images(ids)
    search, some = _build_search(spec, places), ids[:: -(-len(ids) // sample)]
    missing = sum(not is_cached(search, dataset.image_path(image)) for image in some)
    return -(-missing * len(ids) // len(some))


def _build_search(spec: str, places: Places) -> Search:
    if spec == "edge-boxes":
        from bench.data.edge_boxes import build_edge_boxes_search

        return build_edge_boxes_search(places)
    from bench.data.selective_search import build_selective_search

    return build_selective_search(places.cache)


def drop_small_boxes(boxes: FloatBoxes, min_side: float) -> FloatBoxes:
    """Drop boxes (R, 4) with a side under `min_side` pixels; the order and further columns are kept."""
    return boxes[are_large_enough(boxes, min_side)]


def are_large_enough(boxes: FloatBoxes, min_side: float) -> NDArray[np.bool_]:
    """Return whether each box (R, 4) has no side under `min_side` pixels: (R,)."""
    return np.asarray((boxes[:, 2:4] - boxes[:, :2] >= min_side).all(axis=1))
