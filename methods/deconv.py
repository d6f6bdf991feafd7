"""Deconv: a class's score led back through the net, each ReLU passing what is positive (Zeiler and Fergus, ECCV 2014).

Pools pass it to their maxima, as the paper's switches do.
"""

from __future__ import annotations

from captum.attr import Deconvolution

from methods.layers.attribution import RectifiedGradient


class Deconv(RectifiedGradient):
    """ReLUs ask for a positive gradient alone."""

    rule = Deconvolution
