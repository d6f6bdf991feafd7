"""Images as tensors: reading, warping to a square, and resizing with the aspect kept. All of it is deterministic."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bench.data.pixels import read_pixels


def read_image(path: Path) -> Tensor:
    """Read an image as (3, H, W), uint8, RGB; see `read_pixels` for the supported formats.

    Raises BadFileError if the file is empty, truncated, corrupt, of another format, or too large.
    """
    return torch.from_numpy(read_pixels(path)).permute(2, 0, 1).contiguous()


def warp(image: Tensor, size: int) -> Tensor:
    """Resize an image (3, H, W), uint8, to float32 (3, size, size) in [0, 1], ignoring its aspect."""
    return _resize(image, size, size)


def fit(image: Tensor, larger_side: int) -> tuple[Tensor, float, float]:
    """Resize an image (3, H, W), uint8, to float32 (3, h, w) in [0, 1] whose larger side has `larger_side` pixels.

    Also returns the scale factors of x and y, from original boxes to those of the result; they differ by rounding.
    """
    height, width = image.shape[1:]
    scale = larger_side / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    return _resize(image, h, w), w / width, h / height


def fit_shorter(image: Tensor, shorter_side: int, longest: int = 0) -> tuple[Tensor, float, float]:
    """Resize as `fit`, but to a given shorter side; if `longest` is not 0, it limits the larger side.

    The other side is rounded down, as by torchvision's `Resize`.
    """
    height, width = image.shape[1:]
    short, long = sorted((height, width))
    new_short, new_long = shorter_side, int(shorter_side * long / short)
    if longest and new_long > longest:
        new_short, new_long = max(1, int(longest * new_short / new_long)), longest
    h, w = (new_short, new_long) if height <= width else (new_long, new_short)
    return _resize(image, h, w), w / width, h / height


def to_bytes(image: Tensor) -> Tensor:
    """Round an image in [0, 1] to bytes."""
    return image.mul(255).round_().to(torch.uint8)


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    """Resize bilinearly with half-pixel centres, antialiased when shrinking."""
    values = image[None].float() / 255
    if image.shape[1:] == (height, width):
        return values[0]
    return interpolate(values, (height, width), mode="bilinear", align_corners=False, antialias=True)[0].clamp(0, 1)
