"""From photographs to what `Method.loss` takes, step by step; everything random comes from a plan of the epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.dataset import Dataset
from bench.data.ground_truth import ABSENT, ONLY_DIFFICULT, PRESENT, GroundTruth
from bench.data.images import fit, read_image, warp
from bench.data.pixels import read_pixels
from bench.data.proposals import Proposals, drop_small_boxes
from bench.errors import RequestError
from bench.method import ProposalConfig, TrainedConfig
from bench.training.device import PLAN, entropy
from bench.training.pseudo_labels import PseudoObjects, pseudo_objects

Example = tuple[Tensor, ...]
"""Arguments of `Method.loss`, on the CPU, the images as bytes."""

T = TypeVar("T")


class Images:
    """A dataset's photographs, decoded and resized to bytes; as many as fit `budget` bytes stay in memory."""

    def __init__(self, dataset: Dataset, budget: int = 2 << 30) -> None:
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

    def pixels(self, image: str) -> NDArray[np.uint8]:
        """Return the pixels (H, W, 3) of the photograph as it is. Raises BadFileError."""
        return read_pixels(self._dataset.image_path(image))

    def _load_resized(self, how: str, image: str, size: int) -> tuple[Tensor, float, float]:
        key = (how, image, size)
        if (known := self._kept.get(key)) is not None:
            return known
        decoded = read_image(self._dataset.image_path(image))
        resized, scale_x, scale_y = (warp(decoded, size), 1.0, 1.0) if how == "square" else fit(decoded, size)
        made = resized.mul(255).round_().to(torch.uint8), scale_x, scale_y
        with self._lock:
            if made[0].numel() <= self._left:
                self._left -= made[0].numel()
                self._kept[key] = made
        return made


@dataclass(frozen=True)
class Plan:
    """The plan of an epoch, (N,) each: the order of the images; by position, whether mirrored, and the size."""

    order: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    size: NDArray[np.int64]


def plan(config: TrainedConfig, images: int, seed: int, epoch: int) -> Plan:
    """Return the plan of an epoch, from seed and epoch alone."""
    generator = np.random.default_rng(entropy(PLAN, seed, epoch))
    order = generator.permutation(images)
    mirrored = (generator.random(images) < 0.5) & config.flip
    return Plan(order, mirrored, generator.choice(sizes(config), images))


def sizes(config: TrainedConfig) -> tuple[int, ...]:
    """Return the sizes of the input: one, or a proposal method's scales."""
    scales = config.scales if isinstance(config, ProposalConfig) else ()
    return scales or (config.input_size,)


class BatchSource(ABC):
    """The training images of one run. `labels`: (N, C) float32 in {+1, 0, -1}."""

    def __init__(self, images: Images, ids: tuple[str, ...], labels: Tensor, config: TrainedConfig) -> None:
        if not ids:
            raise RequestError("There is no image to train on: the training split is empty, or nothing has proposals.")
        self.images, self.ids, self.labels, self.config = images, ids, labels, config

    @property
    def steps(self) -> int:
        """Steps an epoch; the last may be smaller."""
        return -(-len(self.ids) // self.config.batch_size)

    def positions(self, number: int) -> range:
        """Return the positions in a plan that a step takes."""
        first = number * self.config.batch_size
        return range(first, min(first + self.config.batch_size, len(self.ids)))

    def step(self, plan: Plan, number: int, rank: int = 0, size: int = 1) -> list[Example]:
        """Return the examples of a step for one of `size` processes, one per pass, borrowed if it has no images."""
        passes = self.passes(number, size)
        return [self._example(plan, shard(positions, rank, size) or positions[:1]) for positions in passes]

    @abstractmethod
    def passes(self, number: int, size: int = 1) -> list[range]:
        """Split the positions of a step into passes: what goes through the net at once, over `size` processes."""

    @abstractmethod
    def _example(self, plan: Plan, positions: range) -> Example: ...


def shard(positions: range, rank: int, size: int) -> range:
    """Return the share of one of `size` processes, as large as the others' or one larger.

    >>> [list(shard(range(10, 15), rank, 4)) for rank in range(4)]
    [[10], [11], [12], [13, 14]]
    """
    return positions[len(positions) * rank // size : len(positions) * (rank + 1) // size]


class MapBatchSource(BatchSource):
    """An example a pass: images (B, 3, size, size), labels (B, C)."""

    def passes(self, number: int, size: int = 1) -> list[range]:
        """All of a step at once, or in parts whose gradients are added."""
        positions, parts = self.positions(number), getattr(self.config, "grad_accumulation_steps", 1)
        return [part for position in range(parts) if (part := shard(positions, position, parts))]

    def _example(self, plan: Plan, positions: range) -> Example:
        return torch.stack([self._image(plan, position) for position in positions]), self.labels[plan.order[positions]]

    def _image(self, plan: Plan, position: int) -> Tensor:
        image = self.images.load_square(self.ids[plan.order[position]], self.config.input_size)
        return image.flip(-1) if plan.mirrored[position] else image


class ProposalBatchSource(BatchSource):
    """An example an image: image (1, 3, h, w), proposals (R, 4) in its pixels, labels (C,).

    Where there are pseudo objects, their boxes (S, 4) too, and their classes (S,).
    """

    def __init__(
        self,
        images: Images,
        ids: tuple[str, ...],
        labels: Tensor,
        config: ProposalConfig,
        proposals: Proposals,
        pseudo: PseudoObjects | None = None,
    ) -> None:
        super().__init__(images, ids, labels, config)
        self.proposals_of, self.most = partial(select_proposals, proposals, config), config.max_proposals
        self.pseudo = pseudo

    def passes(self, number: int, size: int = 1) -> list[range]:
        """One image a process."""
        positions = self.positions(number)
        return [positions[first : first + size] for first in range(0, len(positions), size)]

    def _example(self, plan: Plan, positions: range) -> Example:
        (position,) = positions
        row = plan.order[position]
        image, *scale = self.images.load_fitted(self.ids[row], int(plan.size[position]))

        def transform_boxes(boxes: NDArray[np.float32]) -> Tensor:
            here = scale_boxes(boxes, *scale)
            return mirror_boxes(here, image.shape[-1]) if plan.mirrored[position] else here

        proposals = transform_boxes(self.proposals_of(self.ids[row])[: self.most])
        example = (image.flip(-1) if plan.mirrored[position] else image)[None], proposals, self.labels[row]
        if self.pseudo is None:
            return example
        boxes, classes = self.pseudo.get_objects(self.ids[row])
        return *example, transform_boxes(boxes), torch.from_numpy(classes)


def make_batch_source(
    config: TrainedConfig, images: Images, truth: GroundTruth, proposals: Proposals | None
) -> tuple[BatchSource, int]:
    """Build the batch source for a config, and count the images skipped for want of proposals.

    Raises RequestError if nothing is left.
    """
    labels = torch.from_numpy(effective_labels(truth.labels, config.difficult_labels))
    if not isinstance(config, ProposalConfig) or proposals is None:
        return MapBatchSource(images, truth.ids, labels, config), 0
    has = [row for row, name in enumerate(truth.ids) if len(drop_small_boxes(proposals.of(name), config.min_proposal))]
    ids = tuple(truth.ids[row] for row in has)
    pseudo = pseudo_objects(run, truth) if (run := getattr(config, "pseudo", None)) is not None else None
    return ProposalBatchSource(images, ids, labels[has], config, proposals, pseudo), len(truth.ids) - len(ids)


def effective_labels(labels: NDArray[np.int8], difficult: str) -> NDArray[np.float32]:
    """Labels (N, C) as the loss sees them: what is present only as difficult stays 0, or counts as one side."""
    meaning = {"ignore": ONLY_DIFFICULT, "negative": ABSENT, "positive": PRESENT}[difficult]
    return np.where(labels == ONLY_DIFFICULT, meaning, labels).astype(np.float32)


def select_proposals(proposals: Proposals, config: ProposalConfig, image: str) -> NDArray[np.float32]:
    """Return an image's proposals (R, 4) that are large enough; (R, 5) with their scores for `box_scores`."""
    boxes = proposals.of(image)
    if getattr(config, "box_scores", False):
        if (scores := proposals.scores_of(image)) is None:
            raise TypeError("box_scores weighs proposals by their scores, and was given none")
        boxes = np.column_stack([boxes, scores])
    return drop_small_boxes(boxes, config.min_proposal)


def scale_boxes(boxes: NDArray[np.float32], scale_x: float, scale_y: float) -> Tensor:
    """Boxes (R, 4) of the original image as float32 in pixels of a resized one; further columns stay."""
    factor = np.array([scale_x, scale_y, scale_x, scale_y, *[1] * (boxes.shape[1] - 4)], dtype=np.float32)
    return torch.from_numpy(np.asarray(boxes, dtype=np.float32) * factor)


def mirror_boxes(boxes: Tensor, width: int) -> Tensor:
    """Boxes (R, 4) in the mirror image of an image of this width; further columns stay."""
    x1, y1, x2, y2, *more = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2, *more], dim=1)


def prefetch(make: Callable[[int], T], count: int, workers: int) -> Generator[T, None, None]:
    """`make(0) ... make(count - 1)` in order, ahead of need by threads: decoding and resizing release the GIL."""
    if workers < 1:
        yield from map(make, range(count))
        return
    # One core a worker: torch would otherwise start a team of threads in each.
    with ThreadPoolExecutor(workers, "prefetch", torch.set_num_threads, (1,)) as pool:
        waiting = deque(pool.submit(make, number) for number in range(min(count, 2 * workers)))
        try:
            for number in range(len(waiting), count + len(waiting)):
                yield waiting.popleft().result()
                if number < count:
                    waiting.append(pool.submit(make, number))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
