"""Lists of VOC 2007 for tracks, derived from the publisher's lists.

They omit three photographs that are not available everywhere, and some take only every fifth image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

Ids = tuple[str, ...]
Read = Callable[[str], Ids]
"""Reads a list of the publisher's by its name."""

RARE = frozenset({"005042", "007284", "009623"})
"""Photographs of trainval that some copies lack."""


def _read_have(split: str, read: Read) -> Ids:
    return tuple(image for image in read(split) if image not in RARE)


def _take_fifth(split: str, read: Read) -> Ids:
    return _read_have(split, read)[::5]


def _take_fifth_within(split: str, read: Read) -> Ids:
    own = set(read(split))
    return tuple(image for image in _take_fifth("trainval", read) if image in own)


RULES: Mapping[str, Callable[[Read], Ids]] = {
    **{
        f"{name}_have": partial(_read_have, name)
        for folder in ("", "Segmentation/")
        for name in (f"{folder}train", f"{folder}val", f"{folder}trainval")
    },
    "trainval_subset": partial(_take_fifth, "trainval"),
    "train_subset": partial(_take_fifth_within, "train"),
    "val_subset": partial(_take_fifth_within, "val"),
    "val_500": lambda read: _take_fifth("val", read)[:500],
}
"""The rule of each list.

`*_have`: without the rare photographs. `trainval_subset`: every fifth of `trainval_have`. `train_subset`, `val_subset`:
those of them in train and in val. `val_500`: the first 500 of every fifth of `val_have`.
"""
