"""The ground truth of a split: images, labels and objects, as frozen columns, parsed and cached by the readers.

Shapes: N images, C classes, M objects; see docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.core.files import array_digest, file_digest
from bench.data.image_names import ImageNames
from bench.errors import BadFileError, RequestError, UnknownImageError, UnknownNameError

PRESENT, ONLY_DIFFICULT, ABSENT = 1, 0, -1

Part = Literal["labels", "boxes", "masks"]
"""The part of the ground truth that a protocol uses."""

FEW = 200
"""The most images for which an error suggests similar names: comparing more takes long."""


@dataclass(frozen=True, eq=False)
class Objects:
    """Annotated objects, sorted by image, in file order within one.

    image: (M,) int32, index into `GroundTruth.ids`. label: (M,) int32, index into `GroundTruth.classes`.
    box: (M, 4) float64, half-open corners. difficult: (M,) bool.
    Only where the dataset has them: crowd: (M,) bool, a region of many objects. area: (M,) float64, square pixels of
    the object itself. segment: M masks, COCO's compressed run lengths at the image's size.
    """

    image: NDArray[np.int32]
    label: NDArray[np.int32]
    box: FloatArray
    difficult: NDArray[np.bool_]
    crowd: NDArray[np.bool_] | None = None
    area: FloatArray | None = None
    segment: tuple[bytes, ...] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.image)

    def where(self, keep: NDArray[np.bool_]) -> Objects:
        """Select the objects for which `keep` (M,), bool, is True."""
        return self.take(np.flatnonzero(keep))

    def take(self, rows: NDArray[np.integer]) -> Objects:
        """Select the objects of `rows` (n,), in that order."""
        return Objects(
            self.image[rows],
            self.label[rows],
            self.box[rows],
            self.difficult[rows],
            crowd=None if self.crowd is None else self.crowd[rows],
            area=None if self.area is None else self.area[rows],
            segment=None if self.segment is None else tuple(self.segment[row] for row in rows),
        )


@dataclass(frozen=True, eq=False)
class Masks:
    """Mask files of N images.

    files: per image, one PNG of class indices (0 background, 1 + class index, 255 ignore) if `indexed`; otherwise one
    PNG per object, whose pixels above 0 are the object's. ignore: per image, an optional PNG whose pixels above 0 count
    only where they belong to an object.
    """

    indexed: bool
    files: tuple[tuple[Path, ...], ...]
    ignore: tuple[Path | None, ...]

    def take(self, rows: Sequence[int]) -> Masks:
        """Select the masks of some of the images, in that order."""
        return replace(
            self, files=tuple(self.files[row] for row in rows), ignore=tuple(self.ignore[row] for row in rows)
        )

    def digests(self) -> Iterator[str]:
        """Yield one line per image: the digests of its files' contents, then of its ignore file."""
        for files, ignore in zip(self.files, self.ignore, strict=True):
            yield " ".join([*map(file_digest, files), "ignore", *map(file_digest, filter(None, [ignore]))])


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The ground truth of one split.

    ids: N image ids, in the order of the split's list. size: (N, 2) int32, width and height; 0 if only the image file
    has them. labels: (N, C) int8: +1 present, -1 absent, 0 present only as `difficult`. Only where the dataset has
    them: masks. blacklist: (N,) bool, images whose objects are excluded from evaluation. files: N paths, if ids are not
    paths; they only add names by which predictions may call an image, and change no result.
    """

    dataset: str
    split: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    size: NDArray[np.int32]
    labels: NDArray[np.int8]
    objects: Objects = field(repr=False)
    masks: Masks | None = field(default=None, repr=False)
    blacklist: NDArray[np.bool_] | None = field(default=None, repr=False)
    files: tuple[str, ...] = field(default=(), repr=False)

    @cached_property
    def digest(self) -> str:
        """Digest of ids and annotations, and of mask files' contents: the truth digest of every result."""
        o = self.objects
        required = (self.classes, self.ids, self.size, self.labels, o.image, o.label, o.box, o.difficult)
        return array_digest(*required, *self._optional_columns())

    def digest_part(self, part: Part) -> str:
        """Digest of the ground truth reduced to its labels, or to its labels and boxes, or to its labels and masks."""
        kept = self if part == "masks" else replace(self, masks=None)
        return (kept if part == "boxes" else replace(kept, objects=empty_objects())).digest

    def _optional_columns(self) -> Iterator[NDArray[Any] | tuple[str, ...]]:
        """Yield the columns that only some datasets have, each with its name: the digests of others do not change."""
        o = self.objects
        for name, column in (("crowd", o.crowd), ("area", o.area), ("blacklist", self.blacklist)):
            if column is not None:
                yield from ((name,), column)
        if o.segment is not None:
            lengths = np.array([len(segment) for segment in o.segment], dtype=np.int64)
            yield from (("segment",), lengths, np.frombuffer(b"".join(o.segment), dtype=np.uint8))
        if self.masks is not None:
            yield ("masks", str(self.masks.indexed), *self.masks.digests())

    @cached_property
    def ids_digest(self) -> str:
        """Digest of the ids alone."""
        return array_digest(self.ids)

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of each image id."""
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def names(self) -> ImageNames:
        """The names, besides ids, by which predictions may call images."""
        return ImageNames(self.ids, self.files)

    @cached_property
    def class_index(self) -> dict[str, int]:
        """Column of each class name."""
        return {name: column for column, name in enumerate(self.classes)}

    @cached_property
    def id_rank(self) -> NDArray[np.int32]:
        """Position (N,) of each id in the sorted ids: it breaks ties, so that they do not depend on the list's order.

        Numeric ids are sorted as numbers, as COCO breaks ties: `42` before `139`.
        """
        rank = np.empty(len(self.ids), dtype=np.int32)
        order = sorted(range(len(self.ids)), key=lambda row: (self.ids[row].zfill(20), self.ids[row]))
        rank[order] = np.arange(len(self.ids), dtype=np.int32)
        return rank

    def pair(self, image: NDArray[np.integer], label: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return one key (n,), int64, for each image (n,) and class (n,): the cell of `labels` in row-major order."""
        return image.astype(np.int64) * len(self.classes) + label

    def subset(self, ids: Sequence[str], *, split: str) -> GroundTruth:
        """Return the ground truth of some of the images, in the order given.

        Raises UnknownNameError for an unknown id, and RequestError for one given twice.
        """
        for name in ids:
            if name not in self.index:
                raise UnknownNameError(f"image of {self.dataset} {self.split}", name, self.ids)
        if len(set(ids)) < len(ids):
            repeated = next(name for name in ids if list(ids).count(name) > 1)
            raise RequestError(f"Image {repeated!r} is listed twice in {split}.")
        rows = np.array([self.index[name] for name in ids], dtype=np.int64)
        position = np.full(len(self.ids), -1, dtype=np.int32)
        position[rows] = np.arange(len(rows), dtype=np.int32)
        selected = self.objects.where(position[self.objects.image] >= 0)
        moved = replace(selected, image=position[selected.image])
        return replace(
            self,
            split=split,
            ids=tuple(ids),
            size=self.size[rows],
            labels=self.labels[rows],
            objects=moved.take(np.argsort(moved.image, kind="stable")),
            masks=None if self.masks is None else self.masks.take(rows.tolist()),
            blacklist=None if self.blacklist is None else self.blacklist[rows],
            files=tuple(self.files[row] for row in rows.tolist()) if self.files else (),
        )


def find_image(truth: GroundTruth, source: Path | str, name: str, row: int | str | None) -> int | None:
    """Return the row of the image with this name in predictions, found by `ImageNames`; None if there is none.

    Raises BadFileError if the name fits several images.
    """
    try:
        return truth.names.find(name)
    except RequestError as error:
        raise BadFileError(source, str(error), row=row) from None


def require_image(truth: GroundTruth, source: Path | str, name: str, row: int | str | None, *, hint: str = "") -> int:
    """Return the row of an image as `find_image` does. Raises BadFileError for a name that is none's, too."""
    found = find_image(truth, source, name, row)
    if found is None:
        what = f"image of {truth.dataset} {truth.split}{hint}"
        unknown = f"Unknown {what} {name!r}." if len(truth.ids) > FEW else str(UnknownNameError(what, name, truth.ids))
        raise UnknownImageError(source, unknown, name, row=row)
    return found


def derive_labels(images: int, classes: int, objects: Objects) -> NDArray[np.int8]:
    """Derive image labels (N, C), int8, from objects: +1, or 0 if every object of the class is difficult, or -1."""
    labels = np.full((images, classes), ABSENT, dtype=np.int8)
    labels[objects.image, objects.label] = ONLY_DIFFICULT
    clear = ~objects.difficult
    labels[objects.image[clear], objects.label[clear]] = PRESENT
    return labels


def encode_labels(label: NDArray[np.integer], classes: int) -> NDArray[np.int8]:
    """Return image labels (N, C), int8, for images of one class each: label (N,), class indices."""
    labels = np.full((len(label), classes), ABSENT, dtype=np.int8)
    labels[np.arange(len(label)), label] = PRESENT
    return labels


def join_objects(parts: Sequence[Objects], counts: Sequence[int]) -> Objects:
    """Join the objects of parts of a split; columns missing in any part are dropped. counts: each part's images."""
    first = np.cumsum([0, *counts])
    shifted = [replace(one, image=one.image + np.int32(start)) for one, start in zip(parts, first, strict=False)]
    columns = {name: [vars(one)[name] for one in shifted] for name in vars(shifted[0])}
    whole = {name: each for name, each in columns.items() if not any(one is None for one in each)}
    segments = whole.pop("segment", None)
    joined: dict[str, Any] = {name: np.concatenate(each) for name, each in whole.items()}
    return Objects(**joined, segment=None if segments is None else tuple(one for each in segments for one in each))


def empty_objects() -> Objects:
    """Return the objects of a split without boxes."""
    empty = np.zeros(0, dtype=np.int32)
    return Objects(empty, empty, np.zeros((0, 4)), np.zeros(0, dtype=np.bool_))
