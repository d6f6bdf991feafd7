"""Maps of other sizes and of mirror images, averaged where their cells lie; and what is read from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from train_cases import CPU, Colours, Photographs, made

from bench.core.cells import Cells, find_centres
from bench.method import Maps
from bench.predictions.formats import read_any
from bench.predictions.table import resolve
from bench.training.inputs import Images
from bench.training.map_alignment import View, average_views
from bench.training.predict import Split, predict

CORNER = Cells(0.5, 8.0)
"""Cells centred on pixels 0, 8, 16 ..., as strided 3x3 convolutions have them."""


class Sampled(Colours):
    """A map is the image at the centres of cells that start in the corner, which `Maps` says or does not."""

    cells: Cells | None = CORNER

    def forward(self, images: Tensor) -> Maps:
        maps = images[:, :1, ::8, ::8].expand(-1, 2, -1, -1)
        return Maps(maps.mean((2, 3)), maps, cells=self.cells)


class Unplaced(Sampled):
    cells = None


@pytest.fixture
def photograph(tmp_path: Path) -> Photographs:
    """One photograph with a white square of 5 pixels, whose centre (40.5, 16.5) is that of a cell."""
    photographs, pixels = Photographs(tmp_path, 1), np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[14:19, 38:43] = 255
    Image.fromarray(pixels).save(tmp_path / "00.png")
    truth = photographs.ground_truth("test")
    square = replace(truth, size=np.array([[64, 64]], np.int32))
    photographs.ground_truth = lambda split: square  # type: ignore[method-assign]
    return photographs


def find(method: Any, photographs: Photographs, folder: Path) -> tuple[tuple[float, float], np.ndarray]:
    """The first point, and the first stored map."""
    truth = photographs.ground_truth("test")
    tables, _ = predict(method, Split(truth, Images(photographs)), ("points", "maps"), folder, device=CPU)
    stored = resolve(read_any(folder / "parts" / "maps", truth, ["maps"]), truth)
    point = tables["points"].slice(0, 1).to_pylist()[0]
    return (point["x"], point["y"]), next(iter(stored.arrays()))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(), (32, 64)])
def test_points_are_where_the_cells_look(photograph: Photographs, tmp_path: Path, flip: bool, scales: Any) -> None:
    method = made(Sampled, input_size=64, flip_test=flip, test_scales=scales)
    point, stored = find(method, photograph, tmp_path / "p")
    assert point == (40, 16)
    assert stored.shape == (16, 16)
    assert np.unravel_index(stored.argmax(), stored.shape) in {(row, column) for row in (3, 4) for column in (9, 10)}


@pytest.mark.parametrize("cls", [Sampled, Unplaced])
def test_plain_resizing_spreads_cells_evenly(photograph: Photographs, tmp_path: Path, cls: type[Sampled]) -> None:
    alignment = "resize" if cls is Sampled else "cells"
    point, stored = find(made(cls, input_size=64, map_alignment=alignment), photograph, tmp_path / "p")
    assert point == (43, 19)  # cell (5, 2) at pixel 5.5 * 8, of which the two in the middle are equal
    assert stored.shape == (8, 8)


def place_on(view: View, size: int, cells: Cells) -> np.ndarray:
    """A view's maps at the cells of another grid, cell by cell."""
    height, width = view.maps.shape[2:]
    rows, columns = find_centres(height, view.rows), find_centres(width, view.columns)
    wanted = find_centres(size, cells)
    across = [[np.interp(wanted, columns, row) for row in map.numpy()] for map in view.maps[0]]
    return np.stack([np.stack([np.interp(wanted, rows, line) for line in np.array(map).T], 1) for map in across])


def test_views_are_averaged_at_the_cells_of_the_largest() -> None:
    generator, cells = torch.Generator().manual_seed(0), Cells(0.02, 0.11)
    given = [(6, Cells(0.1, 0.17), False), (9, cells, False), (9, cells, True), (5, None, False)]
    views = [View(torch.rand(1, 3, side, side, generator=generator), *more) for side, *more in given]
    maps, found = average_views(views)
    assert found == cells
    np.testing.assert_allclose(maps[0], np.mean([place_on(view, 9, cells) for view in views], 0), atol=1e-6)


def test_views_on_one_even_grid_are_averaged_as_they_are() -> None:
    even, maps = Cells(0.125, 0.25), torch.rand(2, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found, cells = average_views([View(maps[0], even), View(maps[1], even, is_mirrored=True)])
    assert cells is None
    assert torch.equal(found, (maps[0] + maps[1]) / 2)
