"""What a few steps are measured to cost, whatever the settings would learn."""

from __future__ import annotations

import pytest
import torch

from bench import registry
from bench.core.files import Places
from bench.execution.measure import measure
from bench.execution.request import Request

DATA = {"size": 64, "train": 8, "val": 4, "test": 4}


@pytest.mark.parametrize("method", ["cam", "melm"])
def test_random_weights_are_measured_at_any_learning_rate_and_always_the_same(places: Places, method: str) -> None:
    settings = {"net": "tiny", "weights": "none", "scales": "64+96", "lr": "1e9"}
    protocol = registry.protocol("voc07-det" if method == "melm" else "voc07-point")
    own = {key: value for key, value in settings.items() if method == "melm" or key != "scales"}
    request = Request(method, protocol, settings=own, data="shapes", data_options=DATA)
    costs = []
    for seed in (1, 2):  # of whatever ran before in this process
        torch.manual_seed(seed)
        costs.append(measure(request, places, images_of_split=8, device="cpu", threads=1, workers=0, seconds=0.01))
    assert all(cost.training is not None and cost.training.middle > 0 for cost in costs)
    assert costs[0].stored_kib == costs[1].stored_kib  # the same weights predict the same
