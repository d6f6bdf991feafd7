"""HiResCAM: the element-wise product of features and gradient (Draelos and Carin, arXiv 2011.08891).

The map is sum_k (dy/dA_k) A_k, signed. If the net is linear above the layer, such as a linear classifier on average
pooling, the map sums to the score without its bias.
"""

from __future__ import annotations

from torch import Tensor

from methods.layers.gradient_maps import GradientMaps


class HiresCam(GradientMaps):
    """Each position's contribution to the score; evidence against a class is negative."""

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Compute signed maps."""
        return (gradient * features).sum(dim=1)
