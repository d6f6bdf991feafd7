"""VGG16 (Simonyan and Zisserman, 2015) up to conv5_3 without pool5: 512 channels, 16 pixels per cell, fc6 and fc7.

In `vgg16-stride8` pool4 and pool5 have stride 1 (ACoL): 8 pixels per cell.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from methods.nets.backbone import TORCHVISION, Layout, Net, caffe_layout, conv3x3, fc_head

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


def _stride8() -> nn.Sequential:
    layers = list(_trunk())
    pool4 = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d))
    layers[pool4] = nn.MaxPool2d(3, stride=1, padding=1)
    return nn.Sequential(*layers, nn.MaxPool2d(3, stride=1, padding=1))


_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_CAFFE = [f"conv{b}_{i}" for b, block in enumerate(_BLOCKS, 1) for i in range(1, len(block) + 1)]

NET = Net(
    trunk=_trunk,
    channels=512,
    stride=16,
    origin=8.0,
    stages=((17, 256), (24, 512), (30, 512)),
    roi_size=7,
    roi_head=lambda: fc_head(512 * 7 * 7, 4096, 4096),
    roi_channels=4096,
    torchvision="vgg16",
    layouts=(
        Layout(
            {"trunk": "features", "roi_head.1": "classifier.0", "roi_head.4": "classifier.3"},
            ("classifier.6",),
            TORCHVISION,
        ),
        caffe_layout(dict(zip(_CONVOLUTIONS, _CAFFE, strict=True))),
    ),
)

STRIDE8 = replace(NET, trunk=_stride8, stride=8, origin=4.0, stages=((17, 256), (24, 512), (31, 512)))
