"""CNN-S, also VGG-CNN-S (Chatfield et al., 2014), up to conv5 without pool5: 512 channels, 12 pixels per cell.

Layers as in the published deploy.prototxt, whose conv2 does not pad (the paper's table has a padding of 1).
Published for MatConvNet (imagenet-vgg-s.mat) and Caffe (VGG_CNN_S.caffemodel): `--weights FILE` reads both. Their
mean image is replaced by its mean colour.
"""

from __future__ import annotations

from torch import nn

from methods.nets.backbone import Net, caffe_layout, fc_head
from methods.nets.vgg_f import make_local_norm


def _trunk() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 96, 7, stride=2), nn.ReLU(inplace=True), make_local_norm(), nn.MaxPool2d(3, 3, ceil_mode=True)),
        *(nn.Conv2d(96, 256, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2, ceil_mode=True)),
        *(nn.Conv2d(256, 512, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(inplace=True)),
    )


NET = Net(
    trunk=_trunk,
    channels=512,
    stride=12,
    # Only the last three layers pad: the first windows are centred 3.5, 3.5 + 2, 5.5 + 12 and 17.5 + 3 pixels in.
    origin=20.5,
    stages=((9, 512), (11, 512), (13, 512)),
    roi_size=6,
    roi_head=lambda: fc_head(512 * 6 * 6, 4096, 4096),
    roi_channels=4096,
    layouts=(caffe_layout({place: f"conv{number}" for number, place in enumerate((0, 4, 7, 9, 11), start=1)}),),
)
