"""Random photographs of a split, each with and without its ground truth, to inspect before measuring anything."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.core.progress import SILENT, Progress
from bench.data.dataset import read_split
from bench.data.drawings import has_drawn_box
from bench.data.ground_truth import ONLY_DIFFICULT, PRESENT, GroundTruth
from bench.data.pixels import read_indices, read_pixels
from bench.errors import BadFileError, BenchError, MissingDataError, format_count, format_names
from bench.gallery.drawing import OTHER, TRUTH, Mark, Picture, canvas, encode_picture, overlay_mask
from bench.gallery.image_card import Example

if TYPE_CHECKING:
    from bench.data.dataset import Dataset

TILE, PAIRS = 200, 5
"""In the joined picture: the side of a photograph's tile in pixels, and pairs of tiles per row."""


@dataclass(frozen=True)
class SplitSample:
    """Random photographs of a split. suspects: ids of those that look drawn on; unreadable: ids of damaged ones."""

    dataset: str
    split: str
    images: int
    examples: tuple[Example, ...]
    suspects: tuple[str, ...]
    unreadable: tuple[str, ...]

    def describe_suspects(self, least: int = 1) -> str:
        """Describe which photographs look drawn on; empty if fewer than `least` do."""
        if len(self.suspects) < least:
            return ""
        return (
            f"{len(self.suspects)} of {format_count(len(self.examples), 'photograph')} of {self.split} "
            f"{'has' if len(self.suspects) == 1 else 'have'} long straight lines of one pure colour, as drawn boxes "
            f"have: {format_names(self.suspects)}"
        )


def draw_sample(dataset: Dataset, split: str, number: int, seed: int = 0) -> SplitSample:
    """Draw `number` random photographs of a split with and without their ground truth; the same for the same seed.

    A photograph that cannot be read is shown as a blank canvas. Raises UnknownNameError, and MissingDataError if no
    photograph is on disk.
    """
    truth = _read_truth(dataset, split)
    order = np.random.default_rng(seed).permutation(len(truth.ids)).tolist()
    there = (row for row in order if dataset.image_path(truth.ids[row]).is_file())
    cards = [_draw_card(dataset, truth, row) for row in islice(there, number)]
    if not cards:
        dataset.require_images(truth.ids)
    names = [card.image for card, *_ in cards]
    return SplitSample(
        dataset.name,
        split,
        len(truth.ids),
        tuple(card for card, *_ in cards),
        tuple(name for name, (_, drawn_on, _) in zip(names, cards, strict=True) if drawn_on),
        tuple(name for name, (*_, readable) in zip(names, cards, strict=True) if not readable),
    )


def draw_samples(
    dataset: Dataset, splits: Sequence[str], number: int, progress: Progress = SILENT
) -> tuple[list[SplitSample], list[str]]:
    """Draw a sample of each split; also return a note on each that cannot be drawn."""
    samples, notes = [], []
    with progress.task(f"draw {dataset.name}", len(splits), unit="splits") as step:
        for split in splits:
            try:
                samples.append(draw_sample(dataset, split, number))
            except BenchError as error:
                notes.append(f"no photographs of {split} drawn: {error}")
            step()
    return samples, notes


def _read_truth(dataset: Dataset, split: str) -> GroundTruth:
    """Read the ground truth, or ids and sizes alone where it is withheld."""
    try:
        return read_split(dataset, split)
    except MissingDataError:
        return dataset.unscored_ground_truth(split)


def _draw_card(dataset: Dataset, truth: GroundTruth, row: int) -> tuple[Example, bool, bool]:
    """Draw an image; also return whether it looks drawn on, and whether it could be read."""
    name, problems = truth.ids[row], []
    try:
        pixels = read_pixels(dataset.image_path(name))
    except BadFileError as error:
        problems = [str(error)]
        pixels = canvas(*truth.size[row].tolist())
    suspect = not problems and has_drawn_box(pixels)
    pictures = [Picture("as it is", encode_picture(pixels))]
    try:
        pictures += _draw_truth(truth, row, pixels)
    except (BadFileError, MissingDataError) as error:
        problems.append(str(error))
    lines = [_list_classes(truth, row), *problems]
    lines += ["long straight lines of one pure colour: was it drawn on?"] if suspect else []
    return Example(name, None, tuple(lines), tuple(pictures)), suspect, len(problems) == 0


def _draw_truth(truth: GroundTruth, row: int, pixels: NDArray[np.uint8]) -> Iterator[Picture]:
    """Draw the objects and, if there is one, the mask.

    Raises BadFileError for masks of another size than the image, after drawing those that fit.
    """
    objects = truth.objects.where(truth.objects.image == row)
    marks = [
        Mark(box, OTHER if difficult else TRUTH, name=truth.classes[label])
        for box, label, difficult in zip(
            objects.box.tolist(), objects.label.tolist(), objects.difficult.tolist(), strict=True
        )
    ]
    yield Picture("ground truth", encode_picture(pixels, marks))
    files = truth.masks.files[row] if truth.masks else ()
    if truth.masks and files:
        masks, size = {file: read_indices(file) for file in files}, tuple(truth.size[row, ::-1].tolist())
        if fitting := [mask for mask in masks.values() if mask.shape == size]:
            mask = fitting[0] if truth.masks.indexed else np.any(fitting, axis=0).astype(np.uint8)
            yield Picture("true mask", encode_picture(overlay_mask(pixels, mask)))
        for file, (height, width) in ((file, mask.shape) for file, mask in masks.items() if mask.shape != size):
            raise BadFileError(file, f"the mask has {width} x {height} pixels, and its image {size[1]} x {size[0]}")


def _list_classes(truth: GroundTruth, row: int) -> str:
    labels = truth.labels[row]
    present = [truth.classes[label] for label in np.flatnonzero(labels == PRESENT)]
    difficult = [f"{truth.classes[label]} (difficult)" for label in np.flatnonzero(labels == ONLY_DIFFICULT)]
    return ", ".join([*present, *difficult]) or "no label"


def join_pictures(examples: Sequence[Example], format: str = "JPEG") -> bytes:
    """Join the photographs of a sample into one picture, each beside its ground truth."""
    from PIL import Image, ImageDraw

    rows = -(-len(examples) // PAIRS)
    sheet = Image.new("RGB", (2 * TILE * min(PAIRS, len(examples)), (TILE + 14) * rows), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for place, example in enumerate(examples):
        x, y = 2 * TILE * (place % PAIRS), (TILE + 14) * (place // PAIRS)
        draw.text((x + 2, y + 1), example.image, fill=(0, 0, 0))
        for side, picture in enumerate((example.pictures[0], example.pictures[-1])):
            tile = Image.open(io.BytesIO(picture.jpeg))
            tile.thumbnail((TILE - 4, TILE - 4))
            sheet.paste(tile, (x + side * TILE, y + 14))
    out = io.BytesIO()
    sheet.save(out, format=format)
    return out.getvalue()
