"""Learning curves on photographs: CorLoc against seconds of training, for `docs/measured.md`.

    python -m tools.learning_curves --data-root DATA --runs RUNS --weights squeezenet_v1_0_imagenet.npz

Each method is trained on cached features twice, unchanged and standardised, and evaluated after some epochs. As the
cache changes no result, the first curve also holds for a training without it. At the end, when nothing else should run,
an epoch of each is timed, the first without the cache. Writes `docs/learning-curves.json`, and a plot of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bench import registry
from bench.core.files import Places, write_json
from bench.core.progress import SILENT
from bench.execution.pipeline import ExecutionOptions, run, train
from bench.execution.resolve import DatasetCache, Request, resolve_request
from bench.records.store import Store

DOCS = registry.ROOT / "docs"
EPOCHS = (1, 2, 4, 8, 12)
TIMED = 99
"""The seed of the timed trainings, which none of the others has used."""
COMMON = {"net": "squeezenet", "freeze_backbone": "true", "epochs": str(EPOCHS[-1]), "lr_drop": "1"}
REGIONS = {"input_size": "480", "head_lr_multiplier": "1"}
MAPS = {"input_size": "320"}
METHODS: dict[str, dict[str, str]] = {
    "wsddn": {**REGIONS, "lr": "0.002", "reduction": "sum", "temperature": "2"},
    "oicr": {**REGIONS, "lr": "0.01"},
    "melm:base+clique": {**REGIONS, "lr": "0.0001", "tau": "0.1"},
    "cam": {**MAPS, "lr": "0.001"},
    "weldon": {**MAPS, "lr": "0.0003"},
}
"""The settings of docs/measured.md, except WSDDN's released temperature, and a quarter of OICR's rate there."""


@click.command()
@click.option("--data-root", type=click.Path(path_type=Path), required=True)
@click.option("--runs", type=click.Path(path_type=Path), required=True)
@click.option("--weights", required=True)
@click.option("--split", default="train_subset", show_default=True)
@click.option("--method", "methods", multiple=True, type=click.Choice(list(METHODS)), default=list(METHODS))
def main(data_root: Path, runs: Path, weights: str, split: str, methods: tuple[str, ...]) -> None:
    """Train, evaluate and draw."""
    places = Places(runs, data_root)
    curves = [
        {"method": method, "feature_norm": norm, "epochs": list(EPOCHS), "corloc": corloc}
        for method in methods
        for norm in ("none", "standard")
        for corloc in [measure_values(places, make_request(method, norm, weights, split))]
    ]
    for curve in curves:
        norm = str(curve["feature_norm"])
        request = make_request(str(curve["method"]), norm, weights, split)
        epoch = time_epoch(places, request, is_cached=norm == "standard")
        curve["seconds"] = [round(epoch * number, 1) for number in EPOCHS]
    write_json(DOCS / "learning-curves.json", curves)
    draw_curves(methods, curves, DOCS / "learning-curves.svg")


def make_request(method: str, norm: str, weights: str, split: str) -> Request:
    """Return the request of a method's whole training."""
    settings = {**COMMON, **METHODS[method], "weights": weights, "feature_norm": norm}
    return Request(method, registry.protocol("voc07-corloc"), settings=settings, split=split, train_split=split)


def measure_values(places: Places, request: Request) -> list[float]:
    """Measure CorLoc, in per cent, after each of `EPOCHS`."""
    whole = {**request.settings, "snapshots": "+".join(map(str, EPOCHS[:-1]))}
    steps = [
        replace(request, settings={**whole, "checkpoint_epoch": str(epoch % EPOCHS[-1])})  # 0: the last one
        for epoch in EPOCHS
    ]
    return [round(100 * (result.metrics["CorLoc"] or 0), 1) for result in run(steps, places, threads=1).results]


def time_epoch(places: Places, request: Request, *, is_cached: bool) -> float:
    """Train for an epoch; return its seconds, without the time for storing features."""
    from bench.training.device import pick_device

    once = replace(request, seed=TIMED, settings={**request.settings, "epochs": "1"})
    device, store = pick_device("cpu"), Store(places)
    resolved = resolve_request(once, DatasetCache(places), device=device, threads=1).prepare()
    features = places.cache / "features" if is_cached else None
    train(resolved, ExecutionOptions(store, device, workers=1, progress=SILENT, cache=2 << 30, features=features))
    log = store.training_folder(resolved.training.address if resolved.training else "") / "log.jsonl"
    return float(json.loads(log.read_text())["seconds"])


def draw_curves(methods: Sequence[str], curves: list[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each method: features as they are, live; standardised, cached."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "weakloc"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(methods), figsize=(14, 3.2), squeeze=False, sharey=True, layout="constrained")
    for axis, method in zip(axes[0], methods, strict=True):
        for curve in (curve for curve in curves if curve["method"] == method):
            label = "standardised, cached" if curve["feature_norm"] == "standard" else "as they are, live"
            axis.plot(curve["seconds"], curve["corloc"], "o-", label=label)
        axis.set(title=method, xscale="log", xlabel="seconds of training")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("CorLoc, per cent")
    axes[0, 0].legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
