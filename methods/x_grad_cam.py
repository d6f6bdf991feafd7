"""XGrad-CAM: feature maps weighted by their activation-weighted mean gradient (Fu et al., BMVC 2020).

Eq. 8: relu(sum_k w_k A_k) with w_k = sum_ij (A_k,ij / sum A_k) dy/dA_k,ij, the weights that come closest to the paper's
axioms of sensitivity and conservation.
"""

from __future__ import annotations

from torch import Tensor

from methods.layers.gradient_maps import GradientMaps

LEAST = 1e-6
"""Added to the sum of a map before dividing by it, as in the released code."""


class XGradCam(GradientMaps):
    """The positive part of the weighted sum."""

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Compute non-negative maps."""
        weight = (gradient * features).sum(dim=(2, 3)) / (features.sum(dim=(2, 3)) + LEAST)
        return (weight[:, :, None, None] * features).sum(dim=1).relu()
