"""Pictures of predictions: a photograph overlaid with boxes, points, a map or a mask, as JPEG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.data.pixels import resize_nearest, voc_palette
from bench.predictions.decode import enlarge_map

if TYPE_CHECKING:
    from PIL.Image import Image as Drawing

Colour = tuple[int, int, int]
TRUTH, HIT, MISS, OTHER = (0, 190, 80), (40, 120, 255), (230, 40, 40), (240, 190, 0)
SIDE = 320
"""The larger side of a picture in pixels."""

_EMPTY = 208


class Mark(NamedTuple):
    """A box (4,) or a point (2,), in pixels of the image. strong: whether a box has a thick line; name: of a box."""

    at: Sequence[float]
    colour: Colour
    strong: bool = True
    name: str = ""


@dataclass(frozen=True)
class Picture:
    """A JPEG, and what it shows."""

    caption: str
    jpeg: bytes


def encode_picture(pixels: NDArray[np.uint8], marks: Sequence[Mark] = (), quality: int = 85) -> bytes:
    """Encode an image (H, W, 3) as a JPEG with a larger side of `SIDE` pixels and marks on it, the last on top."""
    return _encode(_draw(pixels, marks), quality)


def fit(width: int, height: int, side: int = SIDE) -> tuple[int, int]:
    """Return the width and height of an image scaled to a larger side of `side` pixels.

    >>> fit(500, 375)
    (320, 240)
    """
    scale = side / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def encode_row(panels: Sequence[tuple[NDArray[np.uint8], Sequence[Mark]]]) -> bytes:
    """Encode images of one size with their marks, side by side, as one JPEG."""
    from PIL import Image

    drawn = [_draw(pixels, marks) for pixels, marks in panels]
    row = Image.new("RGB", (sum(image.width for image in drawn), max(image.height for image in drawn)))
    for number, image in enumerate(drawn):
        row.paste(image, (number * drawn[0].width, 0))
    return _encode(row)


def _draw(pixels: NDArray[np.uint8], marks: Sequence[Mark]) -> Drawing:
    """Draw an image (H, W, 3) with a larger side of `SIDE` pixels and marks on it."""
    from PIL import Image, ImageDraw

    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    image = Image.fromarray(pixels).resize(fit(width, height))
    draw = ImageDraw.Draw(image)
    for mark in marks:
        at = [min(max(float(one), -width - height), 2.0 * (width + height)) * scale for one in mark.at]
        if len(at) == 2:
            x, y = at
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=mark.colour, outline=(255, 255, 255))
        elif at[0] <= at[2] and at[1] <= at[3]:
            draw.rectangle(at, outline=mark.colour, width=3 if mark.strong else 1)
            if mark.name:
                corner = max(at[0] + 4, 4), max(at[1] + 2, 2)
                draw.rectangle(draw.textbbox(corner, mark.name), fill=mark.colour)
                draw.text(corner, mark.name, fill=(0, 0, 0))
    return image


def _encode(image: Drawing, quality: int = 85) -> bytes:
    out = io.BytesIO()
    image.save(out, format="JPEG", quality=quality)
    return out.getvalue()


def canvas(width: int, height: int) -> NDArray[np.uint8]:
    """Return a grey canvas (H, W, 3) in place of a missing photograph; an unknown side, 0, becomes `SIDE`."""
    return np.full((height or SIDE, width or SIDE, 3), _EMPTY, dtype=np.uint8)


def overlay_map(pixels: NDArray[np.uint8], map: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Overlay a map (h, w) on an image (H, W, 3): blue at its minimum, green, red at its maximum."""
    height, width = pixels.shape[:2]
    return _blend(pixels, 255 * colour_map(scale_map(map, width, height)))


def scale_map(map: NDArray[np.floating], width: int, height: int) -> NDArray[np.float32]:
    """Enlarge a map (h, w) to (height, width), from 0 at its minimum to 1 at its maximum."""
    large = enlarge_map(np.ascontiguousarray(map, dtype=np.float32), width, height)
    return np.asarray((large - large.min()) / max(float(np.ptp(large)), np.finfo(np.float32).tiny), dtype=np.float32)


def colour_map(share: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the colours (..., 3), from 0 to 1, of shares (...): blue at 0, green, red at 1."""
    return np.stack([share, 1 - np.abs(2 * share - 1), 1 - share], axis=-1)


def overlay_mask(pixels: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Overlay a mask (h, w) on an image (H, W, 3) in VOC's colours."""
    height, width = pixels.shape[:2]
    colours = np.array(voc_palette(), dtype=np.float32).reshape(-1, 3)
    return _blend(pixels, colours[resize_nearest(mask, width, height)])


def _blend(pixels: NDArray[np.uint8], colours: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray((pixels + colours) / 2).astype(np.uint8)
