"""From what a network gives to what is written: maps to points and boxes, proposal scores to boxes.

Every convention here is a named rule with its source, because each of them moves the numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.boxes import FloatArray
from bench.errors import RunError

BoxRule = Literal["largest-component", "largest-component-minmax", "all-foreground", "all-foreground-minmax"]
"""How a map becomes a box: what of the foreground it encloses, and what the threshold is a share of.

largest-component: CAM (Zhou et al. 2016, Sec. 3.2): the largest connected component, 8-connected as the contours of
  the released evaluations are. all-foreground: the union of the foreground (DANet's released code).
Plain: foreground is above `threshold * max`, as CAM's text says. -minmax: above `min + threshold * (max - min)`, as
  wsolevaluation and others read it; the two differ wherever the minimum is not 0.
"""

MaskRule = Literal["own-maximum", "common-maximum"]
"""How maps become a mask: a pixel is of the class whose map is largest there, as a share of a maximum.

own-maximum: that of the map itself, so that every class reaches 1 somewhere (Ahn and Kwak, CVPR 2018, Eq. 1).
common-maximum: that of all maps of the image, so that classes compete by their responses.
Background is where no share is above the threshold.
"""

Map = NDArray[np.float32]


def peak(map: ArrayLike, width: int, height: int) -> tuple[int, int]:
    """The pixel (x, y) of the maximum of a map (h, w) enlarged to the image; see `peaks`."""
    x, y = peaks(np.asarray(map)[None], width, height)[0]
    return int(x), int(y)


def peaks(maps: ArrayLike, width: int, height: int) -> NDArray[np.int64]:
    """The pixels x, y (C, 2) of the maxima of maps (C, h, w), each enlarged bilinearly to the image.

    Pixel centres lie at half-integers (`align_corners=False`); the first maximum in row-major order wins, so a
    constant map peaks at (0, 0). Raises RunError for maps that are empty, or not finite.
    """
    return np.array([_argmax(large) for large in _enlarged(maps, width, height)], dtype=np.int64).reshape(-1, 2)


def box_of(map: ArrayLike, width: int, height: int, *, rule: BoxRule, threshold: float) -> FloatArray:
    """The tight box (4,) of the foreground of a map (h, w) enlarged to the image; see `BoxRule`.

    An empty foreground (a maximum of 0 or less; under -minmax a constant map) is the whole image. Raises as `peaks`.
    """
    _, boxes = points_and_boxes(np.asarray(map)[None], width, height, rule=rule, threshold=threshold)
    return np.asarray(boxes[0])


def points_and_boxes(
    maps: ArrayLike, width: int, height: int, *, rule: BoxRule, threshold: float
) -> tuple[NDArray[np.int64], FloatArray]:
    """Both of `peaks` (C, 2) and `box_of` (C, 4) of an image's maps (C, h, w), enlarging each map once."""
    points, boxes = [], []
    for large in _enlarged(maps, width, height):
        points.append(_argmax(large))
        boxes.append(_box(large, rule, threshold))
    return np.array(points, dtype=np.int64).reshape(-1, 2), np.array(boxes, dtype=np.float64).reshape(-1, 4)


def mask_of(
    maps: ArrayLike, classes: NDArray[np.bool_], width: int, height: int, *, rule: MaskRule, threshold: float
) -> NDArray[np.uint8]:
    """The mask (height, width) of an image's maps (C, h, w): 0 for background, or 1 + the index of a class.

    classes: (C,), those that take part; see `MaskRule`. The first of equal classes wins; a map without a value above 0
    is nowhere. Raises as `peaks`, and for more than 254 classes, which no mask can name.
    """
    if len(classes) > 254:
        raise RunError(f"A mask names at most 254 classes, but there are {len(classes)}.")
    chosen = np.flatnonzero(classes)
    large = list(_enlarged(np.asarray(maps)[chosen], width, height))
    tops = [float(one.max()) for one in large]
    mask, best = np.zeros((height, width), dtype=np.uint8), np.full((height, width), threshold)
    for label, one, own in zip(chosen, large, tops, strict=True):
        top = own if rule == "own-maximum" else max(tops)
        share = one / top if top > 0 else np.zeros_like(one)
        above = share > best
        mask[above], best[above] = label + 1, share[above]
    return mask


def detections(
    boxes: ArrayLike, scores: ArrayLike, *, nms: float, score_floor: float, max_boxes: int
) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Labels (n,), scores (n,) and boxes (n, 4) that are left of proposals (R, 4) or (R, C, 4) scored (R, C).

    Scores under `score_floor` go; then, class by class, every box whose IoU with a better one is above `nms` (greedy
    non-maximum suppression, Felzenszwalb et al. 2010); then all but the best `max_boxes` of the image. Order: score
    descending, then proposal, then class. Raises RunError for a score that is not a number.
    """
    from torch import from_numpy
    from torchvision.ops import nms as suppressed

    box, score = np.asarray(boxes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    box = np.broadcast_to(box[:, None] if box.ndim == 2 else box, (*score.shape, 4))
    if np.isnan(score).any():
        raise RunError("Scores of proposals must be numbers, but the method gave NaN.")
    kept = [np.zeros((0, 2), dtype=np.int64)]
    for label in range(score.shape[1]):
        rows = np.flatnonzero(score[:, label] >= score_floor)
        best = rows[suppressed(from_numpy(box[rows, label]), from_numpy(score[rows, label]), nms).numpy()]
        kept.append(np.stack([best, np.full_like(best, label)], axis=1))
    row, label_of = np.concatenate(kept).T
    order = np.lexsort((label_of, row, -score[row, label_of]))[:max_boxes]
    row, label_of = row[order], label_of[order]
    return label_of, score[row, label_of], box[row, label_of]


def _enlarged(maps: ArrayLike, width: int, height: int) -> Iterator[Map]:
    """Each map (height, width), float32."""
    small = np.ascontiguousarray(maps, dtype=np.float32)
    if small.ndim != 3 or 0 in small.shape[1:]:
        raise RunError(f"Expected maps (classes, h, w), but the method gave shape {small.shape}.")
    if not np.isfinite(small).all():
        label = int(np.argmin(np.isfinite(small).all(axis=(1, 2))))
        raise RunError(f"Maps must be finite, but the method gave NaN or infinity for class {label}.")
    return (enlarged(one, width, height) for one in small)


def enlarged(small: Map, width: int, height: int) -> Map:
    """A map (h, w) enlarged bilinearly to the image (height, width), pixel centres at half-integers."""
    import cv2

    if small.min() == small.max():  # some OpenCV builds round a constant unevenly, which would look like a maximum
        return np.full((height, width), small[0, 0])
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _argmax(large: Map) -> tuple[int, int]:
    y, x = divmod(int(large.argmax()), large.shape[1])
    return x, y


def _box(large: Map, rule: BoxRule, threshold: float) -> tuple[float, ...]:
    import cv2

    top, floor = float(large.max()), float(large.min()) if rule.endswith("-minmax") else 0.0
    foreground = (large > floor + threshold * (top - floor)).view(np.uint8)
    x, y, width, height = cv2.boundingRect(foreground)
    if not width:
        return 0.0, 0.0, float(large.shape[1]), float(large.shape[0])
    if rule.startswith("largest-component"):
        x, y, width, height = _largest_component(foreground)
    return float(x), float(y), float(x + width), float(y + height)


def _largest_component(foreground: NDArray[np.uint8]) -> Any:
    """`x, y, width, height` of the component with the most pixels; among equals the topmost, then the leftmost."""
    import cv2

    stats = cv2.connectedComponentsWithStats(foreground, connectivity=8)[2][1:]
    x, y, _, _, pixels = stats.T
    return stats[np.lexsort((x, y, -pixels))[0], :4]
