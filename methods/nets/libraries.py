"""Nets of timm and torchvision, by their names there: `timm:resnet18`, `torchvision:resnet50@16`.

A number after @ sets the pixels per cell, if the library can dilate convolutions instead of striding them.
Transformers return their patch tokens as maps. Strides, cells, channels and stages are measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models import get_model, get_model_weights, list_models

from bench.errors import MissingDataError, RequestError, UnknownNameError, first_line
from methods.nets.backbone import Layout, Net, Normalisation
from methods.nets.geometry import Pass
from methods.nets.measured import follow_trunk, measure_net

HOW_TO_INSTALL = "pip install 'weakloc[timm]'"

LEAST = 32
"""Pixels per cell of the coarsest nets: layers without padding, as in ConvNeXt, accept no smaller image."""

Options = tuple[tuple[str, Any], ...]
"""Arguments of a library's builder."""

HEADS = ("avgpool", "classifier", "fc", "head", "heads")
"""torchvision's names of the layers above the last maps."""

GROUPS = ("features", "layers", "trunk_output", "blocks")
"""torchvision's names of modules that hold several stages."""

OTHERWISE = {
    "googlenet": "net=googlenet",
    "inception_v3": "net=timm:inception_v3",
    "vit_": "a ViT of timm",
    "swin_": "a Swin of timm",
    "regnet_": "a RegNet of timm",
}
"""Prefixes of torchvision's nets that are not supported, and what to use instead."""


class TimmTrunk(nn.Module):
    """A timm net up to its last features, as maps; `spare` are modules that only its classifier needs."""

    def __init__(self, name: str, options: Options, spare: Iterable[str] = ()) -> None:
        super().__init__()
        self.model = _create(name, options)
        for module in spare:
            setattr(self.model, module, nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """Compute maps (B, channels, h, w) of images (B, 3, H, W), padded to sides of at least `LEAST` pixels."""
        patches: Any = getattr(self.model, "patch_embed", None)
        if not hasattr(patches, "dynamic_feat_size"):  # transformers pad to whole patches themselves
            height, width = images.shape[2:]
            images = pad(images, (0, max(0, LEAST - width), 0, max(0, LEAST - height)))
        features: Tensor = self.model.forward_features(images)
        if features.ndim == 4:
            is_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if is_last else features
        if features.ndim != 3 or not hasattr(patches, "dynamic_feat_size"):
            raise RuntimeError("it gives no maps, and no tokens of patches")
        tokens = features[:, getattr(self.model, "num_prefix_tokens", 0) :].transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], *patches.dynamic_feat_size(tuple(images.shape[2:])))


def make_timm_net(name: str, stride: int | None) -> Net:
    """Describe a timm net. Raises UnknownNameError, RequestError if timm is missing or cannot build the net."""
    timm = _import_timm()
    if not timm.is_model(name):
        raise UnknownNameError("net of timm", name, timm.list_models(), hint="timm.list_models() lists all")
    options = _choose_options(name, stride)
    seen = follow_trunk(partial(TimmTrunk, name, options))
    with torch.device("meta"):
        model = _create(name, options)
    called = {path.split(".")[1] for path in seen.called if path.startswith("model.")}
    spare = tuple(child for child, module in model.named_children() if child not in called and _has_state(module))
    given = model.pretrained_cfg
    head = given.get("classifier") or ()
    normalisation = Normalisation(tuple(given["mean"]), tuple(given["std"]))
    layout = Layout({"trunk.model": ""}, (*spare, *((head,) if isinstance(head, str) else head)), normalisation)
    net = measure_net(
        partial(TimmTrunk, name, options, spare),
        seen,
        stages=_choose_stages(seen, [f"model.{stage['module']}" for stage in model.feature_info[-3:-1]]),
        imagenet=partial(_read_timm, name, options),
        layouts=(layout,),
        source=f"timm {timm.__version__} {name} {options}",
    )
    return _check_stride(net, f"timm:{name}", stride)


def _import_timm() -> Any:
    try:
        import timm
    except ImportError:
        raise RequestError(f"Nets timm:NAME need the package timm: {HOW_TO_INSTALL}.") from None
    return timm


def _create(name: str, options: Options, *, pretrained: bool = False) -> Any:
    return _import_timm().create_model(name, pretrained=pretrained, num_classes=0, global_pool="", **dict(options))


def _choose_options(name: str, stride: int | None) -> Options:
    """Choose options that let a net accept images of any size, if it has any. Raises RequestError."""
    strides: Options = (("output_stride", stride),) if stride else ()
    asked = f" with {stride} pixels a cell" if stride else ""
    ways: tuple[Options, ...] = (
        (("dynamic_img_size", True), ("dynamic_img_pad", True)),
        (("dynamic_img_size", True),),
        (("strict_img_size", False),),
        (),
    )
    for way in ways:
        try:
            with torch.device("meta"):
                _create(name, (*way, *strides))
        except TypeError as error:  # the net has no such option
            reason = error
        except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            why = first_line(error) if str(error).strip() else "it takes only some numbers, often 8, 16 and 32"
            raise RequestError(f"timm cannot build {name}{asked}: {why}") from error
        else:
            return (*way, *strides)
    raise RequestError(f"timm cannot build {name}{asked}: {first_line(reason)}")


def _read_timm(name: str, options: Options) -> dict[str, Tensor]:
    """Read weights that timm downloads. Raises MissingDataError, RequestError if timm has none."""
    given = _import_timm().get_pretrained_cfg(name)
    if given is None or not given.has_weights:
        raise RequestError(f"timm has no weights of {name}. Set weights to none, or to a file.")
    try:
        return dict(_create(name, options, pretrained=True).state_dict())
    except (OSError, RuntimeError) as error:
        folder = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
        how = f"Downloading them failed ({first_line(error)}). Set weights to a file (.safetensors, .pth) or to none."
        raise MissingDataError(f"timm's weights of {name}", folder, how) from None


def make_torchvision_net(name: str, stride: int | None) -> Net:
    """Describe a torchvision net. Raises UnknownNameError, RequestError if it cannot be built."""
    known = list_models(module=torchvision.models)
    if name not in known:
        raise UnknownNameError("net of torchvision", name, known)
    for start, other in OTHERWISE.items():
        if name.startswith(start):
            raise RequestError(f"torchvision:{name} is not taken from torchvision: use {other}.")
    options = (("replace_stride_with_dilation", [False, stride <= 8, stride <= 16]),) if stride else ()
    trunk = partial(_build_torchvision, name, options)
    seen = follow_trunk(trunk)
    paths = _list_parts(trunk)
    heights = [seen.layers[path].height if path in seen.layers else 0 for path in paths]
    ends = [path for path, (here, above) in zip(paths, pairwise(heights), strict=False) if here != above]
    given = next(iter(get_model_weights(name))).transforms()
    net = measure_net(
        trunk,
        seen,
        stages=_choose_stages(seen, ["layer2", "layer3"] if "layer3" in paths else ends[-2:]),
        torchvision=name,
        layouts=(Layout({"trunk": ""}, HEADS, Normalisation(tuple(given.mean), tuple(given.std))),),
        source=f"torchvision {torchvision.__version__} {name} {options}",
    )
    return _check_stride(net, f"torchvision:{name}", stride)


def _build_torchvision(name: str, options: Options) -> nn.Sequential:
    """Build a torchvision net up to its classifier. Raises RequestError for options that the net lacks."""
    try:
        model = get_model(name, weights=None, **dict(options))
    except (NotImplementedError, TypeError) as error:
        raise RequestError(
            f"torchvision cannot build {name} with another stride ({first_line(error)}): it dilates ResNets of 50 and "
            f"more layers; timm:{name}@16 may be had."
        ) from error
    parts = {child: module for child, module in model.named_children() if child not in HEADS}
    trunk = nn.Sequential()
    for child, module in parts.items():
        trunk.add_module(child, module)
    if name.startswith("densenet"):
        trunk.add_module("relu", nn.ReLU(inplace=True))  # a function call in torchvision's forward pass
    return trunk


def _list_parts(trunk: partial[nn.Sequential]) -> list[str]:
    """List the paths of a trunk's layers in order, with `GROUPS` replaced by their layers."""
    with torch.device("meta"):
        children = dict(trunk().named_children())
    inner = {name: [f"{name}.{part}" for part, _ in child.named_children()] for name, child in children.items()}
    return [path for name in children for path in (inner[name] if name in GROUPS else [name])]


def _choose_stages(seen: Pass, paths: list[str]) -> list[str]:
    """Return the paths of two lower stages, or none unless both output maps with known cells."""
    placed = [path for path in paths if path in seen.layers and seen.layers[path].cells is not None]
    return placed if len(placed) == 2 else []


def _check_stride(net: Net, name: str, stride: int | None) -> Net:
    if stride not in (None, net.stride):
        raise RequestError(f"{name}@{stride}: the net has {net.stride} pixels a cell, whatever it is asked for.")
    return net


def _has_state(module: nn.Module) -> bool:
    return len(module.state_dict()) > 0


LIBRARIES = {"timm": make_timm_net, "torchvision": make_torchvision_net}
