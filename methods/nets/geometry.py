"""Where the cells of a net's layers lie: windows, strides and paddings, followed through a pass without numbers."""

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
"""Pixels of the image that nets are followed with; some transformers take no other."""

_WINDOWS: dict[str, tuple[str, ...]] = {
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding", "dilation"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding"),
}
"""Functions that look through windows, and their arguments in order."""


class Layer(NamedTuple):
    """The output of a layer: channels, height, width, and where its cells lie; None if that cannot be followed."""

    channels: int
    height: int
    width: int
    cells: Cells | None


@dataclass
class Pass:
    """What a pass through a net has shown: the maps of each layer, by path, and the names of all functions called."""

    layers: dict[str, Layer] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)


class _Follow(TorchFunctionMode):
    """Keeps the cells of every map that is computed from an image."""

    def __init__(self, image: Tensor, seen: Pass) -> None:
        super().__init__()
        self.seen = seen
        self.known: dict[int, tuple[Tensor, Cells]] = {}  # with its tensor, whose id is then no other's
        self.keep(image, Cells(0.5, 1.0))

    def keep(self, maps: Tensor, cells: Cells | None) -> None:
        if cells is not None:
            self.known[id(maps)] = (maps, cells)

    def find(self, maps: Any) -> Cells | None:
        return self.known[id(maps)][1] if id(maps) in self.known else None

    def inherit(self, maps: Tensor, given: Any) -> None:
        """Take maps for those of the first given maps of their height and width."""
        for one in _list_tensors(given):
            if self.find(maps) is None and maps.ndim == one.ndim == 4 and maps.shape[2:] == one.shape[2:]:
                self.keep(maps, self.find(one))

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        is_shape_kept = name.endswith("_norm")  # without numbers it is as good, and far faster, not to call these
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
    """Follow a square image through a net. It computes nothing, and changes neither mode nor statistics of the net."""
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
    """Find where the cells at the end of the module at `path` lie, in pixels; None if that cannot be followed."""
    layer = follow(net).layers.get(path)
    return layer and layer.cells


def _apply_window(cells: Cells, **window: Any) -> Cells:
    """Return the cells of a convolution's or pooling's outputs: each is centred on its window."""
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
