"""Pickles of other people's arrays and tensors, read without executing any of their code.

Every name that a pickle of arrays may use is replaced by a stand-in of ours; all other names are refused. Numpy's and
torch's own functions are never called with the file's data, since a forged dtype can make them read stray memory.
Only the pickle instructions that plain data need are allowed, in the standard library's Python version: the C version
allocates as large a memo as a file claims to need, and both take for ever to hash deeply nested tuples.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.errors import BadFileError

_PLAIN_TYPE = re.compile(r"[biufSU]\d+")
_BROKEN = (
    pickle.UnpicklingError, AttributeError, EOFError, ImportError, IndexError, KeyError, MemoryError, OverflowError,
    RecursionError, TypeError, ValueError, struct.error,
)  # fmt: skip


def read_arrays(path: Path, start: int = 0) -> Any:
    """Read a pickle of arrays, tensors, numbers and text in lists, tuples and dicts; Python 2's too.

    start: where it begins in the file. An array or tensor is returned as `Array`; `Array.value` is its numpy array, or
    a list if it holds objects. Raises BadFileError for anything else, before any of it runs.
    """
    with path.open("rb") as file:
        file.seek(start)
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


class _Dict:
    """A stand-in for `OrderedDict`: a dict, of pairs if there are any."""

    def __new__(cls, pairs: Iterable[Any] = ()) -> Any:
        return {_check_key(key): value for key, value in pairs}


class _Storage:
    """A stand-in for the function that reads the numbers of a tensor, as `torch.save` once wrote them.

    They are five pickles (a magic number, a version, sizes of C's types, the storage, a list of storages), the count,
    and the numbers.
    """

    def __new__(cls, content: bytes) -> Any:
        file = io.BytesIO(content)
        parts = [_StorageReader(file, encoding="latin1").load() for _ in range(5)]
        (count,) = struct.unpack("<q", file.read(8))
        return np.frombuffer(file.read(), f"<{parts[3]}", count)


class _Tensor(Array):
    """A stand-in for the function that makes a tensor of a storage, which it must not leave."""

    def __init__(
        self, numbers: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
    ) -> None:
        if math.prod(shape) > len(numbers):
            raise pickle.UnpicklingError(f"a tensor of shape {shape} has no more than {len(numbers)} numbers")
        width = numbers.itemsize
        steps = [stride * width for stride in strides]
        self.value = np.ndarray(shape, numbers.dtype, numbers, offset * width, steps)  # which looks at the bounds


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): DType,
    ("numpy", "ndarray"): Array,
    ("_codecs", "encode"): _Encode,
    ("builtins", "bytes"): _NoBytes,
    ("__builtin__", "bytes"): _NoBytes,
    ("collections", "OrderedDict"): _Dict,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch.storage", "_load_from_bytes"): _Storage,
}
for _core in ("numpy.core", "numpy._core"):
    _STAND_INS[f"{_core}.multiarray", "_reconstruct"] = Array
    _STAND_INS[f"{_core}.multiarray", "scalar"] = _Scalar
    _STAND_INS[f"{_core}.numeric", "_frombuffer"] = _Buffer

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
}
"""Number types: torch's to numpy's."""

_PLAIN = (
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT",
    "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE", "BINBYTES", "BINBYTES8", "SHORT_BINBYTES", "BYTEARRAY8",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT",
    "GLOBAL", "STACK_GLOBAL", "GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINPERSID",
)  # fmt: skip
"""Instructions that make plain data, taken from the standard library."""


def _check_key(key: Any) -> Any:
    """Return a key of a dict. Raise UnpicklingError for a tuple: hashing nested ones may never end."""
    if not isinstance(key, str | bytes | int | float | None):
        raise pickle.UnpicklingError(f"a key of a dict must be text or a number, but got {type(key).__name__}")
    return key


def _load_dict(reader: Any) -> None:
    items = reader.pop_mark()
    reader.append(_Dict(zip(items[::2], items[1::2], strict=True)))


def _load_item(reader: Any) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    _set_items(reader, [key, value])


def _load_items(reader: Any) -> None:
    _set_items(reader, reader.pop_mark())


def _set_items(reader: Any, items: list[Any]) -> None:
    if not isinstance(into := reader.stack[-1], dict):
        raise pickle.UnpicklingError(f"{type(into).__name__} is no dict")
    into.update(_Dict(zip(items[::2], items[1::2], strict=True)))


def _load_call(reader: Any) -> None:
    arguments, called = reader.stack.pop(), reader.stack.pop()
    if not isinstance(called, type) or not isinstance(arguments, tuple):
        raise pickle.UnpicklingError(f"{type(called).__name__} is no function")
    reader.append(called(*arguments))


def _load_state(reader: Any) -> None:
    state, made = reader.stack.pop(), reader.stack[-1]
    if not isinstance(made, Array | DType):
        raise pickle.UnpicklingError(f"{type(made).__name__} has no state")
    made.__setstate__(state)


class _Reader(pickle._Unpickler):
    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **{code: pickle._Unpickler.dispatch[code] for (code,) in (getattr(pickle, name) for name in _PLAIN)},
        pickle.DICT[0]: _load_dict,
        pickle.SETITEM[0]: _load_item,
        pickle.SETITEMS[0]: _load_items,
        pickle.REDUCE[0]: _load_call,
        pickle.BUILD[0]: _load_state,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed") from None


class _StorageReader(_Reader):
    """Reads the pickles of a storage; a storage itself is read as its number type."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        kind, numbers, *_ = pid
        if kind != "storage" or numbers not in _STORAGES.values():
            raise pickle.UnpicklingError("it holds something else than numbers")
        return numbers
