"""OpenCV without its extra modules: one line that says what to install."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from bench.data.opencv import load_ximgproc
from bench.data.selective_search import build_selective_search
from bench.errors import RunError


def test_a_missing_module_is_named_before_any_image_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load_ximgproc() is cv2
    monkeypatch.delattr(cv2, "ximgproc")
    with pytest.raises(RunError, match=r"lacks ximgproc.*: pip uninstall opencv-python-headless"):
        build_selective_search(tmp_path)
