"""Guided backprop: the gradient, with only its positive part passed at ReLUs (Springenberg et al., ICLR 2015)."""

from __future__ import annotations

from captum.attr import GuidedBackprop as CaptumGuidedBackprop

from methods.layers.attribution import RectifiedGradient


class GuidedBackprop(RectifiedGradient):
    """ReLUs pass positive gradients at positive inputs."""

    rule = CaptumGuidedBackprop
