"""Initial weights: none, torchvision's, or a file; every name and shape is checked, and nothing is unpickled."""

from __future__ import annotations

import pickle
import sys
import warnings
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError
from methods.nets.backbone import TORCHVISION, Backbone, Layout, Net, RoiHead, RoiPooling
from methods.nets.published import read_caffemodel, read_mat


def build_backbone(net: Net, weights: str, roi_head: RoiHead | None, roi_pooling: RoiPooling) -> Backbone:
    """Build the backbone of a net, with its weights. Raises as `load`."""
    backbone = Backbone(net, roi_head, roi_pooling)
    load(backbone, net, weights)
    return backbone


def load(backbone: Backbone, net: Net, weights: str) -> None:
    """Set the backbone's parameters from `weights`: none, imagenet, or a file that `_READERS` reads.

    A file's family is recognised by its parameter names; the backbone then normalises images as that family expects.
    Parameters that no file of the family contains (a new RoI head) keep their initial values.
    Raises UnknownNameError, MissingDataError, BadFileError (missing, unexpected and mis-shaped names in one message).
    """
    if weights == "none":
        return
    given = _read_imagenet(net) if weights == "imagenet" else _read(Path(weights))
    layout = max(
        net.layouts or (_OWN,), key=lambda layout: len(set(_map_names(backbone, layout).values()) & set(given))
    )
    wanted, ours = _map_names(backbone, layout), backbone.state_dict()
    found = {name: _reshape(given[theirs], ours[name]) for name, theirs in wanted.items() if theirs in given}
    _check(weights, backbone, layout, given, found)
    if layout.bgr:
        found["trunk.0.weight"] = found["trunk.0.weight"].flip(1)
    backbone.load_state_dict(found, strict=False)
    backbone.normalise_as(layout.normalisation)
    backbone.scale.fill_(layout.scale)
    backbone.pretrained = frozenset(found)
    backbone.look_as_trained()


_OWN = Layout({"trunk": "trunk", "roi_head": "roi_head"}, ("mean", "std", "scale"), TORCHVISION)
"""Layout of nets without published weights: files use our own names."""

_UNUSED = "num_batches_tracked"
"""A batch normalisation buffer that some files contain and no net here uses."""


def _map_names(backbone: Backbone, layout: Layout) -> dict[str, str]:
    """Map our names to a file's, for every parameter that files of this layout contain."""
    wanted = {}
    for name in backbone.state_dict():
        known = [module for module in layout.names if _is_below(name, module)]
        if known and not name.endswith(_UNUSED):
            module = max(known, key=len)
            wanted[name] = (layout.names[module] + name.removeprefix(module)).removeprefix(".")
    return wanted


def _is_below(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _reshape(theirs: Tensor, ours: Tensor) -> Tensor:
    """Reshape a fully connected layer that is stored as a convolution over its whole input."""
    return theirs.flatten(1) if (theirs.ndim, ours.ndim) == (4, 2) else theirs


def _check(
    weights: str, backbone: Backbone, layout: Layout, given: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    """Raise BadFileError for missing, unexpected and mis-shaped names."""
    ours, wanted = backbone.state_dict(), _map_names(backbone, layout)
    unbuilt = [theirs for module, theirs in layout.names.items() if not any(_is_below(name, module) for name in ours)]
    spare = [*layout.spare, *unbuilt]
    known = {name for name in given if name.endswith(_UNUSED) or any(_is_below(name, module) for module in spare)}
    faults = {
        "missing": [theirs for name, theirs in wanted.items() if name not in found],
        "unexpected": [name for name in given if name not in known.union(wanted.values())],
        "mis-shaped": [
            f"{wanted[name]} {tuple(value.shape)}, expected {tuple(ours[name].shape)}"
            for name, value in found.items()
            if value.shape != ours[name].shape
        ],
    }
    if any(faults.values()):
        text = "; ".join(f"{fault}: {_shorten(names)}" for fault, names in faults.items() if names)
        raise BadFileError(weights, f"its weights do not fit the net ({text})")


def _shorten(names: list[str], most: int = 8) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _read(path: Path) -> dict[str, Tensor]:
    kinds = " or ".join(_READERS)
    if path.suffix not in _READERS:
        raise UnknownNameError("weights", str(path), ("none", "imagenet"), hint=f"or a file {kinds}")
    if not path.is_file():
        raise MissingDataError("Weights", path, f"Give --weights none, imagenet, or a file {kinds}.")
    return _READERS[path.suffix](path)


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: torch.from_numpy(np.asarray(file[name], dtype=np.float32)) for name in file.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile):
        raise BadFileError(path, "not an .npz of plain arrays (nothing is unpickled)") from None


def _read_pth(path: Path) -> dict[str, Tensor]:
    rule = "not a plain dictionary of names to tensors (nothing else is unpickled)"
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # warnings about pickle protocols
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError, ValueError):
        raise BadFileError(path, rule) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadFileError(path, rule)
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise RequestError(f"{path} needs the package safetensors: pip install 'weakloc[timm]'.") from None
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError):
        raise BadFileError(path, "not a file of safetensors") from None


_READERS = {
    ".npz": _read_npz,
    ".pth": _read_pth,
    ".mat": read_mat,
    ".caffemodel": read_caffemodel,
    ".safetensors": _read_safetensors,
}


def _read_imagenet(net: Net) -> dict[str, Tensor]:
    """Read a net's ImageNet weights from torchvision or from a package that contains them.

    Raises MissingDataError if they are not installed or cannot be downloaded, RequestError if there are none.
    """
    if net.imagenet is not None:
        return dict(net.imagenet())
    if net.package is not None:
        return _read_package(net.package)
    if net.torchvision is None:
        raise RequestError(f"This net has no ImageNet weights. Use --weights none, or a file {' or '.join(_READERS)}.")
    from torchvision.models import get_model_weights

    known = get_model_weights(net.torchvision)["IMAGENET1K_V1"]
    try:
        return dict(known.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:
        how = f"Downloading {known.url} failed ({error}). Put the file there, or use --weights FILE or --weights none."
        raise MissingDataError(
            "torchvision's ImageNet weights", Path(torch.hub.get_dir()) / "checkpoints", how
        ) from None


def find_download(name: str, net: Net) -> str:
    """Return where to download a net's ImageNet weights from; empty if already present, or if there are none."""
    if net.imagenet is not None:
        return f"ImageNet weights of {name}, unless its library has them already"
    if net.torchvision is None:
        return ""
    from torchvision.models import get_model_weights

    url = str(get_model_weights(net.torchvision)["IMAGENET1K_V1"].url)
    return "" if (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file() else url


def _read_package(package: str) -> dict[str, Tensor]:
    """Read the one .pth file of an installed package; its code is not run. Raises MissingDataError."""
    try:
        files = [file for file in distribution(package).files or () if file.suffix == ".pth"]
    except PackageNotFoundError:
        how = "pip install 'weakloc[lite]', or give --weights FILE or --weights none."
        raise MissingDataError(f"ImageNet weights of the package {package}", Path(sys.prefix), how) from None
    return _read_pth(Path(str(files[0].locate())))
