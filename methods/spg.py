"""SPG (unverified): self-produced guidance, attention maps that supervise lower layers (Zhang et al., ECCV 2018).

It was written from general knowledge; the papers at hand only report its results. The losses of `spg:choe2020` are
compared with the released code of Choe et al.'s evaluation (CVPR 2020). The attention map of the image's classes
provides seeds for a mask learned from conv5: foreground where attention is high, background where it is low. The conv5
mask provides seeds for a mask learned from conv4, and the mean of both for a mask learned from the classifier's own
features.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import field_validator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from bench.method import Maps, Range, Task, training
from bench.training.collectives import all_gather
from methods.layers.erasing import compute_attention
from methods.layers.map_method import ImageConfig, ImageMethod, make_map_layer, make_neck

LEAST = 30 / 224**2
"""Share of an image below which there is too little foreground; the released code requires 30 pixels of 224 x 224."""


class SpgConfig(ImageConfig):
    """Settings of SPG."""

    width: int = training(1024, "channels of the classifier's two 3x3 convolutions", ge=1)
    mask_width: int = training(512, "channels of the mask layers", ge=1)
    attention_seeds: tuple[float, float] = training((0.05, 0.7), "attention: background below, foreground above")
    mask_seeds: tuple[float, float] = training((0.05, 0.5), "mask of conv5: background below, foreground above")
    fused_seeds: tuple[float, float] = training((0.1, 0.7), "mean of the two masks: background below, foreground above")
    guided_at: Literal["cells", "image"] = training(
        "cells", "where masks are compared: at conv4's cells, or enlarged to the image's pixels", later=True
    )
    guidance: float = training(
        1.0, "weight of the mask losses relative to the classification loss", search=Range(0.05, 2, log=True), ge=0
    )

    @field_validator("attention_seeds", "mask_seeds", "fused_seeds")
    @classmethod
    def _check_order(cls, seeds: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= seeds[0] <= seeds[1] <= 1:
            raise ValueError("expected two fractions in [0, 1], the lower one first")
        return seeds


class Spg(ImageMethod):
    """CAM with two more convolutions; masks supervise its features, and are not used at test."""

    version = 2
    Config = SpgConfig
    output_of_backbone: ClassVar = "stages"
    variants: ClassVar = {
        "choe2020": {"width": 512, "attention_seeds": (0.01, 0.7), "guided_at": "image", "map_alignment": "resize"}
    }
    recipes: ClassVar = {
        "shapes": {
            "epochs": 40,
            "batch_size": 8,
            "lr": 0.03,
            "grad_clip_norm": 5.0,
            "width": 32,
            "mask_width": 32,
            "guidance": 0.1,  # an untrained net has no attention to be guided by
        }
    }
    config: SpgConfig

    def __init__(self, config: SpgConfig, task: Task) -> None:
        super().__init__(config, task)
        conv4, conv5 = self.backbone.stage_channels[-2:]
        self.features = nn.Sequential(make_neck(conv5, config.width), make_neck(config.width, config.width))
        self.maps = make_map_layer(config.width, len(task.classes))
        self.sides = nn.ModuleList([make_neck(conv4, config.mask_width), make_neck(conv5, config.mask_width)])
        self.side_mask = nn.Sequential(
            make_neck(config.mask_width, config.mask_width), make_map_layer(config.mask_width, 1)
        )
        self.mask = nn.Sequential(make_neck(config.width, config.mask_width), make_map_layer(config.mask_width, 1))

    def count_stages(self) -> int:
        """Return 2: conv4 and conv5."""
        return 2

    def forward(self, images: Tensor) -> Maps:
        """Compute logits (B, C) and class maps (B, C, h, w); a logit is the mean of its map."""
        maps = self.maps(self.features(self.backbone.features(images))).float()
        return Maps(maps.mean(dim=(2, 3)), maps, cells=self.backbone.cells)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss and each mask's loss at its seeds; images without a class have none."""
        conv4, conv5 = self.backbone.stages(images)[-2:]
        features = self.features(conv5)
        maps = self.maps(features).float()
        low, high = (self.side_mask(side(stage)) for side, stage in zip(self.sides, (conv4, conv5), strict=True))
        size = (images if self.config.guided_at == "image" else low).shape[2:]
        has_class = (labels > 0).any(dim=1)
        low, high, last = (_resize(mask, size)[has_class, 0] for mask in (low, high, self.mask(features)))
        seeds, weight = compute_attention(_resize(maps, size), labels > 0)[has_class], self.config.guidance
        return {
            "classification": self.classification(maps.mean(dim=(2, 3)), labels),
            "conv5 mask": weight * guided_loss(high, seeds, self.config.attention_seeds),
            "conv4 mask": weight * guided_loss(low, high.sigmoid(), self.config.mask_seeds),
            "last mask": weight * guided_loss(last, (low.sigmoid() + high.sigmoid()) / 2, self.config.fused_seeds),
        }


def _resize(maps: Tensor, size: torch.Size) -> Tensor:
    return interpolate(maps.float(), size, mode="bilinear", align_corners=False)


def guided_loss(logits: Tensor, guide: Tensor, seeds: tuple[float, float]) -> Tensor:
    """Compute the mean cross entropy of mask logits (N, h, w) at the guide's seeds.

    Seeds are where the guide (N, h, w) is below the low or above the high threshold; without any the loss is 0.

    If an image's guide exceeds the high threshold in too few cells (see LEAST), its foreground is where the guide
    exceeds .7 of its maximum, as in the released code; cells below the low threshold remain background. The guide is
    detached, so the layers that produce the seeds get no gradient.
    """
    low, high = seeds
    guide = guide.detach()
    top = guide.amax(dim=(1, 2), keepdim=True)
    least = LEAST * guide.shape[1] * guide.shape[2]
    few = (guide > high).sum(dim=(1, 2), keepdim=True) < least
    target = (guide > torch.where(few, 0.7 * top, high)) & (guide >= low)
    marked = target | (guide < low)
    losses = binary_cross_entropy_with_logits(logits, target.to(logits), reduction="none")
    total, count = all_gather((losses * marked).sum()[None]).sum(), all_gather(marked.sum()[None]).sum()
    return total / count.clamp(min=1)
