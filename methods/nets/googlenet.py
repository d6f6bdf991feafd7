"""GoogLeNet (Szegedy et al., 2015; torchvision's) up to inception5b: 1,024 channels, 32 pixels per cell.

`googlenetgap` (CAM, Zhou et al. 2016) ends at inception4e: 832 channels, 16 pixels per cell; its new 3x3 convolution to
1,024 channels is the method's `neck`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn
from torchvision.models.googlenet import BasicConv2d, GoogLeNet, Inception, InceptionAux

from methods.nets.backbone import Layout, Net, Normalisation, mean_head

_STEM = ("conv1", "maxpool1", "conv2", "conv3", "maxpool2")
_INCEPTION = ("3a", "3b", "maxpool3", "4a", "4b", "4c", "4d", "4e", "maxpool4", "5a", "5b")
_PARTS = (*_STEM, *(part if part.startswith("max") else f"inception{part}" for part in _INCEPTION))
_GAP_PARTS = _PARTS[: _PARTS.index("maxpool4")]

TENSORFLOW = Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""torchvision's weights come from TensorFlow; its model converts its usual input to this (`transform_input`)."""


class _Convolution(BasicConv2d):  # type: ignore[misc]
    """torchvision's block with ReLU as a module, so that attributions can replace its backward rule."""

    def __init__(self, before: int, after: int, **options: Any) -> None:
        super().__init__(before, after, **options)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, given: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(given)))  # type: ignore[no-any-return]


_BLOCKS = [_Convolution, partial(Inception, conv_block=_Convolution), InceptionAux]


def _trunk(parts: tuple[str, ...]) -> nn.Sequential:
    model = GoogLeNet(aux_logits=False, init_weights=False, blocks=_BLOCKS)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return nn.Sequential(*(model.get_submodule(part) for part in parts))


def _layout(parts: tuple[str, ...]) -> Layout:
    spare = ("aux1", "aux2", "fc", *(part for part in _PARTS if part not in parts))
    return Layout({f"trunk.{place}": part for place, part in enumerate(parts)}, spare, TENSORFLOW)


NET = Net(
    trunk=partial(_trunk, _PARTS),
    channels=1024,
    stride=32,
    # The pools do not pad: their first windows are centred 0.5 + 2, 2.5 + 4, 6.5 + 8 and 14.5 + 8 pixels in.
    origin=22.5,
    stages=((8, 480), (14, 832), (16, 1024)),
    roi_size=7,
    roi_head=mean_head,
    roi_channels=1024,
    torchvision="googlenet",
    layouts=(_layout(_PARTS),),
)

GAP = replace(
    NET,
    trunk=partial(_trunk, _GAP_PARTS),
    channels=832,
    stride=16,
    origin=14.5,
    stages=((8, 480), (11, 512), (13, 832)),
    roi_channels=832,
    layouts=(_layout(_GAP_PARTS),),
)
