"""Whether a published record says of its method and settings what its addresses were made of.

The address of a training and that of predictions are digests of keys, which hold the method, its settings, the seed and
digests of weights and data. A published record holds the keys, so nothing in it can be edited by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench import registry
from bench.core.files import digest
from bench.core.setting_names import use_former_names
from bench.errors import RequestError
from bench.predictions.prior_runs import FIELDS

if TYPE_CHECKING:
    from bench.recipe import MethodClass
    from bench.records.result import Result

_NONE: Mapping[str, Any] = {}


def find_forgery(result: Result) -> str:
    """Say in what a record differs from what its predictions were made from; empty if in nothing, or if not by a run.

    The settings of a method that is not known here are compared with the keys alone.
    """
    if result.training is None and "prediction" not in result.seconds:
        return ""  # scored from a file
    for name in ("predictions", *(["training"] if result.training is not None else [])):
        key = result.keys.get(name)  # type: ignore[call-overload]
        if key is None:
            return f"it does not hold what the address of its {name} was made of: publish it again"
        if digest(key) != getattr(result, name):
            return f"the key of its {name} is that of {digest(key)}, not of {getattr(result, name)}"
    return next((objection for objection in _list_objections(result) if objection), "")


def _list_objections(result: Result) -> list[str]:
    predictions, training = result.keys["predictions"], result.keys.get("training", _NONE)
    said = {"method": result.method, "training": result.training, "dataset": result.dataset}
    trained = {"seed": result.seed, "weights": result.weights}
    keys = {**training, "weights": training.get("config", _NONE).get("weights")}
    return [
        *(_compare(name, value, predictions.get(name)) for name, value in said.items()),
        *(_compare(name, value, keys.get(name)) for name, value in trained.items() if training),
        _compare("proposals_digest", result.proposals_digest, predictions.get("proposals")),
        *_compare_settings(result),
    ]


def _compare(name: str, said: object, made: object) -> str:
    return "" if said == made else f"{name} is {said}, but it was made with {made}"


def _compare_settings(result: Result) -> list[str]:
    """Compare the settings that a record says with those in its keys, under their names of today."""
    made: dict[str, Mapping[str, Any]] = {stage: key.get("config", _NONE) for stage, key in result.keys.items()}
    if result.method not in registry.methods():
        said = {stage: _select_present(result.config, settings) for stage, settings in made.items()}
        apart: set[str] = {"weights"}
    else:
        try:
            cls = registry.method(result.method, result.config.get("base"))
            said = _select_addressed(cls, result)
        except (ValidationError, RequestError) as error:
            return [f"its settings are not those of {result.method}: {str(error).splitlines()[0]}"]
        apart = cls.Config.files() | {"proposals", *FIELDS}  # the keys have their digests
    objections = []
    for stage, settings in made.items():
        names = [name for name in {**said[stage], **settings} if name not in apart]
        objections += [_compare(name, said[stage].get(name), settings.get(name)) for name in names]
    return objections


def _select_present(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    former = use_former_names(config)
    return {name: former[name] for name in settings if name in former}


def _select_addressed(cls: MethodClass, result: Result) -> dict[str, dict[str, Any]]:
    """Return the settings that a record's keys must hold, by what they are keys of."""
    config = cls.Config.model_validate(result.config)
    learner = getattr(cls, "Base", cls)
    trained = {k: v for k, v in config.select_addressed("training").items() if k in learner.Config.model_fields}
    return {
        "predictions": use_former_names(config.select_addressed("prediction")),
        "training": use_former_names(trained),
    }
