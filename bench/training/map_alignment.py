"""Maps of several views of an image, on one grid of cells: other input sizes, and mirror images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bench.core.cells import Cells, find_centres, spread_evenly


@dataclass(frozen=True, eq=False)
class View:
    """Maps (B, C, h, w) of one view, flipped back if it was mirrored, and where their cells lie in shares of the image.

    cells: those of the rows and, before any mirroring, of the columns; None if they are spread evenly.
    """

    maps: Tensor
    cells: Cells | None = None
    is_mirrored: bool = False

    @property
    def rows(self) -> Cells:
        """The positions of the rows."""
        return self.cells or spread_evenly(self.maps.shape[2])

    @property
    def columns(self) -> Cells:
        """The positions of the columns."""
        cells, count = self.cells or spread_evenly(self.maps.shape[3]), self.maps.shape[3]
        return cells.mirror(count) if self.is_mirrored else cells


def average_views(views: Sequence[View]) -> tuple[Tensor, Cells | None]:
    """Average maps on the cells of the first view of the largest map; return both, the cells None if spread evenly."""
    target = max(views, key=lambda view: view.maps.shape[2:].numel())
    maps = torch.stack([resample(view, target) for view in views]).mean(0)
    even = all(target.rows.is_close(spread_evenly(count)) for count in maps.shape[2:])
    return maps, None if even else target.cells


def resample(view: View, target: View) -> Tensor:
    """Resample the maps of a view to (B, C, h, w), float32, at the cells of a target whose maps are (..., h, w)."""
    maps, (height, width) = view.maps.float(), target.maps.shape[2:]
    if view.cells is None and target.cells is None:
        same = maps.shape[2:] == (height, width)
        return maps if same else interpolate(maps, (height, width), mode="bilinear", align_corners=False)
    rows = _weigh(view.rows, maps.shape[2], target.rows, height)
    columns = _weigh(view.columns, maps.shape[3], target.columns, width)
    maps = maps if rows is None else rows.to(maps.device) @ maps
    return maps if columns is None else maps @ columns.T.to(maps.device)


def _weigh(cells: Cells, count: int, target: Cells, wanted: int) -> Tensor | None:
    """Compute the weights (wanted, count) of one side's cells at the target's; None if both are the same."""
    if count == wanted and cells.is_close(target):
        return None
    return torch.from_numpy(cells.weigh(count, find_centres(wanted, target)))
