"""Pickles of other people's arrays, read without executing any of their code.

Every name that a pickle of arrays may use is replaced by a stand-in of ours; all other names are refused. Numpy's
own functions are never called with the file's data, since a forged dtype can make them read stray memory.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import BadFileError

_PLAIN_TYPE = re.compile(r"[biufSU]\d+")
_BROKEN = (
    pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError, MemoryError, OverflowError,
    TypeError, ValueError,
)  # fmt: skip


def read_arrays(path: Path) -> Any:
    """Read a pickle of arrays, numbers and text in lists, tuples and dicts; Python 2's too.

    An array is returned as `Array`; `Array.value` is its numpy array, or a list if it holds objects. Raises
    BadFileError for anything else, before any of it runs.
    """
    with path.open("rb") as file:
        try:
            return _Reader(file, encoding="latin1").load()
        except _BROKEN as error:
            raise BadFileError(path, f"not a pickle of plain arrays ({type(error).__name__}: {error})") from None


class DType:
    """A stand-in for `numpy.dtype`: numbers, fixed-length text, or objects."""

    code, order = "", "="

    def __init__(self, code: str, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="

    def numpy(self) -> np.dtype[Any]:
        """Return the numpy type; only types of plain values are allowed."""
        if not isinstance(self.code, str) or not _PLAIN_TYPE.fullmatch(self.code):
            raise pickle.UnpicklingError(f"arrays of type {self.code!r} are not allowed")
        return np.dtype(self.order + self.code)


class Array:
    """A stand-in for `numpy.ndarray`, and for the function that pickles call to make an empty one."""

    value: Any = ()

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if isinstance(content, list):
            self.value = content
            return
        raw = content.encode("latin1") if isinstance(content, str) else content
        self.value = np.frombuffer(raw, dtype.numpy()).reshape(shape, order="F" if fortran else "C")


class _Buffer(Array):
    """A stand-in for the function that pickles of protocol 5 call to make an array."""

    def __init__(self, content: bytes, dtype: DType, shape: tuple[int, ...], order: str) -> None:
        self.value = np.frombuffer(content, dtype.numpy()).reshape(shape, order="F" if order == "F" else "C")


class _Scalar:
    """A stand-in for the function that makes one number."""

    def __new__(cls, dtype: DType, content: bytes | str) -> Any:
        raw = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(raw, dtype.numpy())[0].item()

    __setstate__ = None


class _Encode:
    """A stand-in for `_codecs.encode`, by which Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str, encoding: str) -> Any:
        return str.encode(text, "latin1")

    __setstate__ = None


class _NoBytes:
    """A stand-in for `bytes`, which old protocols call, without arguments, for an empty one."""

    def __new__(cls) -> Any:
        return b""

    __setstate__ = None


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): DType,
    ("numpy", "ndarray"): Array,
    ("_codecs", "encode"): _Encode,
    ("builtins", "bytes"): _NoBytes,
    ("__builtin__", "bytes"): _NoBytes,
    ("collections", "OrderedDict"): OrderedDict,
}
for _core in ("numpy.core", "numpy._core"):
    _STAND_INS[f"{_core}.multiarray", "_reconstruct"] = Array
    _STAND_INS[f"{_core}.multiarray", "scalar"] = _Scalar
    _STAND_INS[f"{_core}.numeric", "_frombuffer"] = _Buffer


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed") from None
