"""Make `methods/recipes/operations.toml`, from which `plan` computes GPU hours: `python -m tools.operations`.

It counts a training step and a forward pass of each method, net and size in the papers' tables. Region methods are
counted at small sizes and extrapolated: convolutions scale with the area, the rest with the number of proposals.
Entries of the file are not counted again: delete it after changing a net.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from bench import registry
from bench.core.files import write_text
from bench.core.toml import read_toml
from bench.execution.measure import write_hierarchy
from bench.method import Attribution, MapConfig, Predictor, ProposalConfig, Task
from bench.tables.operations import FILE, name_configuration
from bench.tables.plan import PlannedRun
from bench.training.inputs import sizes
from bench.training.model_cost import count_flops
from bench.verbs.plan import make_plan
from bench.verbs.plan_cost import FROM_FILES

if TYPE_CHECKING:
    import torch

HEAD = """\
# Floating-point operations of an image, in a training step and in a forward pass, by method, net and size of input.
# A multiplication and an addition are two. Made by python -m tools.operations.
"""

_CLASSES = tuple(f"class {number}" for number in range(20))


def count_all() -> dict[str, tuple[float, float]]:
    """Count the operations of every configuration in the papers' tables, except those counted already."""
    known = read_toml(FILE) if FILE.is_file() else {}
    found: dict[str, tuple[float, float]] = {}
    for run in make_plan([]).runs:
        name = name_configuration(run)
        if name and name not in found:
            found[name] = known.get(name) or _count(run)
            click.echo(f"{name}: {found[name][0]:.3g}, {found[name][1]:.3g}")
    return found


def _count(run: PlannedRun) -> tuple[float, float]:
    """Count the operations of a run's training step and forward pass."""
    settings: dict[str, Any] = {key: value for key, value in run.settings if key != "crf"}
    cls, variant = registry.parse(run.method, settings)
    if "hierarchy" in cls.Config.model_fields:
        settings["hierarchy"] = str(write_hierarchy(Path(tempfile.gettempdir()), _CLASSES))
    if settings.get("net") in FROM_FILES:
        settings["weights"] = "none"
    if settings.get("freeze_backbone") == "true":
        settings["feature_precision"] = "float32"  # random weights give features beyond half precision
    settled = registry.settle(cls, variant, dataset=run.dataset, recipe={}, settings=settings, paper=bool(run.recipe))
    config = registry.make_config(cls, settled)
    learner: Any = cls.Base if issubclass(cls, Attribution) else cls
    fields = learner.Config.model_fields
    config = learner.Config(**{key: value for key, value in config.model_dump().items() if key in fields})
    if issubclass(learner, Predictor):
        return 0.0, 0.0
    if isinstance(config, ProposalConfig):
        return _count_regions(learner, config)
    return _count_images(learner, config, cast("MapConfig", config).input_size)


def _count_images(cls: Any, config: Any, side: int) -> tuple[float, float]:
    import torch

    method, images = _build(cls, config, "meta"), torch.zeros((2, 3, side, side), device="meta")
    labels = torch.ones((2, len(_CLASSES)), device="meta")
    try:
        return _count_step(method, (images, labels), 2)
    except (NotImplementedError, RuntimeError):  # a method that needs actual values is counted on the CPU
        return _count_step(_build(cls, config, "cpu"), (torch.rand((2, 3, side, side)), torch.ones((2, 20))), 2)


def _count_regions(cls: Any, config: Any) -> tuple[float, float]:
    """Solve for the parts that scale with the area and with the proposals, from steps at small sizes."""
    method = _build(cls, config, "cpu")
    small, large, more = (_count_small(method, side, regions) for side, regions in ((128, 32), (256, 32), (128, 96)))
    area = sum(side**2 for side in sizes(config)) / len(sizes(config)) * 0.75  # photographs are 4:3
    counted = []
    for one, bigger, fuller in zip(small, large, more, strict=True):
        of_area, of_region = (bigger - one) / (256**2 - 128**2), (fuller - one) / 64
        counted.append(of_area * area + of_region * min(config.max_proposals, 2000))
    return counted[0], counted[1]


def _count_small(method: Any, side: int, regions: int) -> tuple[float, float]:
    import torch

    corner = torch.rand((regions, 2)) * side / 2
    boxes = torch.cat([corner, corner + side / 3], dim=1)
    labels = torch.full((20,), -1.0)
    labels[0] = 1
    return _count_step(method, (torch.rand((1, 3, side, side)), boxes, labels), 1)


def _build(cls: Any, config: Any, device: str) -> Any:
    import torch

    with registry.without_weights(), torch.device(device), warnings.catch_warnings(action="ignore"):
        return cls(config, Task("voc2007", _CLASSES)).train()


def _count_step(method: Any, arguments: tuple[torch.Tensor, ...], images: int) -> tuple[float, float]:
    import torch

    def step() -> None:
        torch.stack([value.float().sum() for value in method.loss(*arguments).values()]).sum().backward()  # type: ignore[no-untyped-call]

    def look() -> None:
        with torch.no_grad():
            method(*arguments[: len(arguments) - 1])

    return count_flops(step) / images, count_flops(look) / images


if __name__ == "__main__":
    lines = [f'"{name}" = [{step:.3g}, {look:.3g}]' for name, (step, look) in sorted(count_all().items())]
    write_text(FILE, HEAD + "\n".join(lines) + "\n")
