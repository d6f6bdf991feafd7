"""What the tests of training share: a few photographs, and two methods small enough to compute by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth, empty_objects
from bench.data.proposals import Proposals
from bench.method import MapConfig, MapMethod, Maps, ProposalConfig, ProposalMethod, Task
from bench.training.batches import BatchSource, make_batch_source
from bench.training.inputs import Images
from bench.training.loop import build, fit

CPU = torch.device("cpu")
TASK = Task("toy", ("cat", "dog"))
FLAT: dict[str, Any] = {
    "net": "none",
    "weights": "none",
    "precision": "float32",
    "input_size": 32,
    "lr": 0.1,
    "head_lr_multiplier": 1.0,
}


class Photographs(Dataset):
    """Images of noise, 32 pixels wide and 24 high, that count how often they are opened."""

    name, classes, recipe, how_to_get = "toy", TASK.classes, {}, "Make it again."

    def __init__(self, folder: Path, count: int, *, name: str = "test") -> None:
        self.folder, self.split, self.opened = folder, name, list[str]()
        self.ids = tuple(f"{number:02}" for number in range(count))
        rng = np.random.default_rng(count)
        self.labels = np.where(rng.random((count, 2)) < 0.5, 1, -1).astype(np.int8)
        for image in self.ids:
            Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(folder / f"{image}.png")

    def splits(self) -> tuple[str, ...]:
        return (self.split,)

    def ground_truth(self, split: str) -> GroundTruth:
        size = np.tile(np.array([[32, 24]], np.int32), (len(self.ids), 1))
        return GroundTruth("toy", split, self.classes, self.ids, size, self.labels, empty_objects())

    def image_path(self, image: str) -> Path:
        self.opened.append(image)
        return self.folder / f"{image}.png"


class Colours(MapMethod):
    """Maps are linear in the colours, a score its map's mean; half of each image's pixels are dropped at training."""

    name = "colours"
    Config = MapConfig

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        self.drop, self.maps = nn.Dropout(0.5), nn.Conv2d(3, len(task.classes), 1)

    def forward(self, images: Tensor) -> Maps:
        maps = self.maps(self.drop(images))
        return Maps(maps.mean((2, 3)), maps)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        margin = labels * self(images).scores
        return {"fit": nn.functional.softplus(-margin).mean(), "size": 0.01 * margin.square().mean()}

    def new_parameters(self) -> list[nn.Parameter]:
        return [self.maps.bias]


class Corners(ProposalMethod):
    """Scores are linear in a proposal's corners, as shares of the image."""

    name = "corners"
    Config = ProposalConfig

    def __init__(self, config: ProposalConfig, task: Task) -> None:
        super().__init__(config, task)
        self.linear = nn.Linear(4, len(task.classes))

    def forward(self, image: Tensor, proposals: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return self.linear(proposals / torch.tensor([width, height, width, height])).sigmoid()

    def loss(self, image: Tensor, proposals: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"fit": (self(image, proposals).amax(0) - (labels + 1) / 2).square().sum()}


def made(cls: type[Any], *, seed: int = 0, **settings: Any) -> Any:
    """A method with its initial weights, on a config without surprises."""
    return build(cls, cls.Config(**{**FLAT, **settings}), TASK, seed)


def boxes(photographs: Photographs, rows: Sequence[Sequence[float]]) -> Proposals:
    """The same proposals for every image."""
    each = np.array(rows, np.float32).reshape(-1, 4)
    return Proposals.from_arrays(photographs.ids, [each] * len(photographs.ids))


def make_source(method: Any, photographs: Photographs, proposals: Proposals | None = None) -> BatchSource:
    """The method's feed of all the photographs."""
    return make_batch_source(method.config, Images(photographs), photographs.ground_truth("train"), proposals)[0]


def train(method: Any, folder: Path, photographs: Photographs, proposals: Proposals | None = None, **more: Any) -> Any:
    """The method, trained in `folder`."""
    fit(method, make_source(method, photographs, proposals), folder, **{"seed": 0, "device": CPU, **more})
    return method


def log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a training's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(method: nn.Module) -> dict[str, list[Any]]:
    """All of a method's weights, to the last bit."""
    return {name: value.tolist() for name, value in method.state_dict().items()}
