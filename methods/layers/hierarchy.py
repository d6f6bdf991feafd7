"""Class hierarchies: image labels and class maps at each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """A level: its names, and for each dataset class the index of its name (C,)."""

    names: tuple[str, ...]
    of_class: tuple[int, ...]

    def labels(self, labels: Tensor) -> Tensor:
        """Compute the level's labels (B, n) from class labels (B, C), both in {+1, 0, -1}.

        A name is present if any of its classes is, absent if all are absent, and unknown otherwise.
        """
        every = torch.arange(labels.shape[1], device=labels.device)
        lowest = labels.new_full((len(labels), len(self.names)), -1)
        return lowest.scatter_reduce(1, self.index(every).expand_as(labels), labels, "amax")

    def expand_to_classes(self, values: Tensor) -> Tensor:
        """Give each class the value of its name: (B, C, ...) from values (B, n, ...)."""
        return values[:, list(self.of_class)]

    def index(self, classes: Tensor) -> Tensor:
        """Return the index of each class's name; classes are given by index."""
        return torch.tensor(self.of_class, device=classes.device)[classes]


def build_hierarchy(classes: Sequence[str], ancestors: Mapping[str, Sequence[str]]) -> tuple[Level, ...]:
    """Build the levels, coarse to fine, with the classes last; ancestors: of each class, coarse to fine.

    Names are in the order of their first class. Raises ValueError, with a message for the user, if a class has no
    ancestors or not as many as the first class, or if a name has two parents.
    """
    if missing := [name for name in classes if name not in ancestors]:
        raise ValueError(f"has no entry for {len(missing)} of {len(classes)} classes (first: {missing[0]})")
    paths = [(*ancestors[name], name) for name in classes]
    for path in paths:
        if len(path) != len(paths[0]):
            raise ValueError(f"gives {path[-1]} {len(path) - 1} ancestors, but {paths[0][-1]} {len(paths[0]) - 1}")
    levels = [tuple(path[depth] for path in paths) for depth in range(len(paths[0]))]
    for above, below in pairwise(levels):
        for name in dict.fromkeys(below):
            over = sorted({high for high, low in zip(above, below, strict=True) if low == name})
            if len(over) > 1:
                raise ValueError(f"has {name} below {' and '.join(over)}")
    return tuple(_make_level(names) for names in levels)


def _make_level(of_class: Sequence[str]) -> Level:
    names = tuple(dict.fromkeys(of_class))
    index = {name: place for place, name in enumerate(names)}
    return Level(names, tuple(index[name] for name in of_class))
