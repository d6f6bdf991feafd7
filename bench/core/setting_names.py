"""Settings that were renamed after release 0.1: their former names stay valid, and addresses are computed from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bench.errors import RequestError

RENAMED = {
    "head_lr": "head_lr_multiplier",
    "clip": "grad_clip_norm",
    "accumulate": "grad_accumulation_steps",
    "freeze": "freeze_backbone",
    "size": "input_size",
    "score_floor": "score_threshold",
    "max_boxes": "max_detections",
    "nms": "nms_iou",
    "epoch": "checkpoint_epoch",
}
"""Former name to present name."""

_FORMER = {new: old for old, new in RENAMED.items()}


def current_name(name: str, fields: Collection[str]) -> str:
    """Return the present name of a setting for a config with these fields.

    >>> current_name("nms", {"nms_iou"}), current_name("nms", {"nms"})
    ('nms_iou', 'nms')
    """
    new = RENAMED.get(name, name)
    return new if new in fields and name not in fields else name


def use_current_names(settings: Mapping[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """Return settings under their present names. Raises RequestError if a setting is given under both names.

    >>> use_current_names({"nms": 0.5, "lr": 1}, {"nms_iou", "lr"})
    {'nms_iou': 0.5, 'lr': 1}
    """
    current: dict[str, Any] = {}
    for name, value in settings.items():
        new = current_name(name, fields)
        if new != name and new in settings:
            raise RequestError(f"{name} is the former name of {new}, and both are given: give {new} only.")
        current[new] = value
    return current


def use_former_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under the names of release 0.1, from which addresses are computed, so that these never change.

    >>> use_former_names({"nms_iou": 0.5, "lr": 1})
    {'nms': 0.5, 'lr': 1}
    """
    return {_FORMER.get(name, name): value for name, value in settings.items()}
