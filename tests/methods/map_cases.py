"""What the tests of map methods share: a tiny net, a task of three classes, two images."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

from bench.method import Task
from methods.layers.map_method import ImageMethod

TASK = Task("made-up", ("a", "b", "c"))
IMAGES = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([[1, -1, -1], [-1, 1, 1]])

M = TypeVar("M", bound=ImageMethod)


def made(cls: type[M], task: Task = TASK, **settings: Any) -> M:
    """A method on the tiny net, in evaluation; dropout, where it has any, is off unless it is asked for."""
    torch.manual_seed(0)
    given = {"net": "tiny", "weights": "none", "dropout": 0.0, "width": 16, **settings}
    known = {key: value for key, value in given.items() if key in cls.Config.model_fields}
    assert set(settings) <= set(known)
    method = cls(cls.Config(**known), task).eval()
    for name, parameter in method.named_parameters():  # maps start near 0: spread them, so that differences show
        if name.endswith("bias") and parameter.ndim == 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return method
