"""Decoding of network outputs into predictions: maps to points, boxes and masks, proposal scores to boxes.

Every convention here is a named rule with its source, because each changes the results. `cells` gives the positions of
a map's cells, in shares of the image's sides; None: they divide the image evenly, as plain resizing assumes. A map is
enlarged once, from these positions: resampling it to an even grid first would smooth it twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.core.boxes import FloatArray
from bench.core.cells import Cells, find_centres
from bench.data.pixels import resize_nearest
from bench.errors import RunError

BoxRule = Literal[
    "largest-component",
    "largest-component-minmax",
    "all-foreground",
    "all-foreground-minmax",
    "every-component",
    "every-component-minmax",
    "mean",
    "mean-components",
    "mean-components-4",
]
"""How a map becomes boxes: which part of the foreground they enclose, and what the threshold is relative to.

largest-component: CAM (Zhou et al. 2016, Sec. 3.2) and ACoL: the largest connected component, 8-connected like the
  contours of the released evaluations. all-foreground: the union of the foreground (DANet's released code).
  every-component: one box for each, the largest first, all with the score of the class (for `voc07-corloc-any`).
Without suffix: foreground is above `threshold * max`, as in CAM's text. -minmax: above `min + threshold * (max - min)`,
  as in wsolevaluation and others; the two differ wherever the minimum is not 0.
mean: SPN (Sec. 4.3): one box of all the map's cells that reach its mean, enlarged. mean-components: SPN's released
  code: the pixels of the enlarged map that reach its mean, one box per component; -4: 4-connected, as there.
  These three have no threshold.
"""

MaskRule = Literal["own-maximum", "common-maximum"]
"""How maps become a mask: each pixel gets the class whose map is largest there, relative to a maximum.

own-maximum: the maximum of the map itself, so that every class reaches 1 somewhere (Ahn and Kwak, CVPR 2018, Eq. 1).
common-maximum: the maximum of all maps of the image, so that classes compete by their responses.
Background is where no share is above the threshold.
"""

Map = NDArray[np.float32]


def peak(map: ArrayLike, width: int, height: int) -> tuple[int, int]:
    """Find the pixel (x, y) of the maximum of a map (h, w) enlarged to the image; see `peaks`."""
    x, y = peaks(np.asarray(map)[None], width, height)[0]
    return int(x), int(y)


def peaks(maps: ArrayLike, width: int, height: int, cells: Cells | None = None) -> NDArray[np.int64]:
    """Find the pixels x, y (C, 2) of the maxima of maps (C, h, w), each enlarged bilinearly to the image.

    Pixel centres lie at half-integers (`align_corners=False`); the first maximum in row-major order wins, so a
    constant map peaks at (0, 0). Raises RunError for maps that are empty, or not finite.
    """
    large = _enlarge_maps(maps, width, height, cells)
    return np.array([_argmax(one) for one in large], dtype=np.int64).reshape(-1, 2)


def points_and_boxes(
    maps: ArrayLike, width: int, height: int, *, rule: BoxRule, threshold: float, cells: Cells | None = None
) -> tuple[NDArray[np.int64], list[FloatArray]]:
    """Find the `peaks` (C, 2) of an image's maps (C, h, w) and the boxes of each class, enlarging each map once.

    Boxes (n, 4), n > 0, enclose the foreground tightly; see `BoxRule`. An empty foreground (a maximum of 0 or less;
    under -minmax a constant map) is the whole image. Raises as `peaks`.
    """
    points, boxes = [], []
    enlarged = _enlarge_maps(maps, width, height, cells)
    for small, large in zip(np.asarray(maps, dtype=np.float32), enlarged, strict=True):
        points.append(_argmax(large))
        foreground = _foreground(small, large, rule, threshold, cells).view(np.uint8)
        boxes.append(np.array(_boxes(foreground, rule), dtype=np.float64))
    return np.array(points, dtype=np.int64).reshape(-1, 2), boxes


def compute_shares(
    maps: ArrayLike,
    classes: NDArray[np.bool_],
    width: int,
    height: int,
    *,
    rule: MaskRule,
    threshold: float,
    cells: Cells | None = None,
) -> Map:
    """Compute the shares (1 + c, height, width) of background, which is the threshold, and c classes.

    maps: (C, h, w). classes: (C,), the c that take part; see `MaskRule`. Raises as `peaks`.
    """
    large = list(_enlarge_maps(np.asarray(maps)[classes], width, height, cells))
    tops = [float(one.max()) for one in large]
    shares = np.zeros((1 + len(large), height, width), dtype=np.float32)
    shares[0] = threshold
    for share, one, own in zip(shares[1:], large, tops, strict=True):
        if (top := own if rule == "own-maximum" else max(tops)) > 0:
            np.divide(one, top, out=share)
    return shares


def compute_mask(shares: Map, classes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Compute the mask (height, width) of such shares: 0 for background, else 1 + the index of a class.

    classes: (C,), those that take part. Of equal shares background's wins, then the first class's. Raises RunError for
    more than 254 classes, which no mask can name.
    """
    if len(classes) > 254:
        raise RunError(f"A mask names at most 254 classes, but there are {len(classes)}.")
    names = np.concatenate([[0], 1 + np.flatnonzero(classes)]).astype(np.uint8)
    return np.asarray(names[shares.argmax(axis=0)])


def detections(
    boxes: ArrayLike, scores: ArrayLike, *, nms_iou: float, score_threshold: float, max_detections: int
) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Reduce proposals (R, 4) or (R, C, 4), scored (R, C), to detections: labels (n,), scores (n,) and boxes (n, 4).

    Removes scores below `score_threshold`; then, class by class, every box whose IoU with a better one is above
    `nms_iou` (greedy non-maximum suppression, Felzenszwalb et al. 2010); then all but the best `max_detections` of the
    image. Order: score descending, then proposal, then class. Raises RunError for a score that is not a number.
    """
    from torch import from_numpy
    from torchvision.ops import nms as suppressed

    box, score = np.asarray(boxes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    box = np.broadcast_to(box[:, None] if box.ndim == 2 else box, (*score.shape, 4))
    if np.isnan(score).any():
        raise RunError("Scores of proposals must be numbers, but the method gave NaN.")
    kept = [np.zeros((0, 2), dtype=np.int64)]
    for label in range(score.shape[1]):
        rows = np.flatnonzero(score[:, label] >= score_threshold)
        best = rows[suppressed(from_numpy(box[rows, label]), from_numpy(score[rows, label]), nms_iou).numpy()]
        kept.append(np.stack([best, np.full_like(best, label)], axis=1))
    row, label_of = np.concatenate(kept).T
    order = np.lexsort((label_of, row, -score[row, label_of]))[:max_detections]
    row, label_of = row[order], label_of[order]
    return label_of, score[row, label_of], box[row, label_of]


def _enlarge_maps(maps: ArrayLike, width: int, height: int, cells: Cells | None) -> Iterator[Map]:
    """Yield each map enlarged to (height, width), float32."""
    small = np.ascontiguousarray(maps, dtype=np.float32)
    if small.ndim != 3 or 0 in small.shape[1:]:
        raise RunError(f"Expected maps (classes, h, w), but the method gave shape {small.shape}.")
    if not np.isfinite(small).all():
        label = int(np.argmin(np.isfinite(small).all(axis=(1, 2))))
        raise RunError(f"Maps must be finite, but the method gave NaN or infinity for class {label}.")
    return (enlarge_map(one, width, height, cells) for one in small)


def enlarge_map(small: Map, width: int, height: int, cells: Cells | None = None) -> Map:
    """Enlarge a map (h, w) bilinearly to the image (height, width), pixel centres at half-integers."""
    import cv2

    if small.min() == small.max():  # some OpenCV builds round a constant unevenly, which would look like a maximum
        return np.full((height, width), small[0, 0])
    if cells is not None:
        down, across = (
            cells.weigh(n, find_centres(side)) for n, side in zip(small.shape, (height, width), strict=True)
        )
        return np.asarray(down @ small @ across.T)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _argmax(large: Map) -> tuple[int, int]:
    y, x = divmod(int(large.argmax()), large.shape[1])
    return x, y


def _foreground(small: Map, large: Map, rule: BoxRule, threshold: float, cells: Cells | None) -> NDArray[np.bool_]:
    height, width = large.shape
    if rule == "mean":
        reached = small >= small.mean()
        if cells is None:
            return resize_nearest(reached.view(np.uint8), width, height).view(np.bool_)
        sides = zip(small.shape, (height, width), strict=True)
        return np.asarray(reached[np.ix_(*(cells.nearest(n, find_centres(side)) for n, side in sides))])
    if rule.startswith("mean-components"):
        return np.asarray(large >= large.mean())
    top, floor = float(large.max()), float(large.min()) if rule.endswith("-minmax") else 0.0
    return np.asarray(large > floor + threshold * (top - floor))


def _boxes(foreground: NDArray[np.uint8], rule: BoxRule) -> list[tuple[float, ...]]:
    """Return the rule's boxes: components by size, largest first; of equals the topmost, then leftmost."""
    import cv2

    height, width = foreground.shape
    if not foreground.any():
        return [(0.0, 0.0, float(width), float(height))]
    found = [cv2.boundingRect(foreground)]
    if "component" in rule:
        stats = cv2.connectedComponentsWithStats(foreground, connectivity=4 if rule.endswith("-4") else 8)[2][1:]
        x, y, _, _, pixels = stats.T
        found = stats[np.lexsort((x, y, -pixels)), :4].tolist()
    kept = found[:1] if rule.startswith("largest-component") else found
    return [(float(x), float(y), float(x + wide), float(y + high)) for x, y, wide, high in kept]
