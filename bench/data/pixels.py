"""Image files to pixels. Everything that looks at an image reads it here, so all of it sees the same pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import BadFileError


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Pixels (H, W, 3), RGB, of a JPEG or PNG file; greyscale, CMYK and palettes become RGB, alpha is dropped.

    An orientation in its EXIF data is not applied: boxes are drawn on the pixels as stored. Raises BadFileError
    where the file is empty, truncated, corrupt, of another format, or larger than Pillow's limit (89 megapixels).
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("JPEG", "PNG")) as image:
                return np.array(image.convert("RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadFileError(path, f"too large an image ({error})") from None
    except UnidentifiedImageError:
        raise BadFileError(path, "not a JPEG or PNG image") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadFileError(path, f"not a readable image ({error})") from None
