"""Excitation backprop (MWP): relevance passed down along positive weights (Zhang et al., ECCV 2016).

Each input of a layer receives mass in proportion to its positive contribution to the outputs (Eq. 2).
"""

from __future__ import annotations

from torch import Tensor

from methods.layers.excitation import Excitation, Trace


class Mwp(Excitation):
    """The marginal winning probabilities of a layer's positions, summed over its channels."""

    def compute_mass(self, trace: Trace) -> Tensor:
        """Compute the mass (B, h, w) of the class at the saliency layer."""
        return trace.propagate(self.saliency).sum(dim=1)
