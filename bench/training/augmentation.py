"""Random changes of training images other than crops: torchvision's own transforms, drawn from an image's own seed.

torchvision draws from the global generator, which the threads that load images share. Here each image has its own, so
that a training repeats, with any number of workers and after a resume.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from bench.config import TrainedConfig

DRAWS = {torch.rand, torch.randint, torch.randperm, Tensor.uniform_}
"""The functions by which torchvision's transforms draw random numbers."""


class DrawFrom(TorchFunctionMode):
    """Within the block, and in this thread only, make torch draw from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        own = {"generator": self.generator} if func in DRAWS else {}
        return func(*args, **(kwargs or {}), **own)


def distort(image: Tensor, config: TrainedConfig, generator: torch.Generator) -> Tensor:
    """Apply `color_jitter` and `randaugment` to an image (..., 3, H, W), bytes; without them, return it as it is."""
    transforms = make_transforms(config.color_jitter, getattr(config, "randaugment", ()))
    with DrawFrom(generator):
        for transform in transforms:
            image = transform(image)
    return image


@cache
def make_transforms(color_jitter: tuple[float, ...], randaugment: tuple[int, ...]) -> list[Callable[[Tensor], Tensor]]:
    """Make torchvision's transforms of these settings, in the order in which they are applied."""
    if not color_jitter and not randaugment:
        return []
    from torchvision.transforms import v2  # not before it is needed: it takes a second

    jitter = [v2.ColorJitter(*color_jitter)] if color_jitter else []
    return jitter + ([v2.RandAugment(*randaugment)] if randaugment else [])
