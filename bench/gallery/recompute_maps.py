"""Maps of a run made again, from the weights that the runs folder keeps: for pictures, of a few images."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from bench import registry
from bench.core.files import read_json
from bench.core.setting_names import use_current_names
from bench.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bench.config import BaseConfig
    from bench.data.dataset import Dataset
    from bench.data.ground_truth import GroundTruth
    from bench.records.result import Result
    from bench.records.store import Store


def recompute_maps(
    result: Result, store: Store, dataset: Dataset, truth: GroundTruth
) -> dict[tuple[str, str], NDArray[np.floating]]:
    """Compute maps by image and class for all images of a ground truth; empty for a method without maps.

    Raises RequestError where weights or settings are not kept, or settings name files that are known by digest alone.
    """
    import torch

    from bench.method import Attribution, MapMethod, Task
    from bench.training import checkpoint
    from bench.training.inputs import Images
    from bench.training.loop import build
    from bench.training.map_inference import predict_from_maps
    from bench.training.prediction_parts import Drawn, Split

    if result.training is None or not truth.ids:
        return {}
    learned = store.training_folder(result.training)
    if not checkpoint.done_path(learned).is_file():
        raise RequestError(f"the weights of training {result.training} are not kept here.")
    method, base = result.method, read_json(learned / "config.json")["method"]
    cls, _ = registry.parse(method, {"base": base} if method != base else {})
    if not issubclass(cls, MapMethod):
        return {}
    try:
        config = cls.Config.model_validate(_settings(result, store, cls.Config))
    except ValidationError as error:
        raise RequestError(f"its settings do not fit here ({error.errors()[0]['msg']}).") from None
    net = build(cls, config, Task(dataset.name, dataset.classes), result.seed or 0)
    learner = net.base if isinstance(net, Attribution) else net
    if read_json(learned / "config.json")["config"].get("weights") != "none":
        for module in list(learner.modules()):  # what loading the initial weights does beside setting parameters
            if isinstance(assume := getattr(module, "assume_pretrained", None), MethodType):
                assume()
    checkpoint.load_weights(learned, learner, net.config.checkpoint_epoch)
    net.eval()  # not before: an attribution may fold what was loaded
    with torch.inference_mode():
        split, rows = Split(truth, Images(dataset)), range(len(truth.ids))
        made = predict_from_maps(net, split, ["maps"], rows, torch.device("cpu"), 0)
    maps = cast("Drawn", made["maps"])
    return dict(zip(zip(maps.images, maps.labels or (), strict=True), maps.arrays, strict=True))


def _settings(result: Result, store: Store, config: type[BaseConfig]) -> dict[str, Any]:
    """Return the settings of a run without its initial weights, since the learned ones are loaded."""
    training = read_json(store.training_folder(cast("str", result.training)) / "config.json")["config"]
    prediction = read_json(store.predictions_folder(result.predictions) / "config.json")["config"]
    chosen = {**training, **prediction, "weights": "none"}
    current = config.list_implied() | use_current_names(chosen, config.model_fields)
    return {key: value for key, value in current.items() if key in config.model_fields}
