"""The definition of a net given only as a module: its channels, cells and stages are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from bench.core.cells import Cells
from bench.errors import RequestError
from methods.nets.backbone import Net, mean_head
from methods.nets.geometry import SIDE, Layer, Pass, follow

SUMS = {"add", "sub", "mul"}
OTHERS = {
    "scaled_dot_product_attention": "softmax attention",
    "softmax": "softmax attention",
    "gelu": "GELU",
    "silu": "SiLU",
    "hardswish": "Hardswish",
    "sigmoid": "sigmoid",
    "hardsigmoid": "Hardsigmoid",
    "leaky_relu": "leaky ReLU",
    "layer_norm": "layer normalisation",
}
"""Functions without a rule in excitation backprop and LRP, in order of preference for error messages."""


def describe_net(trunk: Callable[[], nn.Module], *, stages: Sequence[str] = (), side: int = SIDE, **more: Any) -> Net:
    """Describe a net by its trunk, which is built on `meta` and followed with an image of `side` x `side` pixels.

    stages: the paths of two modules of the trunk whose outputs stand for conv3 and conv4 of VGG16; the last stage is
    the trunk's output. more: fields of `Net` that replace measured ones; by default, `roi_head` takes the mean of a
    region's cells. Cells whose windows cannot be followed, as in transformers, share the image evenly.

    Raises RequestError if the trunk returns no maps (B, channels, h, w), or if a cell is not a whole number of pixels.
    """
    return measure_net(trunk, follow_trunk(trunk, side), stages=stages, side=side, **more)


def follow_trunk(trunk: Callable[[], nn.Module], side: int = SIDE) -> Pass:
    """Build a trunk on `meta` and follow an image through it. Raises RequestError if it does not accept the image."""
    with torch.device("meta"):
        built = trunk()
    try:
        return follow(built, side)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise RequestError(f"The net takes no image of {side} x {side} pixels: {reason}") from error


def measure_net(
    trunk: Callable[[], nn.Module], seen: Pass, *, stages: Sequence[str] = (), side: int = SIDE, **more: Any
) -> Net:
    """Describe a net by a pass through it; see `describe_net`."""
    last = seen.layers.get("")
    if last is None:
        raise RequestError("The net gives no feature maps: the output of its trunk is not (B, channels, h, w).")
    if lacking := [path for path in stages if path not in seen.layers]:
        raise RequestError(f"The net has no module {lacking[0]!r} that gives feature maps, so it is no stage.")
    cells = last.cells or _share_evenly(last, side)
    if more.get("stride", int(cells.stride)) != int(cells.stride):
        raise RequestError(
            f"stride={more['stride']} is given, but the net makes a cell every {int(cells.stride)} pixels: "
            "leave it out, it is measured."
        )
    measured: dict[str, Any] = {
        "channels": last.channels,
        "stride": int(cells.stride),
        "origin": cells.origin,
        "stages": (*((path, seen.layers[path].channels) for path in stages), ("", last.channels)),
        "roi_size": 7,
        "roi_head": mean_head,
        "roi_channels": last.channels,
        "has_sums": bool(SUMS & seen.functions),
        "other_layers": next((name for function, name in OTHERS.items() if function in seen.functions), ""),
    }
    return Net(trunk, **(measured | more))


def _share_evenly(last: Layer, side: int) -> Cells:
    """Return cells that share the image evenly. Raises RequestError."""
    if last.height == last.width == 1:
        raise RequestError(f"The net makes one cell of {side} x {side} pixels, of which nothing can be localized.")
    if last.height != last.width or side % last.height:
        raise RequestError(
            f"The net makes {last.height} x {last.width} cells of {side} x {side} pixels, and where they lie cannot be "
            "followed: give describe_net another side, that is a multiple of the stride."
        )
    stride = side // last.height
    return Cells(stride / 2, float(stride))
