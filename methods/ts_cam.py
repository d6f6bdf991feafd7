"""TS-CAM: class maps of a vision transformer's patches, times its class token's attention (Gao et al., ICCV 2021).

A 3x3 convolution turns the patch tokens into class maps, whose means are the logits. Each class map is multiplied by
the class token's attention to the patches, averaged over heads and layers: the former identifies the class, the latter
localizes it (Sec. 3). The paper was not at hand; this follows general knowledge and the released code, which sums over
layers.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from bench.errors import RequestError
from bench.method import Maps, Task, prediction, training
from methods.layers.map_method import ImageConfig, ImageMethod
from methods.layers.token_attention import average_attention, find_attention_layers, record_queries


class TsCamConfig(ImageConfig):
    """Settings of TS-CAM."""

    net: str = training("timm:deit_small_patch16_224", "backbone: a ViT or DeiT of timm, with a class token")
    readout: Literal["coupled", "semantic", "attention"] = prediction(
        "coupled",
        "what maps are: class maps times attention; class maps alone; attention alone, the same for each class",
    )


class TsCam(ImageMethod):
    """A transformer whose patch tokens are classified; attention is read at test only."""

    Config = TsCamConfig
    variants: ClassVar = {"coupled": {}, "semantic": {"readout": "semantic"}, "attention": {"readout": "attention"}}
    default_variant: ClassVar = "coupled"
    recipes: ClassVar = {
        "shapes": {"net": "timm:test_vit", "epochs": 40, "batch_size": 8, "optimizer": "adamw", "lr": 0.001}
    }
    config: TsCamConfig

    def __init__(self, config: TsCamConfig, task: Task) -> None:
        super().__init__(config, task)
        if not find_attention_layers(self.backbone.trunk):
            raise RequestError(
                f"ts-cam reads the attention of a class token, which {config.net} has not: use a ViT or DeiT of timm, "
                "such as timm:deit_small_patch16_224."
            )
        self.maps = nn.Conv2d(self.backbone.channels, len(task.classes), 3, padding=1)
        nn.init.trunc_normal_(self.maps.weight, std=0.02)
        nn.init.zeros_(self.maps.bias)  # type: ignore[arg-type]

    def alters_images(self) -> bool:
        """Return True: attention is read inside the net, but only the net's features can be cached."""
        return True

    def forward(self, images: Tensor) -> Maps:
        """Compute logits (B, C) and maps (B, C, h, w)."""
        layers = find_attention_layers(self.backbone.trunk)
        with record_queries(layers) as kept:
            semantic = self.classify(images)
        patches = average_attention(layers, kept)[:, -semantic.shape[2] * semantic.shape[3] :]
        attention = patches.view(len(images), 1, *semantic.shape[2:])
        maps = {"coupled": attention * semantic, "semantic": semantic, "attention": attention.expand_as(semantic)}
        return Maps(semantic.mean(dim=(2, 3)), maps[self.config.readout], cells=self.backbone.cells)

    def classify(self, images: Tensor) -> Tensor:
        """Compute the patches' class maps (B, C, h, w), whose means are the logits."""
        maps: Tensor = self.maps(self.backbone.features(images)).float()
        return maps

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss."""
        return {"classification": self.classification(self.classify(images).mean(dim=(2, 3)), labels)}
