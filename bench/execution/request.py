"""A run as a user requests it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.records.result import Supervision
from bench.scoring.protocol import Record


@dataclass(frozen=True)
class Request:
    """One run as a user requests it. `method`: `name` or `name:variant`; None: the protocol or the recipe decides."""

    method: str
    protocol: Record
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    train_split: str | None = None
    tuned_on: Supervision = "none"
    """Supervision beyond image labels that chose a setting; it changes no address."""
    recipe: Literal["paper"] | None = None
    """A recipe of the method, asked for by name."""
    entry: str | None = None
    """The method's name in a track, if it differs."""

    def __str__(self) -> str:
        return f"{self.entry or self.method} under {self.protocol.name}, seed {self.seed}"
