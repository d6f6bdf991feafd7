"""Detection as COCO judges it: average precision and recall over IoU .50 ... .95, sizes, and numbers of detections.

101 recall points, 10 IoUs, 100 detections an image and class, crowd regions ignored. hotcoco computes the matching and
the curves, as pycocotools defines them; a class without objects is undefined, and no detections at all score 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench import protocol
from bench.boxes import FloatArray, area, to_coco
from bench.data.rle import checked_rle
from bench.errors import RequestError
from bench.predictions import Resolved
from bench.protocol import Replicates, Scored
from bench.truth import Truth

VERSION = 1

_AREAS, _MOST = ("all", "small", "medium", "large"), (1, 10, 100)
_PRECISIONS = {"AP": (slice(None), 0), "AP50": (slice(0, 1), 0), "AP75": (slice(5, 6), 0)} | {
    f"AP_{name}": (slice(None), index) for index, name in enumerate(_AREAS) if index
}
_RECALLS = {f"AR_{most}": (0, index) for index, most in enumerate(_MOST)} | {
    f"AR_{name}": (index, 2) for index, name in enumerate(_AREAS) if index
}
METRICS = dict.fromkeys((*_PRECISIONS, *_RECALLS), True)


class Conventions(protocol.Conventions):
    """The switches of COCO's detection."""

    region: Literal["box", "mask"]
    """What overlaps: boxes, or segments."""


def score(truth: Truth, predictions: Mapping[str, Resolved], conventions: Conventions) -> Scored:
    """All twelve metrics, by class. Outcomes: the number of detections of each image; no metric is made from them.

    Raises RequestError for predictions or a truth without what `region` asks for, and for broken run lengths.
    """
    kind = "segments" if conventions.region == "mask" else "boxes"
    if kind not in predictions:
        raise RequestError(f"Expected {kind} (region = {conventions.region}), but got {', '.join(predictions)}.")
    found = predictions[kind]
    if conventions.region == "mask" and truth.objects.segment is None:
        raise RequestError(f"{truth.dataset} has no masks of its objects, which region = mask asks for.")
    precision, recall = _curves(truth, found, conventions) if len(found.image) else _nothing(truth, conventions)
    whole = {name: precision[t, :, :, a, 2].mean(axis=(0, 1)) for name, (t, a) in _PRECISIONS.items()}
    whole |= {name: recall[:, :, a, m].mean(axis=0) for name, (a, m) in _RECALLS.items()}
    detections = np.bincount(found.image, minlength=len(truth.ids))
    outcomes = pa.table({"image": np.arange(len(truth.ids), dtype=np.int32), "detections": detections})
    counts = {"detections": len(found.image), "objects": len(truth.objects), "crowds": int(_crowd(truth).sum())}
    return Scored(outcomes, counts, ("no intervals: the engine gives curves of the whole split",), whole=whole)


def summarise(outcomes: pa.Table, truth: Truth, conventions: Conventions, weights: NDArray[np.float64]) -> Replicates:
    """Nothing: COCO's curves are of the whole split."""
    return {}


def _curves(truth: Truth, found: Resolved, conventions: Conventions) -> tuple[FloatArray, FloatArray]:
    """Precision (10, 101, C, 4, 3) and recall (10, C, 4, 3): IoU, recall, class, size, detections; NaN: undefined."""
    import hotcoco

    number = _numbers(truth)
    objects = _dataset(truth, conventions, number)
    image, category = number[found.image], found.label + 1
    if conventions.region == "mask":
        rows = zip(found.image.tolist(), found.segments, found.score.tolist(), category.tolist(), strict=True)
        results: Any = [
            {
                "image_id": int(number[row]),
                "category_id": label,
                "segmentation": _segment(truth, row, counts),
                "score": value,
            }
            for row, counts, value, label in rows
        ]
    else:
        results = np.column_stack([image, to_coco(found.box), found.score, category]).astype(np.float64)
    judged = hotcoco.COCOeval(objects, objects.load_res(results), "segm" if conventions.region == "mask" else "bbox")
    judged.evaluate()
    judged.accumulate()
    curves: Any = judged.eval
    precision, recall = (np.where(curves[name] < 0, np.nan, curves[name]) for name in ("precision", "recall"))
    return precision, recall


def _dataset(truth: Truth, conventions: Conventions, number: NDArray[np.int64]) -> Any:
    """The truth as hotcoco takes it."""
    import hotcoco

    o = truth.objects
    width, height = truth.size.T.tolist()
    rows = np.argsort(number).tolist()
    images = [{"id": int(number[row]), "width": width[row], "height": height[row]} for row in rows]
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(truth.classes)]
    segments: Any = None
    if conventions.region == "mask" and o.segment is not None:
        pairs = zip(o.image.tolist(), o.segment, strict=True)
        segments = [_segment(truth, row, counts) for row, counts in pairs]
    return hotcoco.COCO.from_arrays(
        images,
        categories,
        number[o.image],
        o.label.astype(np.int64) + 1,
        to_coco(o.box),
        area=area(o.box) if o.area is None else o.area,
        iscrowd=_crowd(truth),
        segmentation=segments,
    )


def _numbers(truth: Truth) -> NDArray[np.int64]:
    """A number (N,) for each image, from 1, in the order of the ids, as numbers where they are: it breaks ties."""
    order = sorted(range(len(truth.ids)), key=lambda row: (truth.ids[row].zfill(20), truth.ids[row]))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(1, len(order) + 1)
    return number


def _nothing(truth: Truth, conventions: Conventions) -> tuple[FloatArray, FloatArray]:
    """The curves of no detections: 0 for every class and size that has objects (pycocotools stops here)."""
    o = truth.objects
    size = area(o.box) if o.area is None else o.area
    low, high = np.array([0, 0, 32**2, 96**2]), np.array([1e10, 32**2, 96**2, 1e10])
    sought = (size[:, None] >= low) & (size[:, None] <= high) & ~_crowd(truth)[:, None]
    has = np.zeros((len(truth.classes), len(_AREAS)), dtype=np.bool_)
    np.logical_or.at(has, o.label, sought)
    recall = np.broadcast_to(np.where(has, 0.0, np.nan)[None, :, :, None], (10, *has.shape, len(_MOST)))
    return np.broadcast_to(recall[:, None], (10, 101, *recall.shape[1:])), recall


def _crowd(truth: Truth) -> NDArray[np.bool_]:
    crowd = truth.objects.crowd
    return np.zeros(len(truth.objects), dtype=np.bool_) if crowd is None else crowd


def _segment(truth: Truth, image: int, counts: bytes) -> dict[str, Any]:
    """Run lengths of an image's size. Raises RequestError where they are not."""
    width, height = map(int, truth.size[image])
    try:
        return {"size": [height, width], "counts": checked_rle(counts, width, height).decode("ascii")}
    except ValueError as error:
        raise RequestError(f"A segment of image {truth.ids[image]!r}: {error}.") from None
