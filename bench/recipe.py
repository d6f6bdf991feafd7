"""Combine defaults, recipes, a variant and the user's settings into a config; every value knows its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from bench.core.setting_names import current_name, use_current_names
from bench.errors import RequestError, UnknownNameError
from bench.paper_recipe import find_recipe

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from bench.method import BaseConfig, Method, Predictor

    MethodClass = type[Method] | type[Predictor]

DEFAULT, PAPER, USER = "default", "recipe paper", "your setting"


@dataclass(frozen=True)
class ResolvedSetting:
    """The value of a config field and what set it."""

    value: Any
    origin: str


def settle(
    cls: MethodClass,
    variant: str | None,
    *,
    dataset: str,
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    paper: bool = False,
) -> dict[str, ResolvedSetting]:
    """Return the value of every config field; later layers override earlier ones:

    default, the dataset's recipe (only fields of this method), the method's recipe for the dataset, its recipe `paper`
    if requested, variant, user.
    Raises UnknownNameError for a field or variant that the method does not have, and RequestError for a setting that
    its kind of method cannot have, for one given under both its former and its present name, and for a method without a
    recipe `paper`.
    """
    fields = cls.Config.model_fields
    if variant is not None and variant not in cls.variants:
        raise UnknownNameError(f"variant of {cls.name}", variant, cls.variants)
    layers = {
        DEFAULT: {key: info.get_default(call_default_factory=True) for key, info in fields.items()},
        f"recipe of {dataset}": {key: value for key, value in recipe.items() if current_name(key, fields) in fields},
        f"recipe of {cls.name} for {dataset}": cls.recipes.get(dataset, {}),
        PAPER: _list_paper_settings(cls.name, dataset) if paper else {},
        f"variant {variant}": cls.variants[variant] if variant is not None else {},
        USER: settings,
    }
    settled: dict[str, ResolvedSetting] = {}
    for origin, layer in layers.items():
        for key, value in use_current_names(layer, fields).items():
            if key not in fields:
                if reason := cls.Config.ABSENT.get(key):
                    raise RequestError(f"{cls.name} has no setting {key}: {reason}.")
                hint = f"python -m bench show {cls.name}"
                raise UnknownNameError(f"config field of {cls.name}", key, fields, hint=hint)
            settled[key] = ResolvedSetting(_parse_value(fields[key], value), origin)
    return settled


def _list_paper_settings(method: str, dataset: str) -> dict[str, Any]:
    return {key: setting.value for key, setting in find_recipe(method).get_settings(dataset).items()}


def configure(
    cls: MethodClass,
    variant: str | None,
    *,
    dataset: str,
    recipe: Mapping[str, Any],
    settings: Mapping[str, Any],
    paper: bool = False,
) -> BaseConfig:
    """Build the config of `settle`'s values. Raises as `settle`, `make_config` and `refuse_idle`."""
    settled = settle(cls, variant, dataset=dataset, recipe=recipe, settings=settings, paper=paper)
    config = make_config(cls, settled)
    refuse_idle(cls, config, settled)
    return config


def make_config(cls: MethodClass, settings: Mapping[str, ResolvedSetting]) -> BaseConfig:
    """Build and check a config; strings are converted to the field's type, `480+576` to a tuple.

    Raises RequestError naming the setting, its value and what is allowed.
    """
    from pydantic import ValidationError

    try:
        config = cls.Config(**{key: setting.value for key, setting in settings.items()})
    except ValidationError as error:
        first = error.errors()[0]
        rule = first["msg"].removeprefix("Value error, ")
        key = str(first["loc"][0]) if first["loc"] else ""
        if key not in settings:
            raise RequestError(f"{cls.name}: {rule}.") from None
        setting = settings[key]
        shown = f"{key}={_format_value(setting.value)} ({setting.origin})"
        raise RequestError(f"{cls.name}: {shown} is not allowed: {rule}.") from None
    return config


def refuse_idle(cls: MethodClass, config: BaseConfig, settings: Mapping[str, ResolvedSetting]) -> None:
    """Raise RequestError for a user's setting that has no effect in combination with the others, whatever their origin.

    A setting with its default, or with its value from before it could be set, is the same as none, and is allowed.
    """
    implied = config.list_implied()
    for key, need in config.list_idle().items():
        value, default = getattr(config, key), cls.Config.model_fields[key].default
        if key in settings and settings[key].origin == USER and value not in (default, implied.get(key, default)):
            shown = f"{key}={_format_value(value)}"
            raise RequestError(f"{cls.name}: {shown} has an effect only with {need}. Change that, or leave {key} out.")


def _parse_value(info: FieldInfo, value: Any) -> Any:
    """Convert strings that pydantic does not read: tuples joined by `+`, numbers among choices, and `none`."""
    if not isinstance(value, str):
        return value
    if get_origin(info.annotation) is Literal:
        return {str(choice): choice for choice in get_args(info.annotation)}.get(value, value)
    if get_origin(info.annotation) is tuple:
        return tuple(part for part in value.split("+") if part)
    if value.lower() == "none" and type(None) in get_args(info.annotation):
        return None
    return value


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
