"""Masks with a palette other than the ground truth's: programs that save fewer colours renumber them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.ground_truth import GroundTruth
from bench.data.pixels import read_indexed, voc_palette

Palette = NDArray[np.uint8]
Indices = NDArray[np.uint8]


def find_palette(truth: GroundTruth) -> Palette | None:
    """Return the palette of the ground truth's masks; None if they are not indexed, or not on disk."""
    files = truth.masks.files if truth.masks is not None and truth.masks.indexed else ()
    return read_indexed(files[0][0])[1] if files and files[0] and files[0][0].is_file() else None


def read_mask(path: Path, wanted: Palette | None) -> Indices:
    """Read a mask (H, W); by colours instead of indices if its palette has the wanted colours in another order.

    Raises BadFileError as `read_indices` does.
    """
    mask, palette = read_indexed(path)
    if palette is None or wanted is None or not _differs(mask, palette, wanted):
        return mask
    table = _match_colours(mask, palette, wanted)
    return mask if table is None else np.asarray(table[mask])


def describe_palette(path: Path, wanted: Palette | None) -> str:
    """Describe how a mask is read whose palette is not the wanted one; empty if it is."""
    mask, palette = read_indexed(path)
    if palette is None or wanted is None or not _differs(mask, palette, wanted):
        return ""
    how = "indices count" if _match_colours(mask, palette, wanted) is None else "colours count, not indices"
    return f"masks have another palette than the ground truth, such as {path.name}: {how}"


def _differs(mask: Indices, palette: Palette, wanted: Palette) -> bool:
    """Whether a mask's indices have other colours than wanted; VOC's palette counts as that of a mask without one."""
    if np.array_equal(palette, wanted) or np.array_equal(palette, np.reshape(voc_palette(), (-1, 3))):
        return False
    used = _list_used(mask)
    return not np.array_equal(palette[used], wanted[used])


def _match_colours(mask: Indices, palette: Palette, wanted: Palette) -> Indices | None:
    """Return the wanted index of each index (256,); None if a used colour is not in the wanted palette."""
    index = {tuple(colour): row for row, colour in reversed(list(enumerate(wanted.tolist())))}
    used = _list_used(mask)
    found = [index.get(tuple(colour)) for colour in palette[used].tolist()]
    if None in found:
        return None
    table = np.zeros(256, dtype=np.uint8)
    table[used] = np.array(found)
    return table


def _list_used(mask: Indices) -> NDArray[np.intp]:
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
