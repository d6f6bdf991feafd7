"""The number of operations of planned runs, from counts kept in a file, and the speed of GPUs."""

from __future__ import annotations

from functools import cache

from bench import registry
from bench.core.toml import read_toml
from bench.data.published import CLASSES
from bench.paper_recipe import FILE as RECIPES
from bench.tables.plan import PlannedRun

FILE = RECIPES.with_name("operations.toml")

GPU = (5e12, 1e13, 2e13)
"""Operations per second that single-precision training reaches on a data-centre GPU: low, usual and high."""

_SHOWN = 1.5
"""Mean number of classes in an image of VOC."""

_OTHER_CLASSES = {"coco2014": 80, "coco2017": 80, "voc2012-actions": 10}


def name_configuration(run: PlannedRun) -> str:
    """Name what the operations per image depend on: method, net and input size; empty for a run without a net.

    For an attribution, these are those of the net that it explains.
    """
    if not run.trainings:
        return ""
    settings = dict(run.trainings[0].settings)
    sizes = settings.get("scales") or settings.get("input_size", "224")
    frozen = " frozen" if settings.get("freeze_backbone") == "true" else ""
    return f"{run.trainings[0].method} {settings['net']} {sizes}{frozen}"


def count_training(run: PlannedRun, images: int | None) -> float | None:
    """Count the operations of one training of a run over a number of images; None if unknown."""
    counts = _read().get(name_configuration(run))
    return None if counts is None or images is None else counts[0] * images


def count_prediction(run: PlannedRun, images: int | None) -> float | None:
    """Count the operations of predicting images with each of a run's trainings; 0 without a net, None if unknown."""
    if not (name := name_configuration(run)):
        return 0.0
    counts = _read().get(name)
    return None if counts is None or images is None else counts[1] * _count_views(run) * images * len(run.seeds)


def _count_views(run: PlannedRun) -> float:
    """Count the forward passes per image, in units of a pass at input size."""
    settings = dict(run.trainings[0].settings) | dict(run.prediction)
    if run.trainings[0].method != run.method.partition(":")[0]:
        return 1 + 2 * _count_explained(run)  # a backward pass for each class, which costs two
    side = float(settings.get("input_size", 224))
    sides = [float(one) for one in settings.get("test_scales", "").split("+") if one]
    scales = len(settings.get("scales", "").split("+")) if "max_proposals" in settings else 1
    views = sum(one**2 for one in sides) / side**2 if sides else float(scales)
    return views * (2 if settings.get("flip_test") == "true" else 1) + float(settings.get("test_crops", 0))


def _count_explained(run: PlannedRun) -> float:
    """Count the classes that an attribution explains in an image: those present in it, or all."""
    family = str(read_toml(registry.find_protocol_file(run.protocol))["family"]).replace("-", "_")
    text = (registry.ROOT / "protocols" / "scoring" / f"{family}.py").read_text(encoding="utf-8")
    return _SHOWN if "PRESENT_ONLY = True" in text else count_classes(run.dataset)


def count_classes(dataset: str) -> int:
    """Count the classes that a dataset has."""
    return CLASSES.get(dataset) or _OTHER_CLASSES.get(dataset, 20)


@cache
def _read() -> dict[str, list[float]]:
    return read_toml(FILE) if FILE.is_file() else {}
