"""A small VGG-like net for 128-pixel images and CPUs: group normalisation, 128 channels, 8 pixels per cell."""

from __future__ import annotations

from torch import nn

from methods.nets.backbone import Net, fc_head


def _block(before: int, after: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return [conv, nn.GroupNorm(4, after), nn.ReLU(inplace=True)]


def _trunk() -> nn.Sequential:
    plan = [(3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 1)]
    return nn.Sequential(*[layer for sizes in plan for layer in _block(*sizes)])


NET = Net(
    trunk=_trunk,
    channels=128,
    stride=8,
    # Strided 3x3 convolutions are centred on pixels 0, 8, 16 ...
    origin=0.5,
    stages=((9, 32), (15, 64), (18, 128)),
    roi_size=3,
    roi_head=lambda: fc_head(128 * 3 * 3, 256, dropout=0.0),
    roi_channels=256,
)
