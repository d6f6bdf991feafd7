"""ACoL: adversarial complementary learning, a second classifier on erased features (Zhang et al., CVPR 2018).

Classifier B's features are erased where classifier A's min-max normalised map for the image's class exceeds delta
(Sec. 3.2). Both learn to classify; the localization map is the maximum of their normalised maps. If an image has
several classes, features are erased for all of them. At test, they are erased for A's best class or, separately for
each class's map, for that class (`erased_by`); this matters for the maps of classes that are not predicted. The scores
are A's; the paper does not specify whose. `acol:choe2020` is the version in Choe et al.'s evaluation (CVPR 2020): as
released, at 16 pixels per cell.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, one_hot

from bench.method import Maps, Range, Task, prediction, training
from methods.layers.erasing import compute_attention, erase, min_max
from methods.layers.map_method import ImageConfig, ImageMethod, make_map_head


class AcolConfig(ImageConfig):
    """Settings of ACoL."""

    net: str = training("vgg16-stride8", "backbone, by name (methods/nets)")
    delta: float = training(
        0.6,
        "erasing threshold on A's normalised map (ILSVRC: .6, CUB: .7, both chosen on test images)",
        search=Range(0.5, 0.9),
        ge=0,
        le=1,
    )
    inclusive: bool = training(False, "erase values equal to delta too (released)")
    smooth: bool = training(False, "average features over 3x3 cells before the classifiers (released)")
    branches: Literal[2, 3] = training(
        2, "number of classifiers; a third one is erased where the maximum of A's and B's maps exceeds delta"
    )
    width: int = training(1024, "channels of the two 3x3 convolutions of each classifier", ge=1)
    erased_by: Literal["best", "each"] = prediction(
        "best",
        "what erases B's features at test: best: A's best class; each: for the map of a class, that class (released), "
        "which takes a pass of B for each class",
        before="best",
    )


class Acol(ImageMethod):
    """Parallel classifiers on one backbone; each sees features erased by the earlier ones."""

    Config = AcolConfig
    variants: ClassVar = {
        "released": {"inclusive": True, "smooth": True, "erased_by": "each", "map_alignment": "resize"},
        "choe2020": {
            "net": "vgg16",
            "delta": 0.7,
            "inclusive": True,
            "smooth": True,
            "erased_by": "each",
            "map_alignment": "resize",
        },
        "third-branch": {"branches": 3},
    }
    recipes: ClassVar = {
        "shapes": {"epochs": 40, "batch_size": 8, "width": 32},
        "cub": {"delta": 0.7},
    }
    config: AcolConfig

    def __init__(self, config: AcolConfig, task: Task) -> None:
        super().__init__(config, task)
        head = self.backbone.channels, config.width, len(task.classes)
        self.classifiers = nn.ModuleList(make_map_head(*head) for _ in range(config.branches))

    def forward(self, images: Tensor) -> Maps:
        """Compute A's logits (B, C) and the fused maps (B, C, h, w) in [0, 1]."""
        features = self._features(images)
        first = self.classifiers[0](features).float()
        scores = first.mean(dim=(2, 3))
        if self.config.erased_by == "best":
            maps = self._fuse(features, scores.argmax(dim=1), first)
        else:
            classes = torch.arange(scores.shape[1], device=scores.device)
            each = [self._fuse(features, label.expand(len(scores)), first)[:, label] for label in classes]
            maps = torch.stack(each, dim=1)
        return Maps(scores, maps, cells=self.backbone.cells)

    def _fuse(self, features: Tensor, classes: Tensor, first: Tensor) -> Tensor:
        """Fuse the classifiers' normalised maps (B, C, h, w) by their maximum, erasing for one class per image (B,)."""
        chosen = one_hot(classes, first.shape[1]).bool()
        return torch.stack([min_max(branch) for branch in self._maps(features, chosen, first)]).amax(dim=0)

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the classification loss of each classifier, erasing for the present classes."""
        features = self._features(images)
        maps = self._maps(features, labels > 0, self.classifiers[0](features).float())
        losses = [self.classification(one.mean(dim=(2, 3)), labels) for one in maps]
        return {f"classifier {name}": loss for name, loss in zip("ABC", losses, strict=False)}

    def _features(self, images: Tensor) -> Tensor:
        features = self.backbone.features(images)
        return avg_pool2d(features, 3, stride=1, padding=1) if self.config.smooth else features

    def _maps(self, features: Tensor, chosen: Tensor, first: Tensor) -> list[Tensor]:
        """Compute each classifier's maps (B, C, h, w), erasing for the chosen classes (B, C)."""
        maps, erasing = [first], compute_attention(first, chosen)
        for classifier in list(self.classifiers)[1:]:
            remaining = erase(features, erasing, self.config.delta, inclusive=self.config.inclusive)
            maps.append(classifier(remaining).float())
            erasing = torch.maximum(erasing, compute_attention(maps[-1], chosen))
        return maps
