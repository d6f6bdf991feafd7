"""Where maps lie: strides and paddings followed through every net, and what nets see of a bright square."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from map_cases import TASK
from numpy.typing import NDArray
from torch import Tensor, nn

from bench import registry
from bench.core.cells import Cells
from bench.predictions.decode import peaks
from methods.nets import NETS, build
from methods.nets.backbone import Backbone, Normalisation
from methods.nets.geometry import find_cells

SIZES = {"resnet50": 448, "resnet101": 224, "vgg16": 224, "vgg16-stride8": 224}
SIZE = 320
SHARES = (0.22, 0.5, 0.77)
DIM = 1e-4
"""Of the square, against black: what is added up must stay below the 6 at which some nets cut off."""


@pytest.mark.parametrize("net", NETS)
def test_strides_and_paddings_come_to_the_cells_that_a_net_says(net: str) -> None:
    with torch.device("meta"):
        backbone = build(net, "none")
    assert find_cells(backbone.trunk) == backbone.cells
    assert find_cells(backbone.trunk, str(backbone.stage_ends[-1] - 1)) == backbone.cells


@pytest.mark.parametrize(
    ("net", "path", "cells"),
    [
        ("vgg16", "4", Cells(1.0, 2.0)),  # pool1: between pixels 0 and 1
        ("squeezenet", "0", Cells(3.5, 2.0)),  # a 7x7 window without padding
        ("squeezenet", "12.expand3x3", Cells(17.5, 16.0)),
        ("googlenet", "4", Cells(6.5, 8.0)),
        ("resnet50", "5.0.conv1", Cells(0.5, 4.0)),
        ("resnet50", "5.0.conv2", Cells(0.5, 8.0)),
        ("resnet50", "5", Cells(0.5, 8.0)),
    ],
)
def test_the_cells_of_inner_layers(net: str, path: str, cells: Cells) -> None:
    with torch.device("meta"):
        assert find_cells(build(net, "none").trunk, path) == cells


def test_trained_maps_of_the_end_of_the_trunk_lie_where_it_looks_whoever_makes_them() -> None:
    """Where training has moved the sight of EfficientNet-Lite; of layers below, windows' centres are known."""
    common: dict[str, Any] = {"net": "efficientnet-lite0", "weights": "none", "input_size": 64}
    cells: list[Any] = []
    for name, settings, layer in (
        ("cam", {}, None),
        ("danet", {"levels": 1, "width": 8, "maps": 1}, None),
        ("grad-cam", {"layer": "backbone.trunk.17"}, "17"),
        ("grad-cam", {"layer": "backbone.trunk.11"}, "11"),
    ):
        cls, _ = registry.parse(name, {})
        method: Any = cls(cls.Config(**common, **settings), TASK)  # type: ignore[call-arg, arg-type]
        (method if layer is None else method.base).assume_pretrained()
        cells.append(method.eval()(torch.zeros(1, 3, 64, 64)).cells)
    assert cells == [Cells(16.0, 32.0)] * 3 + [Cells(15.5, 16.0)]


def see_squares(backbone: Backbone, size: int) -> tuple[Tensor, NDArray[np.float64]]:
    """What a net sees of a square of two cells at nine places (9, h, w), and the squares' centres (9, 2).

    Its weights are drawn, and made positive means that fall from the middle of a window: then a cell sees the more, the
    nearer it is, and deep nets are not blind at the border.
    """
    for layer in backbone.trunk.modules():
        if isinstance(layer, nn.Conv2d):
            away = torch.arange(layer.kernel_size[0]) - (layer.kernel_size[0] - 1) / 2
            fall = (-2 * away**2).exp() if layer.stride[0] == 1 else torch.ones_like(away)
            layer.weight.data.abs_().mul_(fall[:, None] * fall)
            layer.weight.data.div_(layer.weight.data.sum(dim=(1, 2, 3), keepdim=True))
    if isinstance(backbone.trunk[-1], nn.MaxPool2d):  # it makes plateaus, whose first cell would be the peak
        backbone.trunk[-1] = nn.AvgPool2d(3, stride=1, padding=1)
    backbone.normalise_as(Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    half, images = round(backbone.stride), torch.zeros(10, 3, size, size)
    centres = np.array([(round(x * size), round(y * size)) for x, y in product(SHARES, SHARES)], dtype=np.float64)
    for image, (x, y) in zip(images[1:], centres.astype(int), strict=True):
        image[:, y - half : y + half, x - half : x + half] = DIM
    with torch.inference_mode():
        features = backbone.eval().features(images)
    return (features[1:] - features[:1]).abs().mean(dim=1), centres


def miss(maps: Tensor, centres: NDArray[np.float64], size: int, cells: Cells | None) -> float:
    """By how many pixels, along a side, the peaks of maps miss the centres at most."""
    return float(np.abs(peaks(maps, size, size, cells) + 0.5 - centres).max())


@pytest.mark.parametrize("net", NETS)
def test_the_peak_is_within_half_a_cell_of_what_an_untrained_net_sees(net: str) -> None:
    backbone, size = build(net, "none"), SIZES.get(net, SIZE)
    maps, centres = see_squares(backbone, size)
    half = backbone.stride / 2 + 0.5  # and the pixel in which the peak is
    assert miss(maps, centres, size, backbone.cells.scale(1 / size)) <= half
    if net in ("squeezenet", "resnet50"):
        assert miss(maps, centres, size, None) > half


@pytest.mark.parametrize(("name", "setting"), [("grad-cam", "layer"), ("mwp", "saliency_layer")])
def test_attributions_lie_where_the_cells_of_their_layer_do(name: str, setting: str) -> None:
    cls: Any = registry.method(name)
    for layer, cells in (("backbone.trunk.8", Cells(0.5, 4.0)), ("backbone.trunk.17", Cells(0.5, 8.0))):
        config = cls.Config(net="tiny", weights="none", **{setting: layer})
        method = cls(config, TASK).eval()
        found = method(torch.rand(1, 3, 64, 64))
        assert found.cells == cells
        assert found.maps.shape[2:] == (64 / cells.stride,) * 2


def test_a_map_of_every_pixel_is_spread_evenly() -> None:
    cls: Any = registry.method("gradient")
    method = cls(cls.Config(net="tiny", weights="none"), TASK).eval()
    assert method(torch.rand(1, 3, 64, 64)).cells is None
