"""Deconvolution: a class's score propagated back, with ReLU applied to the gradient (Zeiler and Fergus, ECCV 2014).

Max pooling passes the gradient to the positions of its maxima, like the paper's switches.
"""

from __future__ import annotations

from typing import ClassVar

from captum.attr import Deconvolution

from methods.layers.attribution import PUBLISHED, RectifiedGradient


class Deconv(RectifiedGradient):
    """ReLUs pass positive gradients regardless of their input."""

    variants: ClassVar = PUBLISHED
    rule = Deconvolution
