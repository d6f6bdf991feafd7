"""Guided backprop: the gradient, of which ReLUs pass what is positive alone (Springenberg et al., ICLR 2015)."""

from __future__ import annotations

from captum.attr import GuidedBackprop as Captums

from methods.layers.attribution import RectifiedGradient


class GuidedBackprop(RectifiedGradient):
    """ReLUs ask for a positive gradient and a positive input."""

    rule = Captums
