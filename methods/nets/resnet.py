"""ResNet-50 and ResNet-101 (He et al., 2016; torchvision), fully convolutional: 2,048 channels, 32 pixels per cell."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models.resnet import resnet50, resnet101

from methods.nets.backbone import TORCHVISION, Layout, Net, mean_head

_PARTS = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _trunk(model: Callable[[], nn.Module]) -> nn.Sequential:
    built = model()
    return nn.Sequential(*(built.get_submodule(part) for part in _PARTS))


def _net(model: Callable[[], nn.Module], name: str) -> Net:
    return Net(
        trunk=partial(_trunk, model),
        channels=2048,
        stride=32,
        # Every strided layer is odd and pads by half: it is centred on pixels 0, 32, 64 ...
        origin=0.5,
        stages=((6, 512), (7, 1024), (8, 2048)),
        roi_size=7,
        roi_head=mean_head,
        roi_channels=2048,
        torchvision=name,
        has_sums=True,
        layouts=(Layout({f"trunk.{place}": part for place, part in enumerate(_PARTS)}, ("fc",), TORCHVISION),),
    )


NET50, NET101 = _net(resnet50, "resnet50"), _net(resnet101, "resnet101")
