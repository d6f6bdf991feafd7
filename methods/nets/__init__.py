"""Backbones by name. This catalogue is part of no run's code: a run has the module of its own net."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

from bench import registry
from bench.errors import BadFileError, UnknownNameError
from methods.nets import alexnet, cnn_s, efficientnet_lite, googlenet, resnet, squeezenet, tiny, vgg16, vgg_f
from methods.nets.backbone import Backbone, Net, RoiHead, RoiPooling
from methods.nets.libraries import LIBRARIES
from methods.nets.measured import describe_net
from methods.nets.weights import build_backbone
from methods.nets.weights import find_download as _find_download

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

__all__ = ["NETS", "Backbone", "Net", "RoiHead", "RoiPooling", "build", "describe_net", "find_net"]


def find_net(name: str) -> Net:
    """Find a net: one of ours, `timm:NAME`, `torchvision:NAME` (both also with @STRIDE), or one of a plug-in.

    Raises UnknownNameError, BadFileError for a plug-in that defines no net, RequestError for one that is not possible.
    """
    return _make_net(name, registry.read_net_code(name).own if name in registry.nets() else None)


def find_download(name: str) -> str:
    """Return from where a net's ImageNet weights are to be downloaded; empty if they are here. Raises as `find_net`."""
    return _find_download(name, find_net(name))


def locate_net(name: str) -> str:
    """Return the module that defines a net of ours. Raises UnknownNameError."""
    if name not in NETS:
        raise UnknownNameError("net", name, {**NETS, **registry.nets()}, hint="or timm:NAME, torchvision:NAME")
    trunk = NETS[name].trunk
    return str((trunk.func if isinstance(trunk, partial) else trunk).__module__)


@cache
def _make_net(name: str, code: str | None) -> Net:
    """Find a net once. code: the digest of a plug-in's."""
    library, colon, rest = name.partition(":")
    model, at, stride = rest.partition("@")
    if colon and library in LIBRARIES and bool(at) == stride.isdecimal():
        return LIBRARIES[library](model, int(stride) if at else None)
    if name in NETS:
        return NETS[name]
    if name not in registry.nets():
        raise UnknownNameError("net", name, {**NETS, **registry.nets()}, hint="or timm:NAME, torchvision:NAME")
    net = registry.net(name)
    if not isinstance(net, Net):
        raise BadFileError(registry.nets()[name].origin, "NET is not a methods.nets.Net (describe_net makes one)")
    return replace(net, source=f"{name} {code}")


def build(net: str, weights: str, *, roi_head: RoiHead | None = None, roi_pooling: RoiPooling = "max") -> Backbone:
    """Build a backbone by name (see `find_net`), with its weights: none, imagenet, or a file (see `load`).

    roi_head: `own` is the net's own (VGG's fc6 and fc7), `mean` the mean over a region's cells, `fc` one new fully
    connected layer; None for methods without regions. Parameters without pretrained weights are drawn from torch's
    global seed. Raises as `find_net` for the net, and UnknownNameError, MissingDataError, BadFileError (see `load`).
    """
    return build_backbone(find_net(net), weights, roi_head, roi_pooling)
