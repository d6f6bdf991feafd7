"""Files of region proposals: published `.mat` and `.pkl` files, and our own `.npz`.

Each reader documents its layout. All return half-open corners, and refuse boxes that are inverted or not finite.
Shapes: N images, R regions of one image, P regions in all.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.apart import read_apart
from bench.core.files import require_regular_file
from bench.data.image_names import ImageNames
from bench.data.safe_pickle import Array, read_arrays
from bench.errors import BadFileError, RequestError, format_bytes

Rows = NDArray[Any]

_OWN = (".npz",)
"""Suffixes of files that numpy alone reads, in this process."""

_NOT_NPZ = (
    OSError, ValueError, KeyError, TypeError, IndexError, EOFError, AttributeError, NotImplementedError, MemoryError,
    RecursionError, SyntaxError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""The errors that numpy and zipfile raise for a file that is not a .npz file, or is damaged."""

_UNPACKED, _GROWTH = 64 << 20, 100
"""Bytes that any archive may unpack to, and in addition for each of its own bytes."""


class FileContent(NamedTuple):
    """The content of a file: names of N images (None: those asked for, in order), and N arrays of boxes and scores."""

    names: list[str] | None
    boxes: list[Any]
    scores: list[Any] | None


def read_proposals(path: Path, ids: Sequence[str]) -> tuple[list[Rows], list[Rows] | None]:
    """Read boxes (R, 4), float64, and scores (R,), if any, of each of `ids` from a `.mat`, `.pkl` or `.npz` file.

    A name matches an id if it is the same text, or the same number (000005 and 5, 2008_000002 and 2008000002).
    `.mat` and `.pkl` files are read in a separate process. Raises BadFileError if the file breaks its layout, or lacks
    one of the ids.
    """
    if path.suffix in _OWN:
        return read_here(path, ids)
    arrays = read_apart("bench.data.proposal_files:read_flat", require_regular_file(path), list(ids))
    ends, scores = np.cumsum(arrays["counts"])[:-1], arrays.get("scores")
    return np.split(arrays["boxes"], ends), None if scores is None else np.split(scores, ends)


def read_several(paths: Sequence[Path], ids: Sequence[str]) -> tuple[list[Rows], list[Rows] | None]:
    """Read as `read_proposals`, from several files, each with some of the ids; scores only if all files have them.

    Raises BadFileError as `read_proposals`, and for an image that is in two files.
    """
    owner: dict[str, Path] = {}
    found: dict[str, tuple[Rows, Rows | None]] = {}
    for path in paths:
        mine = [image for image, is_there in zip(ids, find_present(path, ids), strict=True) if is_there]
        if twice := next((image for image in mine if image in owner), None):
            raise BadFileError(path, f"has proposals for {twice}, which {owner[twice]} has too: give one of them")
        owner |= dict.fromkeys(mine, path)
        if not mine:
            continue
        boxes, scores = read_proposals(path, mine)
        given: Sequence[Rows | None] = scores or [None] * len(mine)
        found |= dict(zip(mine, zip(boxes, given, strict=True), strict=True))
    if missing := [image for image in ids if image not in found]:
        names = ", ".join(map(str, paths))
        rule = f"have no proposals for {len(missing)} of {len(ids)} images (first: {missing[0]})"
        raise BadFileError(names, rule)
    scores = [score for _, score in map(found.__getitem__, ids) if score is not None]
    return [found[image][0] for image in ids], scores if len(scores) == len(ids) else None


def find_present(path: Path, ids: Sequence[str]) -> Sequence[bool]:
    """Return which of `ids` a file has proposals of. Raises BadFileError as `read_proposals`."""
    if path.suffix in _OWN:
        return [bool(one) for one in read_present(path, ids)["present"]]
    found = read_apart("bench.data.proposal_files:read_present", require_regular_file(path), list(ids))
    return [bool(one) for one in found["present"]]


def read_present(path: Path, ids: Sequence[str]) -> dict[str, Rows]:
    """Do the same as `find_present`, in this process."""
    content = READERS[path.suffix][0](path)
    if content.names is None:
        raise BadFileError(path, "a list without ids cannot be one of several files: its images are unknown")
    return {"present": np.array([row is not None for row in _find_all(path, content, ids)], dtype=np.float64)}


def read_flat(path: Path, ids: Sequence[str]) -> dict[str, Rows]:
    """Read as `read_here`, with the arrays of all images concatenated, and the `counts` of each."""
    boxes, scores = read_here(path, ids)
    counts = np.array([len(rows) for rows in boxes], dtype=np.int64)
    flat = {"counts": counts, "boxes": np.concatenate([np.zeros((0, 4)), *boxes])}
    return flat if not scores else flat | {"scores": np.concatenate(scores)}


def read_here(path: Path, ids: Sequence[str]) -> tuple[list[Rows], list[Rows] | None]:
    """Read as `read_proposals`, in this process."""
    reader, columns, shift = READERS[path.suffix]
    content = reader(path)
    rows = list(zip(ids, _match_rows(path, content, ids), strict=True))
    boxes = [_parse_boxes(path, image, content.boxes[row])[:, columns] + shift for image, row in rows]
    for image, rows_of_image in zip(ids, boxes, strict=True):
        if (rows_of_image[:, 2:] < rows_of_image[:, :2]).any():
            raise BadFileError(path, "inverted box", row=image)
    if content.scores is None:
        return boxes, None
    scores = [_to_array(content.scores[row]).reshape(-1) for _, row in rows]
    for image, box, score in zip(ids, boxes, scores, strict=True):
        if score.shape != box.shape[:1] or not _are_numbers(score):
            raise BadFileError(path, f"expected {len(box)} finite scores, as many as boxes", row=image)
    return boxes, scores


def read_mat(path: Path) -> FileContent:
    """Read MATLAB, as released with Selective Search, Fast R-CNN and WSDDN (`SelectiveSearchVOC2007trainval.mat`).

    `images`: cell of N names; `boxes`: cell of N arrays (R, 4), 1-based inclusive [ymin xmin ymax xmax];
    `boxScores`, optional: cell of N arrays (R, 1).
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        variables = loadmat(path, variable_names=["images", "boxes", "boxScores"])
        names = [str(np.asarray(cell).item()) for cell in variables["images"].ravel()]
        scores = list(variables["boxScores"].ravel()) if "boxScores" in variables else None
        return FileContent(names, list(variables["boxes"].ravel()), scores)
    except NotImplementedError:
        raise BadFileError(path, "a MATLAB 7.3 file, which is not supported; save it with -v7") from None
    except (MatReadError, OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, zlib.error) as error:
        raise BadFileError(path, f"not a .mat file with cells `images` and `boxes` ({error})") from None


def read_pkl(path: Path) -> FileContent:
    """Read a pickle of arrays, as distributed with Detectron, OICR and PCL; boxes are 0-based inclusive [x1 y1 x2 y2].

    It holds a dict of `boxes` (N arrays), `indexes` or `ids` (N names or numbers) and optionally `scores` (N arrays);
    or a dict from name to array; or a list of N arrays in the order of the split. Nothing in it is executed.
    """
    value = read_arrays(path)
    if isinstance(value, list | Array):
        return FileContent(None, _parse_list(path, value), None)
    if not isinstance(value, dict):
        raise BadFileError(path, f"expected a dict or a list, but got {type(value).__name__}")
    if "boxes" not in value:
        return FileContent([_parse_name(path, key) for key in value], list(value.values()), None)
    names = value.get("indexes", value.get("ids"))
    if names is None:
        raise BadFileError(path, "has `boxes`, but neither `indexes` nor `ids`")
    scores = value.get("scores")
    return FileContent(
        [_parse_name(path, name) for name in _parse_list(path, names)],
        _parse_list(path, value["boxes"]),
        None if scores is None else _parse_list(path, scores),
    )


def read_npz(path: Path) -> FileContent:
    """Read our own layout: `ids` (N,), `offsets` (N + 1,), `boxes` (P, 4), optionally `scores` (P,).

    Boxes are half-open corners; image i has the rows offsets[i] to offsets[i + 1].
    """
    try:
        require_honest_size(require_regular_file(path))
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
        names = [str(name) for name in content["ids"]]
        offsets, boxes, scores = content["offsets"].astype(np.int64), content["boxes"], content.get("scores")
    except _NOT_NPZ as error:
        raise BadFileError(path, f"not a .npz file with `ids`, `offsets` and `boxes` ({error})") from None
    if boxes.ndim != 2 or not _are_offsets(offsets, len(names), len(boxes)):
        raise BadFileError(path, f"`offsets` must rise from 0 to the number of boxes in {len(names) + 1} steps")
    pieces = offsets[1:-1]
    return FileContent(names, np.split(boxes, pieces), None if scores is None else np.split(scores, pieces))


def require_honest_size(path: Path) -> None:
    """Raise BadFileError for an archive that unpacks to far more than arrays of numbers do."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _UNPACKED + _GROWTH * path.stat().st_size:
        raise BadFileError(path, f"unpacks to {format_bytes(unpacked)}, too much for its size")


def _match_rows(path: Path, content: FileContent, ids: Sequence[str]) -> list[int]:
    """Return the row in the file of each of `ids`. Raises BadFileError if it lacks one."""
    rows = _find_all(path, content, ids)
    missing = [image for image, row in zip(ids, rows, strict=True) if row is None]
    if missing:
        raise BadFileError(path, f"has no proposals for {len(missing)} of {len(ids)} images (first: {missing[0]})")
    return [row for row in rows if row is not None]


def _find_all(path: Path, content: FileContent, ids: Sequence[str]) -> list[int | None]:
    """Return the row in the file of each of `ids`; None for one that it lacks."""
    count = len(content.boxes)
    if content.names is None and count != len(ids):
        raise BadFileError(
            path, f"a list without ids must have an entry for each of {len(ids)} images, but has {count}"
        )
    names = list(ids) if content.names is None else content.names
    row_of = {name: row for row, name in enumerate(names)}
    if not len(row_of) == len(names) == count or (content.scores is not None and len(content.scores) != count):
        raise BadFileError(path, f"needs as many different ids as arrays, but has {len(row_of)} and {count}")
    rows = [row_of.get(image, row_of.get(_as_number(image))) for image in ids]
    if None in rows:
        rows = [row if found is None else found for row, found in zip(_find_rows(path, names, ids), rows, strict=True)]
    return rows


def _find_rows(path: Path, names: Sequence[str], ids: Sequence[str]) -> list[int | None]:
    """Return the row in the file of each of `ids`, also under another name that `ImageNames` matches; else None."""
    known, asked = ImageNames(names), ImageNames(ids)
    try:
        called = {ids[image]: row for row, name in enumerate(names) if (image := asked.find(name)) is not None}
        return [called.get(image, known.find(image)) for image in ids]
    except RequestError as error:
        raise BadFileError(path, str(error)) from None


def _as_number(image: str) -> str:
    digits = image.replace("_", "")
    return str(int(digits)) if digits.isdecimal() else image


def _parse_name(path: Path, name: Any) -> str:
    if isinstance(name, bytes):
        return name.decode("latin1")
    if isinstance(name, float | np.floating) and name.is_integer():
        return str(int(name))
    if not isinstance(name, str | int | np.integer):
        raise BadFileError(path, f"an image's name must be text or a whole number, but got {type(name).__name__}")
    return str(name)


def _parse_list(path: Path, values: Any) -> list[Any]:
    entries = values.value if isinstance(values, Array) else values
    if not isinstance(entries, list | tuple) and not (isinstance(entries, np.ndarray) and entries.ndim):
        raise BadFileError(path, f"expected a list with one entry per image, but got {type(entries).__name__}")
    return list(entries)


def _to_array(raw: Any) -> Rows:
    rows = raw if isinstance(raw, list | tuple) else ()
    if any(isinstance(one, list | tuple) for row in rows if isinstance(row, list | tuple) for one in row):
        return np.array(None)  # deeply nested lists can stand for more numbers than fit in memory
    try:
        return np.asarray(raw.value if isinstance(raw, Array) else raw)
    except ValueError:
        return np.array(None)


def _are_numbers(array: Rows) -> bool:
    return array.dtype.kind in "iuf" and bool(np.isfinite(array).all())


def _parse_boxes(path: Path, image: str, raw: Any) -> NDArray[np.float64]:
    array = _to_array(raw)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4 or not _are_numbers(array):
        raise BadFileError(path, f"expected finite boxes (n, 4), but got {array.dtype} {array.shape}", row=image)
    return array.astype(np.float64)


def _are_offsets(offsets: NDArray[np.int64], images: int, boxes: int) -> bool:
    if offsets.shape != (images + 1,):
        return False
    return offsets[0] == 0 and offsets[-1] == boxes and bool((np.diff(offsets) >= 0).all())


READERS: dict[str, tuple[Callable[[Path], FileContent], list[int], NDArray[np.float64]]] = {
    ".mat": (read_mat, [1, 0, 3, 2], np.array([-1.0, -1.0, 0.0, 0.0])),
    ".pkl": (read_pkl, [0, 1, 2, 3], np.array([0.0, 0.0, 1.0, 1.0])),
    ".npz": (read_npz, [0, 1, 2, 3], np.zeros(4)),
}
"""By file suffix: the reader, the columns of x1, y1, x2, y2 in a row, and the shift that makes half-open corners."""
