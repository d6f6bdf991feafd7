"""Where the cells of a map lie in its image, and linear interpolation between their centres.

Nets without padding, or with layers that start at the corner, do not spread their cells evenly over the image: cell i
of ResNet-50 is centred on pixel 32 i, not 32 i + 16.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.core.boxes import FloatArray


@dataclass(frozen=True)
class Cells:
    """Cells along a side: cell i is centred at origin + i * stride, in pixels (pixel 0 is centred at .5) or shares."""

    origin: float
    stride: float

    def scale(self, factor: float) -> Cells:
        """Return the cells in other units."""
        return Cells(self.origin * factor, self.stride * factor)

    def mirror(self, count: int, side: float = 1.0) -> Cells:
        """Return the positions of `count` cells, in reverse order, after mirroring a side of this length.

        >>> Cells(0.0, 0.25).mirror(4)
        Cells(origin=0.25, stride=0.25)
        """
        return Cells(side - self.origin - (count - 1) * self.stride, self.stride)

    def is_close(self, other: Cells) -> bool:
        """Return whether both have the same positions up to rounding."""
        return bool(np.allclose((self.origin, self.stride), (other.origin, other.stride), rtol=0, atol=1e-9))

    def weigh(self, count: int, points: FloatArray) -> NDArray[np.float32]:
        """Compute linear interpolation weights (n, count) of `count` cells at points (n,); constant beyond the ends.

        >>> Cells(0.0, 2.0).weigh(3, np.array([-1.0, 1.0, 3.5]))
        array([[1.  , 0.  , 0.  ],
               [0.5 , 0.5 , 0.  ],
               [0.  , 0.25, 0.75]], dtype=float32)
        """
        position = ((points - self.origin) / self.stride).clip(0, count - 1)
        return (1 - np.abs(position[:, None] - np.arange(count))).clip(min=0).astype(np.float32)

    def nearest(self, count: int, points: FloatArray) -> NDArray[np.int64]:
        """Find the nearest of the first `count` cells to points (n,)."""
        return np.rint((points - self.origin) / self.stride).clip(0, count - 1).astype(np.int64)


def spread_evenly(count: int) -> Cells:
    """Return `count` cells that share a side of length 1."""
    return Cells(0.5 / count, 1 / count)


def find_centres(count: int, cells: Cells | None = None) -> FloatArray:
    """Return the centres (count,) of cells; by default of those that share a side of length 1."""
    place = cells or spread_evenly(count)
    return place.origin + place.stride * np.arange(count, dtype=np.float64)
