"""Concrete DropBlock (Ren et al., CVPR 2020): a small net learns which blocks of a region's cells to drop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax, max_pool2d


class ConcreteDropBlock(nn.Module):
    """Drop blocks of pooled regions (R, K, s, s) in training, where it raises the loss most; scale up the rest.

    A residual block of convolutions predicts for each cell the probability that a block around it is dropped, up to
    rate / block^2, as in DropBlock. Cells are drawn by the straight-through Gumbel softmax. The net's gradient is
    reversed and multiplied by `adversary`, so it learns to raise the loss that the other layers lower.
    """

    def __init__(
        self, channels: int, *, rate: float = 0.3, block: int = 3, temperature: float = 0.01, adversary: float = 0.01
    ) -> None:
        super().__init__()
        self.rate, self.block, self.temperature, self.adversary = rate, block, temperature, adversary
        self.residual = nn.Sequential(
            _make_convolution(channels, channels, 3),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            _make_convolution(channels, 1, 3),
            nn.BatchNorm2d(1),
        )
        self.shortcut = _make_convolution(channels, 1, 1)

    def forward(self, regions: Tensor) -> Tensor:
        """Drop blocks of regions (R, K, s, s) in training mode; return the regions unchanged in evaluation mode."""
        if not self.training:
            return regions
        kept: Tensor = _Reverse.apply(1 - self.enlarge(self.draw(regions.detach())), self.adversary)
        return regions * kept * (kept.numel() / kept.detach().sum().clamp(min=1))

    def draw(self, regions: Tensor) -> Tensor:
        """Draw the centres (R, 1, s, s) of blocks, 0 or 1, by torch's generator."""
        p = (self.residual(regions) + self.shortcut(regions)).float().sigmoid() * (self.rate / self.block**2)
        logits = torch.stack([p, 1 - p]).clamp(min=1e-10).log()
        return gumbel_softmax(logits, tau=self.temperature, hard=True, dim=0)[0]

    def enlarge(self, centres: Tensor) -> Tensor:
        """Enlarge centres (R, 1, s, s) to blocks, cut off at the borders."""
        blocks = max_pool2d(centres, self.block, stride=1, padding=self.block // 2)
        return blocks[..., : centres.shape[2], : centres.shape[3]]


class _Reverse(torch.autograd.Function):
    """Identity whose backward pass reverses gradients and multiplies them by a factor."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradient, None


def _make_convolution(before: int, after: int, side: int) -> nn.Conv2d:
    layer = nn.Conv2d(before, after, side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
