"""OpenCV with its extra modules, which other packages of OpenCV lack."""

from __future__ import annotations

from typing import Any

from bench.errors import RunError, first_line

REINSTALL = "pip uninstall opencv-python-headless; pip install --force-reinstall opencv-contrib-python-headless"


def load_ximgproc() -> Any:
    """Import cv2 and return it. Raises RunError, with what to do, if it lacks ximgproc."""
    try:
        import cv2
    except ImportError as error:
        raise RunError(f"OpenCV cannot be imported ({first_line(error)}): {REINSTALL}") from None
    if not hasattr(cv2, "ximgproc"):
        raise RunError(f"cv2 {cv2.__version__} lacks ximgproc, which region proposals are made with: {REINSTALL}")
    return cv2
