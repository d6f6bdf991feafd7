"""What tests of MELM and of its released variant share: a small net, regions few enough for loops, a slow softmax."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bench.method import Task
from methods.melm import Melm, MelmConfig

CLASSES = ("a", "b", "c")
LABELS = torch.tensor([1, -1, 1])


def melm(**settings: Any) -> Melm:
    torch.manual_seed(0)
    method = Melm(MelmConfig(**{"net": "tiny", "weights": "none", **settings}), Task("made-up", CLASSES)).double()
    for name, parameter in method.named_parameters():
        if not name.startswith("backbone"):
            torch.nn.init.normal_(parameter, std=0.3)
    return method


def regions(count: int = 25, *, least: int = 8) -> tuple[Tensor, Tensor]:
    """Features (R, D) and boxes (R, 4), their sides at least so long, in canonical order."""
    generator = torch.Generator().manual_seed(5)
    corners = torch.randint(0, 6, (count, 2), generator=generator).double()
    boxes = torch.cat([corners, corners + torch.randint(least, 12, (count, 2), generator=generator)], dim=1)
    rows = sorted(set(map(tuple, boxes.tolist())))
    return torch.rand(len(rows), 256, generator=generator, dtype=torch.float64), torch.tensor(rows).double()


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]
