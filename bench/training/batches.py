"""The arguments of `Method.loss`, made from photographs step by step; all randomness comes from the epoch's plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.data.ground_truth import ABSENT, ONLY_DIFFICULT, PRESENT, GroundTruth
from bench.data.proposals import Proposals, drop_small_boxes
from bench.errors import RequestError
from bench.method import MapConfig, ProposalConfig, TrainedConfig
from bench.training.augmentation import distort
from bench.training.crops import load_random_crop
from bench.training.device import PLAN, entropy
from bench.training.feature_cache import FeatureCache, ImageView, load_fitted_view, make_placeholder
from bench.training.inputs import Images, select_proposals, sizes
from bench.training.pseudo_labels import PseudoObjects, pseudo_objects


class Example(NamedTuple):
    """Arguments of `Method.loss` on the CPU, the images as bytes; with cached features, images without pixels."""

    arguments: tuple[Tensor, ...]
    features: Sequence[Tensor] | None = None


@dataclass(frozen=True)
class Plan:
    """The plan of an epoch, arrays (N,): the order of the images and, by position in it, whether each is mirrored.

    size: the input size of each image. crop: the seed of its crop and of everything else that is drawn for it.
    """

    order: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    size: NDArray[np.int64]
    crop: NDArray[np.int64]

    def make_generator(self, position: int) -> torch.Generator:
        """Return the random generator of one image, for its crop and then everything else that is drawn for it."""
        return torch.Generator().manual_seed(int(self.crop[position]))


def plan(config: TrainedConfig, images: int, seed: int, epoch: int) -> Plan:
    """Return the plan of an epoch, from seed and epoch alone."""
    generator = np.random.default_rng(entropy(PLAN, seed, epoch))
    order = generator.permutation(images)
    mirrored = (generator.random(images) < 0.5) & config.flip
    size = generator.choice(sizes(config), images)
    crops = generator.integers(2**62, size=images)  # drawn last: added later, it must not change the draws above
    return Plan(order, mirrored, size, crops)


class BatchSource(ABC):
    """The training images of one run. labels: (N, C) float32 in {+1, 0, -1}. features: of a frozen net, if any."""

    features: FeatureCache | None = None

    def __init__(self, images: Images, ids: tuple[str, ...], labels: Tensor, config: TrainedConfig) -> None:
        if not ids:
            raise RequestError("There is no image to train on: the training split is empty, or nothing has proposals.")
        self.images, self.ids, self.labels, self.config = images, ids, labels, config

    @property
    def steps(self) -> int:
        """Steps per epoch; the last one may have fewer images."""
        return -(-len(self.ids) // self.config.batch_size)

    @property
    def epochs(self) -> int:
        """Epochs of the training; if it ends after `iterations`, the last may have fewer steps."""
        return -(-self.config.iterations // self.steps) if self.config.iterations else self.config.epochs

    @property
    def total_steps(self) -> int:
        """Steps of the training."""
        return self.config.iterations or self.epochs * self.steps

    def count_steps(self, epoch: int) -> int:
        """Return the steps of an epoch, counted from 0."""
        return min(self.steps, self.config.iterations - epoch * self.steps) if self.config.iterations else self.steps

    def count_images(self, epochs: int) -> int:
        """Return how many images the first `epochs` epochs train on, counting repetitions."""
        whole, rest = divmod(self.config.iterations, self.steps)
        every, limit = len(self.ids) * epochs, len(self.ids) * whole + rest * self.config.batch_size
        return min(every, limit) if self.config.iterations else every

    def positions(self, number: int) -> range:
        """Return the positions in a plan that a step takes."""
        first = number * self.config.batch_size
        return range(first, min(first + self.config.batch_size, len(self.ids)))

    def step(self, plan: Plan, number: int, rank: int = 0, size: int = 1) -> list[Example]:
        """Return the examples of a step for one of `size` processes, one per pass.

        A process whose share of a pass is empty borrows the pass's first image.
        """
        passes = self.passes(number, size)
        return [self._example(plan, shard(positions, rank, size) or positions[:1]) for positions in passes]

    @abstractmethod
    def passes(self, number: int, size: int = 1) -> list[range]:
        """Split the positions of a step into passes: the images that `size` processes send through the net at once."""

    @abstractmethod
    def _example(self, plan: Plan, positions: range) -> Example: ...


def shard(positions: range, rank: int, size: int) -> range:
    """Return the share of one of `size` processes; the shares differ in length by at most one.

    >>> [list(shard(range(10, 15), rank, 4)) for rank in range(4)]
    [[10], [11], [12], [13, 14]]
    """
    return positions[len(positions) * rank // size : len(positions) * (rank + 1) // size]


class MapBatchSource(BatchSource):
    """One example per pass: images (B, 3, size, size), labels (B, C)."""

    def passes(self, number: int, size: int = 1) -> list[range]:
        """Return all of a step at once, or in parts whose gradients are added."""
        positions, parts = self.positions(number), getattr(self.config, "grad_accumulation_steps", 1)
        return [part for position in range(parts) if (part := shard(positions, position, parts))]

    def _example(self, plan: Plan, positions: range) -> Example:
        labels, size = self.labels[plan.order[positions]], self.config.input_size
        if self.features is not None:
            names = [self.ids[plan.order[position]] for position in positions]
            views = [ImageView(size, bool(plan.mirrored[position])) for position in positions]
            if (features := self.features.read_batch(names, views)) is not None:
                return Example((make_placeholder(len(positions), size, size), labels), features)
        return Example((torch.stack([self._image(plan, position) for position in positions]), labels))

    def _image(self, plan: Plan, position: int) -> Tensor:
        name, config = self.ids[plan.order[position]], cast("MapConfig", self.config)
        generator = plan.make_generator(position)
        if config.augment == "none":
            image = self.images.load_square(name, config.input_size)
        else:
            image = load_random_crop(self.images, name, config, generator)
        return distort(image.flip(-1) if plan.mirrored[position] else image, config, generator)


class ProposalBatchSource(BatchSource):
    """One example per image: image (1, 3, h, w), proposals (R, 4) in its pixels, labels (C,).

    With pseudo objects, also their boxes (S, 4) and classes (S,).
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
        """Return passes of one image per process."""
        positions = self.positions(number)
        return [positions[first : first + size] for first in range(0, len(positions), size)]

    def _example(self, plan: Plan, positions: range) -> Example:
        (position,) = positions
        longest = cast("ProposalConfig", self.config).longest_side
        row, view = plan.order[position], ImageView(int(plan.size[position]), bool(plan.mirrored[position]), longest)
        loaded = load_fitted_view(self.images, self.features, self.ids[row], view)
        proposals = loaded.place(self.proposals_of(self.ids[row])[: self.most])
        arguments = distort(loaded.image, self.config, plan.make_generator(position)), proposals, self.labels[row]
        if self.pseudo is None:
            return Example(arguments, loaded.features)
        boxes, classes = self.pseudo.get_objects(self.ids[row])
        return Example((*arguments, loaded.place(boxes), torch.from_numpy(classes)), loaded.features)


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
    """Return the labels (N, C) for the loss: a class with difficult objects only stays 0, or becomes +1 or -1."""
    meaning = {"ignore": ONLY_DIFFICULT, "negative": ABSENT, "positive": PRESENT}[difficult]
    return np.where(labels == ONLY_DIFFICULT, meaning, labels).astype(np.float32)
