"""What a dataset says about a split: images, labels and objects, as frozen columns; readers parse and cache them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bench.boxes import FloatArray
from bench.errors import RequestError, UnknownNameError
from bench.files import array_digest

PRESENT, ONLY_DIFFICULT, ABSENT = 1, 0, -1


@dataclass(frozen=True, eq=False)
class Objects:
    """Annotated objects, sorted by image, in file order within one.

    image: (M,) int32, index into `Truth.ids`. label: (M,) int32, index into `Truth.classes`.
    box: (M, 4) float64, half-open corners. difficult: (M,) bool.
    """

    image: NDArray[np.int32]
    label: NDArray[np.int32]
    box: FloatArray
    difficult: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.image)

    def where(self, keep: NDArray[np.bool_]) -> Objects:
        """The objects for which `keep` (M,) is true."""
        return Objects(self.image[keep], self.label[keep], self.box[keep], self.difficult[keep])


@dataclass(frozen=True, eq=False)
class Truth:
    """The truth of one split.

    ids: N image ids, in the order of the split's list. size: (N, 2) int32, width and height.
    labels: (N, C) int8: +1 present, -1 absent, 0 present only as `difficult`.
    """

    dataset: str
    split: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    size: NDArray[np.int32]
    labels: NDArray[np.int8]
    objects: Objects = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """Digest of ids and annotations: the truth digest of every result."""
        o = self.objects
        return array_digest(self.classes, self.ids, self.size, self.labels, o.image, o.label, o.box, o.difficult)

    @cached_property
    def ids_digest(self) -> str:
        """Digest of the ids alone."""
        return array_digest(self.ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """From image id to row."""
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def class_index(self) -> dict[str, int]:
        """From class name to column."""
        return {name: column for column, name in enumerate(self.classes)}

    @cached_property
    def id_rank(self) -> NDArray[np.int32]:
        """Position (N,) of each id in the sorted ids: what breaks ties, so that the order of the list does not."""
        rank = np.empty(len(self.ids), dtype=np.int32)
        rank[sorted(range(len(self.ids)), key=self.ids.__getitem__)] = np.arange(len(self.ids), dtype=np.int32)
        return rank

    def pair(self, image: NDArray[np.integer], label: NDArray[np.integer]) -> NDArray[np.int64]:
        """One key (n,) for each image and class: the cell of `labels` in row-major order."""
        return image.astype(np.int64) * len(self.classes) + label

    def subset(self, ids: Sequence[str], *, split: str) -> Truth:
        """The truth of some of the images, in the order given.

        Raises UnknownNameError for an id that is not here, and RequestError for one given twice.
        """
        for name in ids:
            if name not in self.index:
                raise UnknownNameError(f"image of {self.dataset} {self.split}", name, self.ids)
        if len(set(ids)) < len(ids):
            twice = next(name for name in ids if list(ids).count(name) > 1)
            raise RequestError(f"Image {twice!r} is listed twice in {split}.")
        rows = np.array([self.index[name] for name in ids], dtype=np.int64)
        position = np.full(len(self.ids), -1, dtype=np.int32)
        position[rows] = np.arange(len(rows), dtype=np.int32)
        kept = self.objects.where(position[self.objects.image] >= 0)
        moved = replace(kept, image=position[kept.image])
        order = np.argsort(moved.image, kind="stable")
        objects = Objects(moved.image[order], moved.label[order], moved.box[order], moved.difficult[order])
        return replace(
            self, split=split, ids=tuple(ids), size=self.size[rows], labels=self.labels[rows], objects=objects
        )


def labels_of(images: int, classes: int, objects: Objects) -> NDArray[np.int8]:
    """Image labels (N, C) from objects: +1, or 0 where every object of the class is difficult, or -1."""
    labels = np.full((images, classes), ABSENT, dtype=np.int8)
    labels[objects.image, objects.label] = ONLY_DIFFICULT
    clear = ~objects.difficult
    labels[objects.image[clear], objects.label[clear]] = PRESENT
    return labels
