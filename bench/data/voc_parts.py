"""Lists of VOC 2007 that tracks use and its publisher does not have, made from the publisher's.

They leave out three photographs that cannot be had everywhere, or take a fifth.
"""

from __future__ import annotations

from collections.abc import Callable

Ids = tuple[str, ...]

RARE = frozenset({"005042", "007284", "009623"})
"""Photographs of trainval that not every copy has."""


def derive_ids(split: str, read: Callable[[str], Ids]) -> Ids | None:
    """Make a list from the publisher's, which `read` reads by name; None for a name that has no rule.

    `train_have`, `val_have` and `trainval_have`, also of Segmentation: without the rare photographs. `trainval_subset`:
    every fifth of trainval_have. `train_subset`, `val_subset`: those of them in train and in val. `val_500`: the first
    500 of every fifth of val_have.
    """
    whole, _, part = split.rpartition("_")
    if part == "have" and whole.removeprefix("Segmentation/") in {"train", "val", "trainval"}:
        return _leave_out_rare(read(whole))
    if split == "val_500":
        return _take_fifth("val", read)[:500]
    if split == "trainval_subset":
        return _take_fifth("trainval", read)
    if split in {"train_subset", "val_subset"}:
        own = set(read(whole))
        return tuple(image for image in _take_fifth("trainval", read) if image in own)
    return None


def _take_fifth(split: str, read: Callable[[str], Ids]) -> Ids:
    return _leave_out_rare(read(split))[::5]


def _leave_out_rare(ids: Ids) -> Ids:
    return tuple(image for image in ids if image not in RARE)
