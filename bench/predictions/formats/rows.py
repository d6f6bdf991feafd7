"""Helpers of the readers of other formats: rows of indices and numbers, converted to predictions."""

from __future__ import annotations

import gzip
import math
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.core.files import grow_limit, require_regular_file
from bench.data.ground_truth import GroundTruth
from bench.errors import BadFileError, WrongKindError, first_line, format_bytes, format_count
from bench.predictions.table import KINDS, About, Predictions

MAX_LINES = 5_000_000
"""The most lines, or scores, of a text file, since more would take minutes; a large file may have more."""

_LINES_A_BYTE = 1 / 8
"""Lines allowed per byte of the file on the disk."""

MAX_LINE = 1 << 20
"""Characters of the longest line that is read."""

GZIP = b"\x1f\x8b"
"""The first bytes of a gzipped file."""

IndexedRow = tuple[int, int, list[float]]
"""Index of the image, index of the class, and numbers."""


def accept(path: Path, kind: str, kinds: Sequence[str]) -> None:
    """Raise WrongKindError if `kind`, that of the file, is not among `kinds`."""
    if kind not in kinds:
        raise WrongKindError(path, [kind], kinds)


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[str]]:
    """Yield the lines of a text file, one in memory at a time; the file is closed with the block.

    Raises BadFileError for text that is not UTF-8, too long a line, and too many of them.
    """
    try:
        with open_unpacked(path) as content, TextIOWrapper(content, encoding="utf-8-sig", newline="") as file:
            yield _lines(path, file)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadFileError(path, f"not readable as UTF-8 text ({error})") from None


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    most = grow_limit(MAX_LINES, path, _LINES_A_BYTE)
    for row, line in enumerate(iter(partial(file.readline, MAX_LINE), "")):
        if row >= most or len(line) == MAX_LINE:
            rule = f"at most {most} lines are read, each of less than {MAX_LINE} characters"
            raise BadFileError(path, rule, row=row)
        yield line


def parse_number(text: str) -> float:
    """Parse a finite number, else NaN; Python's own `1_000` is not accepted."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) and "_" not in text else math.nan


def cover_all_images(found: Predictions, truth: GroundTruth) -> Predictions:
    """Return predictions that cover all images, those without rows as having none; a note gives their number."""
    note = describe_uncovered(found, truth)
    notes = (*found.notes, note) if note else found.notes
    return replace(found, about=replace(found.about, ids=truth.ids), notes=notes)


def describe_uncovered(found: Predictions, truth: GroundTruth) -> str:
    """Describe how many images have no rows; empty if all have some."""
    without, kind = len(truth.ids) - len(found.table["image"].unique()), found.kind
    if not len(found.table):
        return f"the file has no {kind}: all {len(truth.ids)} images count as images without any"
    has = "has" if without == 1 else "have"
    return f"{without} of {format_count(len(truth.ids), 'image')} {has} no {kind}" if without else ""


def make_predictions(
    path: Path,
    truth: GroundTruth,
    kind: str,
    rows: Iterable[IndexedRow],
    about: About,
    convert: Callable[[FloatArray], FloatArray] = lambda corners: corners,
) -> Predictions:
    """Convert rows to predictions of a kind; their numbers become its columns, a box's corners (n, 4) by `convert`."""
    most = grow_limit(MAX_LINES, path, _LINES_A_BYTE)
    image, label, values = array("i"), array("i"), array("d")  # a tenth of the memory of tuples and lists
    for number, (of_image, of_class, numbers) in enumerate(rows):
        if number >= most:
            raise BadFileError(path, f"has more than {most} rows; write parquet for as many")
        image.append(of_image)
        label.append(of_class)
        values.extend(numbers)
    names = [name for name in KINDS[kind] if name not in ("image", "label")]
    table = np.array(values, dtype=np.float64).reshape(len(image), len(names))
    if kind == "boxes":
        table[:, 1:] = convert(table[:, 1:])
    return make_table(path, truth, kind, np.array(image), np.array(label), table, about)


def make_table(
    path: Path,
    truth: GroundTruth,
    kind: str,
    image: NDArray[np.integer],
    label: NDArray[np.integer],
    values: FloatArray,
    about: About,
) -> Predictions:
    """Make predictions of n rows: image (n,) and label (n,) as indices, values (n, k), the first columns of numbers."""
    names = [name for name in KINDS[kind] if name not in ("image", "label")]
    columns = {
        name: pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), safe=False), pa.array(texts, pa.string()))
        for name, codes, texts in (("image", image, truth.ids), ("label", label, truth.classes))
    }
    columns |= {name: pa.array(column) for name, column in zip(names, values.T, strict=False)}
    return Predictions(kind, pa.table(columns), about, str(path))


def read_bytes(path: Path, most: int) -> bytes:
    """Read a file, unpacked if it is gzipped. Raises BadFileError if it has more than `most` bytes."""
    try:
        with open_unpacked(path) as file:
            content = bytes(file.read(most + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise BadFileError(path, f"not readable ({first_line(error)})") from None
    if len(content) > most:
        raise BadFileError(path, f"has more than {format_bytes(most)}, which is not read; write parquet")
    return content


def open_unpacked(path: Path) -> BinaryIO:
    """Open a file for reading, through gzip if it starts as gzip does."""
    with require_regular_file(path).open("rb") as file:
        is_packed = file.read(len(GZIP)) == GZIP
    return cast(BinaryIO, gzip.open(path, "rb")) if is_packed else path.open("rb")
