"""Photographs and boxes as a net takes them: decoded, resized and mirrored, and loaded ahead of need."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.files import IMAGE_CACHE_MIB
from bench.data.dataset import Dataset
from bench.data.images import fit, fit_shorter, read_image, to_bytes, warp
from bench.data.pixels import read_pixels
from bench.data.proposals import Proposals, drop_small_boxes
from bench.method import ProposalConfig, TrainedConfig

T = TypeVar("T")


class Images:
    """A dataset's photographs, decoded and resized to bytes; as many as fit `budget` bytes stay in memory."""

    def __init__(self, dataset: Dataset, budget: int = IMAGE_CACHE_MIB << 20) -> None:
        self._dataset, self._left, self._lock = dataset, budget, Lock()
        self._kept: dict[tuple[str, str, int], tuple[Tensor, float, float]] = {}

    def load_square(self, image: str, size: int) -> Tensor:
        """Return the image warped to (3, size, size), bytes. Raises BadFileError."""
        return self._load_resized("square", image, size)[0]

    def load_fitted(self, image: str, larger_side: int) -> tuple[Tensor, float, float]:
        """Return the image with its aspect kept (3, h, w), bytes, and the scale factors of x and y.

        Raises BadFileError.
        """
        return self._load_resized("fitted", image, larger_side)

    def load_shorter(self, image: str, shorter_side: int, longest: int = 0) -> tuple[Tensor, float, float]:
        """Return the image as `load_fitted`, but resized to a shorter side; see `fit_shorter`."""
        return self._load_resized(f"shorter {longest}", image, shorter_side)

    def load_whole(self, image: str) -> Tensor:
        """Return the image as it is (3, H, W), bytes. Raises BadFileError."""
        return self._load_resized("whole", image, 0)[0]

    def pixels(self, image: str) -> NDArray[np.uint8]:
        """Return the pixels (H, W, 3) of the photograph as it is. Raises BadFileError."""
        return read_pixels(self._dataset.image_path(image))

    def _load_resized(self, how: str, image: str, size: int) -> tuple[Tensor, float, float]:
        key = (how, image, size)
        if (known := self._kept.get(key)) is not None:
            return known
        decoded = read_image(self._dataset.image_path(image))
        resized, scale_x, scale_y = _resize(decoded, how, size)
        made = to_bytes(resized), scale_x, scale_y
        with self._lock:
            if made[0].numel() <= self._left:
                self._left -= made[0].numel()
                self._kept[key] = made
        return made


def _resize(image: Tensor, how: str, size: int) -> tuple[Tensor, float, float]:
    """Resize an image, bytes, to values in [0, 1]; also the scale factors of x and y."""
    rule, _, longest = how.partition(" ")
    if rule == "square":
        return warp(image, size), 1.0, 1.0
    if rule == "whole":
        return image.float() / 255, 1.0, 1.0
    return fit(image, size) if rule == "fitted" else fit_shorter(image, size, int(longest))


def sizes(config: TrainedConfig) -> tuple[int, ...]:
    """Return the sizes of the input: one, or a proposal method's scales."""
    scales = config.scales if isinstance(config, ProposalConfig) else ()
    return scales or (config.input_size,)


def select_proposals(proposals: Proposals, config: ProposalConfig, image: str) -> NDArray[np.float32]:
    """Return an image's proposals (R, 4) that are large enough; (R, 5) with their scores for `box_scores`."""
    boxes = proposals.of(image)
    if getattr(config, "box_scores", False):
        if (scores := proposals.scores_of(image)) is None:
            raise TypeError("box_scores weighs proposals by their scores, and was given none")
        boxes = np.column_stack([boxes, scores])
    return drop_small_boxes(boxes, config.min_proposal)


def scale_boxes(boxes: NDArray[np.float32], scale_x: float, scale_y: float) -> Tensor:
    """Scale boxes (R, 4) of the original image to pixels of a resized one, as float32; further columns stay."""
    factor = np.array([scale_x, scale_y, scale_x, scale_y, *[1] * (boxes.shape[1] - 4)], dtype=np.float32)
    return torch.from_numpy(np.asarray(boxes, dtype=np.float32) * factor)


def mirror_boxes(boxes: Tensor, width: int) -> Tensor:
    """Mirror boxes (R, 4) in an image of this width; further columns stay."""
    x1, y1, x2, y2, *more = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2, *more], dim=1)


def prefetch(make: Callable[[int], T], count: int, workers: int) -> Generator[T, None, None]:
    """Yield `make(0) ... make(count - 1)` in order, made ahead by threads: decoding and resizing release the GIL."""
    if workers < 1:
        yield from map(make, range(count))
        return
    # One core per worker: torch would otherwise start several threads in each.
    with ThreadPoolExecutor(workers, "prefetch", torch.set_num_threads, (1,)) as pool:
        waiting = deque(pool.submit(make, number) for number in range(min(count, 2 * workers)))
        try:
            for number in range(len(waiting), count + len(waiting)):
                yield waiting.popleft().result()
                if number < count:
                    waiting.append(pool.submit(make, number))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
