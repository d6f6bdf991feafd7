"""A small net whose weights are a formula, so that numbers of other people's code for it can be written down."""

from __future__ import annotations

import math
from typing import Any

import torch
from map_cases import made
from torch import Tensor, nn

from bench import registry

LAYER = "backbone.trunk.1"
"""Its first ReLU; what follows is not linear."""
STEEPNESS = {"grad-cam-plus-plus": 1000}
"""By how much scores are enlarged, as pytorch-grad-cam adds 1e-6 to what it divides by."""


def explaining(name: str, base: str | None = None, **settings: Any) -> Any:
    """An attribution of a method on the tiny net."""
    return made(registry.method(name, base), **settings)  # type: ignore[type-var]


def fixed(name: str, steepness: float = 1, **settings: Any) -> Any:
    """An attribution of the small net: three classes, images of any size, in double precision up to the scores."""
    method = explaining(name, **settings)
    backbone = method.base.backbone
    backbone.trunk = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU()
    )
    backbone.roi_head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 3 * 3, 8), nn.ReLU())
    backbone.roi_size, method.base.output = 3, nn.Linear(8, 3)
    method.double()
    with torch.no_grad():
        for place, parameter in enumerate(method.base.parameters()):
            fan_in = math.prod(parameter.shape[1:]) if parameter.ndim > 1 else 4
            parameter.copy_(wave(*parameter.shape, start=place) * math.sqrt(2 / fan_in))
    method.base.output.weight.data *= steepness
    return method


def wave(*shape: int, start: float = 0.0) -> Tensor:
    """Values in [-1, 1] that look random."""
    return torch.sin(torch.arange(math.prod(shape), dtype=torch.float64) * 1.7 + start).reshape(shape)


PICTURES = (wave(2, 3, 12, 10, start=0.3) + 1) / 2
CLASSES = torch.tensor([2, 0])
UNEVEN = 0.85 + 0.15 * wave(4, 4, start=0.7)
"""Factors of the values of masks of 12 x 10 pixels, a point every 3: without them, pixels tie, in whatever order."""
