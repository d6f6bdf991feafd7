"""A run's maps of a few images, recomputed for pictures from the weights in the runs folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bench import registry
from bench.core.files import read_object

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.data.dataset import Dataset
    from bench.data.ground_truth import GroundTruth
    from bench.records.result import Result
    from bench.records.store import Store


def recompute_maps(
    result: Result, store: Store, dataset: Dataset, truth: GroundTruth
) -> dict[tuple[str, str], NDArray[np.floating]]:
    """Compute maps by image and class for all images of a ground truth; empty for a method without maps.

    Raises RequestError if weights or settings were not kept, or settings name files that are known only by digest.
    """
    if result.training is None or not truth.ids:
        return {}
    import torch

    from bench.execution.trained import load_method
    from bench.method import MapMethod, Task
    from bench.training.inputs import Images
    from bench.training.map_inference import predict_from_maps
    from bench.training.prediction_parts import Drawn, Split

    if not issubclass(registry.method(result.method), MapMethod):
        return {}
    prediction = read_object(store.predictions_folder(result.predictions) / "config.json", "config")["config"]
    task = Task(dataset.name, dataset.classes)
    method = cast("MapMethod", load_method(store, result.training, result.method, prediction, task))
    with torch.inference_mode():
        split, rows = Split(truth, Images(dataset)), range(len(truth.ids))
        predicted = predict_from_maps(method, split, ["maps"], rows, torch.device("cpu"), 0)
    maps = cast("Drawn", predicted["maps"])
    return dict(zip(zip(maps.images, maps.labels or (), strict=True), maps.arrays, strict=True))
