"""Guided backprop: the gradient, of which ReLUs pass only the positive part (Springenberg et al., ICLR 2015)."""

from __future__ import annotations

from typing import ClassVar

from captum.attr import GuidedBackprop as CaptumGuidedBackprop

from methods.layers.attribution import PUBLISHED, RectifiedGradient


class GuidedBackprop(RectifiedGradient):
    """ReLUs pass a gradient only if it and their input are positive."""

    variants: ClassVar = PUBLISHED
    rule = CaptumGuidedBackprop
