"""VGG16 (Simonyan and Zisserman, 2015) up to conv5_3 without pool5: 512 channels, 16 pixels a cell, fc6 and fc7."""

from __future__ import annotations

from torch import nn

from methods.nets.backbone import CAFFE, TORCHVISION, Layout, Net, conv3x3, fc_head

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _trunk() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for block in _BLOCKS:
        layers += [nn.MaxPool2d(2)] if layers else []
        for width in block:
            layers += [conv3x3(channels, width), nn.ReLU(inplace=True)]
            channels = width
    return nn.Sequential(*layers)


def _names(layers: list[str]) -> dict[str, str]:
    """From our parameters to those of a file whose 13 convolutions and two linear layers are called `layers`."""
    ours = [f"trunk.{place}" for place, layer in enumerate(_PLACES) if layer] + ["roi_head.1", "roi_head.4"]
    pairs = zip(ours, layers, strict=True)
    return {f"{our}.{kind}": f"{their}.{kind}" for our, their in pairs for kind in ("weight", "bias")}


_PLACES = [step for block in _BLOCKS for step in [*[True, False] * len(block), False]]
"""For each layer of the trunk (and the pool after it), whether it is a convolution."""
_TORCHVISION = [f"features.{place}" for place, conv in enumerate(_PLACES) if conv] + ["classifier.0", "classifier.3"]
_CAFFE = [f"conv{b}_{i}" for b, block in enumerate(_BLOCKS, 1) for i in range(1, len(block) + 1)] + ["fc6", "fc7"]

NET = Net(
    trunk=_trunk,
    channels=512,
    stride=16,
    origin=8.0,
    roi_size=7,
    roi_head=lambda: fc_head(512 * 7 * 7, 4096, 4096),
    roi_channels=4096,
    torchvision="vgg16",
    layouts=(
        Layout(_names(_TORCHVISION), ("classifier.6.weight", "classifier.6.bias"), TORCHVISION),
        Layout(_names(_CAFFE), ("fc8.weight", "fc8.bias"), CAFFE, bgr=True),
    ),
)
