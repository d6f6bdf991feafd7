"""Backbones: shapes, strides, where a cell looks, and what pooling does to boxes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import UnknownNameError
from methods.nets import NETS, build

SMALL = [name for name in NETS if name != "vgg16"]


@pytest.mark.parametrize(("net", "size"), [("squeezenet", 19), ("vgg16", 20), ("tiny", 40)])
def test_feature_maps_have_the_channels_and_the_stride_they_say(net: str, size: int) -> None:
    backbone = build(net, "none")
    with torch.no_grad():
        features = backbone.features(torch.rand(1, 3, 320, 320))
    assert features.shape == (1, backbone.channels, size, size)
    assert abs(320 / backbone.stride - size) <= 1


@pytest.mark.parametrize("net", SMALL)
def test_a_cell_looks_where_the_net_says(net: str) -> None:
    torch.manual_seed(0)
    backbone = build(net, "none")
    for place, layer in enumerate(backbone.trunk):
        if isinstance(layer, nn.GroupNorm):  # it looks everywhere
            backbone.trunk[place] = nn.Identity()
    images = torch.rand(1, 3, 256, 256, requires_grad=True)
    backbone.features(images)[0, :, 6, 7].sum().backward()
    assert images.grad is not None
    seen = images.grad.abs().sum(dim=(0, 1)) > 0
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    centre = [(float(places.min()) + float(places.max()) + 1) / 2 for places in (rows, columns)]
    expected = [backbone.origin + backbone.stride * place for place in (6, 7)]
    assert centre == pytest.approx(expected, abs=backbone.stride / 2)


@pytest.mark.parametrize("net", SMALL)
@pytest.mark.parametrize("roi_head", ["own", "mean", "fc"])
@pytest.mark.parametrize("roi_pooling", ["max", "align"])
def test_regions_become_vectors_of_the_size_they_say(net: str, roi_head: str, roi_pooling: str) -> None:
    backbone = build(net, "none", roi_head=roi_head, roi_pooling=roi_pooling).eval()  # type: ignore[arg-type]
    boxes = torch.tensor([[0.0, 0, 128, 96], [100.0, 60, 128, 96], [5.0, 5, 6, 6]])
    assert backbone.regions(torch.rand(1, 3, 96, 128), boxes).shape == (3, backbone.roi_channels)


@pytest.mark.parametrize("roi_pooling", ["max", "align"])
def test_a_box_on_one_cell_pools_that_cell(roi_pooling: str) -> None:
    backbone = build("tiny", "none", roi_head="mean", roi_pooling=roi_pooling)  # type: ignore[arg-type]
    features = torch.zeros(1, backbone.channels, 16, 16)
    features[0, :, 3, 5] = 1.0
    centre = torch.tensor([backbone.origin + backbone.stride * place for place in (5, 3)])
    half = backbone.stride / 2
    box = torch.cat([centre - half, centre + half])[None]
    hit, missed = (backbone.pool(features, moved).max().item() for moved in (box, box + 3 * backbone.stride))
    assert hit > 0.2
    assert missed == 0


def test_equal_seeds_make_equal_nets_and_other_seeds_others() -> None:
    def first(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(build("tiny", "none").parameters())

    assert first(3).equal(first(3))
    assert not first(3).equal(first(4))


def test_a_mistyped_net_is_told_what_was_meant() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown net 'vgg61'\. Did you mean: vgg16\?"):
        build("vgg61", "none")
