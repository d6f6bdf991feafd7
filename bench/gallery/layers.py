"""Small pictures, made once and cached by content: photographs, and the maps and masks that overlay them.

The layers of an image are one PNG, its cells stacked vertically, so that a page loads one file instead of one per run.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.core.files import array_digest, atomic_file, file_digest
from bench.data.pixels import read_pixels, resize_nearest, voc_palette
from bench.gallery.drawing import SIDE, colour_map, encode_picture, fit, scale_map

QUALITY = 75
"""JPEG quality of photographs."""

MASK_SIDE, MAP_SIDE = 160, 64
"""The larger side of a layer's cell in pixels: a browser enlarges it."""

_ROWS = b"rows"

_DAMAGE = (OSError, pa.ArrowException, KeyError, TypeError, ValueError)
"""The exceptions that reading a damaged file raises."""

Cell = NDArray[np.uint8]


def make_thumbnail(path: Path, cache: Path) -> Path:
    """Return the JPEG of a photograph, `SIDE` pixels at its larger side. Raises BadFileError."""
    made = cache / f"{file_digest(path)}-{SIDE}.jpg"
    return _keep(made, lambda: encode_picture(read_pixels(path), quality=QUALITY))


def make_layers(cells: Sequence[Cell], kind: str, cache: Path) -> Path:
    """Return the PNG of cells (h, w) of one size, the first at the top; kind: `maps` or `masks`."""
    sheet = np.concatenate(cells)
    return _keep(cache / f"{array_digest(sheet)}-{kind}.png", lambda: _encode_layers(sheet, kind))


def _keep(path: Path, make: Callable[[], bytes]) -> Path:
    if not path.is_file():
        content = make()
        with atomic_file(path) as part:
            part.write_bytes(content)
    return path


def _encode_layers(sheet: Cell, kind: str) -> bytes:
    """Encode stacked cells (H, W) with the palette of their kind; the background of masks is transparent."""
    from PIL import Image

    image, out = Image.fromarray(sheet), io.BytesIO()
    image.putpalette(voc_palette() if kind == "masks" else _list_map_colours())
    image.save(out, format="PNG", optimize=False, **({"transparency": 0} if kind == "masks" else {}))
    return out.getvalue()


def _list_map_colours() -> list[int]:
    """List the colours of a map's 256 levels, as 768 numbers."""
    colours: list[int] = np.rint(255 * colour_map(np.linspace(0, 1, 256))).astype(int).ravel().tolist()
    return colours


def make_mask_cell(mask: NDArray[np.uint8], width: int, height: int) -> Cell:
    """Make the cell of a mask (h, w) of an image."""
    return resize_nearest(mask, *fit(width, height, MASK_SIDE))


def make_map_cell(map: NDArray[np.floating], width: int, height: int) -> Cell:
    """Make the cell of a map (h, w) of an image: 0 at its minimum, 255 at its maximum."""
    return np.rint(255 * scale_map(map, *fit(width, height, MAP_SIDE))).astype(np.uint8)


class Cells(Mapping[str, Cell]):
    """The cells of a cache file by name; the file is read when the first cell is requested.

    Cells stay compressed, so that those of hundreds of runs fit into memory. remake: rewrites the file; called if it is
    damaged, was deleted meanwhile, or was replaced by one that lacks some of the names.
    """

    def __init__(self, path: Path, names: Iterable[str], remake: Callable[[], object]) -> None:
        self._path, self._names, self._remake = path, dict.fromkeys(names), remake

    @cached_property
    def _packed(self) -> dict[str, Any]:
        with suppress(*_DAMAGE):
            if self._names.keys() <= (packed := self._read()).keys():
                return packed
        self._remake()
        return self._read()

    def _read(self) -> dict[str, Any]:
        file = pq.ParquetFile(self._path, page_checksum_verification=True)
        return {row["name"]: row for row in file.read(use_threads=False).to_pylist()}

    def __getitem__(self, name: str) -> Cell:
        row = self._packed[name]
        return np.frombuffer(zlib.decompress(row["content"]), np.uint8).reshape(row["height"], row["width"])

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def keep_cells(
    path: Path, rows: Sequence[int], make: Callable[[Sequence[int]], Iterable[tuple[str, Cell]]]
) -> Mapping[str, Cell]:
    """Return cells by name from a cache file, which is written first if missing, damaged or lacking some of `rows`.

    make: yields the cells of rows, each with its name.
    """

    found = _read_known(path)
    if found is not None and not {*rows} <= found.rows:
        found = None
    kept = [*rows] if found is None else sorted(found.rows)

    def write() -> list[str]:
        packed = _pack(make(kept)).replace_schema_metadata({_ROWS: json.dumps(kept)})
        with atomic_file(path) as part:
            pq.write_table(packed, part, compression="none", write_page_checksum=True)
        names: list[str] = packed["name"].to_pylist()
        return names

    return Cells(path, write() if found is None else found.names, write)


def _pack(cells: Iterable[tuple[str, Cell]]) -> pa.Table:
    rows = [
        {"name": name, "height": cell.shape[0], "width": cell.shape[1], "content": zlib.compress(cell.tobytes())}
        for name, cell in cells
    ]
    types = {"name": pa.string(), "height": pa.int32(), "width": pa.int32(), "content": pa.binary()}
    return pa.Table.from_pylist(rows, pa.schema(types))


class _Known(NamedTuple):
    """The rows that a cache file covers, and the names of its cells."""

    rows: frozenset[int]
    names: list[str]


def _read_known(path: Path) -> _Known | None:
    """Read which rows and names a cache file has; None if it is missing or damaged."""
    try:
        file = pq.ParquetFile(path)
        rows = frozenset(json.loads(file.schema_arrow.metadata[_ROWS]))
        return _Known(rows, file.read(columns=["name"], use_threads=False)["name"].to_pylist())
    except _DAMAGE:
        return None
