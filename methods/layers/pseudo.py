"""Pseudo objects: proposals that serve as seeds, and the assignment of proposals to seeds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from methods.layers.boxes import iou


class Seeds(NamedTuple):
    """Proposals taken as objects. proposal: (S,) int64, indices of proposals. label: (S,) int64, their classes."""

    proposal: Tensor
    label: Tensor


def select_best_per_class(scores: Tensor, labels: Tensor) -> Seeds:
    """Select the best proposal of each class in `labels` (S,) by scores (R, Y), the first in case of a tie."""
    return Seeds(scores[:, labels].argmax(dim=0), labels)


def concat_seeds(seeds: list[Seeds]) -> Seeds:
    """Concatenate seeds in order, keeping repeated pairs of proposal and class."""
    return Seeds(torch.cat([part.proposal for part in seeds]), torch.cat([part.label for part in seeds]))


class Assignment(NamedTuple):
    """The seed that each proposal overlaps most, the first in case of a tie.

    overlap: (S, R), IoU with every seed. mine: (S, R) bool, one True per column.
    """

    overlap: Tensor
    mine: Tensor


def assign(boxes: Tensor, seeds: Seeds) -> Assignment:
    """Assign each of boxes (R, 4) to the seed that it overlaps most."""
    overlap = iou(boxes[seeds.proposal], boxes)
    numbers = torch.arange(len(overlap), device=boxes.device)
    return Assignment(overlap, numbers[:, None] == overlap.argmax(dim=0))


def select_distinct_best(scores: Tensor, labels: Tensor) -> Seeds:
    """Select a different best proposal for each class (OICR's released code); scores are at least 0.

    Classes choose in order, and a chosen proposal scores 0 for later classes. With fewer proposals than classes, the
    last classes share one.
    """
    left, chosen = scores.clone(), []
    for label in labels.tolist():
        chosen.append(left[:, label].argmax())
        left[chosen[-1]] = 0
    return Seeds(torch.stack(chosen) if chosen else labels, labels)
