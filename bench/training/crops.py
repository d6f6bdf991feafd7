"""Crops of images, random ones at training and fixed ones at test, cut as torchvision cuts them.

torchvision draws from the global generator, which the threads that load images share; here each image has its own, so
that a training repeats, with any number of workers and after a resume.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from bench.data.images import to_bytes, warp

if TYPE_CHECKING:
    from bench.config import MapConfig
    from bench.training.inputs import Images

Limits = tuple[float, float]

TRIES = 10
"""Draws of a resized crop until one lies within the image."""


class Crop(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: Tensor) -> Tensor:
        """Cut the crop from an image (..., H, W)."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def draw_crop(height: int, width: int, side: int, generator: torch.Generator) -> Crop:
    """Draw a square of an image, as `v2.RandomCrop` does."""
    top, left = (_draw(length - side, generator) if length > side else 0 for length in (height, width))
    return Crop(top, left, side, side)


def draw_resized_crop(height: int, width: int, area: Limits, aspect: Limits, generator: torch.Generator) -> Crop:
    """Draw a part of an image, of random area and aspect, as `v2.RandomResizedCrop` does.

    area: limits of the crop's share of the image. aspect: limits of its width / height (Szegedy et al., CVPR 2015).
    """
    low, high = torch.log(torch.tensor(aspect)).tolist()
    for _ in range(TRIES):
        pixels = height * width * torch.empty(1).uniform_(*area, generator=generator).item()
        ratio = torch.exp(torch.empty(1).uniform_(low, high, generator=generator)).item()
        h, w = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < h <= height and 0 < w <= width:
            return Crop(_draw(height - h, generator), _draw(width - w, generator), h, w)
    h, w = min(height, round(width / aspect[0])), min(width, round(height * aspect[1]))
    return Crop((height - h) // 2, (width - w) // 2, h, w)


def _draw(most: int, generator: torch.Generator) -> int:
    return int(torch.randint(0, most + 1, (), generator=generator))


def cut_test_crops(image: Tensor, side: int, count: int) -> Tensor:
    """Cut crops (count, ..., side, side) of an image: 1, its center, or 10, as torchvision's `ten_crop`."""
    bottom, right = (length - side for length in image.shape[-2:])
    center = (round(bottom / 2), round(right / 2))
    corners = [(top, left) for top in (0, bottom) for left in (0, right)]
    turned, places = (image,) if count == 1 else (image, image.flip(-1)), [center] if count == 1 else [*corners, center]
    return torch.stack([Crop(*place, side, side).cut(one) for one in turned for place in places])


def load_random_crop(images: Images, name: str, config: MapConfig, generator: torch.Generator) -> Tensor:
    """Load a random crop (3, input_size, input_size) of a training image, as bytes."""
    side = config.input_size
    if config.augment == "resized-crop":
        whole = images.load_whole(name)
        height, width = whole.shape[1:]
        crop = draw_resized_crop(height, width, config.crop_area, config.crop_aspect, generator)
        return to_bytes(warp(crop.cut(whole), side))
    resized = load_resized(images, name, config)
    height, width = resized.shape[1:]
    return draw_crop(height, width, side, generator).cut(resized)


def load_test_crops(images: Images, name: str, config: MapConfig) -> Tensor:
    """Load the crops (K, 3, input_size, input_size) whose scores are averaged at test, as bytes."""
    return cut_test_crops(load_resized(images, name, config), config.input_size, config.test_crops)


def load_resized(images: Images, name: str, config: MapConfig) -> Tensor:
    """Load the resized image that crops are cut from, as bytes."""
    if config.resize == "warp":
        return images.load_square(name, config.resize_to)
    return images.load_shorter(name, config.resize_to)[0]
