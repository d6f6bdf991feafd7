"""VGG-F, also VGG-CNN-F (Chatfield et al., 2014), up to conv5 without pool5: 256 channels, 16 pixels per cell.

Published for MatConvNet (imagenet-vgg-f.mat) and Caffe (VGG_CNN_F.caffemodel): `--weights FILE` reads both. Their
mean image is replaced by its mean colour.
"""

from __future__ import annotations

from torch import nn

from methods.nets.backbone import Net, caffe_layout, fc_head


def _trunk() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4), nn.ReLU(inplace=True), make_local_norm(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(
            nn.Conv2d(64, 256, 5, padding=2),
            nn.ReLU(inplace=True),
            make_local_norm(),
            nn.MaxPool2d(3, 2, ceil_mode=True),
        ),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True)),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True)),
    )


def make_local_norm() -> nn.LocalResponseNorm:
    """Build these nets' local response normalisation over 5 channels; torch, like Caffe, divides alpha by 5."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


NET = Net(
    trunk=_trunk,
    channels=256,
    stride=16,
    # conv1 and the pools do not pad: their first windows are centred 5.5, 5.5 + 4 and 9.5 + 8 pixels in.
    origin=17.5,
    stages=((10, 256), (12, 256), (14, 256)),
    roi_size=6,
    roi_head=lambda: fc_head(256 * 6 * 6, 4096, 4096),
    roi_channels=4096,
    layouts=(caffe_layout({place: f"conv{number}" for number, place in enumerate((0, 4, 8, 10, 12), start=1)}),),
)
