"""Maps from a layer's features and the gradient of a score with respect to them: successors of Grad-CAM.

Shapes: B images, K channels; see docs/conventions.md.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from methods.grad_cam import GradCam


class GradientMaps(GradCam):
    """Grad-CAM with another rule for combining features and their gradient into a map."""

    @abstractmethod
    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Compute maps (B, h, w) from features (B, K, h, w) and the gradient of the scores with respect to them."""

    def _weight(self, features: Tensor, scores: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(scores.sum(), features, retain_graph=True)
        return self.combine(features.detach(), gradient)
