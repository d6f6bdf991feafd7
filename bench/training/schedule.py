"""The factor of the learning rate at each step, which depends only on the settings and the step.

torch's schedulers (`LinearLR`, `CosineAnnealingLR`, `PolynomialLR`) give the same numbers, but have a state that a
resume would have to restore.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import RequestError

if TYPE_CHECKING:
    from bench.method import TrainedConfig


@dataclass(frozen=True)
class Schedule:
    """The learning rate over a training's steps. Raises RequestError for a warm-up at least as long as the training."""

    config: TrainedConfig
    steps: int
    epochs: int
    epoch_steps: int
    """Steps of every epoch except perhaps the last."""

    def __post_init__(self) -> None:
        if self.steps and self.warmup >= self.steps:
            key = "warmup_steps" if self.config.warmup_steps else "warmup_epochs"
            raise RequestError(
                f"{key}={getattr(self.config, key)} is a warm-up of {self.warmup} steps, and the whole training has "
                f"{self.steps}: make it shorter."
            )

    @property
    def warmup(self) -> int:
        """Steps in which the learning rate rises."""
        return self.config.warmup_steps or round(self.config.warmup_epochs * self.epoch_steps)

    def find_late_drops(self) -> str:
        """Describe which of `lr_steps` come after the last step; empty if none do."""
        late = [str(drop) for drop in self.config.lr_steps if drop >= self.steps > 0]
        rule = f"of lr_steps, {', '.join(late)} have no effect: the training has {self.steps} steps"
        return rule if late and self.config.schedule == "step" else ""

    def compute_factor(self, step: int) -> float:
        """Return the factor of the learning rate at a step, counted from 0."""
        return min(1.0, (step + 1) / self.warmup) * self._fall(step) if self.warmup else self._fall(step)

    def _fall(self, step: int) -> float:
        if self.config.schedule == "step":
            return self._drop(step)
        past = max(0, step - self.warmup) / (self.steps - self.warmup)
        share = (1 + math.cos(math.pi * past)) / 2 if self.config.schedule == "cosine" else self._decay(past)
        return self.config.lr_final + (1 - self.config.lr_final) * share

    def _decay(self, past: float) -> float:
        return float((1 - past) ** self.config.poly_power)

    def _drop(self, step: int) -> float:
        if self.config.lr_steps:
            return math.prod(0.1 for drop in self.config.lr_steps if step >= drop)
        return 1.0 if step // self.epoch_steps < self.config.lr_drop * self.epochs else 0.1
