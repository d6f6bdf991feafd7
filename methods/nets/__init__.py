"""Backbones by name, with their weights."""

from __future__ import annotations

from bench.errors import UnknownNameError
from methods.nets import alexnet, cnn_s, efficientnet_lite, googlenet, resnet, squeezenet, tiny, vgg16, vgg_f
from methods.nets.backbone import Backbone, Net, RoiHead, RoiPooling
from methods.nets.weights import load

NETS: dict[str, Net] = {
    "alexnet": alexnet.NET,
    "cnn-s": cnn_s.NET,
    **efficientnet_lite.NETS,
    "googlenet": googlenet.NET,
    "googlenetgap": googlenet.GAP,
    "resnet50": resnet.NET50,
    "resnet101": resnet.NET101,
    "squeezenet": squeezenet.NET,
    "tiny": tiny.NET,
    "vgg-f": vgg_f.NET,
    "vgg16": vgg16.NET,
    "vgg16-stride8": vgg16.STRIDE8,
}

__all__ = ["NETS", "Backbone", "RoiHead", "RoiPooling", "build"]


def build(net: str, weights: str, *, roi_head: RoiHead | None = None, roi_pooling: RoiPooling = "max") -> Backbone:
    """Build a backbone by name, with its weights: none, imagenet (torchvision's), or a file (see `load`).

    roi_head: `own` is the net's own (VGG's fc6 and fc7), `mean` the mean over a region's cells, `fc` one new fully
    connected layer; None for methods without regions. Parameters without pretrained weights are drawn from torch's
    global seed. Raises UnknownNameError for an unknown net or weights, MissingDataError, BadFileError (see `load`).
    """
    if net not in NETS:
        raise UnknownNameError("net", net, NETS)
    backbone = Backbone(NETS[net], roi_head, roi_pooling)
    load(backbone, NETS[net], weights)
    return backbone
