"""Small truths and predictions for the tests of the scoring families, and hypothesis strategies that make them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

import protocols
from bench.predictions import KINDS, About, Predictions, Resolved, resolve
from bench.protocol import BoundProtocol, read_record
from bench.score import Judged, score
from bench.truth import Objects, Truth, labels_of

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
) -> Truth:
    """A truth from (image, class, box, difficult)."""
    rows = sorted((ids.index(image), position) for position, (image, *_) in enumerate(objects))
    made = Objects(
        np.array([image for image, _ in rows], dtype=np.int32),
        np.array([classes.index(objects[row][1]) for _, row in rows], dtype=np.int32),
        np.array([objects[row][2] for _, row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([objects[row][3] for _, row in rows], dtype=np.bool_),
    )
    sizes = np.full((len(ids), 2), size, dtype=np.int32)
    return Truth("toy", "test", classes, ids, sizes, labels_of(len(ids), len(classes), made), made)


def predicted(truth: Truth, kind: str, rows: Sequence[Sequence[Any]], *, ids: Any = "all") -> dict[str, Resolved]:
    """Predictions from rows in the order of the kind's columns, which speak for all images."""
    types = [pa.string(), pa.string()] + [pa.float64()] * (len(KINDS[kind]) - 2)
    columns = {name: pa.array([row[column] for row in rows], types[column]) for column, name in enumerate(KINDS[kind])}
    about = About("test", ids=truth.ids if ids == "all" else ids)
    return {kind: resolve(Predictions(kind, pa.table(columns), about, "made.parquet"), truth)}


def bound(name: str, **changes: Any) -> BoundProtocol:
    """A shipped protocol with some switches moved."""
    record = read_record(Path(protocols.__path__[0]) / f"{name}.toml").with_conventions(changes)
    family: Any = importlib.import_module(f"protocols.scoring.{record.family}")
    return BoundProtocol(record, family)


def judge(protocol: BoundProtocol, truth: Truth, predictions: dict[str, Resolved], **how: Any) -> Judged:
    """Score without intervals."""
    return score(protocol, truth, predictions, **{"replicates": 0, **how})


def repeated(truth: Truth, times: Sequence[int]) -> tuple[Truth, list[tuple[str, str]]]:
    """The truth with image i there `times[i]` times, as a bootstrap replicate has it, and (old, new) ids."""
    names = [(old, f"{old}{copy}") for old, count in zip(truth.ids, times, strict=True) for copy in range(count)]
    o = truth.objects
    objects = [
        (new, truth.classes[o.label[row]], o.box[row], bool(o.difficult[row]))
        for old, new in names
        for row in np.flatnonzero(o.image == truth.index[old])
    ]
    return truth_of(objects, ids=tuple(new for _, new in names), classes=truth.classes), names


def boxes() -> st.SearchStrategy[tuple[int, int, int, int]]:
    """Boxes with whole corners on a small grid, so that overlaps of exactly one half are common."""
    corner = st.tuples(st.integers(0, 5), st.integers(0, 4))
    side = st.integers(1, 4)
    return st.tuples(corner, side, side).map(lambda b: (b[0][0], b[0][1], b[0][0] + b[1], b[0][1] + b[2]))


def truths() -> st.SearchStrategy[Truth]:
    """Up to ten objects in four images; some classes and images stay without any."""
    thing = st.tuples(st.sampled_from(IDS), st.sampled_from(CLASSES), boxes(), st.booleans())
    return st.lists(thing, max_size=10).map(truth_of)


def detections(*, distinct: bool = False) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    """Rows of boxes; few values of the score, so that ties are common, or none twice."""
    scores = st.integers(0, 1000).map(lambda n: n / 1024) if distinct else st.sampled_from([0.0, 0.25, 0.5, 1.0])
    row = st.tuples(st.sampled_from(IDS), st.sampled_from(CLASSES), scores, boxes())
    unique = (lambda r: r[2]) if distinct else None
    return st.lists(row, max_size=14, unique_by=unique).map(lambda rows: [(*r[:3], *map(float, r[3])) for r in rows])
