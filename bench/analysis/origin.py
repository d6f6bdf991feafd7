"""Whether a published record agrees with the keys of its run.

The addresses of trainings and predictions are digests of keys, which hold the method, its settings, the seed, and
digests of weights and proposals. A published record holds the keys, so none of these can be edited alone. What no key
holds, such as times or the revision, can only be checked by making the result again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
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
    """Describe how a record disagrees with its keys; empty if it does not, or if its predictions are from no run.

    Without the method, if it is unknown here, settings are compared with the keys alone.
    """
    return next((objection for objection in _list_objections(result) if objection), "")


def _list_objections(result: Result) -> Iterator[str]:
    """Yield objections, including empty ones; a check may rely on all earlier ones having passed."""
    yield "" if _is_date(result.created) else f"created is {result.created[:40]!r}: expected a date and time"
    if not (result.made_from or result.training or "prediction" in result.seconds):  # scored from a file
        names = [name for name in ("config", "given", "variant", "transforms", "seed") if getattr(result, name)]
        yield f"it has {names[0]}, as runs have, but no predictions of a run" if names else ""
        return
    yield "" if result.tier is None else f"tier is {result.tier}, but a run is of this project's implementation"
    yield from (_check_key(result, name) for name in ("predictions", "training") if getattr(result, name) is not None)
    yield from _compare_fields(result)
    if result.method not in registry.methods():
        yield from _compare_settings(result, None)
        return
    try:
        cls = registry.method(result.method, result.config.get("base"))
        yield _check_variant(result, cls)
        yield from _compare_settings(result, cls)
    except (ValidationError, RequestError) as error:
        yield f"its settings are not those of {result.method}: {str(error).splitlines()[0]}"


def _is_date(text: str) -> bool:
    with suppress(ValueError):
        return bool(datetime.fromisoformat(text))
    return False


def _check_key(result: Result, name: str) -> str:
    key: Mapping[str, Any] | None = {**result.made_from}.get(name)  # type: ignore[call-overload]
    if key is None:
        return f"it does not hold what the address of its {name} was made of: publish it again"
    if digest(key) != getattr(result, name):
        return f"the key of its {name} is that of {digest(key)}, not of {getattr(result, name)}"
    return "" if isinstance(key.get("config"), Mapping) else f"the key of its {name} has no settings"


def _compare_fields(result: Result) -> Iterator[str]:
    """Compare the fields of a record other than its settings with its keys."""
    predictions, training = result.made_from["predictions"], result.made_from.get("training", _NONE)
    recorded = {"method": result.method, "training": result.training, "dataset": result.dataset}
    yield from (_compare(name, value, predictions.get(name)) for name, value in recorded.items())
    yield _compare("proposals_digest", result.proposals_digest, predictions.get("proposals"))
    if training:
        yield _compare("seed", result.seed, training.get("seed"))
        yield _compare("weights", result.weights, training["config"].get("weights"))


def _compare(name: str, recorded: object, keyed: object) -> str:
    return "" if recorded == keyed else f"{name} is {recorded}, but it was made with {keyed}"


def _check_variant(result: Result, cls: MethodClass) -> str:
    """Describe how a record's settings, except the given ones, differ from its variant's; empty if they do not."""
    if result.variant is None:
        return ""
    if result.variant not in cls.variants:
        return f"{result.method} has no variant {result.variant}"
    settings = {name: value for name, value in cls.variants[result.variant].items() if name not in (result.given or ())}
    usual = cls.Config.model_validate({**result.config, **settings}).model_dump(mode="json")
    changed = [name for name in settings if result.given is not None and result.config.get(name) != usual[name]]
    return f"{changed[0]} is not that of variant {result.variant}, and was not given" if changed else ""


def _compare_settings(result: Result, cls: MethodClass | None) -> Iterator[str]:
    """Compare the settings in a record with those in its keys, except files and prior runs, held there as digests."""
    recorded = use_former_names(result.config)
    addressed = _NONE if cls is None else _select_addressed(cls, result)
    apart = {"weights", "proposals", *FIELDS} | (set() if cls is None else cls.Config.files())
    for stage, key in result.made_from.items():
        keyed = key["config"]
        names = {**dict.fromkeys(keyed), **addressed.get(stage, {})}
        for name in names:
            is_digest = cls is None and isinstance(keyed.get(name), str) and len(keyed[name]) == len(result.address)
            if name not in recorded and name in keyed and name not in apart:
                yield f"it does not say {name}, but it was made with {keyed[name]}"
            elif name in recorded and name not in apart and not is_digest:
                yield _compare(name, recorded[name], keyed.get(name))


def _select_addressed(cls: MethodClass, result: Result) -> dict[str, dict[str, Any]]:
    """Select the settings that the keys of a record's predictions and training must hold."""
    config = cls.Config.model_validate(result.config)
    learner = getattr(cls, "Base", cls)
    trained = {k: v for k, v in config.select_addressed("training").items() if k in learner.Config.model_fields}
    return {
        "predictions": use_former_names(config.select_addressed("prediction")),
        "training": use_former_names(trained),
    }
