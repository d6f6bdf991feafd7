"""Where the cells of a net's layers lie: strides and paddings, followed from the image to a layer."""

from __future__ import annotations

from typing import Any

from torch import nn

from bench.core.cells import Cells

WINDOWS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
SHORTCUT = "downsample"
"""torchvision's name of the layers beside a residual block, which stride as the block does."""


def find_cells(net: nn.Module, path: str = "") -> Cells:
    """Find the cells, in pixels, at the end of the module at `path`, of a net whose layers are in order of application.

    Branches of a block count one after the other: in the nets here all but one of their layers are centred.
    """
    cells, last = Cells(0.5, 1.0), list(net.get_submodule(path).modules())[-1]
    for name, layer in net.named_modules():
        if isinstance(layer, WINDOWS) and SHORTCUT not in name.split("."):
            cells = _apply_window(cells, layer)
        if layer is last:
            break
    return cells


def _apply_window(cells: Cells, layer: Any) -> Cells:
    """Return the cells of a convolution's or pooling's outputs: each is centred on its window."""
    kernel, stride, padding, dilation = (
        _first(getattr(layer, name, 1)) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    shift = (kernel - 1) * dilation / 2 - padding
    return Cells(cells.origin + shift * cells.stride, cells.stride * stride)


def _first(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]
