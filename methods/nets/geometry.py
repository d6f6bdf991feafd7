"""Positions of the cells of a net's layers: windows, strides and paddings, traced in a pass on torch's meta device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from bench.core.cells import Cells

SIDE = 224
"""Side in pixels of the image that is passed through nets; some transformers accept no other."""

_WINDOWS: dict[str, tuple[str, ...]] = {
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding"),
}
"""Functions with sliding windows, and their arguments in order."""


class Layer(NamedTuple):
    """The output of a layer: channels, height, width, and cell positions; None if these cannot be followed."""

    channels: int
    height: int
    width: int
    cells: Cells | None


@dataclass
class Pass:
    """The record of a pass through a net: maps by layer path, paths of the modules called, and names of functions."""

    layers: dict[str, Layer] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)


class _Follow(TorchFunctionMode):
    """Keeps track of the cells of every map that is computed from an image."""

    def __init__(self, image: Tensor, seen: Pass) -> None:
        super().__init__()
        self.seen = seen
        self.known: dict[int, tuple[Tensor, Cells]] = {}  # holds the tensor, so that its id is not reused
        self.keep(image, Cells(0.5, 1.0))

    def keep(self, maps: Tensor, cells: Cells | None) -> None:
        if cells is not None:
            self.known[id(maps)] = (maps, cells)

    def find(self, maps: Any) -> Cells | None:
        return self.known[id(maps)][1] if id(maps) in self.known else None

    def inherit(self, maps: Tensor, given: Any) -> None:
        """Give maps without cells those of the first input with cells and the same height and width."""
        for one in _list_tensors(given):
            if self.find(maps) is None and maps.ndim == one.ndim == 4 and maps.shape[2:] == one.shape[2:]:
                self.keep(maps, self.find(one))

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        is_shape_kept = name.endswith("_norm")  # on `meta`, skipping these is equivalent and far faster
        out = torch.empty_like(args[0]) if is_shape_kept else function(*args, **kwargs)
        if not isinstance(out, Tensor):
            return out
        if out.ndim > 2:
            self.seen.functions.add(name.rstrip("_"))
        cells = self.find(args[0]) if args else None
        if cells is not None and name in _WINDOWS:
            self.keep(out, _apply_window(cells, **dict(zip(_WINDOWS[name], args, strict=False)), **kwargs))
        elif cells is not None and name == "pad":
            left = kwargs.get("pad", args[1] if len(args) > 1 else (0,))[0]
            self.keep(out, Cells(cells.origin - left * cells.stride, cells.stride))
        else:
            self.inherit(out, args)
        return out

    def watch(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        """Return a hook that records the output of the layer at a path."""

        def record(layer: nn.Module, given: Any, out: Any) -> None:
            self.seen.called.add(path)
            if isinstance(out, Tensor) and out.ndim == 4:
                self.inherit(out, given)
                _, channels, height, width = out.shape
                self.seen.layers[path] = Layer(channels, height, width, self.find(out))

        return record


def follow(net: nn.Module, side: int = SIDE) -> Pass:
    """Follow a square image through a net on `meta`, computing nothing and changing neither its mode nor statistics."""
    state = {name: one.to("meta") for name, one in chain(net.named_parameters(), net.named_buffers())}
    image, seen = torch.empty(1, 3, side, side, device="meta"), Pass()
    mode = _Follow(image, seen)
    hooks = [layer.register_forward_hook(mode.watch(path)) for path, layer in net.named_modules()]
    try:
        with torch.no_grad(), mode:
            functional_call(net, state, (image,))
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def find_cells(net: nn.Module, path: str = "") -> Cells | None:
    """Find the positions, in pixels, of the output cells of the module at `path`; None if they cannot be followed."""
    layer = follow(net).layers.get(path)
    return layer and layer.cells


def _apply_window(cells: Cells, **window: Any) -> Cells:
    """Return the output cells of a convolution or pooling: each is centred on its window."""
    kernel = window["weight"].shape[-1] if "weight" in window else _first(window["kernel_size"])
    default = 1 if "weight" in window else kernel
    stride, dilation = _first(window.get("stride") or default), _first(window.get("dilation", 1))
    padding = window.get("padding", 0)
    reach = (kernel - 1) * dilation / 2
    left = {"same": reach, "valid": 0.0}[padding] if isinstance(padding, str) else _first(padding)
    return Cells(cells.origin + (reach - left) * cells.stride, cells.stride * stride)


def _first(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def _list_tensors(given: Any) -> Iterator[Tensor]:
    for one in given if isinstance(given, list | tuple) else (given,):
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, list | tuple):
            yield from _list_tensors(one)
