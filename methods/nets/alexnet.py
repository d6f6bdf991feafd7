"""AlexNet (Krizhevsky, 2014; torchvision) up to conv5 without pool5: 256 channels, 16 pixels per cell, fc6 and fc7."""

from __future__ import annotations

from torch import nn
from torchvision.models.alexnet import AlexNet

from methods.nets.backbone import TORCHVISION, Layout, Net, fc_head


def _trunk() -> nn.Sequential:
    trunk: nn.Sequential = AlexNet().features[:-1]
    return trunk


NET = Net(
    trunk=_trunk,
    channels=256,
    stride=16,
    # conv1 pads 2 pixels, the pools do not: their first windows are centred 3.5, 3.5 + 4 and 7.5 + 8 pixels in.
    origin=15.5,
    stages=((8, 384), (10, 256), (12, 256)),
    roi_size=6,
    roi_head=lambda: fc_head(256 * 6 * 6, 4096, 4096),
    roi_channels=4096,
    torchvision="alexnet",
    layouts=(
        Layout(
            {"trunk": "features", "roi_head.1": "classifier.1", "roi_head.4": "classifier.4"},
            ("classifier.6",),
            TORCHVISION,
        ),
    ),
)
