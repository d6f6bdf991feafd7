"""Small truths and predictions for the tests of the scoring families, and hypothesis strategies that make them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

import protocols
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.predictions.table import KINDS, About, Predictions, ResolvedPredictions, resolve
from bench.scoring.protocol import BoundProtocol, read_record
from bench.scoring.score import Evaluation, score

IDS = ("b", "d", "a", "c")
"""Not in the order of the list: ties go by id."""
CLASSES = ("cat", "dog", "eel")
WIDTH, HEIGHT = 12, 10


def truth_of(
    objects: Sequence[tuple[str, str, Sequence[float], bool]],
    *,
    ids: tuple[str, ...] = IDS,
    classes: tuple[str, ...] = CLASSES,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> GroundTruth:
    """A truth from (image, class, box, difficult)."""
    rows = sorted((ids.index(image), position) for position, (image, *_) in enumerate(objects))
    made = Objects(
        np.array([image for image, _ in rows], dtype=np.int32),
        np.array([classes.index(objects[row][1]) for _, row in rows], dtype=np.int32),
        np.array([objects[row][2] for _, row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([objects[row][3] for _, row in rows], dtype=np.bool_),
    )
    sizes = np.full((len(ids), 2), size, dtype=np.int32)
    return GroundTruth("toy", "test", classes, ids, sizes, derive_labels(len(ids), len(classes), made), made)


def predicted(
    truth: GroundTruth, kind: str, rows: Sequence[Sequence[Any]], *, ids: Any = "all"
) -> dict[str, ResolvedPredictions]:
    """Predictions from rows in the order of the kind's columns, which speak for all images."""
    types = [pa.string(), pa.string()] + [pa.float64()] * (len(KINDS[kind]) - 2)
    columns = {name: pa.array([row[column] for row in rows], types[column]) for column, name in enumerate(KINDS[kind])}
    about = About("test", ids=truth.ids if ids == "all" else ids)
    return {kind: resolve(Predictions(kind, pa.table(columns), about, "made.parquet"), truth)}


def arrays(
    truth: GroundTruth, kind: str, rows: Sequence[tuple[str, str | None, Any]]
) -> dict[str, ResolvedPredictions]:
    """Masks, maps or objectness from (image, class or None, array)."""
    image = np.array([truth.index[name] for name, *_ in rows], dtype=np.int32)
    label = np.array([-1 if name is None else truth.class_index[name] for _, name, _ in rows], dtype=np.int32)
    covered = np.ones(len(truth.ids), dtype=np.bool_)
    return {kind: ResolvedPredictions(kind, image, label, {}, covered, {}, (), lambda: (one for *_, one in rows))}


def bound(name: str, **changes: Any) -> BoundProtocol:
    """A shipped protocol with some switches moved."""
    record = read_record(Path(protocols.__path__[0]) / f"{name}.toml").with_conventions(changes)
    family: Any = importlib.import_module(f"protocols.scoring.{record.family.replace('-', '_')}")
    return BoundProtocol(record, family)


def judge(
    protocol: BoundProtocol, truth: GroundTruth, predictions: dict[str, ResolvedPredictions], **how: Any
) -> Evaluation:
    """Score without intervals."""
    return score(protocol, truth, predictions, **{"replicates": 0, **how})


def repeated(truth: GroundTruth, times: Sequence[int]) -> tuple[GroundTruth, list[tuple[str, str]]]:
    """The truth with image i there `times[i]` times, as a bootstrap replicate has it, and (old, new) ids."""
    names = [(old, f"{old}{copy}") for old, count in zip(truth.ids, times, strict=True) for copy in range(count)]
    o = truth.objects
    objects = [
        (new, truth.classes[o.label[row]], o.box[row], bool(o.difficult[row]))
        for old, new in names
        for row in np.flatnonzero(o.image == truth.index[old])
    ]
    return truth_of(objects, ids=tuple(new for _, new in names), classes=truth.classes), names


def overlap(a: Any, b: Any, plus_one: bool = True) -> Fraction:
    """IoU in exact fractions, from VOC's definition on inclusive corners."""
    more = 1 if plus_one else 0
    a, b = ([Fraction(x1) + 1, Fraction(y1) + 1, Fraction(x2), Fraction(y2)] for x1, y1, x2, y2 in (a, b))
    width = min(a[2], b[2]) - max(a[0], b[0]) + more
    height = min(a[3], b[3]) - max(a[1], b[1]) + more
    if width <= 0 or height <= 0:
        return Fraction(0)
    areas = [(box[2] - box[0] + more) * (box[3] - box[1] + more) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def boxes() -> st.SearchStrategy[tuple[int, int, int, int]]:
    """Boxes with whole corners on a small grid, so that overlaps of exactly one half are common."""
    corner = st.tuples(st.integers(0, 5), st.integers(0, 4))
    side = st.integers(1, 4)
    return st.tuples(corner, side, side).map(lambda b: (b[0][0], b[0][1], b[0][0] + b[1], b[0][1] + b[2]))


def truths() -> st.SearchStrategy[GroundTruth]:
    """Up to ten objects in four images, most in two of them; some classes and images stay without any."""
    image = st.sampled_from([*IDS, *IDS[1:3], *IDS[1:3]])
    thing = st.tuples(image, st.sampled_from([*CLASSES, "cat", "cat"]), boxes(), st.booleans())
    return st.lists(thing, max_size=10).map(truth_of)


@st.composite
def cases(draw: st.DrawFn, *, distinct: bool = False) -> tuple[GroundTruth, list[tuple[Any, ...]]]:
    """A truth and rows of boxes, most near an object; scores of few values, so that ties are common, or distinct."""
    truth = draw(truths())
    anywhere = st.tuples(st.sampled_from(IDS), st.sampled_from(CLASSES), boxes())
    where = st.one_of(anywhere, _near(truth), _near(truth)) if len(truth.objects) else anywhere
    scores = st.integers(0, 1000).map(lambda n: n / 1024) if distinct else st.sampled_from([0.0, 0.25, 0.5, 1.0])
    unique = (lambda row: row[1]) if distinct else None
    rows = draw(st.lists(st.tuples(where, scores), max_size=14, unique_by=unique))
    return truth, [(image, label, score, *map(float, box)) for (image, label, box), score in rows]


def _near(truth: GroundTruth) -> st.SearchStrategy[Any]:
    """An object's image and class, and its box, some corners moved by a pixel."""
    o = truth.objects

    def moved(row: int, steps: list[int]) -> Any:
        return truth.ids[o.image[row]], truth.classes[o.label[row]], tuple(o.box[row] + steps)

    steps = st.lists(st.sampled_from([0, 0, 0, 1, -1]), min_size=4, max_size=4)
    return st.builds(moved, st.integers(0, len(o) - 1), steps)
