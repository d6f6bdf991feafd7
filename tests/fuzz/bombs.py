"""Files made to be dangerous: small on disk and huge in memory, deep, endless, or with something to execute inside."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fuzz import Asked
from mutate import Planted, chunk
from seeds import HEIGHT, IDS, WIDTH
from tables import claimed, long_names, long_segments, long_shard, nested, new_names, noted, rows

from bench.data.ground_truth import GroundTruth
from bench.predictions.table import MAX_ROWS


class Bomb(NamedTuple):
    """A name, the protocol that is asked, what writes the file and returns what is to be read, and what that is."""

    name: str
    protocol: str
    make: Callable[[Path], Path]
    outcome: str = "message"
    switches: dict[str, str] = {}
    slow: bool = False

    def asked(self, truth: GroundTruth, folder: Path) -> Asked:
        """Write it."""
        return Asked(self.make(folder), self.protocol, self.switches, held=False)


def text(
    name: str, start: str | bytes, part: str | bytes = "", times: int = 0, end: str = ""
) -> Callable[[Path], Path]:
    """Writes a file: a start, a part so many times, and an end."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(_bytes(start))
            block = _bytes(part) * min(times, 100_000)
            for _ in range(times // 100_000):
                file.write(block)
            file.write(_bytes(part) * (times % 100_000) + _bytes(end))
        return path

    return make


def _bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode()


def inside(name: str, *content: Any) -> Callable[[Path], Path]:
    """Writes a file of a folder and gives the folder."""
    return lambda folder: text(f"made/{name}", *content)(folder).parent


def keys(folder: Path) -> Path:
    """An object with five million keys."""
    return text("a.json", "[{" + ",".join([f'"{key}":0' for key in range(5_000_000)]) + "}]")(folder)


def entry(**changes: Any) -> str:
    """A COCO result."""
    return json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.5} | changes])


def segment(value: Any) -> str:
    """A COCO result with a segment."""
    return json.dumps([{"image_id": 1, "category_id": 1, "segmentation": value, "score": 0.5}])


def png(width: int, height: int, rows: int, *, text: int = 0) -> bytes:
    """An indexed PNG whose header says one size and whose data are so many rows of zeros, with `text` letters."""

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)) + chunk(b"PLTE", bytes(768))
    said = chunk(b"zTXt", b"x\0\0" + zlib.compress(b"a" * text, 9)) if text else b""
    data = chunk(b"IDAT", zlib.compress(bytes((width + 1) * rows), 9))
    return b"\x89PNG\r\n\x1a\n" + head + said + data + chunk(b"IEND", b"")


def npy(header: str, content: bytes = b"", *, length: int | None = None) -> bytes:
    """An array file with a header of any text, which may say that it is longer."""
    body = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", length or len(body)) + body + content


def array(shape: str, kind: str = "<f4") -> str:
    """The header of an array."""
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}"


def pickled(folder: Path) -> Path:
    """An array of objects, which only unpickling reads."""
    (folder / "made").mkdir()
    np.save(folder / "made" / f"{IDS[1]}.npy", np.array([[Planted()]], dtype=object), allow_pickle=True)
    return folder / "made"


def zipped(folder: Path) -> Path:
    """An archive of arrays under the name of one, that unpacks to a thousand times its size."""
    (folder / "made").mkdir()
    with (folder / "made" / f"{IDS[1]}.npy").open("wb") as file:
        np.savez_compressed(file, a=np.zeros((3_000, 3_000)))
    return folder / "made"


def pipe(name: str) -> Callable[[Path], Path]:
    """Makes a pipe that nobody writes to, in a folder, and gives the folder."""

    def make(folder: Path) -> Path:
        (folder / "made").mkdir()
        os.mkfifo(folder / "made" / name)
        return folder / "made"

    return make


def link(name: str, to: str) -> Callable[[Path], Path]:
    """Makes a link of a folder, and gives the folder."""

    def make(folder: Path) -> Path:
        (folder / "made").mkdir()
        (folder / "made" / name).symlink_to(to)
        return folder / "made"

    return make


def masks_elsewhere(folder: Path) -> Path:
    """A folder whose only mask lies outside, and that holds itself."""
    text(f"{IDS[1]}.png", png(WIDTH, HEIGHT, HEIGHT))(folder)
    made = link(f"{IDS[1]}.png", f"../{IDS[1]}.png")(folder)
    (made / "again").symlink_to(".")
    return made


def deep_folder(folder: Path) -> Path:
    """Folders in folders, deeper than the longest path that the system takes."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    return folder


_RUNS = {"size": [HEIGHT, WIDTH]}
_TUPLES, _FAR = b"}()" + b"2\x86" * 60 + b"K\x01u.", b"}r\xff\xff\xff\xff."
_MAP, _PNG, _TXT = f"{IDS[1]}.npy", f"{IDS[1]}.png", "comp3_det_test_cat.txt"
_DET, _CLS, _POINT, _SEG, _COCO = "voc07-det", "voc07-cls", "voc07-point", "voc07-seg", "coco14-det"
_MASK: dict[str, Any] = {"switches": {"region": "mask"}}
_NUMBER: dict[str, Any] = {"outcome": "number"}
_SLOW: dict[str, Any] = {"slow": True}

BOMBS = (
    Bomb("parquet of more rows than are read", _DET, rows(MAX_ROWS + 1)),
    Bomb("parquet of as many rows as are read", _DET, rows(MAX_ROWS), **_NUMBER, **_SLOW),
    Bomb("parquet that claims more rows than it has", _DET, claimed(9_000_000)),
    Bomb("parquet that claims more rows than are read", _DET, claimed(2**60)),
    Bomb("parquet with names of a gigabyte", _DET, long_names, **_SLOW),
    Bomb("parquet with run lengths of a terabyte", _COCO, long_segments, **_MASK),
    Bomb("parquet of as many names as rows", _DET, new_names, **_SLOW),
    Bomb("parquet of nested names", _DET, nested),
    Bomb("parquet with a deep note", _DET, noted(b'{"x":' * 100_000)),
    Bomb("parquet with a note of digits", _DET, noted(b'{"x":' + b"9" * 1_000_000 + b"}")),
    Bomb("parquet that is no parquet", _DET, text("a.parquet", b"PAR1" + bytes(99) + b"\xff\xff\xff\x7fPAR1")),
    Bomb("shard with more pixels than it says", _POINT, long_shard, **_SLOW),
    Bomb("npy of a gigapixel squared", _POINT, inside(_MAP, npy(array("(1000000000, 1000000000)")))),
    Bomb("npy of a negative size", _POINT, inside(_MAP, npy(array("(-1, -1)"), bytes(64)))),
    Bomb("npy of no size", _POINT, inside(_MAP, npy(array("(0, 1000000000000)")))),
    Bomb("npy of a size beyond integers", _POINT, inside(_MAP, npy(array("(9999999999999999999, 9)")))),
    Bomb("npy of wide items", _POINT, inside(_MAP, npy(array("(1, 1)", "|V2000000000")))),
    Bomb("npy with a deep header", _POINT, inside(_MAP, npy("(" * 9000))),
    Bomb("npy with a header of signs", _POINT, inside(_MAP, npy("-" * 9000 + "1"))),
    Bomb("npy with a long header", _POINT, inside(_MAP, npy("", length=100_000_000), b"0,", 50_000_000)),
    Bomb("npy of objects", _POINT, pickled),
    Bomb("npy of a dict whose key is 2**60 tuples", _POINT, inside(_MAP, npy(array("()", "|O"), _TUPLES))),
    Bomb("npy of a dict that is remembered far away", _POINT, inside(_MAP, npy(array("()", "|O"), _FAR))),
    Bomb("npy that is an archive", _POINT, zipped),
    Bomb("png of three gigapixels", _SEG, inside(_PNG, png(60_000, 60_000, 1))),
    Bomb("png as large as is read", _SEG, inside(_PNG, png(9_000, 9_900, 9_900)), **_NUMBER),
    Bomb("png of more data than it says", _SEG, inside(_PNG, png(WIDTH, HEIGHT, 4_000_000)), **_NUMBER),
    Bomb("png with much text", _SEG, inside(_PNG, png(9, 9, 9, text=100_000_000))),
    Bomb("json a hundred thousand deep", _DET, text("a.json", "[" * 100_000)),
    Bomb("json of objects a hundred thousand deep", _DET, text("a.json", '[{"a":' * 100_000)),
    Bomb("json of empty lists", _DET, text("a.json", "[", "[],", 20_000_000, "[]]")),
    Bomb("json of empty objects", _DET, text("a.json", "[", "{},", 20_000_000, "{}]")),
    Bomb("json of many keys", _DET, keys, **_SLOW),
    Bomb("json of wide text", _DET, text("a.json", '["\U0001f600', "a", 60_000_000, '"]')),
    Bomb("json with a whole number of 100 MB", _DET, text("a.json", "[", "9", 10**8, "]")),
    Bomb("json with a fraction of 100 MB", _DET, text("a.json", "[0.", "9", 10**8, "]")),
    Bomb("json with a number of 4,000 digits", _DET, text("a.json", entry().replace("0.5", "9" * 4000))),
    Bomb("runs of a huge size", _COCO, text("a.json", segment({"size": [10**9] * 2, "counts": [10**18]})), **_MASK),
    Bomb("runs beyond the image", _COCO, text("a.json", segment(_RUNS | {"counts": [10**18]})), **_MASK),
    Bomb("a million runs of nothing", _COCO, text("a.json", segment(_RUNS | {"counts": "0" * 10**6})), **_MASK),
    Bomb("polygon that goes to and fro", _COCO, text("a.json", segment([[0, 0, WIDTH, HEIGHT] * 50_000])), **_MASK),
    Bomb("polygon beyond floats", _COCO, text("a.json", segment([[1, 1, 9, 1, 9, 10**400]])), **_MASK),
    Bomb("many polygons", _COCO, text("a.json", segment([[0, 0, 9, 0, 9, 9]] * 5_000)), **_NUMBER, **_MASK),
    Bomb("voc text of blank lines", _DET, inside(_TXT, "", "\n", 6_000_000), **_SLOW),
    Bomb("voc text of one line", _DET, inside(_TXT, "", "1 ", 100_000_000)),
    Bomb("voc text of many lines", _DET, inside(_TXT, "", "000001 1 1 1 1 1\n", 10_000_000), **_SLOW),
    Bomb("csv of one field", _CLS, text("a.csv", "image,label,score\n", "a", 100_000_000)),
    Bomb("csv of many columns", _CLS, text("a.csv", "image", ",a", 100_000_000)),
    Bomb("csv of blank lines", _CLS, text("a.csv", "image,label,score\n", "\n", 6_000_000)),
    Bomb("csv with nothing in it", _CLS, text("a.csv", "image,label,score\n", "\0", 1_000_000)),
    Bomb("pipe for a file", _DET, lambda folder: pipe("x")(folder) / "x"),
    Bomb("pipe for a mask", _SEG, pipe(_PNG)),
    Bomb("pipe for a map", _POINT, pipe(_MAP)),
    Bomb("pipe for a shard", _POINT, pipe("0.parquet")),
    Bomb("pipe for a text", _DET, pipe(_TXT)),
    Bomb("endless file", _DET, lambda folder: link("x", "/dev/zero")(folder) / "x"),
    Bomb("endless mask", _SEG, link(_PNG, "/dev/zero")),
    Bomb("mask that is a link to itself", _SEG, link(_PNG, _PNG)),
    Bomb("mask outside of its folder", _SEG, masks_elsewhere, **_NUMBER),
    Bomb("folder too deep for a path", _SEG, deep_folder),
)
