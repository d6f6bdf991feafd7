"""Prediction and truth files with one thing off each, and a scorer of what becomes of them.

What is right is the right number, or a note that tells what is off where that changes it, or a message that names what
was seen and what to do. `PYTHONPATH=. python tests/fuzz/nearly_right.py` prints the counts of 1,000 cases.
"""

from __future__ import annotations

import gzip
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench import registry
from bench.core.boxes import to_voc
from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.data.oddities import describe_annotations
from bench.data.voc import CLASSES
from bench.errors import RequestError
from bench.predictions.formats import read_any
from bench.predictions.table import resolve
from bench.scoring.score import score

IDS = tuple(f"{number:06}" for number in (1, 2, 5, 7, 12))
SHOWN = ("cat", "dog", "pottedplant", "tvmonitor")
PROTOCOLS = {"scores": "voc07-cls", "boxes": "voc07-det", "points": "voc07-point-pred"}
COLUMNS = {
    "scores": ["image", "label", "score"],
    "boxes": ["image", "label", "score", "x1", "y1", "x2", "y2"],
}
ADVICE = re.compile(
    "expected|must|needs|write|has |have |such as|Did you mean|Available|like |give|save|Convert|Unpack|rename|UTF-8"
    "|lacks|--allow-missing|evaluated by|a header|Read it|Correct",
    re.IGNORECASE,
)

Rows = list[list[Any]]


class Case(NamedTuple):
    """A file with one thing off: its kind, what is off, and what a message about it has to name."""

    kind: str
    name: str
    path: Path
    seen: str


class Verdict(NamedTuple):
    """What became of a case: `right`, `noted`, `message`, or a fault: `silent`, `vague`, `crash`."""

    case: str
    what: str
    detail: str


def make_truth(seed: int) -> GroundTruth:
    """Five images, as wide as none is high, with three objects each."""
    generator = np.random.default_rng(seed)
    size = np.array([(500 - 10 * row, 375 + row) for row in range(len(IDS))], dtype=np.int32)
    image = np.repeat(np.arange(len(IDS)), 3).astype(np.int32)
    corner = generator.integers(0, 150, (len(image), 2))
    corner[0] = 0
    box = np.concatenate([corner, corner + generator.integers(40, 200, corner.shape)], axis=1).astype(np.float64)
    label = np.array([CLASSES.index(name) for name in generator.choice(SHOWN, len(image))], dtype=np.int32)
    objects = Objects(image, label, box, np.zeros(len(image), dtype=np.bool_))
    labels = derive_labels(len(IDS), len(CLASSES), objects)
    return GroundTruth("voc2007", "test", CLASSES, IDS, size, labels, objects)


def make_rows(truth: GroundTruth, kind: str, seed: int) -> Rows:
    """Rows of predictions: a score of every class, or a box near each object."""
    generator, o = np.random.default_rng(seed), truth.objects
    if kind == "scores":
        return [[name, one, round(float(generator.random()), 4)] for name in IDS for one in CLASSES]
    shaken = np.round(o.box + generator.integers(-9, 9, o.box.shape)).astype(int)
    places = zip(o.image.tolist(), o.label.tolist(), shaken.tolist(), strict=True)
    return [[IDS[i], CLASSES[c], round(float(generator.random()), 4), *box] for i, c, box in places]


def to_csv(header: list[str], rows: Rows, mark: str = ",") -> str:
    return "".join(mark.join(map(str, row)) + "\n" for row in [header, *rows])


def on(column: int, change: Callable[[Any], Any]) -> Callable[[Rows], Rows]:
    return lambda rows: [[change(cell) if at == column else cell for at, cell in enumerate(row)] for row in rows]


def list_csv(kind: str, rows: Rows) -> Iterator[tuple[str, str | bytes, str]]:
    """Yield name, content and what a message must name."""
    header = COLUMNS[kind]
    right = to_csv(header, rows)
    for mark, name in ((";", "semicolon"), ("\t", "tab"), ("|", "bar")):
        yield name, to_csv(header, rows, mark), mark
    yield "capitals", to_csv([name.capitalize() for name in header], rows), "Image"
    yield "index", to_csv(["", *header], [[at, *row] for at, row in enumerate(rows)]), "0"
    yield "reversed columns", to_csv(header[::-1], [row[::-1] for row in rows]), "score"
    yield "aliases", to_csv(["image_id", "class", "confidence", *header[3:]], rows), "image_id"
    yield "another name for images", to_csv(["picture", *header[1:]], rows), "picture"
    yield "no header", to_csv(header, rows).partition("\n")[2], rows[0][0]
    yield "numbers", to_csv(header, on(0, int)(rows)), "1"
    yield "floats", to_csv(header, on(0, float)(rows)), "1.0"
    yield "suffix", to_csv(header, on(0, "{}.jpg".format)(rows)), ".jpg"
    yield "path", to_csv(header, on(0, "JPEGImages/{}.jpg".format)(rows)), "JPEGImages"
    yield "absolute path", to_csv(header, on(0, "/data/VOC2007/JPEGImages/{}.jpg".format)(rows)), "/data"
    yield "COCO's name", to_csv(header, on(0, lambda one: f"COCO_val2014_{int(one):012}.jpg")(rows)), "COCO"
    yield "an unknown image", to_csv(header, [["999999", *rows[0][1:]], *rows]), "999999"
    yield "byte order mark", "\ufeff" + right, "\ufeff"
    yield "CRLF", right.replace("\n", "\r\n"), "\r"
    yield "UTF-16", right.encode("utf-16"), "UTF-16"
    yield "gzip", gzip.compress(right.encode()), "gz"
    yield "quotes", to_csv(header, on(1, '"{}"'.format)(rows)), '"'
    yield "spaces", to_csv(header, rows, ", "), " "
    yield "blank lines", right.replace("\n", "\n\n"), "\n"
    yield "a comment first", f"# made by me\n{right}", "# made by me"
    yield "decimal commas", to_csv(header, on(2, lambda one: str(one).replace(".", ","))(rows), ";"), ","
    yield "classes in capitals", to_csv(header, on(1, str.upper)(rows)), "CAT"
    yield "classes in two words", to_csv(header, on(1, lambda one: one.replace("pot", "pot_"))(rows)), "_"
    yield "class numbers", to_csv(header, on(1, CLASSES.index)(rows)), "'"
    yield "classes of COCO", to_csv(header, on(1, lambda one: one.replace("cat", "kitten"))(rows)), "kitten"
    yield "no score", to_csv(["image", "label", *header[3:]], [[*row[:2], *row[3:]] for row in rows]), "label"
    yield "a text for a score", to_csv(header, [[*rows[0][:2], "high", *rows[0][3:]], *rows[1:]]), "high"
    yield "NaN", to_csv(header, [[*rows[0][:2], "nan", *rows[0][3:]], *rows[1:]]), "nan"
    yield "a short line", right + "000001,cat\n", "2"
    yield "few images", to_csv(header, [row for row in rows if row[0] != IDS[0]]), IDS[0]
    yield "empty", "", "empty"
    yield "only a header", to_csv(header, []), "5 of 5"
    if kind == "scores":
        yield "a second score", right + right.partition("\n")[2], "second"
    else:
        yield "corners by VOC's names", to_csv([*header[:3], "xmin", "ymin", "xmax", "ymax"], rows), "x1"
        yield "width and height", to_csv([*header[:3], "x", "y", "w", "h"], rows), "x1"
        for name, change, seen in (
            ("shares", lambda box: [one / 500 for one in box], "shares"),
            ("inverted", lambda box: [*box[2:], *box[:2]], "inverted"),
            ("pixels of a larger picture", lambda box: [9 * one for one in box], "outside"),
        ):
            yield name, to_csv(header, [[*row[:3], *change(row[3:])] for row in rows]), seen


def to_entries(rows: Rows) -> list[dict[str, Any]]:
    return [
        {"image_id": int(i), "category_id": CLASSES.index(c) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": s}
        for i, c, s, x1, y1, x2, y2 in rows
    ]


def list_json(rows: Rows) -> Iterator[tuple[str, str | bytes, str]]:
    entries = to_entries(rows)
    right = json.dumps(entries)

    def change(key: str, made: Callable[[Any], Any]) -> str:
        return json.dumps([{**one, key: made(one[key])} for one in entries])

    def rename(old: str, new: str) -> str:
        return right.replace(f'"{old}"', f'"{new}"')

    yield "ids as text", change("image_id", str), "'1'"
    yield "ids with zeros", change("image_id", lambda one: f"{one:06}"), "'000001'"
    yield "COCO's file names", change("image_id", lambda one: f"COCO_val2014_{one:012}.jpg"), "COCO"
    yield "ids as floats", change("image_id", float), "1.0"
    yield "categories as text", change("category_id", str), "'8'"
    yield "names of categories", change("category_id", lambda one: CLASSES[one - 1]), "cat"
    yield "categories beyond", change("category_id", lambda one: one + 80), "unknown category_id"
    yield "an unknown image", change("image_id", lambda one: one + 90), "unknown image_id"
    yield "an object around", json.dumps({"annotations": entries}), "annotations"
    yield "images with their boxes", json.dumps({str(one["image_id"]): [one] for one in entries}), "object"
    yield "an entry a line", "\n".join(map(json.dumps, entries)), "JSON"
    yield "byte order mark", b"\xef\xbb\xbf" + right.encode(), "mark"
    yield "gzip", gzip.compress(right.encode()), "gz"
    yield "a comma too many", right[:-1] + ",]", "JSON"
    yield "Python's quotes", str(entries), "JSON"
    yield "cut", right[:-30], "JSON"
    yield "a score as text", change("score", str), "'"
    yield "a score by another name", rename("score", "confidence"), "confidence"
    yield "a box by another name", rename("bbox", "box"), "'box'"
    yield "a box of three", change("bbox", lambda one: one[:3]), "bbox"
    yield "a box as object", change("bbox", lambda one: dict(zip("xywh", one, strict=True))), "bbox"
    yield "NaN", change("score", lambda _: float("nan")), "nan"
    yield "shares", change("bbox", lambda one: [value / 500 for value in one]), "shares"
    yield "pixels of a larger picture", change("bbox", lambda one: [9 * value for value in one]), "outside"
    yield "nothing", "[]", "no boxes"
    yield "null", "null", "null"


def write_parquet(path: Path, kind: str, rows: Rows, **changes: Any) -> Path:
    columns = dict(zip(COLUMNS[kind], map(list, zip(*rows, strict=True)), strict=True)) | changes
    pq.write_table(pa.table({name: one for name, one in columns.items() if one is not None}), path)
    return path


def list_parquet(folder: Path, kind: str, rows: Rows) -> Iterator[tuple[str, Path, str]]:
    images = [row[0] for row in rows]
    yield "numbers", write_parquet(folder / "a", kind, rows, image=list(map(int, images))), "int64"
    yield "suffix", write_parquet(folder / "b", kind, rows, image=[f"{one}.jpg" for one in images]), ".jpg"
    yield "no label", write_parquet(folder / "c", kind, rows, label=None), "label"
    yield "an index", write_parquet(folder / "d", kind, rows, index=list(range(len(rows)))), "index"
    yield "text for scores", write_parquet(folder / "e", kind, rows, score=[str(row[2]) for row in rows]), "string"
    cut = write_parquet(folder / "f", kind, rows)
    cut.write_bytes(cut.read_bytes()[:-40])
    yield "cut", cut, "parquet"


def list_voc(folder: Path, truth: GroundTruth, rows: Rows) -> Iterator[tuple[str, Path, str]]:
    def write(name: str, file: str, line: str, **changes: Any) -> Path:
        (folder / name).mkdir()
        for label, one in enumerate(CLASSES):
            mine = [row for row in rows if row[1] == one]
            boxes = to_voc(np.array([row[3:] for row in mine], dtype=np.float64).reshape(-1, 4)).tolist()
            fields = [
                {"image": row[0], "score": row[2], **dict(zip("abcd", box, strict=True))} | changes
                for row, box in zip(mine, boxes, strict=True)
            ]
            text = "".join(line.format(**each, number=int(each["image"])) + "\n" for each in fields)
            (folder / name / file.format(name=one, label=label)).write_text(text)
        return folder / name

    line = "{image} {score} {a} {b} {c} {d}"
    yield "another split", write("a", "comp4_det_val_{name}.txt", line), "val"
    yield "suffixes", write("b", "comp4_det_test_{name}.txt", line.replace("image}", "image}.jpg")), ".jpg"
    yield "numbers", write("c", "comp4_det_test_{name}.txt", line.replace("image", "number")), "'1'"
    yield "the score last", write("d", "comp4_det_test_{name}.txt", "{image} {a} {b} {c} {d} {score}"), "another order"
    yield "no score", write("e", "comp4_det_test_{name}.txt", "{image} {a} {b} {c} {d}"), "expected an image id"
    yield "commas", write("f", "comp4_det_test_{name}.txt", line.replace(" ", ",")), ","
    yield "other names", write("g", "det_test_{name}.txt", line), "det_test_aeroplane.txt"
    yield "classes by number", write("h", "comp4_det_test_{label}.txt", line), "0"


def list_predictions(folder: Path, truth: GroundTruth, seed: int) -> Iterator[Case]:
    """Yield the cases of one seed."""
    for kind in COLUMNS:
        rows, base = make_rows(truth, kind, seed), folder / kind
        base.mkdir()
        for name, content, seen in list_csv(kind, rows):
            path = base / f"{name}.{'txt' if seed % 2 else 'csv'}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            yield Case(kind, f"csv of {kind}: {name}", path, seen)
        for name, path, seen in list_parquet(base, kind, rows):
            yield Case(kind, f"parquet of {kind}: {name}", path, seen)
    rows = make_rows(truth, "boxes", seed)
    for name, content, seen in list_json(rows):
        path = folder / f"{name}.{'txt' if seed % 2 else 'json'}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        yield Case("boxes", f"JSON: {name}", path, seen)
    (folder / "voc").mkdir()
    for name, path, seen in list_voc(folder / "voc", truth, rows):
        yield Case("boxes", f"VOC's text: {name}", path, seen)


def measure(truth: GroundTruth, kind: str, path: Path) -> tuple[float | None, tuple[str, ...]]:
    protocol = registry.bind(registry.protocol(PROTOCOLS[kind]))
    found = read_any(path, truth, [kind])
    evaluation = score(protocol, truth, {kind: resolve(found, truth)}, replicates=0)
    return evaluation.metrics[protocol.metrics[0]], evaluation.notes


def judge_prediction(truth: GroundTruth, case: Case, right: float) -> Verdict:
    """Try a case: what it gives must be the right number, or say what is wrong with it."""
    try:
        value, notes = measure(truth, case.kind, case.path)
    except RequestError as error:
        return judge_message(case.name, str(error), case.seen)
    except Exception as error:
        return Verdict(case.name, "crash", f"{type(error).__name__}: {error}")
    if value is not None and abs(value - right) < 1e-9:
        return Verdict(case.name, "noted" if notes else "right", "; ".join(notes))
    said = "; ".join(notes)
    return Verdict(case.name, "noted" if case.seen in said else "silent", f"{value}, not {right}: {said}")


def judge_message(name: str, message: str, seen: str) -> Verdict:
    is_clear = seen.lower() in message.lower() and ADVICE.search(message)
    return Verdict(name, "message" if is_clear else "vague", message)


ITEM = "<object><name>{}</name><difficult>0</difficult><bndbox>{}</bndbox></object>"
SIDES = ("xmin", "ymin", "xmax", "ymax")


def write_voc(root: Path, truth: GroundTruth, change: str) -> None:
    """Write a devkit of the truth with one thing off."""
    from PIL import Image

    folder = root / "VOCdevkit" / "VOC2007"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    for row, name in enumerate(IDS):
        width, height = truth.size[row].tolist()
        suffix = {"JPG": "JPG", "png": "png"}.get(change, "jpg")
        shape = (width, height) if change == "turned photographs" else (height, width)
        Image.fromarray(np.zeros(shape, np.uint8)).save(folder / "JPEGImages" / f"{name}.{suffix}")
        text = write_annotation(truth, row, change)
        (folder / "Annotations" / f"{name}.xml").write_bytes(text.encode("utf-16" if change == "UTF-16" else "utf-8"))
    lines = {"ids with suffix": "{}.jpg\n", "ids with path": "JPEGImages/{}\n", "CRLF": "{}\r\n", "labels": "{} 1\n"}
    listed = "".join(lines.get(change, "{}\n").format(name) for name in IDS)
    listed += {"twice": f"{IDS[0]}\n", "an id too many": "000099\n"}.get(change, "")
    listed = {"a comma between": ",".join(IDS), "numbers": "\n".join(str(int(name)) for name in IDS)}.get(
        change, listed
    )
    mark = "\ufeff" if change == "mark in the list" else ""
    (folder / "ImageSets" / "Main" / "test.txt").write_text(mark + listed, encoding="utf-8", newline="")


def write_annotation(truth: GroundTruth, row: int, change: str) -> str:
    o = truth.objects
    width, height = truth.size[row].tolist()[:: -1 if change == "swapped sizes" else 1]
    items = []
    for at in np.flatnonzero(o.image == row).tolist():
        corners = to_voc(o.box[at : at + 1])[0] + {"corners from 0": -1}.get(change, 0)
        corners = {"larger picture": corners * 9, "shares": corners / 500}.get(change, corners)
        number = "{:.4f}" if change == "shares" else "{:.0f}"
        name = CLASSES[int(o.label[at])]
        name = {"capitals": name.upper(), "COCO's classes": name.replace("cat", "kitten")}.get(change, name)
        sides = SIDES if change != "other corners" else ("x1", "y1", "x2", "y2")
        corner_text = "".join(f"<{side}>{number.format(v)}</{side}>" for side, v in zip(sides, corners, strict=True))
        items.append(ITEM.format(name, corner_text))
    size = "" if change == "no size" else f"<size><width>{width}</width><height>{height}</height></size>"
    mark = "\ufeff" if change == "mark in XML" else ""
    return f"{mark}<annotation>{size}{''.join(items)}</annotation>"


TRUTHS = {
    "right": "", "swapped sizes": "size", "turned photographs": "size", "JPG": "JPG", "png": "png", "UTF-16": "xml",
    "ids with suffix": ".jpg", "ids with path": "JPEGImages/", "CRLF": "", "labels": "", "twice": "twice",
    "an id too many": "000099", "a comma between": ",", "numbers": "1", "mark in the list": "", "mark in XML": "",
    "corners from 0": "beyond", "larger picture": "beyond", "shares": "beyond", "capitals": "CAT", "no size": "size",
    "COCO's classes": "kitten", "other corners": "xmin",
}  # fmt: skip
"""What is off in a truth, and what must be named."""

MAY_DIFFER = ("corners from 0", "larger picture", "shares")
"""Truths of other boxes: their number is another one, and a note has to say it."""


def judge_truth(root: Path, truth: GroundTruth, change: str, boxes: Path, right: float) -> Verdict:
    write_voc(root, truth, change)
    name = f"truth: {change}"
    try:
        dataset = open_dataset("voc2007", Places(root / "runs", root))
        read = dataset.ground_truth("test")
        dataset.require_images(read.ids)
        value, notes = measure(read, "boxes", boxes)
        notes = (*notes, *describe_annotations(dataset, read, 64))
    except RequestError as error:
        return judge_message(name, str(error), TRUTHS[change])
    except Exception as error:
        return Verdict(name, "crash", f"{type(error).__name__}: {error}")
    said = "; ".join(note for note in notes if "not the published" not in note)
    if value is not None and abs(value - right) < 1e-9 and change not in MAY_DIFFER:
        return Verdict(name, "noted" if said else "right", said)
    return Verdict(name, "noted" if TRUTHS[change] in said else "silent", f"{value}, not {right}: {said}")


def run(count: int, folder: Path, every: int = 1) -> list[Verdict]:
    """Try `count` cases, seed by seed, of each of which every so many is tried."""
    verdicts: list[Verdict] = []
    seed = 0
    while len(verdicts) < count:
        truth, base = make_truth(seed), folder / str(seed)
        base.mkdir()
        right = {kind: write_right(base, truth, kind, seed) for kind in COLUMNS}
        cases = list(list_predictions(base, truth, seed))[::every]
        verdicts += [judge_prediction(truth, case, right[case.kind][1]) for case in cases]
        for number, change in enumerate(list(TRUTHS)[::every]):
            verdicts.append(judge_truth(base / f"truth{number}", truth, change, *right["boxes"]))
        seed += 1
    return verdicts[:count]


def write_right(base: Path, truth: GroundTruth, kind: str, seed: int) -> tuple[Path, float]:
    """Write the file without anything off; return it and its number."""
    path = base / f"right-{kind}.csv"
    path.write_text(to_csv(COLUMNS[kind], make_rows(truth, kind, seed)))
    value, _ = measure(truth, kind, path)
    assert value is not None
    return path, value


FAULTS = ("silent", "vague", "crash")

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        verdicts = run(1000, Path(name))
    print(dict(Counter(one.what for one in verdicts)))
    for case, what, detail in sorted({one for one in verdicts if one.what in FAULTS}):
        print(what, case, detail[:300], sep=" | ")
