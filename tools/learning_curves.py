"""Learning curves on photographs: CorLoc against seconds of training, for `docs/measured.md`.

    python -m tools.learning_curves --data-root DATA --runs RUNS --weights squeezenet_v1_0_imagenet.npz

Each method is trained on cached features twice, as they are and standardised, and evaluated after some epochs. As the
cache changes no result, the first curve is also that of a training without it; its seconds are those of an epoch
without the cache, which is timed, times the epochs. Writes `docs/learning-curves.json`, and a picture beside it.
"""

from __future__ import annotations

import json
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
"""The settings of docs/measured.md, but for WSDDN's released temperature, and a quarter of OICR's rate there."""


@click.command()
@click.option("--data-root", type=click.Path(path_type=Path), required=True)
@click.option("--runs", type=click.Path(path_type=Path), required=True)
@click.option("--weights", required=True)
@click.option("--split", default="train_subset", show_default=True)
def main(data_root: Path, runs: Path, weights: str, split: str) -> None:
    """Train, evaluate and draw."""
    places = Places(runs, data_root)
    curves = [
        measure_curve(places, method, {**settings, "weights": weights}, split, norm)
        for method, settings in METHODS.items()
        for norm in ("none", "standard")
    ]
    write_json(DOCS / "learning-curves.json", curves)
    draw_curves(curves, DOCS / "learning-curves.svg")


def measure_curve(places: Places, method: str, settings: dict[str, str], split: str, norm: str) -> dict[str, Any]:
    """Measure the value after each of `EPOCHS`, and the seconds of training until then, with and without the cache."""
    snapshots = "+".join(map(str, EPOCHS[:-1]))
    protocol, whole = registry.protocol("voc07-corloc"), {**COMMON, **settings, "feature_norm": norm}
    request = Request(method, protocol, split=split, train_split=split)
    steps = [
        replace(request, settings={**whole, "snapshots": snapshots, "checkpoint_epoch": str(epoch % EPOCHS[-1])})
        for epoch in EPOCHS
    ]
    results = run(steps, places, threads=1).results
    cached = [epoch["seconds"] for epoch in read_history(places, results[0].training or "")]
    live = time_live_epoch(places, replace(request, settings={**whole, "epochs": "1"})) if norm == "none" else None
    return {
        "method": method,
        "feature_norm": norm,
        "epochs": list(EPOCHS),
        "corloc": [100 * (result.metrics["CorLoc"] or 0) for result in results],
        "seconds": [sum(cached[:epoch]) for epoch in EPOCHS],
        "live_seconds": [live * epoch for epoch in EPOCHS] if live else None,
    }


def time_live_epoch(places: Places, request: Request) -> float:
    """Train for an epoch without the cache; return its seconds."""
    from bench.training.device import pick_device

    device, store = pick_device("cpu"), Store(places)
    resolved = resolve_request(request, DatasetCache(places), device=device, threads=1).prepare()
    train(resolved, ExecutionOptions(store, device, workers=1, progress=SILENT, cache=2 << 30, features=None))
    (epoch,) = read_history(places, resolved.training.address if resolved.training else "")
    return float(epoch["seconds"])


def read_history(places: Places, training: str) -> list[dict[str, float]]:
    """Read the log of a training, an epoch a line."""
    log = Store(places).training_folder(training) / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()]


def draw_curves(curves: list[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each method: features as they are, live; standardised, cached."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "weakloc"
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(METHODS), figsize=(14, 3.2), sharey=True, layout="constrained")
    for axis, method in zip(axes, METHODS, strict=True):
        for curve in (curve for curve in curves if curve["method"] == method):
            is_standard = curve["feature_norm"] == "standard"
            seconds = curve["seconds" if is_standard else "live_seconds"]
            axis.plot(seconds, curve["corloc"], "o-", label="standardised, cached" if is_standard else "as it is, live")
        axis.set(title=method, xscale="log", xlabel="seconds of training")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("CorLoc, per cent")
    axes[0].legend()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
