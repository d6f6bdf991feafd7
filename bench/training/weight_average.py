"""The exponential moving average of a training's weights, which predicts if `ema` is set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class WeightAverage:
    """The moving average of the parameters that learn: a <- decay a + (1 - decay) w after each step."""

    def __init__(self, method: nn.Module, decay: float) -> None:
        self._learned = nn.ParameterList(one for one in method.parameters() if one.requires_grad)
        self.model = AveragedModel(self._learned, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Add the weights after a step to the average."""
        self.model.update_parameters(self._learned)

    @contextmanager
    def swap(self) -> Iterator[None]:
        """Give the method its average weights for the block."""
        own = [one.detach().clone() for one in self._learned]
        self._set(one.detach() for one in self.model.parameters())
        try:
            yield
        finally:
            self._set(own)

    @torch.no_grad()
    def _set(self, weights: Iterator[torch.Tensor] | list[torch.Tensor]) -> None:
        for one, weight in zip(self._learned, weights, strict=True):
            one.copy_(weight)
