"""Masks with smooth edges, and the blurred or faded levels of an image that they mix (Fong et al., ICCV 2019, Sec. 3).

Shapes: K masks, L levels; see docs/conventions.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad, pixel_shuffle, unfold

from methods.layers.attribution import blur

COLDNESS = 20
"""1/T of the smooth maximum."""
BLUR = 20.0
"""Standard deviation in pixels of the strongest blur."""


@dataclass(frozen=True)
class SmoothMask:
    """A mask m(u) = smax_v k(u - v) p(v) from values p in [0, 1] on a grid of every `step` pixels.

    v runs over the grid points around u, k(z) = exp(-2 max(0, |z|/sigma - 1/2)^2), and smax is the mean weighted by a
    softmax. Around a value of 1, the mask is about 1 within sigma/2 and then falls off smoothly. The mask has a
    margin of sigma pixels.
    """

    size: tuple[int, int]
    step: int
    sigma: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of values."""
        height, width = self.size
        return math.ceil(height / self.step), math.ceil(width / self.step)

    def enlarge(self, values: Tensor) -> Tensor:
        """Compute masks (K, H', W'), with their margins, from values (K, h, w)."""
        kernel = self._compute_kernel().to(values)
        padding = 1 + math.ceil(2 * self.sigma / self.step)
        beyond = padding - self.radius
        near = unfold(values[:, None], 2 * self.radius + 1, padding=padding)
        weighted = kernel[None, :, :, None] * near[:, None]  # (K, step^2, neighbours, cells)
        smax = (weighted * (COLDNESS * weighted).softmax(dim=2)).sum(dim=2)
        rows, columns = (side + 2 * beyond for side in self.grid)
        cells = smax.view(*smax.shape[:2], rows, columns)
        large = pixel_shuffle(cells, self.step)[:, 0].clamp(0, 1)
        return large[:, : large.shape[1] - self.step + 1, : large.shape[2] - self.step + 1]

    def crop(self, masks: Tensor) -> Tensor:
        """Cut the margins off masks (K, H', W')."""
        height, width = self.size
        return masks[:, self.sigma : self.sigma + height, self.sigma : self.sigma + width]

    @property
    def radius(self) -> int:
        """Number of grid points used on each side of a pixel."""
        return 1 + math.ceil(self.sigma / self.step)

    def _compute_kernel(self) -> Tensor:
        """Compute k (step^2, neighbours) from each pixel of a cell to the grid points around it."""
        first = self.step * (1 + math.ceil(2 * self.sigma / self.step)) - self.sigma
        points = self.step * torch.arange(2 * self.radius + 1, dtype=torch.float64)
        offset = torch.arange(self.step)[:, None] + first - points  # along one axis: (step, neighbours of a row)
        distance = torch.hypot(offset[:, None, :, None], offset[None, :, None, :]) / self.sigma
        return torch.exp(-2 * (distance - 0.5).clamp(min=0) ** 2).flatten(2).flatten(0, 1)


def penalise_area(masks: Tensor, areas: Tensor) -> Tensor:
    """Compute the mean squared difference (K,) of masks (K, H', W') from the nearest binary masks of shares `areas`."""
    ranked = masks.flatten(1).sort(dim=1, stable=True).values
    place = torch.arange(ranked.shape[1], device=masks.device)
    ideal = place >= (ranked.shape[1] * (1 - areas)).floor()[:, None]
    return (ranked - ideal.to(ranked)).square().mean(dim=1)


def make_levels(image: Tensor, count: int, *, fade: bool) -> Tensor:
    """Make levels (L, 3, H, W) of an image (3, H, W) of mean colour 0, from the least detailed to the image itself.

    The others are blurred, with zeros beyond the border, or with `fade` scaled towards 0.
    """
    shares = torch.linspace(0, 1, count).tolist()
    if fade:
        return torch.stack([share * image for share in shares])
    return torch.stack([blur_on_zero(image, BLUR * (1 - share)) if share < 1 else image for share in shares])


def blur_on_zero(maps: Tensor, sigma: float) -> Tensor:
    """Blur maps (B, H, W) by a Gaussian of `sigma` > 0 pixels, with zeros beyond the border."""
    reach, (height, width) = math.ceil(4 * sigma), maps.shape[1:]
    return blur(pad(maps, (reach,) * 4), sigma)[:, reach : reach + height, reach : reach + width]


def mix_levels(levels: Tensor, masks: Tensor) -> Tensor:
    """Mix (K, 3, H, W) from levels (L, 3, H, W) by masks (K, H, W) in [0, 1], linear between adjacent levels."""
    place = masks[:, None] * (len(levels) - 1)
    below = place.detach().floor()
    share, index = place - below, below.long().expand(-1, levels.shape[1], -1, -1)
    stacked = levels.unsqueeze(1)
    low = stacked.expand(-1, len(masks), -1, -1, -1).gather(0, index[None])[0]
    high = stacked.expand(-1, len(masks), -1, -1, -1).gather(0, (index + 1).clamp(max=len(levels) - 1)[None])[0]
    return (1 - share) * low + share * high
