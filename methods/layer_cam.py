"""LayerCAM: features weighted at each position by their positive gradient (Jiang et al., IEEE TIP 2021).

Eq. 6-8: relu(sum_k relu(dy/dA_k) A_k), for any layer; earlier stages give finer maps. Maps of several layers are not
fused here.
"""

from __future__ import annotations

from torch import Tensor

from methods.layers.gradient_maps import GradientMaps


class LayerCam(GradientMaps):
    """A position's features, weighted by how much raising them raises the score."""

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Compute non-negative maps."""
        return (gradient.relu() * features).sum(dim=1).relu()
