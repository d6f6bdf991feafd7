"""A fully connected CRF (Krähenbühl and Koltun, NIPS 2011) that aligns classes with the edges of a photograph.

Inference uses the authors' code, in the optional package pydensecrf2.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

HOW_TO_INSTALL = "pip install 'weakloc[crf]' (needs g++)"

_LEAST = 1e-5
"""The least probability of a label before the CRF: at 0, it could never recover."""


@dataclass(frozen=True)
class DenseCrf:
    """Parameters of the CRF, as in Eq. 3: weight and widths (pixels, grey levels) of appearance, then smoothness."""

    appearance: float
    appearance_xy: float
    appearance_rgb: float
    smoothness: float
    smoothness_xy: float
    steps: int


def is_installed() -> bool:
    """Whether the optional package is installed."""
    return find_spec("pydensecrf") is not None


def refine_shares(shares: NDArray[np.float32], pixels: NDArray[np.uint8], crf: DenseCrf) -> NDArray[np.float32]:
    """Refine the labels' shares of each pixel (L, H, W) by mean field, given the pixels (H, W, 3).

    Unary energies are -log of the shares, none below 0, normalised to 1 at each pixel.
    """
    from pydensecrf.densecrf import DenseCRF2D

    labels, height, width = shares.shape
    if labels == 1:
        return np.ones_like(shares)
    share = np.maximum(shares, 0)
    probability = share / np.maximum(share.sum(axis=0), _LEAST)
    unary = -np.log(np.maximum(probability, _LEAST)).astype(np.float32)
    field = DenseCRF2D(width, height, labels)
    field.setUnaryEnergy(np.ascontiguousarray(unary.reshape(labels, -1)))
    field.addPairwiseGaussian(sxy=crf.smoothness_xy, compat=crf.smoothness)
    field.addPairwiseBilateral(
        sxy=crf.appearance_xy, srgb=crf.appearance_rgb, rgbim=np.ascontiguousarray(pixels), compat=crf.appearance
    )
    return np.array(field.inference(crf.steps), dtype=np.float32).reshape(shares.shape)
