"""Backbones, and how their weights are read."""

from __future__ import annotations

from bench.errors import UnknownNameError
from methods.nets import squeezenet, tiny, vgg16
from methods.nets.backbone import Backbone, RoiHead, RoiPooling
from methods.nets.weights import load

NETS = {"squeezenet": squeezenet.NET, "tiny": tiny.NET, "vgg16": vgg16.NET}

__all__ = ["NETS", "Backbone", "RoiHead", "RoiPooling", "build"]


def build(net: str, weights: str, *, roi_head: RoiHead | None = None, roi_pooling: RoiPooling = "max") -> Backbone:
    """A backbone by name, with its weights: none, imagenet (torchvision's), or a file .npz or .pth.

    roi_head: `own` is what the net brings (VGG's fc6 and fc7), `mean` the mean over a region's cells, `fc` one new
    fully connected layer; None for methods without regions. What no weights set is drawn from torch's global seed.
    Raises UnknownNameError for a net or weights that nobody knows, MissingDataError, BadFileError (see `load`).
    """
    if net not in NETS:
        raise UnknownNameError("net", net, NETS)
    backbone = Backbone(NETS[net], roi_head, roi_pooling)
    load(backbone, NETS[net], weights)
    return backbone
