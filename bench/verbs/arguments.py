"""Checks of the arguments of functions of `bench.api`: a type other than the annotated one is a RequestError."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

from bench.errors import RequestError, escape_text

P = ParamSpec("P")
R = TypeVar("R")


def _is_result(value: object) -> bool:
    from bench.records.result import Result

    return isinstance(value, Result)


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _is_several(of: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return a check of several values; those of an iterator are only checked when used."""

    def is_several(value: object) -> bool:
        if isinstance(value, list | tuple | set | frozenset):
            return all(map(of, value))
        return isinstance(value, Iterable) and not isinstance(value, str)

    return is_several


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


_TYPES: dict[str, tuple[str, Callable[[object], bool]]] = {
    "None": ("None", lambda value: value is None),
    "str": ("text", _is_text),
    "bool": ("True or False", lambda value: isinstance(value, bool)),
    "int": ("a whole number", _is_number),
    "float": ("a number", lambda value: isinstance(value, Real) and not isinstance(value, bool)),
    "Folder": ("a path", _is_path),
    "Names": ("a name or several", lambda value: _is_text(value) or _is_several(_is_text)(value)),
    "Sequence[Folder]": ("several paths", _is_several(_is_path)),
    "Iterable[int]": ("several whole numbers", _is_several(_is_number)),
    "Mapping[str, Any]": ("a dict of names to values", _is_mapping),
    "Result": ("a result", _is_result),
    "OnProgress": ("a function", callable),
}
"""By annotation, the expectation in words and its check; other annotations are checked where values are used."""


def check_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function raise RequestError for an argument that does not match its annotation."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            check_argument(function.__name__, name, value, str(signature.parameters[name].annotation))
        return function(*args, **kwargs)

    return checked


def check_argument(function: str, name: str, value: Any, annotation: str) -> None:
    """Raise RequestError for a value that is not of an annotation's types.

    >>> check_argument("load_model", "run", 5, "str | Result")
    Traceback (most recent call last):
    bench.errors.RequestError: load_model: run is 5, but expected text or a result.
    """
    kinds = annotation.split(" | ")
    if not {*kinds} <= {*_TYPES} or any(_TYPES[kind][1](value) for kind in kinds):
        _check_least(function, name, value)
        return
    expected = " or ".join(_TYPES[kind][0] for kind in kinds if kind != "None")
    raise RequestError(f"{function}: {name} is {escape_text(repr(value), 80)}, but expected {expected}.")


_LEAST = {"seed": 0, "threads": 1, "workers": 0, "cache": 0, "images": 1}
"""The minimum of numeric arguments, as of the command-line options of the same names."""


def _check_least(function: str, name: str, value: Any) -> None:
    """Raise RequestError for a number below the minimum of an argument."""
    numbers = value if isinstance(value, list | tuple | set | frozenset) else [value]
    below = [one for one in numbers if name in _LEAST and _is_number(one) and one < _LEAST[name]]
    if below:
        raise RequestError(f"{function}: {name} is {below[0]}, but expected at least {_LEAST[name]}.")
