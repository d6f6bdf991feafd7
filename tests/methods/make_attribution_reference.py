"""Write attribution_reference.json: what pytorch-grad-cam and TorchRay make of the net and pictures of the tests.

They are no dependency: install `grad-cam`, `torchray` and `matplotlib` beside the harness, and run this file here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from attribution_cases import CLASSES, LAYER, PICTURES, STEEPNESS, UNEVEN, fixed
from pytorch_grad_cam import GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM, XGradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torchray.attribution.extremal_perturbation import MaskGenerator, extremal_perturbation
from torchray.attribution.rise import rise

CAMS = {
    "grad-cam-plus-plus": GradCAMPlusPlus,
    "layer-cam": LayerCAM,
    "hires-cam": HiResCAM,
    "x-grad-cam": XGradCAM,
    "score-cam": ScoreCAM,
}


class Centred(nn.Module):
    """The net as these libraries call it: on images whose mean colour is 0."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base

    def forward(self, images: Tensor) -> Tensor:
        mean = self.base.backbone.mean
        scores: Tensor = self.base(images.to(mean) + mean).scores
        return scores


def shorten(found: Tensor) -> Any:
    """Numbers of seven digits, in lists."""
    if found.ndim:
        return [shorten(one) for one in found]
    return float(f"{float(found):.7g}")


def make_cam(name: str) -> list[Any]:
    """The map before it is cut at 0 and scaled to the range of a picture."""
    method = fixed(name, STEEPNESS.get(name, 1))
    images = PICTURES - method.base.backbone.mean
    cam = CAMS[name](Centred(method.base), [method.base.get_submodule(LAYER)])
    kept = []
    of_layer: Callable[..., Any] = cam.get_cam_image
    cam.get_cam_image = lambda *given: kept.append(of_layer(*given)) or kept[-1]
    cam(images.requires_grad_(), [ClassifierOutputTarget(int(one)) for one in CLASSES])
    return shorten(torch.as_tensor(kept[0]))


def make_rise() -> list[Any]:
    """With the masks that ours draws for the first picture."""
    method = fixed("rise", masks=40)
    image = PICTURES[0]
    grids, shifts = method._draw(image)
    masks = method._enlarge(grids, shifts, image)[:, None]
    centred = (image - method.base.backbone.mean)[None].float()
    return shorten(rise(Centred(method.base), centred, num_masks=40, filter_masks=masks.float())[0])


def make_masks() -> list[Any]:
    """The masks of two areas after 12 steps, from uneven values."""
    generate = MaskGenerator.generate
    MaskGenerator.generate = lambda self, values: generate(self, values * UNEVEN.float())
    method = fixed("extremal-perturbation")
    image = (PICTURES[0] - method.base.backbone.mean)[None].float()
    masks, _ = extremal_perturbation(Centred(method.base), image, 2, areas=[0.1, 0.3], max_iter=12, step=3, sigma=6)
    return shorten(masks[:, 0])


def main() -> None:
    torch.set_default_dtype(torch.float32)
    versions = {name: version(name) for name in ("grad-cam", "torchray", "torch")}
    found = {name: make_cam(name) for name in CAMS} | {"rise": make_rise(), "extremal-perturbation": make_masks()}
    text = json.dumps({"versions": versions, **found})
    Path(__file__).with_name("attribution_reference.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
