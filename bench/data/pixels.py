"""Reading image files. All code reads them here, so that all of it gets the same pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.files import grow_limit, require_regular_file
from bench.errors import BadFileError


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Read the pixels (H, W, 3), uint8, of a JPEG or PNG: all colour modes become RGB, alpha is dropped.

    Of 16-bit channels, the upper 8 bits are read, in colour (by Pillow) and in grey.
    An orientation in EXIF data is not applied: boxes are annotated on the pixels as stored. Raises BadFileError if the
    file is empty, truncated, corrupt, of another format, or has more than 89 megapixels (in less than 2.8 MB) or 179.
    """
    with _open_image(path) as image:
        return _to_rgb(image)


def _to_rgb(image: Any) -> NDArray[np.uint8]:
    if _is_deep(image.mode):
        grey = (np.array(image) >> 8).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    return np.array(image.convert("RGB"))


def read_nonzero(path: Path, side: int) -> NDArray[np.bool_]:
    """Read which pixels are not black, resized to side x side by nearest neighbour.

    Raises BadFileError as `read_pixels` does.
    """
    import cv2

    with _open_image(path) as image:
        pixels = np.array(image) if image.mode in ("1", "L", "P") else _to_rgb(image)
        palette = image.getpalette("RGB") if image.mode == "P" else None
    small = cv2.resize(pixels.view(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
    if palette is not None:
        is_black = np.ones(256, dtype=np.bool_)  # indices beyond a short palette are black
        is_black[: len(palette) // 3] = ~np.reshape(palette, (-1, 3)).any(axis=1)
        return np.asarray(~is_black[small])
    return np.asarray(small.any(axis=2) if small.ndim == 3 else small > 0)


def read_indices(path: Path) -> NDArray[np.uint8]:
    """Read the numbers (H, W), uint8, of an indexed or 8-bit grey PNG. Raises BadFileError as `read_pixels` does."""
    with _open_image(path) as image:
        if image.mode not in ("P", "L"):
            raise BadFileError(path, f"expected an indexed PNG (or 8-bit grey), but its pixels are {image.mode}")
        return np.array(image)


def are_binary(paths: Iterable[Path]) -> bool:
    """Whether masks hold only 0 and 255 (or black and white), and at least one has a 255; reads as few as it can.

    Raises BadFileError as `read_pixels` does.
    """
    is_white = False
    for path in paths:
        with _open_image(path) as image:
            values = np.unique(np.array(image if image.mode in ("P", "L") else image.convert("RGB")))
        if not {*values.tolist()} <= {0, 255}:
            return False
        is_white = is_white or 255 in values
    return is_white


def read_indexed(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Read numbers (H, W) as `read_indices` does, and the colours (256, 3) of an indexed PNG."""
    with _open_image(path) as image:
        given = image.getpalette("RGB") if image.mode == "P" else None
        indices = np.array(image) if image.mode == "P" else None
    if given is None or indices is None:
        return read_indices(path), None
    if len(given) // 3 <= indices.max(initial=0):  # a damaged palette: its colours are meaningless
        return indices, None
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(given) // 3] = np.reshape(given, (-1, 3))
    return indices, colours


def write_indices(file: Path | BinaryIO, indices: NDArray[np.uint8]) -> None:
    """Write numbers (H, W) as an indexed PNG in VOC's colours: the same numbers always give the same bytes."""
    from PIL import Image

    image = Image.fromarray(indices)
    image.putpalette(voc_palette())
    image.save(file, format="PNG", optimize=False)


def resize_nearest(indices: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize numbers (h, w) to (height, width) by nearest neighbour."""
    rows, columns = indices.shape
    y, x = (np.arange(height) * 2 + 1) * rows // (2 * height), (np.arange(width) * 2 + 1) * columns // (2 * width)
    return np.asarray(indices[y[:, None], x])


def read_size(path: Path) -> tuple[int, int]:
    """Read width and height of a JPEG or PNG from its header. Raises BadFileError as `read_pixels` does."""
    with _open_image(path) as image:
        width, height = image.size
        return width, height


class Header(NamedTuple):
    """The header of an image file. orientation: EXIF's, 1 for as stored. mode: Pillow's, such as `CMYK`."""

    width: int
    height: int
    mode: str
    orientation: int

    @property
    def is_deep(self) -> bool:
        """Whether it is 16-bit grey."""
        return _is_deep(self.mode)


def read_header(path: Path) -> Header:
    """Read the header of a JPEG or PNG. Raises BadFileError as `read_pixels` does."""
    with _open_image(path) as image:
        width, height = image.size
        return Header(width, height, image.mode, image.getexif().get(_ORIENTATION, 1))


_ORIENTATION = 0x0112

_MOST_PIXELS, _PIXELS_A_BYTE = 89_478_485, 32
"""Pixels that any file may claim, at which Pillow warns, and that each byte allows; a photograph's have 1 to 16."""


def _is_deep(mode: str) -> bool:
    """Whether a mode of Pillow is that of grey with 16 bits, in any of its versions."""
    return mode.startswith("I")


@contextmanager
def _open_image(path: Path) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(require_regular_file(path), formats=("JPEG", "PNG")) as image:
                if image.width * image.height > (most := grow_limit(_MOST_PIXELS, path, _PIXELS_A_BYTE)):
                    rule = f"too large an image: {image.width} x {image.height} pixels in {path.stat().st_size} bytes"
                    raise BadFileError(path, f"{rule}, of which at most {most} are read")
                yield image
    except Image.DecompressionBombError:
        raise BadFileError(path, "too large an image (179 megapixels are read at most): shrink it") from None
    except UnidentifiedImageError:
        raise BadFileError(path, "not a JPEG or PNG image") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadFileError(path, f"not a readable image ({error})") from None


def voc_palette() -> list[int]:
    """Return VOC's colours of 256 indices, as 768 numbers: the bits of an index, spread over red, green and blue."""
    index = np.arange(256)
    colours = np.zeros((256, 3), int)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return [int(value) for value in colours.ravel()]
