"""TOML files that users write: read and checked in one place, so that all errors read alike."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from bench.core.files import require_regular_file
from bench.errors import BadFileError, UnknownNameError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises BadFileError if it cannot be read, or is no TOML."""
    try:
        return tomllib.loads(require_regular_file(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadFileError(path, f"not a readable file ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise BadFileError(path, f"not valid TOML: {error}") from None


def check_toml(path: Path, raw: dict[str, Any], model: type[Model]) -> Model:
    """Check the content of a file. Raises BadFileError with the key and the rule; unknown keys are reported first."""
    from pydantic import ValidationError

    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise BadFileError(path, _describe(error, model)) from None


def _describe(error: ValidationError, model: type[BaseModel]) -> str:
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    *table, key = [str(part) for part in first["loc"]] or [""]
    if first["type"] == "extra_forbidden":
        what = f"key of [{'.'.join(table)}]" if table else "key"
        return str(UnknownNameError(what, key, _list_keys(model, table)))
    rule = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] in ("missing", "value_error") else f", but got {first['input']!r:.80}"
    return f"{'.'.join([*table, key])}: {rule}{got}" if key else f"{rule}{got}"


def _list_keys(model: type[BaseModel], table: Sequence[str]) -> list[str]:
    """List the keys of a table of a model."""
    for part in table:
        if part in model.model_fields:
            model = _find_model(model.model_fields[part].annotation) or model
    return [*model.model_fields]


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """Find the model in an annotation, such as `dict[str, Model]`."""
    if hasattr(annotation, "model_fields"):
        model: type[BaseModel] = annotation
        return model
    return next(filter(None, map(_find_model, get_args(annotation))), None)
