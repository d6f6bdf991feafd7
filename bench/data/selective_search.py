"""Selective Search (Uijlings et al., IJCV 2013) in OpenCV's fast mode, made repeatable."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.core.files import digest
from bench.data.computed import Search, SearchBoxes, to_corners
from bench.data.opencv import load_ximgproc

VERSION = 1
BASE_K, INC_K, SIGMA = 150, 150, 0.8


def selective_search(pixels: NDArray[np.uint8]) -> SearchBoxes:
    """Compute proposals (R, 4), half-open corners, best first, without duplicates, from RGB pixels (H, W, 3), uint8."""
    import cv2

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(pixels[:, :, ::-1]))
    search.switchToSelectiveSearchFast(BASE_K, INC_K, SIGMA)
    ctypes.CDLL(None).srand(0)  # it ranks by C's rand(), which OpenCV's own seed does not set
    return to_corners(search.process())


def build_selective_search(cache: Path) -> Search:
    """Return the search; its cache depends on its parameters and OpenCV's version. Raises RunError without ximgproc."""
    cv2 = load_ximgproc()
    key = digest([VERSION, BASE_K, INC_K, SIGMA, cv2.__version__])
    return Search("Selective Search", selective_search, cache / "proposals" / f"selective-search-{key}")
