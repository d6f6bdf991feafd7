"""SqueezeNet v1.0 (Iandola et al., 2016) up to fire9, in torchvision's structure: 512 channels, 16 pixels per cell."""

from __future__ import annotations

from torch import nn
from torchvision.models.squeezenet import SqueezeNet

from methods.nets.backbone import CAFFE, TORCHVISION, Layout, Net, mean_head

_FIRE = {3: 2, 4: 3, 5: 4, 7: 5, 8: 6, 9: 7, 10: 8, 12: 9}
"""Position in torchvision's `features` to the module's number in the paper."""


def _trunk() -> nn.Sequential:
    trunk: nn.Sequential = SqueezeNet("1_0").features
    return trunk


_CAFFE = (
    {"trunk.0": "conv1"}
    | {f"trunk.{position}": f"fire{fire}" for position, fire in _FIRE.items()}
    | {f"trunk.{position}.squeeze": f"fire{fire}.squeeze1x1" for position, fire in _FIRE.items()}
)

NET = Net(
    trunk=_trunk,
    channels=512,
    stride=16,
    # Neither conv1 nor the pools pad: their first windows are centred 3, 2 + 3, 4 + 5 and 8 + 9 pixels in.
    origin=17.5,
    stages=((7, 256), (12, 512), (13, 512)),
    roi_size=3,
    roi_head=mean_head,
    roi_channels=512,
    torchvision="squeezenet1_0",
    layouts=(
        Layout({"trunk": "features"}, ("classifier.1",), TORCHVISION),
        # With these weights, fire9 outputs 40 on average for photographs, and up to 900.
        Layout(_CAFFE, ("conv10",), CAFFE, bgr=True, scale=1 / 80),
    ),
)
