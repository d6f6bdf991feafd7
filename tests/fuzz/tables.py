"""Parquet files made to be dangerous: a few kilobytes that claim, or unpack to, gigabytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from seeds import CLASSES, IDS

from bench.predictions.table import KINDS, MAX_ROWS


def columns(rows: int, **changes: pa.Array) -> pa.Table:
    """Boxes that are all the same."""
    same = {"image": pa.scalar(IDS[0]), "label": pa.scalar(CLASSES[0])}
    same |= {name: pa.scalar(float(number)) for number, name in enumerate(KINDS["boxes"][2:])}
    made = {name: pa.repeat(value, rows) for name, value in same.items()}
    return pa.table(made | changes)


def parquet(first: pa.Table, more: Iterable[pa.Table] = (), name: str = "made.parquet") -> Callable[[Path], Path]:
    """Writes tables as the row groups of one file."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
            for table in chain([first], more):
                writer.write_table(table)
        return path

    return make


def rows(count: int) -> Callable[[Path], Path]:
    """Writes many rows in a few hundred kilobytes."""
    return lambda folder: parquet(columns(count % 10**6), repeat(columns(10**6), count // 10**6))(folder)


def claimed(count: int) -> Callable[[Path], Path]:
    """Writes a few rows and says wherever it says how many that they are more."""

    def make(folder: Path) -> Path:
        path = parquet(columns(12_345))(folder)
        content = path.read_bytes()
        start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        footer = content[start:-8].replace(varint(12_345), varint(count))
        path.write_bytes(content[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
        return path

    return make


def varint(number: int) -> bytes:
    """A whole number, 0 or more, as thrift writes it."""
    groups = [2 * number >> shift & 127 for shift in range(0, (2 * number).bit_length(), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def nested(folder: Path) -> Path:
    """Names that are lists of lists of lists."""
    kind = pa.string()
    for _ in range(900):
        kind = pa.list_(kind)
    return parquet(columns(1, image=pa.nulls(1, kind)))(folder)


def noted(note: bytes) -> Callable[[Path], Path]:
    """Writes a parquet that says this of itself."""
    return lambda folder: parquet(columns(1).replace_schema_metadata({"weakloc": note}))(folder)


def long_names(folder: Path) -> Path:
    """Names of a gigabyte in all, each its own, as a column and as a dictionary."""
    names = pa.array([f"{number}{'a' * 10_000_000}" for number in range(8)], pa.large_string())
    return parquet(columns(8, image=names), repeat(columns(8, image=names), 12))(folder)


def long_segments(folder: Path) -> Path:
    """A million times the same run lengths, which are a megabyte."""
    runs = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 1_000_000), pa.array(["0" * 1_000_000]))
    same = columns(1_000_000, segment=runs)
    return parquet(same.replace_schema_metadata({"weakloc": '{"kind": "segments"}'}))(folder)


def new_names(folder: Path) -> Path:
    """As many different names as rows are read."""
    parts = (np.char.add("x", np.arange(row, row + 10**6).astype(str)) for row in range(0, MAX_ROWS, 10**6))
    tables = (columns(len(part), image=pa.array(part)) for part in parts)
    return parquet(next(tables), tables)(folder)


def long_shard(folder: Path) -> Path:
    """A map that claims few pixels and has seventy million."""
    pixels = pa.ListArray.from_arrays([0, 70_000_000], pa.repeat(pa.scalar(0, pa.float32()), 70_000_000))
    one = pa.table({"image": [IDS[1]], "label": [CLASSES[1]], "height": [1], "width": [1], "map": pixels})
    return parquet(one, name="made/0.parquet")(folder).parent
