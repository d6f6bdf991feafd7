"""Pseudo objects: which proposals seed a detector, and which seed every proposal belongs to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.layers.boxes import iou


class Seeds(NamedTuple):
    """Proposals taken for objects. proposal: (S,) int64, indices of proposals. label: (S,) int64, their classes."""

    proposal: Tensor
    label: Tensor


def best_of_each(scores: Tensor, labels: Tensor) -> Seeds:
    """Return the best proposal of each class in `labels` (S,), by scores (R, Y); the first of equals."""
    return Seeds(scores[:, labels].argmax(dim=0), labels)


def together(seeds: list[Seeds]) -> Seeds:
    """All seeds, in order; equal pairs of proposal and class stay as often as they are."""
    return Seeds(torch.cat([one.proposal for one in seeds]), torch.cat([one.label for one in seeds]))


class Assignment(NamedTuple):
    """The seed that each proposal overlaps most. overlap: (S, R), IoU with every seed. mine: (S, R) bool, one a column.

    Of seeds that a proposal overlaps equally, the first has it.
    """

    overlap: Tensor
    mine: Tensor


def assign(boxes: Tensor, seeds: Seeds) -> Assignment:
    """Assign each of boxes (R, 4) to the seed that it overlaps most."""
    overlap = iou(boxes[seeds.proposal], boxes)
    numbers = torch.arange(len(overlap), device=boxes.device)
    return Assignment(overlap, numbers[:, None] == overlap.argmax(dim=0))


def best_apart(scores: Tensor, labels: Tensor) -> Seeds:
    """As `best_of_each`, from scores of at least 0, but no proposal seeds two classes (OICR's released code).

    The classes choose in order; what one took scores 0 for those after it. With fewer proposals than classes the last
    ones get a proposal again.
    """
    left, chosen = scores.clone(), []
    for label in labels.tolist():
        chosen.append(left[:, label].argmax())
        left[chosen[-1]] = 0
    return Seeds(torch.stack(chosen) if chosen else labels, labels)
