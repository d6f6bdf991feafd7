"""HiResCAM: the element-wise product of features and gradient (Draelos and Carin, arXiv 2011.08891).

sum_k (dy/dA_k) A_k, signed. Of a net that is linear above the layer, as a classifier on average pooling, the map sums
to the score without its bias.
"""

from __future__ import annotations

from torch import Tensor

from methods.layers.gradient_maps import GradientMaps


class HiresCam(GradientMaps):
    """What each position adds to the score; evidence against a class is negative."""

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Compute signed maps."""
        return (gradient * features).sum(dim=1)
