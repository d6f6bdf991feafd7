"""SmoothGrad: the mean gradient of noisy copies of an image (Smilkov et al., arXiv 1706.03825).

The mean of M(x + noise), where M is the gradient of a class's score; a pixel's evidence is the largest magnitude over
its channels, as for `gradient`. An image gets the same noise in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor

from bench.method import prediction
from methods.layers.attribution import PixelAttribution, PixelConfig
from methods.layers.perturbation import make_generator


class SmoothGradConfig(PixelConfig):
    """Settings of SmoothGrad."""

    samples: int = prediction(50, "noisy copies of an image (paper: more than 50 change little)", ge=1)
    noise: float = prediction(
        0.15, "standard deviation of the noise, as a share of the image's range (paper: .1 to .2)", gt=0, le=1
    )
    squared: bool = prediction(False, "average the squares of the gradients")
    colors: Literal["largest", "sum"] = prediction("largest", "of a pixel's magnitudes in the channels, which counts")


class SmoothGrad(PixelAttribution):
    """The magnitude of the mean gradient."""

    Own: ClassVar = SmoothGradConfig
    variants: ClassVar = {"released": {"samples": 25, "squared": True, "colors": "sum"}}
    recipes: ClassVar = {"shapes": {"samples": 20}}

    def attribute(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, H, W)."""
        mean = torch.stack([self._average(image, label) for image, label in zip(images, labels, strict=True)]).abs()
        return mean.amax(dim=1) if self.config.colors == "largest" else mean.sum(dim=1)

    def _average(self, image: Tensor, label: Tensor) -> Tensor:
        """Average the gradients (3, H, W), or their squares, of a class's score in noisy copies of an image."""
        total = torch.zeros_like(image)
        for noisy in self.list_noisy(image.detach()):
            scores = self.base(noisy.requires_grad_()).scores[:, label]
            (gradient,) = torch.autograd.grad(scores.sum(), noisy)
            total += (gradient.square() if self.config.squared else gradient).sum(dim=0)
        return total / float(self.config.samples)

    def list_noisy(self, image: Tensor) -> Iterator[Tensor]:
        """Yield batches (n, 3, H, W) of noisy copies of an image (3, H, W)."""
        generator, spread = make_generator(image), self.config.noise * (image.max() - image.min())
        for first in range(0, self.config.samples, self.config.batch_size):
            count = min(self.config.batch_size, self.config.samples - first)
            yield image + spread * torch.randn(count, *image.shape, generator=generator).to(image)
