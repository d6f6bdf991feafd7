"""Backbones: shapes, strides, where a cell looks, and what pooling does to boxes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.errors import UnknownNameError
from methods.nets import NETS, build

SMALL = ("squeezenet", "tiny")

SIZES = {  # of the last features of 224 pixels
    "alexnet": 13,
    "cnn-s": 17,
    **{f"efficientnet-lite{number}": 7 for number in range(3)},
    **{f"efficientnet-lite{number}-stride16": 14 for number in range(3)},
    "googlenet": 7,
    "googlenetgap": 14,
    "resnet50": 7,
    "resnet101": 7,
    "squeezenet": 13,
    "tiny": 28,
    "vgg-f": 13,
    "vgg16": 14,
    "vgg16-stride8": 28,
}


@pytest.mark.parametrize("net", NETS)
def test_feature_maps_have_the_channels_and_the_stride_they_say(net: str) -> None:
    with torch.device("meta"):
        backbone = build(net, "none")
        features = backbone.features(torch.empty(1, 3, 224, 224))
    assert features.shape == (1, backbone.channels, SIZES[net], SIZES[net])
    assert abs(224 / backbone.stride - SIZES[net]) <= 2


@pytest.mark.parametrize("net", NETS)
def test_stages_have_the_channels_they_say_and_end_with_the_features(net: str) -> None:
    with torch.device("meta"):
        backbone = build(net, "none")
        stages = backbone.stages(torch.empty(1, 3, 160, 224))
    assert tuple(stage.shape[1] for stage in stages) == backbone.stage_channels
    assert backbone.stage_channels[-1] == backbone.channels
    heights = [stage.shape[2] for stage in stages]
    assert heights == sorted(heights, reverse=True)


def test_the_last_stage_is_the_features() -> None:
    backbone, images = build("tiny", "none"), torch.rand(2, 3, 40, 56)
    torch.testing.assert_close(backbone.stages(images)[-1], backbone.features(images))


def averaging(module: nn.Module) -> nn.Module:
    """The same geometry, but every layer takes means: what a cell sees is then a bump around its centre."""
    if isinstance(module, nn.GroupNorm | nn.LocalResponseNorm | nn.BatchNorm2d):
        return nn.Identity()
    if isinstance(module, nn.ReLU6):
        return nn.ReLU()
    if isinstance(module, nn.MaxPool2d):
        return nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
    if isinstance(module, nn.Conv2d):
        nn.init.constant_(module.weight, 1 / module.weight[0].numel())
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for name, child in module.named_children():
        setattr(module, name, averaging(child))
    return module


@pytest.mark.parametrize("net", [net for net in NETS if net not in ("resnet101", "vgg16-stride8")])
def test_a_cell_looks_where_the_net_says(net: str) -> None:
    backbone = build(net, "none").eval()
    averaging(backbone.trunk)
    size = 768 if "lite" in net else 416 if backbone.stride > 16 else 288  # what a cell sees must fit
    images = torch.rand(1, 3, size, size, requires_grad=True)
    features = backbone.features(images)
    row, column = features.shape[2] // 2, features.shape[3] // 2 - 1
    features[0, 0, row, column].backward()
    assert images.grad is not None
    seen, pixels = images.grad.abs().sum(dim=(0, 1)), torch.arange(size) + 0.5
    centre = [float((seen.sum(1 - axis) * pixels).sum() / seen.sum()) for axis in (0, 1)]
    expected = [backbone.origin + backbone.stride * place for place in (row, column)]
    assert centre == pytest.approx(expected, abs=1)


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
    with pytest.raises(UnknownNameError, match=r"Unknown net 'vgg61'\. Did you mean: vgg16"):
        build("vgg61", "none")
