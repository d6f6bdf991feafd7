"""Ways to break a file: its bytes, its numbers and words, its JSON, its parquet columns. Each is drawn from a seed."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import re
import struct
import zlib
from collections.abc import Callable
from itertools import starmap
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Draw = random.Random


class Planted:
    """What unpickling would do: make the folder `executed` in the working directory."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


NUMBERS = (
    "NaN", "Infinity", "-inf", "1e999", "-1e308", "1e308", "1e-400", "5e-324", "-0", "0", "-1", "1", "2147483648",
    "18446744073709551616", "0x10", "1_000", "١٢", "1e", "1.2.3", "1,", "true", "null", "[]", "{}", "[[]]", "''", '"x"',
    "000001", "9" * 400, "9" * 5000, "-" * 3000 + "1", "(" * 3000, "[" * 3000, "", " ", "\0", "é", "\U0001f600",
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**300, 10**400, -(10**400), 1.5, float("nan"), float("inf"), 1e308,
    -1e308, 5e-324, "", "x", "000001", "\0", "\ud800", "0" * 999, [], {}, [[]], [None], {"size": [16, 24]}, [[0] * 6],
    [[1e9] * 6], {"size": [16, 24], "counts": "0" * 99}, {"size": [16, 24], "counts": [384]}, [1, 2, 3, 4],
    {"size": [10**9, 10**9], "counts": [10**18]}, {"size": [16, 24], "counts": [0] * 999 + [384]},
)  # fmt: skip
VARINTS = (
    b"\0",
    b"\1",
    b"\2",
    b"\x80\x80\x80\x80\x10",
    b"\xfe" + b"\xff" * 8 + b"\1",
    b"\xff" * 9 + b"\1",
    b"\xff" * 20,
)
"""Whole numbers as thrift writes them: 0, -1, 1, 2**31, the largest, the smallest, and none."""

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE]-?\d+)?")


def break_bytes(content: bytes, draw: Draw) -> bytes:
    """Cut, copy, drop, flip, fill or add bytes somewhere."""
    if not content:
        return draw.randbytes(9)
    at = draw.randrange(len(content))
    to = min(len(content), at + draw.choice([1, 2, 4, 8, 64, 999]))
    piece = content[at:to]
    return draw.choice(
        [
            lambda: content[:at],
            lambda: content[at:],
            lambda: content[:at] + content[to:],
            lambda: content[:at] + piece * draw.choice([2, 3, 50]) + content[to:],
            lambda: content[:at] + draw.randbytes(len(piece)) + content[to:],
            lambda: content[:at] + bytes(len(piece)) + content[to:],
            lambda: content[:at] + b"\xff" * len(piece) + content[to:],
            lambda: content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :],
            lambda: content[to:] + content[:to],
            lambda: content + content,
            lambda: b"",
            lambda: pickle.dumps(Planted()),
        ]
    )()


def break_text(content: bytes, draw: Draw) -> bytes:
    """Other numbers and words, other orders of lines, other encodings."""
    found = list(_NUMBER.finditer(content))
    if found and draw.random() < 0.6:
        one = draw.choice(found)
        word = draw.choice(NUMBERS).encode("utf-8", "surrogatepass")
        return content[: one.start()] + word + content[one.end() :]
    text = content.decode("utf-8", "replace")
    lines = text.splitlines(keepends=True)
    return draw.choice(
        [
            lambda: "".join(draw.sample(lines, len(lines))).encode(),
            lambda: "".join(lines + lines[-1:]).encode(),
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-8-sig"),
            lambda: text.encode("utf-32"),
            lambda: text.replace(" ", "\t").encode(),
            lambda: text.replace("\n", "\r\n").encode(),
            lambda: text.replace("\n", "\x85").encode("latin-1", "replace"),
            lambda: text.replace(",", draw.choice([";", ",,", '"', "\n"]), draw.randrange(1, 5)).encode(),
            lambda: text.upper().encode(),
            lambda: gzip.compress(content),
        ]
    )()


def break_json(content: bytes, draw: Draw) -> bytes:
    """A value somewhere that is another, is gone, is there twice, or lies deeper."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return break_bytes(content, draw)
    holder = document
    while isinstance(holder, list | dict) and holder:
        key = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        if not isinstance(holder[key], list | dict) or not holder[key] or draw.random() < 0.3:
            _break_value(holder, key, draw)
            break
        holder = holder[key]
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _break_value(holder: Any, key: Any, draw: Draw) -> None:
    way = draw.randrange(4)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, dict):
        holder[draw.choice(["", "score", "bbox", "segmentation", "counts", "size", "x" * 99])] = holder.pop(key)
    elif way == 2 and isinstance(holder, list):
        holder.extend([holder[key]] * draw.choice([1, 2, 500]))
    else:
        holder[key] = draw.choice(ODD)


def break_parquet(content: bytes, draw: Draw) -> bytes:
    """Another type, value, name, order, number or note of the columns, or another way to store them."""
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError, ValueError):
        return break_bytes(content, draw)
    if not table.num_columns:
        return break_bytes(content, draw)
    ways = (_retype, _revalue, _rename, _renote, _reorder)
    try:
        table = draw.choice(ways)(table, draw)
        sink = pa.BufferOutputStream()
        how = {"compression": draw.choice(["none", "zstd", "gzip", "snappy"]), "version": draw.choice(["1.0", "2.6"])}
        pq.write_table(table, sink, row_group_size=draw.choice([None, 1, 3]), use_dictionary=draw.random() < 0.5, **how)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return break_bytes(content, draw)
    return bytes(sink.getvalue())


_TYPES: tuple[Callable[[], pa.DataType], ...] = (
    pa.int8, pa.uint64, pa.float16, pa.float32, pa.float64, pa.bool_, pa.string, pa.large_string, pa.binary, pa.null,
    lambda: pa.decimal128(38, 5), lambda: pa.timestamp("ns"), lambda: pa.list_(pa.float64()), lambda: pa.binary(3),
    lambda: pa.dictionary(pa.int32(), pa.string()), lambda: pa.dictionary(pa.int8(), pa.float64()), pa.string_view,
    lambda: pa.struct([("x", pa.float64())]), lambda: pa.list_(pa.list_(pa.float32())),
    lambda: pa.list_(pa.float64(), 4),
)  # fmt: skip


def _retype(table: pa.Table, draw: Draw) -> pa.Table:
    at, kind = draw.randrange(table.num_columns), draw.choice(_TYPES)()
    try:
        column = table.column(at).cast(kind)
    except pa.ArrowException:
        column = pa.nulls(len(table), kind)
    return table.set_column(at, table.column_names[at], column)


def _revalue(table: pa.Table, draw: Draw) -> pa.Table:
    at = draw.randrange(table.num_columns)
    values, kind = table.column(at).to_pylist(), table.column(at).type
    for _ in range(draw.choice([1, 1, len(values)])):
        if values:
            values[draw.randrange(len(values))] = draw.choice(ODD)
    try:
        return table.set_column(at, table.column_names[at], pa.array(values, kind))
    except (pa.ArrowException, UnicodeError):
        return table.slice(0, draw.randrange(len(table) + 1))


def _rename(table: pa.Table, draw: Draw) -> pa.Table:
    names = table.column_names
    names[draw.randrange(len(names))] = draw.choice(["", "image", "score", "x", "\0", "IMAGE", "label.x", "é" * 50])
    return table.rename_columns(names)


def _renote(table: pa.Table, draw: Draw) -> pa.Table:
    note = (table.schema.metadata or {}).get(b"weakloc", b"{}")
    way = draw.choice([break_json, break_bytes, break_text])
    return table.replace_schema_metadata({b"weakloc": way(note, draw), draw.choice([b"pandas", b"x"]): b"{"})


def _reorder(table: pa.Table, draw: Draw) -> pa.Table:
    columns, rows = table.column_names, list(range(len(table)))
    draw.shuffle(columns)
    draw.shuffle(rows)
    return table.select(columns).take(rows + rows[: draw.randrange(3)])


def break_footer(content: bytes, draw: Draw) -> bytes:
    """Other numbers or bytes in what a parquet file says of itself, whose length is again right."""
    length = int.from_bytes(content[-8:-4], "little")
    if content[-4:] != b"PAR1" or not 0 < length < len(content) - 8:
        return break_bytes(content, draw)
    start, footer = content[: -8 - length], content[-8 - length : -8]
    at = draw.randrange(length)
    changed = footer[:at] + draw.choice(VARINTS) + footer[at + draw.choice([1, 1, 2, 3, 5]) :]
    changed = draw.choice([changed, break_bytes(footer, draw)])
    return start + changed + len(changed).to_bytes(4, "little") + b"PAR1"


def break_png(content: bytes, draw: Draw) -> bytes:
    """Another header, other chunks or other pixels, whose checksums are again right."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : end]))
        at = end + 4
    if not chunks:
        return break_bytes(content, draw)
    at = draw.randrange(len(chunks))
    kind, data = chunks[at]
    try:
        chunks[at] = kind, zlib.compress(break_bytes(zlib.decompress(data), draw))
    except zlib.error:
        chunks[at] = draw.choice([kind, kind, b"zTXt", b"tRNS", b"acTL", b"fdAT", b"IDAT"]), break_bytes(data, draw)
    chunks[at + 1 : at + 1] = chunks[at : at + 1] * draw.choice([0, 0, 0, 1, 99])
    return content[:8] + b"".join(starmap(chunk, chunks))


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def break_npy(content: bytes, draw: Draw) -> bytes:
    """Another type, order, shape or text of the header, whose length is again right."""
    head, newline, numbers = content[10:].partition(b"\n")
    text = head.decode("latin-1")
    number = draw.choice(["0", "1", "-1", "3", "True", "1.0", "2**99", "None", "9" * 20, "(1,)", "10000000000"])
    kind = draw.choice(["|O", "<f8", ">f4", "<i8", "|b1", "<c16", "<M8[s]", "|S9", "<U9", "|V9", "<f2", "(2,)<f4", "x"])
    changed = draw.choice(
        [
            lambda: re.sub(r"\d+(?=[,)])", number, text, count=draw.choice([1, 2])),
            lambda: text.replace("<f4", kind),
            lambda: text.replace("False", draw.choice(["True", "None", "0", "x", "__import__('os').mkdir('x')"])),
            lambda: break_text(head, draw).decode("latin-1"),
        ]
    )().encode("latin-1", "replace")
    version = draw.choice([1, 1, 1, 2, 3, 9])
    length = (len(changed) + 1).to_bytes(2 if version == 1 else 4, "little")
    return content[:6] + bytes([version, 0]) + length + changed + newline + numbers


def replace_file(file: Path, draw: Draw) -> None:
    """Put something that is no file in a file's place, or nothing."""
    content = file.read_bytes()
    file.unlink()
    draw.choice(
        [
            lambda: os.mkfifo(file),
            lambda: file.mkdir(),
            lambda: file.symlink_to(draw.choice(["/dev/zero", "/etc/passwd", "/etc", ".", file.name, "nowhere"])),
            lambda: file.with_name(draw.choice(["x", "\udcff", "a\nb"]) + file.suffix).write_bytes(content),
            lambda: None,
        ]
    )()


_WAYS: dict[str, list[Callable[[bytes, Draw], bytes]]] = {
    ".json": [break_json] * 3 + [break_text],
    ".parquet": [break_parquet] * 3 + [break_footer] * 2,
    ".png": [break_png] * 3,
    ".npy": [break_npy] * 3,
    ".txt": [break_text] * 2,
    ".csv": [break_text] * 2,
}


def broken(path: Path, draw: Draw) -> None:
    """Break the file, or one of the folder's: one to three times over."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    file = draw.choice(files)
    if draw.random() < 0.04:
        replace_file(file, draw)
        return
    break_like_its_kind(file, draw)
    if path.is_dir() and draw.random() < 0.1:
        file.rename(file.with_name(draw.choice(["x", "000001", "comp4_det_test_cat", "comp1_cls_x_dog"]) + file.suffix))


def break_like_its_kind(file: Path, draw: Draw) -> None:
    """Break a file one to three times over, in ways of files with its suffix."""
    content = file.read_bytes()
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        content = draw.choice([break_bytes, *_WAYS.get(file.suffix, [])])(content, draw)
    file.write_bytes(content)
