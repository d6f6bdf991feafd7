"""The hint that a photograph was drawn on: boxes of one pure colour are seen, what photographs have is not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.data.drawings import has_drawn_box


def make_photograph(seed: int = 0) -> NDArray[np.uint8]:
    """Coloured blobs and noise, 240 x 320."""
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((320, 240), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + generator.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def draw_box(pixels: NDArray[np.uint8], colour: tuple[int, int, int], width: int) -> NDArray[np.uint8]:
    """A box as detectors draw it, saved as a JPEG."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    ImageDraw.Draw(image).rectangle((60, 50, 250, 190), outline=colour, width=width)
    image.save(file, format="JPEG", quality=85)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("width", [2, 3, 5])
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)])
def test_a_drawn_box_is_seen(colour: tuple[int, int, int], width: int) -> None:
    seen = [has_drawn_box(draw_box(make_photograph(seed) // 3 + 80, colour, width)) for seed in range(5)]
    assert sum(seen) >= 4


def test_photographs_grey_boxes_and_small_pictures_are_not_suspected() -> None:
    assert not any(has_drawn_box(make_photograph(seed)) for seed in range(20))
    assert not has_drawn_box(draw_box(make_photograph(), (255, 255, 255), 3))
    assert not has_drawn_box(np.zeros((8, 500, 3), np.uint8))


def test_one_line_is_no_box() -> None:
    pixels = np.full((240, 320, 3), 90, np.uint8)
    pixels[100:103, 20:300] = (255, 0, 0)
    assert not has_drawn_box(pixels)
    pixels[60:200, 40:43] = (0, 0, 255)
    assert not has_drawn_box(pixels)
    pixels[60:200, 40:43] = (255, 0, 0)
    assert has_drawn_box(pixels)
