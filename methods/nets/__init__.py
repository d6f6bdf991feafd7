"""Backbones by name. This catalogue is not part of a run's recorded code; the module of the run's net is."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import cache, partial

from bench import registry
from bench.errors import BadFileError, RequestError, UnknownNameError
from methods.nets import alexnet, cnn_s, efficientnet_lite, googlenet, resnet, squeezenet, tiny, vgg16, vgg_f
from methods.nets.backbone import Backbone, Net, RoiHead, RoiPooling
from methods.nets.libraries import LIBRARIES
from methods.nets.measured import describe_net
from methods.nets.weights import build_backbone, load
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

__all__ = ["NETS", "Backbone", "Net", "RoiHead", "RoiPooling", "build", "describe_net", "find_net", "without_weights"]

_WITHOUT_WEIGHTS = ContextVar("_WITHOUT_WEIGHTS", default=False)


def find_net(name: str) -> Net:
    """Find a net: a built-in one, `timm:NAME`, `torchvision:NAME` (both also with @STRIDE), or a plug-in's.

    Raises UnknownNameError, BadFileError for a plug-in that defines no net, RequestError for a net that cannot be built
    or for a plug-in with the name of a built-in net.
    """
    return _make_net(name, registry.read_net_code(name).own if name in registry.nets() else None)


def find_download(name: str) -> str:
    """Return where to download a net's ImageNet weights from; empty if already present. Raises as `find_net`."""
    return _find_download(name, find_net(name))


def locate_net(name: str) -> str:
    """Return the module that defines a built-in net. Raises UnknownNameError."""
    if name not in NETS:
        raise UnknownNameError("net", name, {**NETS, **registry.nets()}, hint="or timm:NAME, torchvision:NAME")
    trunk = NETS[name].trunk
    return str((trunk.func if isinstance(trunk, partial) else trunk).__module__)


@cache
def _make_net(name: str, code: str | None) -> Net:
    """Find a net, cached. code: the digest of a plug-in's code."""
    library, colon, rest = name.partition(":")
    model, at, stride = rest.partition("@")
    if colon and library in LIBRARIES and bool(at) == stride.isdecimal():
        return LIBRARIES[library](model, int(stride) if at else None)
    if name in NETS and code is not None:
        raise RequestError(f"{name!r} is a net of ours and one of {registry.nets()[name].origin}: rename that.")
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
    if _WITHOUT_WEIGHTS.get():
        return _build_unread(net, weights, roi_head, roi_pooling)
    return build_backbone(find_net(net), weights, roi_head, roi_pooling)


@contextmanager
def without_weights() -> Iterator[None]:
    """In the block, `build` raises its errors without downloading weights; the outputs of its nets are meaningless."""
    token = _WITHOUT_WEIGHTS.set(True)
    try:
        yield
    finally:
        _WITHOUT_WEIGHTS.reset(token)


def _build_unread(name: str, weights: str, roi_head: RoiHead | None, roi_pooling: RoiPooling) -> Backbone:
    """Build a backbone as if it had its weights. Raises as `build`, except for failed downloads."""
    net = find_net(name)
    backbone = Backbone(net, roi_head, roi_pooling)
    if weights == "none":
        return backbone
    if weights == "imagenet" and (net.imagenet or net.torchvision):
        _require_timm_weights(name)
    elif weights == "imagenet" and not net.package:
        have = ", ".join(other for other, one in NETS.items() if one.torchvision or one.package)
        raise RequestError(
            f"There are no ImageNet weights of {name}. Set weights to none or to a file, or take a net that has them: "
            f"{have}."
        )
    else:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # copies to `meta` are no-ops
            load(backbone, net, weights)
    backbone.assume_pretrained()
    return backbone


def _require_timm_weights(name: str) -> None:
    """Raise RequestError for a timm net without published weights."""
    library, _, model = name.partition(":")
    if library != "timm":
        return
    import timm

    given = timm.get_pretrained_cfg(model.partition("@")[0])
    if given is None or not given.has_weights:
        raise RequestError(f"timm has no weights of {name}. Set weights to none, or to a file.")
