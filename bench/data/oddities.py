"""Oddities of a dataset: missing, rotated, grey or duplicate photographs, boxes outside their image, empty labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.core.files import file_digest
from bench.core.progress import SILENT, Progress
from bench.data.dataset import Dataset
from bench.data.ground_truth import ABSENT, GroundTruth
from bench.data.pixels import Header, read_header
from bench.errors import BadFileError, format_count, format_names

_TURNED = "with an EXIF rotation (boxes and maps refer to the pixels as stored; viewers rotate them)"
_DEEP = "in 16-bit greyscale (the upper 8 bits are read; convert images that use fewer)"
_OTHER_SIZE = "of a size other than annotated"
_ROUNDING = 0.5
"""Pixels by which COCO's boxes reach beyond their images."""

_MODES = {
    "L": "in greyscale (read as RGB)",
    "LA": "in greyscale with transparency (read as RGB, without it)",
    "1": "in black and white (read as RGB)",
    "CMYK": "in CMYK (read as RGB)",
    "RGBA": "with transparency (read without it)",
}


def list_oddities(dataset: Dataset, progress: Progress = SILENT) -> list[str]:
    """Describe each oddity in a line, with the number of images and the first ones."""
    truths = [dataset.ground_truth(split) for split in dataset.splits()]
    ids = list(dict.fromkeys(image for truth in truths for image in truth.ids))
    sizes = {image: tuple(size) for truth in truths for image, size in zip(truth.ids, truth.size.tolist(), strict=True)}
    found: defaultdict[str, list[str]] = defaultdict(list)
    there: list[str] = []
    with progress.task(f"look at {dataset.name}", len(ids), unit="images") as step:
        for image in ids:
            for what in _describe_photograph(dataset.image_path(image), sizes[image]):
                found[what].append(image)
            if dataset.image_path(image).is_file():
                there.append(image)
            step()
    lines = [f"{format_count(len(names), 'image')} {what}: {format_names(names, 3)}" for what, names in found.items()]
    return [*lines, *_list_doubles(dataset, there, truths), *_list_label_oddities(truths)]


def _describe_photograph(path: Path, size: tuple[int, ...]) -> Iterator[str]:
    try:
        header = read_header(path) if path.is_file() else None
    except BadFileError as error:
        yield f"that cannot be read ({error.rule})"
        return
    if header is None:
        yield "missing from disk"
        return
    if any(size) and size != (header.width, header.height):
        yield _OTHER_SIZE
    yield from _describe_header(header)


def _describe_header(header: Header) -> Iterator[str]:
    if header.orientation != 1:
        yield _TURNED
    if header.is_deep:
        yield _DEEP
    if header.mode in _MODES:
        yield _MODES[header.mode]


def _list_doubles(dataset: Dataset, ids: Sequence[str], truths: Sequence[GroundTruth]) -> Iterator[str]:
    """Find photographs with the same content; those of the same size in bytes are read."""
    by_size = _group((dataset.image_path(image).stat().st_size, image) for image in ids)
    candidates = [image for group in by_size for image in group]
    for group in _group((file_digest(dataset.image_path(image)), image) for image in candidates):
        yield f"{len(group)} images are the same photograph: {format_names(group, 3)}{_name_splits(group, truths)}"


def _group(keyed: Iterable[tuple[object, str]]) -> list[list[str]]:
    """Return the groups of two and more images with the same key."""
    groups: defaultdict[object, list[str]] = defaultdict(list)
    for key, image in keyed:
        groups[key].append(image)
    return [group for group in groups.values() if len(group) > 1]


def _name_splits(group: Sequence[str], truths: Sequence[GroundTruth]) -> str:
    splits = [truth.split for truth in truths if not truth.index.keys().isdisjoint(group)]
    return f" (in {', '.join(splits)})" if len(splits) > 1 else ""


def _list_label_oddities(truths: Sequence[GroundTruth]) -> Iterator[str]:
    for truth in truths:
        shown = (truth.labels != ABSENT).any(axis=1)
        if not shown.all():
            names = [truth.ids[row] for row in np.flatnonzero(~shown)]
            yield f"{format_count(len(names), 'image')} in {truth.split} without a class: {format_names(names, 3)}"
        if unseen := [name for name, column in truth.class_index.items() if (truth.labels[:, column] == ABSENT).all()]:
            yield f"no image in {truth.split} shows {format_names(unseen)}"
        if outside := count_outside(truth):
            yield f"{format_count(outside, 'box', 'boxes')} in {truth.split} beyond the edge of the image"
    splits = Counter(image for truth in truths if truth.split in ("train", "val", "test") for image in truth.ids)
    if shared := [image for image, count in splits.items() if count > 1]:
        yield f"{format_count(len(shared), 'image')} in more than one of train, val and test: {format_names(shared, 3)}"


def describe_annotations(dataset: Dataset, truth: GroundTruth, most: int) -> list[str]:
    """Describe annotations that do not fit their photographs; at most `most` photographs, evenly spaced, are read."""
    step = max(1, -(-len(truth.ids) // most))
    sizes = dict(zip(truth.ids[::step], map(tuple, truth.size[::step].tolist()), strict=True))
    paths = {name: dataset.image_path(name) for name in sizes}
    differing = [name for name in sizes if _OTHER_SIZE in _describe_photograph(paths[name], sizes[name])]
    lines = []
    if differing:
        count = f"{len(differing)} of {format_count(len(sizes), 'photograph')} in {truth.split}"
        lines.append(f"{count} {'is' if len(differing) == 1 else 'are'} {_OTHER_SIZE}: {format_names(differing, 3)}")
    return [*lines, *filter(None, [describe_outside(truth)])]


def describe_outside(truth: GroundTruth) -> str:
    """Describe how many objects of the ground truth lie beyond their image; empty if none do."""
    outside = count_outside(truth)
    reach = "reaches" if outside == 1 else "reach"
    where = f"of {truth.dataset} {truth.split} {reach} beyond the edge of the image"
    return f"{format_count(outside, 'object')} {where}" if outside else ""


def count_outside(truth: GroundTruth) -> int:
    """Count the objects that lie beyond their image, by more than rounding."""
    box, size = truth.objects.box, truth.size[truth.objects.image]
    beyond = (box[:, :2] < -_ROUNDING).any(axis=1) | (box[:, 2:] > size + _ROUNDING).any(axis=1)
    return int((beyond & (size > 0).all(axis=1)).sum())
