"""Guided backprop: the gradient, with only its positive part passed at ReLUs (Springenberg et al., ICLR 2015)."""

from __future__ import annotations

from typing import ClassVar

from captum.attr import GuidedBackprop as CaptumGuidedBackprop

from methods.layers.attribution import PUBLISHED, RectifiedGradient


class GuidedBackprop(RectifiedGradient):
    """ReLUs pass positive gradients at positive inputs."""

    variants: ClassVar = PUBLISHED
    rule = CaptumGuidedBackprop
