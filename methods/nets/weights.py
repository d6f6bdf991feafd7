"""Initial weights: none, torchvision's, or a file; checked name by name and shape by shape, nothing unpickled."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError
from methods.nets.backbone import TORCHVISION, Backbone, Layout, Net

_FILES = (".npz", ".pth")


def load(backbone: Backbone, net: Net, weights: str) -> None:
    """Set the backbone's parameters from `weights`: none, imagenet, or a file .npz or .pth.

    A file is recognised by its names; from then on the backbone normalises images as that family of files expects it.
    What the backbone has and no file of the family knows (a new RoI head) keeps its initial values.
    Raises UnknownNameError, MissingDataError, BadFileError (missing, unexpected and mis-shaped names in one message).
    """
    if weights == "none":
        return
    given = _torchvisions(net) if weights == "imagenet" else _read(Path(weights))
    layout = max(net.layouts or (_own(backbone),), key=lambda one: len(set(one.names.values()) & set(given)))
    wanted = {ours: theirs for ours, theirs in layout.names.items() if ours in backbone.state_dict()}
    _check(weights, backbone, layout, wanted, given)
    found = {ours: given[theirs] for ours, theirs in wanted.items()}
    if layout.bgr:
        found["trunk.0.weight"] = found["trunk.0.weight"].flip(1)
    backbone.load_state_dict(found, strict=False)
    backbone.normalise_as(layout.normalisation)
    backbone.scale.fill_(layout.scale)
    backbone.pretrained = frozenset(found)


def _own(backbone: Backbone) -> Layout:
    """A net without a published layout reads files in its own names."""
    return Layout({name: name for name, _ in backbone.named_parameters()}, ("mean", "std", "scale"), TORCHVISION)


def _check(
    weights: str, backbone: Backbone, layout: Layout, wanted: Mapping[str, str], given: Mapping[str, Tensor]
) -> None:
    ours = backbone.state_dict()
    known = {*layout.names.values(), *layout.spare}
    shapes = {theirs: tuple(ours[name].shape) for name, theirs in wanted.items()}
    faults = {
        "missing": [name for name in shapes if name not in given],
        "unexpected": [name for name in given if name not in known],
        "mis-shaped": [
            f"{name} {tuple(given[name].shape)}, expected {shape}"
            for name, shape in shapes.items()
            if name in given and tuple(given[name].shape) != shape
        ],
    }
    if any(faults.values()):
        text = "; ".join(f"{fault}: {_few(names)}" for fault, names in faults.items() if names)
        raise BadFileError(weights, f"its weights do not fit the net ({text})")


def _few(names: list[str], most: int = 8) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix not in _FILES:
        hint = f"or a file {' or '.join(_FILES)}"
        raise UnknownNameError("weights", str(path), ("none", "imagenet"), hint=hint)
    if not path.is_file():
        raise MissingDataError("Weights", path, "Give --weights none, imagenet, or a file .npz or .pth.")
    return _read_npz(path) if path.suffix == ".npz" else _read_pth(path)


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: torch.from_numpy(np.asarray(file[name], dtype=np.float32)) for name in file.files}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile):
        raise BadFileError(path, "not an .npz of plain arrays (nothing is unpickled)") from None


def _read_pth(path: Path) -> dict[str, Tensor]:
    rule = "not a plain dictionary of names to tensors (nothing else is unpickled)"
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about other pickle protocols
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, LookupError, ValueError):
        raise BadFileError(path, rule) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadFileError(path, rule)
    return dict(state)


def _torchvisions(net: Net) -> dict[str, Tensor]:
    if net.torchvision is None:
        raise RequestError("This net has no ImageNet weights. Use --weights none, or a file .npz or .pth.")
    from torchvision.models import get_model_weights

    known = get_model_weights(net.torchvision)["IMAGENET1K_V1"]
    try:
        return dict(known.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:
        how = f"Fetching {known.url} failed ({error}). Put that file there, or use --weights FILE, or --weights none."
        raise MissingDataError(
            "torchvision's ImageNet weights", Path(torch.hub.get_dir()) / "checkpoints", how
        ) from None
