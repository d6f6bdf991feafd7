from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.safe_pickle import Array, read_arrays
from bench.errors import BadFileError


def saved(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=">i2").reshape(3, 4)),
        np.arange(24, dtype=np.uint16).reshape(2, 3, 4)[:, ::2],
        np.array(["000005", "000007"]),
        np.zeros((0, 4)),
    ],
    ids=["float32", "fortran big-endian", "strided", "text", "empty"],
)
def test_arrays_come_back_equal_under_every_protocol(tmp_path: Path, array: np.ndarray, protocol: int) -> None:
    found = read_arrays(saved(tmp_path / "a.pkl", {"boxes": [array]}, protocol))["boxes"][0]
    assert isinstance(found, Array)
    assert found.value.dtype == array.dtype
    assert np.array_equal(found.value, array)


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_text_and_containers_come_back_equal(tmp_path: Path, protocol: int) -> None:
    value = OrderedDict(a=[1, 2.5, "x", b"y", None, True], b=(3, {"c": 4}))
    assert read_arrays(saved(tmp_path / "a.pkl", value, protocol)) == value
    assert read_arrays(saved(tmp_path / "a.pkl", [np.float32(1.5), np.int64(7)], protocol)) == [1.5, 7]


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8"])
def test_tensors_come_back_equal(tmp_path: Path, dtype: str, protocol: int) -> None:
    whole = torch.arange(24, dtype=getattr(torch, dtype)).reshape(4, 6)
    views = [whole, whole.T, whole[1:3, ::2], whole[0, 0], whole[:0]]
    found = read_arrays(saved(tmp_path / "a.pkl", {"cams": views}, protocol))["cams"]
    for one, view in zip(found, views, strict=True):
        assert one.value.dtype == dtype
        assert np.array_equal(one.value, view.numpy())


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (5,), (1,)), (2, (3,), (1,)), (0, (2,), (4,)), (0, (2,), (-1,)), (-1, (1,), (1,)), (0, (99, 99), (0, 0))],
)
def test_a_tensor_that_leaves_its_storage_is_refused(tmp_path: Path, offset: int, size: Any, stride: Any) -> None:
    rebuild, (storage, *_) = torch.arange(4.0).__reduce_ex__(2)
    call = Call(rebuild, storage, offset, size, stride, False, OrderedDict())
    with pytest.raises(BadFileError, match="not a pickle of plain arrays"):
        read_arrays(saved(tmp_path / "a.pkl", call))


@pytest.mark.parametrize(
    "content",
    [
        b"}(" + b")" + b"2\x86" * 60 + b"K\x01u.",  # a key of 2**60 tuples, which are two
        b"(" + b")" + b"\x85" * 10**5 + b"K\x01d.",  # a key a hundred thousand tuples deep
        b"ccollections\nOrderedDict\n(((" + b")" + b"2\x86" * 60 + b"K\x01lltR.",
    ],
    ids=["nested", "deep", "ordered"],
)
def test_a_key_that_nests_tuples_is_refused_before_it_is_hashed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match="a key of a dict must be text or a number, but got tuple"):
        read_arrays(path)


def test_a_place_in_memory_that_a_file_names_takes_none(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"K\x01r\xff\xff\xff\xff(d.")  # 1 is remembered at place 2**32 - 1
    assert read_arrays(tmp_path / "a.pkl") == {}


def test_arrays_of_objects_come_as_lists(tmp_path: Path) -> None:
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.zeros((1, 4)), np.zeros((2, 4))]
    found = read_arrays(saved(tmp_path / "a.pkl", ragged))
    assert [one.value.shape for one in found.value] == [(1, 4), (2, 4)]


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I2\ntcnumpy\ndtype\n(S'i2'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x01\\x00\\xff\\x7f'\ntb."
    )
    assert read_arrays(path).value.tolist() == [1, 32767]


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.answer = (function, arguments)

    def __reduce__(self) -> Any:
        return self.answer


def forged(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls module.name(argument), whether or not that exists here."""
    return f"c{module}\n{name}\n(S{argument!r}\ntR.".encode()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_call_of_the_system_is_refused_and_not_made(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "proof"
    for call in (Call(os.system, f"touch {proof}"), Call(subprocess.check_call, ["touch", str(proof)])):
        with pytest.raises(BadFileError, match="not allowed"):
            read_arrays(saved(tmp_path / "a.pkl", {"boxes": [call]}, protocol))
    assert not proof.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy._core.multiarray", "frombuffer"),
        ("numpy", "load"),
        ("numpy", "memmap"),
        ("numpy.f2py.crackfortran", "myeval"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("_codecs", "decode"),
        ("bench.data.safe_pickle", "read_arrays"),
        ("numpy", "ndarray.tofile"),
    ],
)
def test_functions_of_numpy_and_python_are_refused(tmp_path: Path, module: str, name: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(forged(module, name, "print(1)"))
    with pytest.raises(BadFileError, match=f"it asks for {module}.{name}"):
        read_arrays(path)


FORGED_OBJECTS = b"""cnumpy.core.multiarray
_reconstruct
(cnumpy
ndarray
(I0
tS'b'
tR(I1
(I1
tcnumpy
dtype
(S'O8'
I0
I1
tR(I3
S'|'
NNNI-1
I-1
I0
tbI00
S'AAAAAAAA'
tb."""


def test_a_dtype_forged_to_take_bytes_for_pointers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(FORGED_OBJECTS)
    with pytest.raises(BadFileError, match="arrays of type 'O8' are not allowed"):
        read_arrays(path)


@pytest.mark.parametrize("stand_in", ["numpy\ndtype", "numpy\nndarray", "_codecs\nencode", "collections\nOrderedDict"])
def test_the_stand_ins_cannot_be_changed_by_a_file(tmp_path: Path, stand_in: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(f"c{stand_in}\n(N(dS'__init__'\nN".encode() + b"stb.")
    with pytest.raises(BadFileError):
        read_arrays(path)
    assert read_arrays(saved(tmp_path / "b.pkl", np.arange(3))).value.tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"garbage", b"PK\x03\x04zip", pickle.dumps(np.arange(99))[:-40]])
def test_what_is_no_whole_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match="not a pickle of plain arrays"):
        read_arrays(path)


def test_reading_imports_nothing_that_a_file_names(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(forged("antigravity", "geohash", "x"))
    with pytest.raises(BadFileError):
        read_arrays(path)
    assert "antigravity" not in sys.modules
