"""SqueezeNet v1.0 (Iandola et al., 2016) up to fire9, in torchvision's structure: 512 channels, 16 pixels a cell."""

from __future__ import annotations

from torch import nn
from torchvision.models.squeezenet import SqueezeNet

from methods.nets.backbone import CAFFE, TORCHVISION, Layout, Net, mean_head

_FIRE = {3: 2, 4: 3, 5: 4, 7: 5, 8: 6, 9: 7, 10: 8, 12: 9}
"""Position in torchvision's `features` to the module's number in the paper."""
_PARTS = [f"{part}.{kind}" for part in ("squeeze", "expand1x1", "expand3x3") for kind in ("weight", "bias")]


def _trunk() -> nn.Sequential:
    trunk: nn.Sequential = SqueezeNet("1_0").features
    return trunk


def _caffe_names() -> dict[str, str]:
    names = {f"trunk.0.{kind}": f"conv1.{kind}" for kind in ("weight", "bias")}
    for position, fire in _FIRE.items():
        names |= {f"trunk.{position}.{part}": f"fire{fire}.{part.replace('squeeze', 'squeeze1x1')}" for part in _PARTS}
    return names


def _torchvision_names() -> dict[str, str]:
    return {ours: ours.replace("trunk", "features") for ours in _caffe_names()}


NET = Net(
    trunk=_trunk,
    channels=512,
    stride=16,
    # Neither conv1 nor the pools pad: their first windows are centred 3, 2 + 3, 4 + 5 and 8 + 9 pixels in.
    origin=17.5,
    roi_size=3,
    roi_head=mean_head,
    roi_channels=512,
    torchvision="squeezenet1_0",
    layouts=(
        Layout(_torchvision_names(), ("classifier.1.weight", "classifier.1.bias"), TORCHVISION),
        # Their fire9 answers photographs with 40 on average, and up to 900.
        Layout(_caffe_names(), ("conv10.weight", "conv10.bias"), CAFFE, bgr=True, scale=1 / 80),
    ),
)
