"""Attributions from a net's scores of changed images. A change depends on its image alone, not on the batch.

Shapes: B images, C classes of the task, c of them explained, N changed images; see docs/conventions.md.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from bench.core.files import array_digest
from bench.method import Attribution, MapMethod


class Perturbation(Attribution):
    """An attribution that compares scores of changed images; the same images serve all classes."""

    @abstractmethod
    def explain_image(self, image: Tensor, classes: Tensor) -> Tensor:
        """Compute maps (c, h, w) of the evidence for classes (c,) in image (3, H, W), without gradients."""

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, h, w)."""
        return self.explain_each(images, [labels])[0]

    @torch.no_grad()
    def explain_each(self, images: Tensor, labels: Sequence[Tensor]) -> list[Tensor]:
        """Explain all classes from one set of changed images."""
        classes = torch.stack([*labels], dim=1)
        maps = [self.explain_image(image, own) for image, own in zip(images.detach().clone(), classes, strict=True)]
        return list(torch.stack(maps).unbind(dim=1))

    def score_masked(self, image: Tensor, masks: Tensor) -> Tensor:
        """Compute the scores (N, C) of an image (3, H, W) times masks (N, 1, H, W); see `find_zero`."""
        zero = find_zero(self.base)
        return self.base(zero + (image - zero) * masks).scores  # type: ignore[no-any-return]

    def split_batches(self, count: int) -> Iterator[range]:
        """Split `count` images into batches for the net."""
        return (
            range(first, min(first + self.config.batch_size, count))
            for first in range(0, count, self.config.batch_size)
        )


def find_zero(base: MapMethod) -> Tensor:
    """Find the colour (3, 1, 1) that a net sees as 0: the mean that our nets subtract, or black for other nets."""
    mean = getattr(getattr(base, "backbone", None), "mean", None)
    return mean if isinstance(mean, Tensor) else torch.zeros(3, 1, 1, device=next(base.parameters()).device)


def make_generator(image: Tensor) -> torch.Generator:
    """Make a generator seeded by the pixels of an image (3, H, W), so that draws do not depend on the batch."""
    pixels = (image * 255).round().byte().cpu().numpy()
    return torch.Generator().manual_seed(int(array_digest(pixels)[:15], 16))
