"""Features of a frozen backbone: rounded, so that they can be cached, and standardised for the layers that learn.

Shapes: B images, R regions, K channels; see docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.errors import RequestError, RunError
from methods.layers.boxes import canonical_order

Output = Literal["features", "stages", "vectors", "regions"]
"""The backbone output used by the layers above: last feature maps, maps of several stages, image or region vectors."""

Compute = Callable[[Tensor], Sequence[Tensor]]


class Standardise(nn.Module):
    """Shift and scale each channel to mean 0 and variance 1 on the training split."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Standardise features (n, K) or (B, K, h, w)."""
        shape = (-1, *[1] * (features.ndim - 2))
        return (features - self.mean.view(shape)) / self.std.view(shape)


@dataclass(frozen=True, eq=False)
class Given:
    """Precomputed features of images, or of boxes (R, 4) in them."""

    images: Tensor
    features: Sequence[Tensor]
    boxes: Tensor | None = None

    def select(self, images: Tensor, boxes: Tensor | None) -> list[Tensor]:
        """Return the features of images, or of boxes (R, 4), which must be a permutation of `self.boxes`.

        Raises RequestError for other images or boxes: a method that changes its images cannot use the cache.
        """
        if images is not self.images:
            raise RequestError(
                "The method computes features of images that it has changed, and only those of the images as they are "
                "were cached: let its `alters_images` return True."
            )
        if boxes is None or self.boxes is None:
            return list(self.features)
        known, wanted = canonical_order(self.boxes), canonical_order(boxes)
        if len(self.features[0]) != len(known) or not torch.equal(self.boxes[known], boxes[wanted]):
            raise RequestError(
                "The method computes features of other boxes than its proposals, and only the features of these were "
                "cached: let its `alters_images` return True."
            )
        rows = torch.empty_like(known)
        rows[wanted] = known
        return [feature[rows] for feature in self.features]


class Frozen(nn.Module):
    """The outputs of a frozen backbone, one image at a time, so that they do not depend on the rest of the batch."""

    def __init__(self, output: Output, channels: Sequence[int], *, standardise: bool, rounded: bool) -> None:
        super().__init__()
        self.output, self.rounded, self.given = output, rounded, None
        # A list even if empty: captum treats a module without children as a layer that maps tensors to tensors.
        self.standardise = nn.ModuleList(Standardise(count) for count in channels if standardise)

    given: Given | None

    def forward(self, output: Output, images: Tensor, compute: Compute, boxes: Tensor | None = None) -> list[Tensor]:
        """Return the standardised outputs, precomputed if available. Raises RequestError as `Given.select`."""
        if output != self.output and (self.output, output) != ("stages", "features"):
            raise TypeError(f"the method takes {output} of its backbone, but says that it takes {self.output}")
        raw = self.compute(images, compute) if self.given is None else self.given.select(images, boxes)
        raw = [_lay_out(feature) for feature in raw]
        if not self.standardise:
            return raw
        layers = list(self.standardise)[-len(raw) :]
        return [layer(feature) for layer, feature in zip(layers, raw, strict=True)]

    def compute(self, images: Tensor, compute: Compute) -> list[Tensor]:
        """Compute the outputs of images, rounded to float16 unless `rounded` is false.

        Raises RunError for features beyond the range of float16.
        """
        if not self.rounded:
            return list(compute(images))
        each = [compute(image) for image in torch.split(images, 1)]
        outputs = [_Round.apply(torch.cat(list(parts))) for parts in zip(*each, strict=True)]
        if not all(output.isfinite().all() for output in outputs):
            raise RunError(
                "Features of the frozen net exceed 65504, the range of float16: set feature_precision=float32."
            )
        return outputs

    @contextmanager
    def provide(self, given: Given) -> Iterator[None]:
        """Use these features in the block instead of computing them."""
        self.given = given
        try:
            yield
        finally:
            self.given = None


def _lay_out(features: Tensor) -> Tensor:
    """Lay all maps out with channels last, because sums in another order differ in their last bits."""
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features.contiguous()


class _Round(torch.autograd.Function):
    """Round to float16; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return features.half().float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient
