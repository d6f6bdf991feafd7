"""Maps as users' scripts write them: `.npy` and `.npz` files, read without executing anything in them.

    <image>.npy          (h, w), of the only class present in the image; or (C, h, w), of every class
                         a dict, which np.save pickles: {"keys": (n,), "high_res" or "cam": (n, h, w)}, as the
                         released code of IRN saves it (`high_res` is read if both are there), or
                         {class: (h, w)}, as that of PSA does
    <image>_<class>.npy  (h, w)
    <image>.npz          the members of such a dict, or one array
    an .npz file         members <image> or <image>_<class>, each an array as above

Classes have the dataset's order, and are given by name, or by number from 0. A file `classes.txt` in the folder sets
another order, one class per line; a channel named `background` is ignored. Objectness is (h, w), one file per image.
"""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, NamedTuple, NoReturn, TypeAlias, cast

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from bench.core.files import grow_limit, require_regular_file
from bench.data.ground_truth import PRESENT, GroundTruth, find_image
from bench.data.lists import read_lines
from bench.data.safe_pickle import Array, read_arrays
from bench.errors import (
    BadFileError,
    UnknownImageError,
    UnknownNameError,
    first_line,
    format_bytes,
    format_count,
    format_names,
)
from bench.predictions.table import MAX_ROWS, About, Predictions

CLASSES = "classes.txt"
"""The file that names the channels of arrays."""

BACKGROUND = "background"

_OF_KEYS = ("high_res", "cam", "cams", "maps")
"""Names of the arrays of maps that may accompany `keys`; the first one present is read."""

_UNNAMED = "arr_0"
"""The name that np.savez gives an array without one."""

_LARGEST = 1 << 26
"""Pixels of the largest map that is read."""

_MOST_CLASSES, _LONGEST_NAME = 100_000, 200
"""Limits on a list of classes in a pickle, since an array of them is as wide as the longest name."""

_HEADER = 1 << 16
"""The most bytes before the numbers of a `.npy` file."""

_MOST_BYTES = 8 * _LARGEST + _HEADER
"""The most bytes that an archive may unpack to, unless it is larger than that on the disk."""

_NO_ARRAY = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    TokenError,
    EOFError,
    OverflowError,
    RecursionError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,  # an encrypted archive
)
"""The errors that reading a header, which is in Python's syntax, or an archive may raise."""

Stored: TypeAlias = NDArray[Any] | dict[Any, NDArray[Any]]
"""The content of a file."""

Load: TypeAlias = Callable[[str], Stored]
"""Reads a file of a folder, or a member of an archive, by name."""


class _Entry(NamedTuple):
    """A file or member: its name, its image, and the class in its name; None if the content determines the classes."""

    name: str
    image: str
    label: int | None


class _Source(NamedTuple):
    """A folder or archive of maps, how to open it, and the class of each channel; None for background.

    is_named: whether a file names the channels.
    """

    path: Path
    open: Callable[[], AbstractContextManager[Load]]
    channels: tuple[int | None, ...]
    is_named: bool = False


def read_map_folder(folder: Path, files: Sequence[Path], truth: GroundTruth) -> Predictions:
    """Read the maps of a folder's `.npy` and `.npz` files. Raises BadFileError."""
    named = (folder / CLASSES).exists()
    channels = _read_channels(folder / CLASSES, truth) if named else tuple(range(len(truth.classes)))
    source = _Source(folder, partial(_open_folder, folder), channels, named)
    return _read_maps(source, [file.relative_to(folder).as_posix() for file in files], truth, folder.name)


def read_map_archive(path: Path, truth: GroundTruth) -> Predictions:
    """Read the maps of an `.npz` file with members for each image. Raises BadFileError."""
    with _open_zip(path) as archive:
        names = archive.namelist()
    source = _Source(path, partial(_open_archive, path), tuple(range(len(truth.classes))))
    return _read_maps(source, names, truth, path.stem)


def read_map(path: Path) -> NDArray[np.floating]:
    """Read one map (h, w) of a `.npy` file.

    Raises BadFileError unless it is such a file, with one two-dimensional array of finite numbers.
    """
    stored = _load_npy(path)
    stored = stored if isinstance(stored, dict) else _drop_single_axes(stored, 0)
    if isinstance(stored, dict) or stored.ndim != 2:
        raise BadFileError(path, "expected one array (h, w) of numbers")
    return check_map(path, stored, None)


def check_map(file: Path, stored: NDArray[Any], row: int | None) -> NDArray[np.floating]:
    """Return the map in single precision, or in double if stored in it, since their 8-bit levels may differ."""
    if not 0 < stored.size <= _LARGEST:
        raise BadFileError(file, f"a map must have 1 to {_LARGEST} numbers, but its shape is {stored.shape}", row=row)
    with np.errstate(over="ignore"):
        single = np.array(stored, dtype=np.float32)
    if not np.isfinite(single).all():
        raise BadFileError(file, "a map must be finite in float32", row=row)
    return np.array(stored) if stored.dtype == np.float64 else single


def _read_maps(source: _Source, names: Sequence[str], truth: GroundTruth, made_by: str) -> Predictions:
    entries = _find_entries(source, names, truth)
    with source.open() as load:
        labels = [[label for label, _ in _list_maps(source, entry, load(entry.name), truth)] for entry in entries]
    if (count := sum(map(len, labels))) > MAX_ROWS:
        rule = f"has {count} maps; at most {MAX_ROWS} are read: write those of the classes that an image shows"
        raise BadFileError(source.path, rule)
    ids = tuple(dict.fromkeys(entry.image for entry in entries))
    image = [entry.image for entry, some in zip(entries, labels, strict=True) for _ in some]
    label = [truth.classes[one] for some in labels for one in some]
    columns = {"image": pa.array(image, pa.string()), "label": pa.array(label, pa.string())}
    notes = _list_notes(source, len(names) - len(entries), truth)

    def arrays() -> Iterator[NDArray[np.floating]]:
        with source.open() as load:
            for entry in entries:
                for _, map_ in _list_maps(source, entry, load(entry.name), truth):
                    yield check_map(source.path / entry.name, map_, None)

    about = About(made_by=made_by, ids=ids)
    return Predictions("maps", pa.table(columns), about, str(source.path), tuple(notes), arrays)


def _list_notes(source: _Source, others: int, truth: GroundTruth) -> Iterator[str]:
    """Describe how many files belong to no image, and which classes have no channel."""
    if others:
        yield f"{format_count(others, 'file')} of no image of {truth.dataset} {truth.split}, left unread"
    lacking = [name for label, name in enumerate(truth.classes) if label not in source.channels]
    if lacking:
        named = len(truth.classes) - len(lacking)
        yield f"{CLASSES} names {named} of {len(truth.classes)} classes, not {format_names(lacking, 20)}"


def _find_entries(source: _Source, names: Sequence[str], truth: GroundTruth) -> list[_Entry]:
    """Find the entries that are of the truth's images, in its order. Raises BadFileError if there are none."""
    found = [entry for name in names if (entry := _parse_name(source.path, name, truth)) is not None]
    if not found:
        image, label = truth.ids[0] if truth.ids else "IMAGE", truth.classes[0]
        expected = f"expected {image}.npy, {image}_{label}.npy or .npz ..."
        rule = f"no file is of an image of {truth.dataset} {truth.split}; {expected}"
        raise UnknownImageError(source.path, rule, Path(names[0]).stem if names else "")
    return sorted(found, key=lambda entry: (truth.index[entry.image], entry.label or 0, entry.name))


def _parse_name(path: Path, name: str, truth: GroundTruth) -> _Entry | None:
    """Find the image and the class in the name of a file or member; None if it belongs to no image."""
    stem = name.removesuffix(".npy").removesuffix(".npz")
    if (image := find_image(truth, path / name, stem, None)) is not None:
        return _Entry(name, truth.ids[image], None)
    for cut in (place for place, letter in enumerate(stem) if letter == "_"):
        label = truth.class_index.get(stem[cut + 1 :])
        if label is not None and (image := find_image(truth, path / name, stem[:cut], None)) is not None:
            return _Entry(name, truth.ids[image], label)
    return None


def _list_maps(source: _Source, entry: _Entry, stored: Stored, truth: GroundTruth) -> list[tuple[int, NDArray[Any]]]:
    """Return class and map (h, w) of each map that an entry holds. Raises BadFileError."""

    def refuse(rule: str) -> NoReturn:
        raise BadFileError(source.path / entry.name, rule)

    if isinstance(stored, dict) and len(stored) == 1:
        ((name, only),) = stored.items()
        stored = only if only.ndim == 3 or name == _UNNAMED or entry.label is not None else stored
    if not isinstance(stored, dict):
        stored = _drop_single_axes(stored, len(source.channels) if entry.label is None else 0)
    if isinstance(stored, dict):
        pairs = _pair_members(stored, source.channels, truth, refuse)
    elif stored.ndim == 3 and entry.label is None:
        if len(stored) != len(source.channels):
            refuse(_describe_channels(stored.shape, source, truth))
        pairs = [*zip(source.channels, stored, strict=True)]
    elif stored.ndim != 2:
        refuse(f"expected one array (h, w) or (C, h, w) of an image, but its shape is {stored.shape}")
    else:
        label = _find_single_class(entry, truth, refuse) if entry.label is None else entry.label
        pairs = [(label, stored)]
    for _, map_ in pairs:
        if map_.ndim != 2 or map_.dtype.kind not in "fiu":
            refuse(f"expected maps (h, w) of numbers, but got {map_.dtype} {map_.shape}")
    return [(label, map_) for label, map_ in pairs if label is not None]


def _drop_single_axes(stored: NDArray[Any], channels: int) -> NDArray[Any]:
    """Drop the axes of length 1 that frameworks add: (1, C, h, w), (1, 1, h, w), (h, w, 1), and (1, h, w) of a class.

    channels: C; 0 if a single map (h, w) is expected.
    """
    while stored.ndim > 3 and len(stored) == 1:
        stored = stored[0]
    if stored.ndim == 3 and stored.shape[2] == 1 < min(stored.shape[:2]) and len(stored) != channels:
        return stored[:, :, 0]
    return stored[0] if stored.ndim == 3 and len(stored) == 1 != channels else stored


def _describe_channels(shape: tuple[int, ...], source: _Source, truth: GroundTruth) -> str:
    count = len(source.channels)
    if shape[2] == count:
        return f"expected ({count}, h, w), but its shape is {shape}: save array.transpose(2, 0, 1)"
    if source.is_named:
        names = [BACKGROUND if label is None else truth.classes[label] for label in source.channels]
        return f"its shape is {shape}, but {CLASSES} names {count} channels: {format_names(names, 20)}"
    expected = f"expected ({count}, h, w), a map for each class of {truth.dataset} in its order"
    advice = f"name the channels in a file {CLASSES} beside it, a class a line, {BACKGROUND} for one of no class"
    return f"{expected}, but its shape is {shape}; {advice}"


def _find_single_class(entry: _Entry, truth: GroundTruth, refuse: Callable[[str], NoReturn]) -> int:
    shown = np.flatnonzero(truth.labels[truth.index[entry.image]] == PRESENT)
    if len(shown) != 1:
        named = f"{entry.image}_{truth.classes[0]}.npy"
        refuse(
            f"an array (h, w) is of one class, but {entry.image!r} shows several or none: "
            f"name its class ({named}), or write (C, h, w)"
        )
    return int(shown[0])


def _pair_members(
    members: Mapping[Any, NDArray[Any]],
    channels: Sequence[int | None],
    truth: GroundTruth,
    refuse: Callable[[str], NoReturn],
) -> list[tuple[int | None, NDArray[Any]]]:
    """Return the class of each map of a dict, None for background."""
    names: Sequence[Any] = list(members)
    maps: Sequence[NDArray[Any]] = list(members.values())
    if "keys" in members:
        keys, found = members["keys"], next((members[name] for name in _OF_KEYS if name in members), None)
        if found is None or keys.ndim != 1 or found.ndim != 3 or len(keys) != len(found):
            shapes = ", ".join(f"{name} {value.shape}" for name, value in members.items())
            refuse(f"expected keys (n,), and high_res or cam (n, h, w), but got {shapes}")
        names, maps = keys.tolist(), list(found)
    return [(_find_class(name, channels, truth, refuse), one) for name, one in zip(names, maps, strict=True)]


def _find_class(
    name: Any, channels: Sequence[int | None], truth: GroundTruth, refuse: Callable[[str], NoReturn]
) -> int | None:
    """Return the index of a class by its name, or by its place among the channels; None for background."""
    if name in truth.class_index:
        return truth.class_index[name]
    if name == BACKGROUND:
        return None
    number = int(name) if str(name).isdecimal() and len(str(name)) < 10 else -1
    if not 0 <= number < len(channels):
        known = f"a class, or a number from 0 to {len(channels) - 1}"
        refuse(f"{UnknownNameError(f'class of {truth.dataset}', str(name), truth.classes)} Expected {known}")
    return channels[number]


def _read_channels(path: Path, truth: GroundTruth) -> tuple[int | None, ...]:
    """Read the classes of channels, as indices, from a file."""
    if require_regular_file(path).stat().st_size > _HEADER:
        raise BadFileError(path, f"a list of classes has at most {_HEADER} bytes")
    names = [line.strip() for line in read_lines(path)]
    for row, name in enumerate(names):
        if name != BACKGROUND and name not in truth.class_index:
            raise BadFileError(path, str(UnknownNameError(f"class of {truth.dataset}", name, truth.classes)), row=row)
        if name in names[:row]:
            raise BadFileError(path, f"class {name!r} is there twice", row=row)
    return tuple(truth.class_index.get(name) for name in names)


@contextmanager
def _open_folder(folder: Path) -> Iterator[Load]:
    yield lambda name: _load_npz(folder / name) if name.endswith(".npz") else _load_npy(folder / name)


@contextmanager
def _open_archive(path: Path) -> Iterator[Load]:
    with _open_zip(path) as archive:
        yield partial(_load_member, path, archive)


def _load_npy(path: Path) -> Stored:
    """Read an array, by memory map, or a dict of arrays. Raises BadFileError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with require_regular_file(path).open("rb") as file:
                holds_objects = _read_header(path, file, path.stat().st_size)
                start = file.tell()
            if holds_objects:
                return _load_dict(path, start)
            stored = np.load(path, mmap_mode="r", allow_pickle=False)  # memory is bounded by the file's actual size
    except _NO_ARRAY as error:
        raise BadFileError(path, f"not a readable .npy file ({first_line(error)})") from None
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "fiu":
        raise BadFileError(path, "expected one array (h, w) or (C, h, w) of numbers")
    return stored


def _read_header(path: Path, file: IO[bytes], size: int) -> bool:
    """Read the header of an array, and return whether it holds objects, as a pickle after the header.

    Raises BadFileError if it claims more numbers than fit the `size` bytes of the file.
    """
    version = npy_format.read_magic(file)
    readers = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    if version not in readers:
        return False
    shape, _, dtype = readers[version](file)
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > size:
        raise BadFileError(path, f"its header claims {dtype} {shape}, but it has {format_bytes(size)}")
    return bool(dtype.hasobject)


def _load_dict(path: Path, start: int) -> dict[Any, NDArray[Any]]:
    """Read a pickled dict of arrays as data, without running any of it. Raises BadFileError."""
    found = read_arrays(path, start)
    values = found.value if isinstance(found, Array) else None
    if not isinstance(values, list) or len(values) != 1 or not isinstance(values[0], dict):
        raise BadFileError(path, "an array of objects is read if it is one dict of arrays")
    arrays = {key: _to_array(value) for key, value in values[0].items()}
    if "keys" in arrays:  # the other entries may be names or sizes, not arrays
        arrays = {key: array for key, array in arrays.items() if array is not None}
    for key, array in arrays.items():
        if array is None or array.dtype.kind not in "fiuU":
            raise BadFileError(path, f"expected an array of numbers, but {key!r} is none")
    return cast("dict[Any, NDArray[Any]]", arrays)


def _to_array(value: Any) -> NDArray[Any] | None:
    """Return an array of a pickle, or a list of classes as one; None for anything else."""
    found = value.value if isinstance(value, Array) else value
    if isinstance(found, list) and len(found) <= _MOST_CLASSES and all(map(_is_class, found)):
        return np.array(found)
    return found if isinstance(found, np.ndarray) else None


def _is_class(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, str) and len(value) < _LONGEST_NAME)


def _load_npz(path: Path) -> Stored:
    """Read the arrays of an archive. Raises BadFileError."""
    with _open_zip(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > (most := grow_limit(_MOST_BYTES, path, 1)):
            raise BadFileError(path, f"the maps of an image may unpack to {format_bytes(most)} at most")
        return {name.removesuffix(".npy"): _load_member(path, archive, name) for name in archive.namelist()}


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(require_regular_file(path))
    except _NO_ARRAY as error:
        raise BadFileError(path, f"not a readable .npz file ({first_line(error)})") from None
    with archive:
        yield archive


def _load_member(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    try:
        member = archive.getinfo(name)
        if member.file_size > (most := grow_limit(_MOST_BYTES, path, 1)):
            raise BadFileError(path / name, f"the maps of an image may unpack to {format_bytes(most)} at most")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with archive.open(member) as stream:
                _read_header(path / name, stream, member.file_size)
            with archive.open(member) as stream:
                stored = npy_format.read_array(stream, allow_pickle=False)
    except (*_NO_ARRAY, NotImplementedError) as error:
        raise BadFileError(path / name, f"not a readable array ({first_line(error)})") from None
    if stored.dtype.kind not in "fiuU":
        raise BadFileError(path / name, "expected an array of numbers")
    return np.asarray(stored)
