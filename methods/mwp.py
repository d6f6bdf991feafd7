"""MWP: where a class's winners lie, by excitation backprop (Zhang et al., ECCV 2016).

A class's mass goes down the net through positive weights, to each input in proportion to what it adds (Eq. 2).
"""

from __future__ import annotations

from torch import Tensor

from methods.layers.excitation import Excitation, Trace


class Mwp(Excitation):
    """The marginal winning probabilities of a layer's positions, the sum over its channels."""

    def reached(self, trace: Trace) -> Tensor:
        """From the class down."""
        return trace.down(self.saliency).sum(dim=1)
