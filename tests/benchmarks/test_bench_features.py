"""What the cache of frozen features saves: images a second of a training with and without it, on SqueezeNet."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_bench_training import Photographs
from timing import times_faster

from bench import registry
from bench.data.ground_truth import GroundTruth, empty_objects
from bench.data.proposals import Proposals
from bench.method import Task
from bench.training.batches import make_batch_source
from bench.training.feature_cache import FeatureCache
from bench.training.inputs import Images
from bench.training.loop import build, fit
from methods.nets import build as build_net

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
CLASSES = tuple(f"class {number}" for number in range(20))  # as VOC has
REGIONS = {"input_size": 480, "roi_head": "mean", "min_proposal": 0, "batch_size": 2}
MAPS = {"input_size": 320, "batch_size": 16}


class Labelled(Photographs):
    """The photographs, with one or two classes each."""

    classes = CLASSES

    def ground_truth(self, split: str) -> GroundTruth:
        labels = np.full((len(self.ids), len(CLASSES)), -1, np.int8)
        for row in range(len(self.ids)):
            labels[row, [row % 20, row * 7 % 20]] = 1
        size = np.tile(np.array([[500, 375]], np.int32), (len(self.ids), 1))
        return GroundTruth("made", split, CLASSES, self.ids, size, labels, empty_objects())


def random_boxes(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """256 boxes in a photograph of 500 x 375 pixels."""
    corners = rng.uniform(0, 1, (256, 2, 2)) * (460, 335)
    low, high = corners.min(1), corners.max(1) + 40
    return np.concatenate([low, high], axis=1).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("wsddn", REGIONS), ("oicr", REGIONS), ("melm:base+clique", REGIONS), ("cam", MAPS), ("weldon", MAPS)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cached_features_train_ten_times_as_fast(
    tmp_path: Path, name: str, settings: dict[str, Any], full: bool
) -> None:
    images = 32 if full else 8
    dataset, folders = Labelled(tmp_path, images), count()
    truth, weights = dataset.ground_truth("train"), tmp_path / "squeezenet.pth"
    torch.manual_seed(0)
    trunk = build_net("squeezenet", "none").trunk.state_dict()
    torch.save({f"features.{key}": value for key, value in trunk.items()}, weights)
    cls, variant = registry.parse(name, {})
    # Without statistics of channels, which would be one more pass over the live features.
    common = {
        "feature_norm": "none",
        "net": "squeezenet",
        "weights": str(weights),
        "precision": "float32",
        "freeze_backbone": True,
    }
    config = cls.Config(**{**cls.variants.get(variant or "", {}), **common, "epochs": 2, **settings})
    rng = np.random.default_rng(0)
    boxes = Proposals.from_arrays(dataset.ids, [random_boxes(rng) for _ in dataset.ids])

    def train(root: Path | None) -> None:
        method: Any = build(cls, config, Task("made", CLASSES), 0)
        source, _ = make_batch_source(config, pixels, truth, boxes)
        proposals = boxes.of if method.frozen_net().takes_boxes else None
        source.features = FeatureCache(
            net=method.frozen_net(),
            images=pixels,
            ids=dataset.ids,
            precision="float32",
            device=CPU,
            content="made",
            proposals=proposals,
            root=root,
        )
        fit(method, source, tmp_path / f"run-{next(folders)}", seed=0, device=CPU)

    pixels = Images(dataset)
    train(tmp_path / "cache")  # fills it
    ratio = times_faster(lambda: train(tmp_path / "cache"), lambda: train(None), rounds=2 if full else 1)
    assert ratio > (10 if full else 3)
