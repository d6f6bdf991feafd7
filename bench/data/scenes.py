"""The images of the synthetic set: the composition, placement and painting of objects.

An object is a large body of weak texture with a small, discriminative part on its border. Three classes share each
body, no two share a part, and some come with a context that occurs nowhere else. The random generator determines all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

BODIES = ("disc", "slab", "wedge", "cross")
PARTS = ("rings", "checker", "stripes")
CONTEXTS = ("waves", "bricks", "hatching")
_RED, _GREEN, _BLUE, _YELLOW = (0.95, 0.05, 0.05), (0.05, 0.75, 0.1), (0.1, 0.2, 0.95), (1.0, 0.9, 0.0)
_MAGENTA, _CYAN, _ORANGE, _VIOLET = (0.95, 0.1, 0.9), (0.1, 0.85, 0.9), (1.0, 0.5, 0.05), (0.45, 0.1, 0.7)
_BROWN, _LIME, _PINK, _TEAL = (0.5, 0.3, 0.1), (0.6, 0.95, 0.3), (1.0, 0.6, 0.75), (0.05, 0.35, 0.35)
_PART_GROUNDS = {"rings": (1.0, 1.0, 1.0), "checker": (0.0, 0.0, 0.0), "stripes": (0.65, 0.1, 0.9)}

REPEAT_P, CONTEXT_P, PATIENCE = 0.3, 0.95, 30
LEAST_VISIBLE, DIFFICULT_VISIBLE, DIFFICULT_SIDE = 0.3, 0.55, 0.14


@dataclass(frozen=True)
class Style:
    """How images are drawn. objects_p: probabilities of 1, 2 ... objects; tiny_p: that of one more, which is tiny.

    Ranges of uniform draws: radius, place: of an object, as shares of the image's side; part: the part's radius as a
    share of the object's; clutter: the number of blobs and bars in the backdrop. colours: of the classes' parts.
    """

    objects_p: tuple[float, ...]
    tiny_p: float
    radius: tuple[float, float]
    place: tuple[float, float]
    part: tuple[float, float]
    clutter: tuple[int, int]
    colours: tuple[tuple[float, float, float], ...]


STYLES = {
    3: Style(
        objects_p=(0.45, 0.35, 0.2),
        tiny_p=0.15,
        radius=(0.16, 0.32),
        place=(0.16, 0.84),
        part=(0.3, 0.38),
        clutter=(6, 15),
        colours=(_RED, _GREEN, _BLUE, _YELLOW, _GREEN, _BLUE, _YELLOW, _RED, _BLUE, _YELLOW, _RED, _GREEN),
    ),
    4: Style(
        objects_p=(0.6, 0.4),
        tiny_p=0.1,
        radius=(0.15, 0.27),
        place=(0.13, 0.87),
        part=(0.5, 0.6),
        clutter=(1, 4),
        colours=(_RED, _GREEN, _BLUE, _YELLOW, _MAGENTA, _CYAN, _ORANGE, _VIOLET, _BROWN, _LIME, _PINK, _TEAL),
    ),
}
"""By version. Version 3, that of 0.1 and 0.2, is harder: small parts, four colours, much clutter."""


@dataclass(frozen=True)
class ShapeClass:
    """A class: its body (its family), its part, and its context, if it has one."""

    body: str
    part: str
    context: str | None

    @property
    def name(self) -> str:
        """Name of the class."""
        return f"{self.body}-{self.part}"


SHAPE_CLASSES = tuple(
    ShapeClass(body, part, CONTEXTS[row] if part == "stripes" and row < 3 else None)
    for part in PARTS
    for row, body in enumerate(BODIES)
)
"""The classes, bodies varying fastest, so that any prefix of at least four has all bodies."""


@dataclass(frozen=True, eq=False)
class VisibleObject:
    """An object as visible in the finished image. box: half-open corners, tight around its visible pixels."""

    shape_class: ShapeClass
    box: tuple[int, int, int, int]
    difficult: bool
    truncated: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """An image: pixels (S, S, 3) uint8, objects from back to front, owner (S, S): 0, or 1 + an object's index."""

    pixels: NDArray[np.uint8]
    owner: NDArray[np.uint8]
    objects: tuple[VisibleObject, ...]


@dataclass(frozen=True, eq=False)
class _PlacedObject:
    """An object on a canvas wider than the image by `margin`, so that cut-off pixels can be counted."""

    shape_class: ShapeClass
    body: Floats
    part: Floats
    ink: Mask


def draw_scene(rng: Rng, classes: Sequence[ShapeClass], first: int, size: int, style: Style) -> Scene:
    """Draw an image of `size` pixels a side with one to three objects, one of them of class `first` and not difficult.

    Occasionally there is one more, tiny object. Placements that hide an object or its part too well are drawn again;
    after repeated failures, a single object is placed.
    """
    backdrop, value = _draw_backdrop(rng, size, style)
    labels, tiny = _draw_labels(rng, len(classes), first, style)
    for attempt in count():
        if attempt == PATIENCE:
            labels, tiny = [first], []
        objects = [_place(rng, classes[label], size, style, tiny=False) for label in labels]
        objects += [_place(rng, classes[label], size, style, tiny=True) for label in tiny]
        owner = _compute_owners(objects, size)
        visible = [_measure_visibility(placed, owner == number, size) for number, placed in enumerate(objects, start=1)]
        clear = {each.shape_class for each in visible if each is not None and not each.difficult}
        if None not in visible and classes[first] in clear:
            break
    pixels = _add_contexts(rng, backdrop, [classes[label].context for label in labels])
    for placed in objects:
        pixels = _paint(rng, pixels, placed, value, style)
    pixels += rng.normal(0, 0.015, pixels.shape)
    return Scene((pixels.clip(0, 1) * 255).round().astype(np.uint8), owner, tuple(filter(None, visible)))


def _draw_labels(rng: Rng, classes: int, first: int, style: Style) -> tuple[list[int], list[int]]:
    labels = [first]
    for _ in range(int(rng.choice(len(style.objects_p), p=style.objects_p))):
        labels.append(labels[-1] if rng.random() < REPEAT_P else int(rng.integers(classes)))
    tiny = [labels[0]] if rng.random() < style.tiny_p else []
    order = rng.permutation(len(labels))
    return [labels[position] for position in order], tiny


def _compute_owners(objects: Sequence[_PlacedObject], size: int) -> NDArray[np.uint8]:
    owner = np.zeros((size, size), np.uint8)
    for number, placed in enumerate(objects, start=1):
        owner[_crop(np.maximum(placed.body, placed.part), size) > 0.5] = number
    return owner


def _measure_visibility(placed: _PlacedObject, visible: Mask, size: int) -> VisibleObject | None:
    """Return what is visible of an object; None if it can no longer be recognised."""
    whole = np.maximum(placed.body, placed.part) > 0.5
    part = placed.part > 0.5
    share = min(visible.sum() / whole.sum(), (visible & _crop(part, size)).sum() / part.sum())
    if share < LEAST_VISIBLE:
        return None
    ys, xs = np.nonzero(visible)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    small = min(box[2] - box[0], box[3] - box[1]) < DIFFICULT_SIDE * size
    return VisibleObject(
        placed.shape_class, box, bool(small or share < DIFFICULT_VISIBLE), bool(_crop(whole, size).sum() < whole.sum())
    )


def _place(rng: Rng, shape_class: ShapeClass, size: int, style: Style, *, tiny: bool) -> _PlacedObject:
    margin = size // 4
    radius = size * (rng.uniform(0.06, 0.08) if tiny else rng.uniform(*style.radius))
    x, y = rng.uniform(style.place[0] * size, style.place[1] * size, 2)
    angle, stretch = rng.uniform(-0.35, 0.35), rng.uniform(0.85, 1.15)
    grid = np.arange(-margin, size + margin) + 0.5
    u, v = _rotate(grid[None, :] - x, grid[:, None] - y, angle)
    u, v = u / (radius * stretch), v / (radius / stretch)
    direction = rng.uniform(0, 2 * np.pi)
    border = _border_radius(shape_class.body, direction) * rng.uniform(0.75, 0.95)
    part_radius = rng.uniform(*style.part)
    pu, pv = (u - border * np.cos(direction)) / part_radius, (v - border * np.sin(direction)) / part_radius
    body = _coverage(_BODY_SHAPES[shape_class.body](u, v), radius)
    part = _coverage(np.maximum(np.abs(pu), np.abs(pv)) * 0.7 + np.hypot(pu, pv) * 0.3 - 1, radius * part_radius)
    return _PlacedObject(shape_class, body, part, _PART_PATTERNS[shape_class.part](pu, pv) > 0)


def _paint(rng: Rng, pixels: Floats, placed: _PlacedObject, backdrop_value: float, style: Style) -> Floats:
    size = len(pixels)
    body, part, ink = (_crop(layer, size) for layer in (placed.body, placed.part, placed.ink))
    paint = _draw_texture(rng, body.shape, _draw_body_colour(rng, backdrop_value), 0.035)
    colour = style.colours[SHAPE_CLASSES.index(placed.shape_class)]
    paint = _blend(paint, part, np.where(ink[..., None], colour, _PART_GROUNDS[placed.shape_class.part]))
    return _blend(pixels, np.maximum(body, part), paint)


def _draw_body_colour(rng: Rng, backdrop_value: float) -> Floats:
    """Draw a nearly grey colour, lighter or darker than the backdrop; it does not depend on the class."""
    step = rng.uniform(0.22, 0.35)
    value = backdrop_value + (step if backdrop_value < 0.5 else -step)
    return np.asarray(value + rng.uniform(-0.06, 0.06, 3))


def _draw_backdrop(rng: Rng, size: int, style: Style) -> tuple[Floats, float]:
    """Draw clutter, a soft texture with blobs and bars of dull colours; return it and its brightness."""
    value = rng.uniform(0.25, 0.75)
    pixels = _draw_texture(rng, (size, size), value + rng.uniform(-0.08, 0.08, 3), 0.06)
    grid = np.arange(size) + 0.5
    for _ in range(int(rng.integers(*style.clutter))):
        u, v = _rotate(grid[None, :] - rng.uniform(0, size), grid[:, None] - rng.uniform(0, size), rng.uniform(0, 3.14))
        long, wide = size * rng.uniform(0.03, 0.16), size * rng.uniform(0.02, 0.06)
        shape = _BODY_SHAPES["disc" if rng.random() < 0.6 else "slab"](u / long, v / wide)
        pixels = _blend(pixels, _coverage(shape, wide) * rng.uniform(0.4, 0.9), value + rng.uniform(-0.3, 0.3, 3))
    return pixels, float(value)


def _add_contexts(rng: Rng, pixels: Floats, names: Sequence[str | None]) -> Floats:
    """Add at most two strips: the first context at the bottom, another at the top."""
    size = len(pixels)
    chosen = [name for name in dict.fromkeys(names) if name is not None and rng.random() < CONTEXT_P]
    x, y = np.meshgrid(np.arange(size) / size * 16, np.arange(size) / size * 16)
    for name, at_bottom in zip(chosen, (True, False), strict=False):
        edge = rng.uniform(0.2, 0.3) * 16
        strip = (y > 16 - edge) if at_bottom else (y < edge)
        ink, light, dark = _CONTEXT_TEXTURES[name]
        pixels = _blend(pixels, strip.astype(float), np.where((ink(x, y) > 0)[..., None], light, dark))
    return pixels


def _crop(canvas: NDArray[Any], size: int) -> NDArray[Any]:
    margin = (len(canvas) - size) // 2
    return canvas[margin : margin + size, margin : margin + size]


def _blend(under: Floats, alpha: Floats, over: Floats) -> Floats:
    mixed = over - under
    mixed *= alpha[..., None]
    mixed += under
    return mixed


def _coverage(shape: Floats, radius: float) -> Floats:
    """Return how much of each pixel is inside, from a signed distance, negative inside, in units of `radius` pixels."""
    return (0.5 - shape * radius).clip(0, 1)


def _draw_texture(rng: Rng, shape: tuple[int, ...], colour: Floats, strength: float) -> Floats:
    """Draw a colour with soft lumps of about 8 pixels."""
    height, width = shape
    lumps = rng.normal(0, strength, (height // 8 + 2, width // 8 + 2))
    y, x = np.arange(height) / 8, np.arange(width) / 8
    rows = _interpolate(lumps, y)
    return np.asarray(colour + _interpolate(rows.T, x).T[..., None])


def _interpolate(values: Floats, positions: Floats) -> Floats:
    low = positions.astype(int)
    share = (positions - low)[:, None]
    return np.asarray(values[low] * (1 - share) + values[low + 1] * share)


def _rotate(x: NDArray[Any], y: NDArray[Any], angle: float) -> tuple[Floats, Floats]:
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _border_radius(body: str, direction: float) -> float:
    """Return how far the body reaches from its centre in a direction."""
    steps = np.linspace(0, 1.5, 151)
    inside = _BODY_SHAPES[body](steps * np.cos(direction), steps * np.sin(direction)) < 0
    return float(steps[inside].max())


def _rectangle(u: Floats, v: Floats, half_width: float, half_height: float) -> Floats:
    return np.maximum(np.abs(u) - half_width, np.abs(v) - half_height)


_Shape = Callable[[Floats, Floats], Floats]

_BODY_SHAPES: dict[str, _Shape] = {
    "disc": lambda u, v: np.hypot(u, v) - 1,
    "slab": lambda u, v: _rectangle(u, v, 1.05, 0.62),
    "wedge": lambda u, v: np.maximum(v - 0.75, 0.87 * np.abs(u) - 0.5 * v - 0.52),
    "cross": lambda u, v: np.minimum(_rectangle(u, v, 1.1, 0.42), _rectangle(u, v, 0.42, 1.1)),
}
"""Negative inside, in a frame where a body is about 1 from its centre to its border."""

_PART_PATTERNS: dict[str, _Shape] = {
    "rings": lambda u, v: np.cos(np.hypot(u, v) * 3 * np.pi),
    "checker": lambda u, v: np.sin(u * 1.5 * np.pi) * np.sin(v * 1.5 * np.pi),
    "stripes": lambda u, v: np.cos((u + v) * 1.6 * np.pi),
}

_CONTEXT_TEXTURES: dict[str, tuple[_Shape, tuple[float, ...], tuple[float, ...]]] = {
    "waves": (lambda x, y: np.sin(5 * y + np.sin(2 * x)), (0.3, 0.6, 0.8), (0.15, 0.4, 0.65)),
    "bricks": (
        lambda x, y: np.minimum(y % 1 - 0.2, (x + (y // 1) % 2) % 2 - 0.2),
        (0.6, 0.32, 0.22),
        (0.75, 0.7, 0.65),
    ),
    "hatching": (lambda x, y: np.sin(9 * x + 3 * y), (0.35, 0.6, 0.25), (0.2, 0.45, 0.15)),
}
"""A pattern, positive where the first colour is, and two colours."""
