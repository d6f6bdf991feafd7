"""Prediction: one pass over a split's photographs for all requested kinds; a killed run resumes where it stopped.

Images are predicted in parts of `PART` (see `prediction_parts`); `map_inference` and `proposal_inference` compute what
is written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pyarrow as pa
import torch

from bench.core.progress import SILENT, Progress
from bench.method import MapConfig, MapMethod, ProposalConfig, ProposalMethod, TrainedConfig
from bench.predictions.table import FOLDERS, About
from bench.training import process_group
from bench.training.device import place, use_deterministic_algorithms
from bench.training.feature_cache import ImageView
from bench.training.map_inference import list_map_views, predict_from_maps
from bench.training.prediction_parts import Made, Parts, Split
from bench.training.proposal_inference import list_proposal_views, predict_from_proposals

__all__ = ["PART", "VERSION", "Split", "Tables", "predict", "predict_part"]

VERSION = 1
"""Bumped by hand whenever the same weights would predict something else."""

PART = 64

Tables = dict[str, pa.Table]


def predict(
    method: MapMethod | ProposalMethod,
    split: Split,
    kinds: Sequence[str],
    folder: Path,
    *,
    device: torch.device,
    workers: int = 0,
    progress: Progress = SILENT,
    check: Callable[[], None] = lambda: None,
) -> tuple[Tables, dict[str, float]]:
    """Return tables of the kinds for the whole split, and their cost; parts already in `folder` are reused.

    Kinds that are folders are left complete in `folder`/parts. With several processes, each computes some of the parts;
    the first writes them all and alone returns tables. `check` raises if this process may no longer publish.
    Raises RunError for values that are not finite, BadFileError for a photograph that cannot be read.
    """
    place(method, device)
    method.eval()
    begin, total = time.monotonic(), len(split.truth.ids)
    parts = [range(start, min(start + PART, total)) for start in range(0, total, PART)]
    kept = Parts(folder, About(method.name, split.truth.dataset, split.truth.split), split.truth.ids)
    todo = process_group.broadcast([rows for rows in parts if not all(kept.is_done(kind, rows) for kind in kinds)])
    images = sum(map(len, todo))
    if todo and split.features is not None:
        split.features.fill(_list_views(method.config))
    with (
        use_deterministic_algorithms(device),
        torch.inference_mode(),
        progress.task(f"Predicting with {method.name}", total, start=total - images) as step,
    ):
        for turn in range(0, len(todo), process_group.size()):
            each = todo[turn : turn + process_group.size()]
            own = each[process_group.rank() :][:1]
            mine = [predict_part(method, split, kinds, rows, device, workers) for rows in own]
            for rows, (made,) in zip(each, process_group.gather(mine), strict=False):
                check()
                for kind in kinds:
                    kept.write(kind, rows, made[kind])
                step(len(rows))
    seconds = time.monotonic() - begin
    took = {"images": float(images), "seconds": seconds, "images_per_second": images / seconds if images else 0.0}
    whole = [kind for kind in kinds if kind not in FOLDERS] if process_group.is_main() else []
    return {kind: kept.table(kind, parts) for kind in whole}, took


def _list_views(config: TrainedConfig) -> list[ImageView]:
    return (
        list_map_views(config) if isinstance(config, MapConfig) else list_proposal_views(cast("ProposalConfig", config))
    )


def predict_part(
    method: MapMethod | ProposalMethod,
    split: Split,
    kinds: Sequence[str],
    rows: range,
    device: torch.device,
    workers: int,
) -> Made:
    """Predict the kinds for some images of a split."""
    if isinstance(method, MapMethod):
        return predict_from_maps(method, split, kinds, rows, device, workers)
    return predict_from_proposals(method, split, kinds, rows, device, workers)
