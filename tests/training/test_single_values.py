"""A training that batch normalisation would end is refused before its first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from train_cases import CPU, FLAT, TASK, Photographs

from bench.errors import RequestError
from bench.method import MapConfig, MapMethod, Maps
from bench.training.batches import make_batch_source
from bench.training.inputs import Images
from bench.training.loop import build, fit


class Normalised(MapMethod):
    """Mean colours, normalised over the batch: one value a channel and image."""

    name, Config = "normalised", MapConfig
    cells: int = 1

    def __init__(self, config: MapConfig, task: Any) -> None:
        super().__init__(config, task)
        self.norm, self.head = nn.BatchNorm2d(3), nn.Linear(3, 2)

    def _score(self, images: Tensor) -> Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(images, self.cells)
        return torch.as_tensor(self.head(self.norm(pooled).mean(dim=(2, 3))))

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"squares": ((self._score(images) - labels) ** 2).mean()}

    def forward(self, images: Tensor) -> Maps:
        raise NotImplementedError


class Finer(Normalised):
    """The same with four values."""

    cells = 2


def train(cls: type[MapMethod], folder: Path, images: int, batch_size: int, **settings: Any) -> None:
    dataset = Photographs(folder, images)
    config = cls.Config(**{**FLAT, "epochs": 1, "batch_size": batch_size, **settings})
    source, _ = make_batch_source(config, Images(dataset), dataset.ground_truth("test"), None)
    fit(build(cls, config, TASK, 0), source, folder / "run", seed=0, device=CPU)


@pytest.mark.parametrize(
    ("images", "batch_size", "settings", "where"),
    [
        (2, 1, {}, "each step has a pass of one image"),
        (5, 2, {}, r"the last step of an epoch has .* \(batch_size=2, 5 images\)"),
        (4, 4, {"grad_accumulation_steps": 4}, "a pass of one image"),
    ],
)
def test_one_value_a_channel_is_refused_before_the_first_step(
    images: int, batch_size: int, settings: dict[str, Any], where: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=where):
        train(Normalised, tmp_path, images, batch_size, **settings)
    assert not (tmp_path / "run").exists()


def test_two_values_are_enough(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    train(Normalised, tmp_path / "a", 4, 2)
    (tmp_path / "b").mkdir()
    train(Finer, tmp_path / "b", 3, 2)
