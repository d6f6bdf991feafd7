"""What the harness costs training: its loop beside a bare one, and loading images beside learning from them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timing import times_faster
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.models import resnet18

from bench import registry
from bench.data.dataset import Dataset
from bench.method import Task
from bench.training.batches import MapBatchSource
from bench.training.inputs import Images
from bench.training.loop import build, fit

pytestmark = pytest.mark.slow

CLASSES = ("cat", "dog")


class Photographs(Dataset):
    """Noise of VOC's size, which is slower to decode than what a camera sees."""

    name, classes, recipe, how_to_get = "made", CLASSES, {}, ""

    def __init__(self, folder: Path, images: int) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        self.ids = tuple(f"{number:03}" for number in range(images))
        for image in self.ids:
            Image.fromarray(rng.integers(0, 256, (375, 500, 3), dtype=np.uint8)).save(folder / f"{image}.jpg")

    def splits(self) -> tuple[str, ...]:
        return ("train",)

    def ground_truth(self, split: str) -> Any:
        raise NotImplementedError

    def image_path(self, image: str) -> Path:
        return self.folder / f"{image}.jpg"


def learner(**settings: Any) -> Any:
    cls, _ = registry.parse("cam", {})
    plain = {"weights": "none", "precision": "float32", "flip": False, "dropout": 0.0}
    method = build(cls, cls.Config(**{**plain, **settings}), Task("made", CLASSES), 0)
    return method.to(memory_format=torch.channels_last)


def labels(images: int) -> torch.Tensor:
    return torch.ones(images, len(CLASSES)) * torch.tensor([1.0, -1.0])


def bare(model: nn.Module, loss: Callable[..., torch.Tensor], images: torch.Tensor, epochs: int) -> None:
    """A PyTorch loop with nothing around it, eight images a step; images (N, 3, H, W), bytes."""
    optimiser, known = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9), labels(len(images))
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(8):
            optimiser.zero_grad()
            pixels = images[rows].to(torch.float32, memory_format=torch.channels_last).div_(255)
            loss(pixels, known[rows]).backward()
            optimiser.step()


@pytest.fixture
def photographs(tmp_path: Path) -> Callable[[int], Photographs]:
    return lambda images: Photographs(tmp_path, images)


def test_the_loop_trains_as_fast_as_a_bare_one(
    tmp_path: Path, photographs: Callable[[int], Photographs], full: bool
) -> None:
    size, number = (224, 256) if full else (128, 32)
    dataset, folders = photographs(number), count()
    settings = {"net": "tiny", "input_size": size, "epochs": 2, "batch_size": 8}
    images = Images(dataset)
    pixels = torch.stack([images.load_square(image, size) for image in dataset.ids])

    def ours() -> None:
        method = learner(**settings)
        feed = MapBatchSource(images, dataset.ids, labels(number), method.config)
        fit(method, feed, tmp_path / f"run-{next(folders)}", seed=0, device=torch.device("cpu"))

    def theirs() -> None:
        method = learner(**settings)
        bare(method, lambda *batch: method.loss(*batch)["classification"], pixels, 2)

    assert times_faster(ours, theirs, rounds=3) > (0.97 if full else 0.5)


def test_images_load_twice_as_fast_as_a_resnet_18_learns_from_them(
    photographs: Callable[[int], Photographs], full: bool
) -> None:
    number, size = (32 if full else 8), 224
    dataset, model = photographs(number), resnet18(num_classes=len(CLASSES)).to(memory_format=torch.channels_last)
    pixels = torch.zeros(number, 3, size, size, dtype=torch.uint8)

    def load() -> None:
        images = Images(dataset, budget=0)
        for image in dataset.ids:
            images.load_square(image, size)

    def learn() -> None:
        bare(
            model, lambda images, known: binary_cross_entropy_with_logits(model(images), known.clamp(min=0)), pixels, 1
        )

    assert times_faster(load, learn, rounds=3) > (2 if full else 1)
