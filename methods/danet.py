"""DANet: classifiers at the levels of a class hierarchy, with divergent maps (Xue et al., ICCV 2019).

Hierarchical divergent activation (HDA): heads at conv3, conv4 and conv5 classify orders, families and species; a
class's map is the mean over the levels. Discrepant divergent activation (DDA): each head has K maps per class, trained
to be dissimilar (Eq. 4). `multi-loss` is the control in Table 1, with the same classes at every level. `released`
weights the losses evenly, compares maps across all levels, fuses a class's map with those of the equally ranked family
and order, and draws boxes around the entire foreground of the min-max normalised map. The released evaluation averages
ten crops per image; here, a single one is used.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bench.errors import RequestError
from bench.method import Cells, Maps, Range, Task, training
from bench.method import prediction as at_test
from bench.training.collectives import all_gather
from bench.training.map_alignment import View, resample
from methods.hierarchies import build_levels
from methods.layers.divergence import pairwise_cosine
from methods.layers.hierarchy import Level, build_hierarchy
from methods.layers.map_method import ImageConfig, ImageMethod, make_map_head


class DanetConfig(ImageConfig):
    """Settings of DANet."""

    levels: Literal[1, 2, 3] = training(3, "number of levels of the hierarchy, counted from the classes up")
    hierarchy: str = training(
        "dataset", "dataset: the dataset's own hierarchy; or a file with the ancestors of each class", file=True
    )
    supervise: Literal["levels", "classes"] = training(
        "levels", "labels of each head: those of its own level, or the classes"
    )
    maps: int = training(8, "K, the number of maps per class and head", ge=1)
    kept: float = training(
        0.5, "fraction of the K maps trained in each mini-batch", search=(0.25, 0.5, 1.0), gt=0, le=1
    )
    divergence: float = training(
        0.01, "lambda, weight of the similarity of the maps", search=Range(1e-3, 0.1, log=True), ge=0
    )
    compare: Literal["level", "all"] = training(
        "level",
        "similarity summed over pairs of a level (Eq. 4), or averaged over half the maps of all levels (released)",
    )
    balance: Literal["classes", "even"] = training(
        "classes", "divide each softmax loss by its number of classes (Eq. 3), or halve it (released)"
    )
    width: int = training(1024, "channels of the two 3x3 convolutions of each head", ge=1)
    root_width: int = training(0, "those of the coarsest level's head (released: 512); 0: as width", ge=0, later=True)
    fusion: Literal["ancestors", "ranks"] = at_test(
        "ancestors",
        "maps averaged with a class's map: those of its ancestors, or of equally ranked names (released)",
    )


class Danet(ImageMethod):
    """Heads at the stages of a backbone, one for each level of the hierarchy."""

    Config = DanetConfig
    output_of_backbone: ClassVar = "stages"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "hda": {"maps": 1, "divergence": 0.0},
        "hda-1": {"maps": 1, "divergence": 0.0, "levels": 1},
        "hda-2": {"maps": 1, "divergence": 0.0, "levels": 2},
        "dda": {"levels": 1},
        "multi-loss": {"maps": 1, "divergence": 0.0, "supervise": "classes"},
        "released": {
            "root_width": 512,
            "kept": 1.0,
            "compare": "all",
            "balance": "even",
            "fusion": "ranks",
            "box_rule": "all-foreground-minmax",
            "map_alignment": "resize",
        },
    }
    recipes: ClassVar = {"shapes": {"epochs": 40, "batch_size": 8, "width": 32}}
    config: DanetConfig

    def __init__(self, config: DanetConfig, task: Task) -> None:
        super().__init__(config, task)
        self.levels = _levels(config, task)
        channels = self.backbone.stage_channels[-len(self.levels) :]
        self._ends = self.backbone.stage_paths[-len(self.levels) :]
        widths = [config.root_width or config.width] + [config.width] * (len(self.levels) - 1)
        self.heads = nn.ModuleList(
            make_map_head(before, width, len(level.names) * config.maps)
            for before, width, level in zip(channels, widths, self.levels, strict=True)
        )

    def count_stages(self) -> int:
        """Return the number of levels, one stage each."""
        return self.config.levels

    def forward(self, images: Tensor) -> Maps:
        """Compute the classes' logits (B, C), and their fused maps (B, C, h, w) at the first level's resolution."""
        found = self._maps(images)
        logits = [one.mean(dim=(2, 3, 4)) for one in found]
        ranked = self.config.fusion == "ranks"
        flat = [(one.relu() if ranked else one).mean(dim=2) for one in found]
        stages = [View(one, self._find_cells(end)) for one, end in zip(flat, self._ends, strict=True)]
        large = [resample(stage, stages[0]) for stage in stages]
        fused = [
            select_equal_ranks(maps, scores, logits[-1]) if ranked else level.expand_to_classes(maps)
            for level, maps, scores in zip(self.levels, large, logits, strict=True)
        ]
        return Maps(logits[-1], torch.stack(fused).mean(dim=0), cells=self._find_cells(self._ends[0]))

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute a classification loss per level, and the weighted similarity of the present names' maps."""
        found = [self._sample_maps(one, round(self.config.kept * self.config.maps)) for one in self._maps(images)]
        terms = {
            f"level {number}": self._weight(level) * self.classification(maps.mean(dim=(2, 3, 4)), level.labels(labels))
            for number, (level, maps) in enumerate(zip(self.levels, found, strict=True), start=1)
        }
        if self.config.divergence and self.config.maps > 1:
            alike = self._compare_in_levels if self.config.compare == "level" else self._compare_with_ancestors
            terms["divergence"] = self.config.divergence * alike(found, labels)
        return terms

    def _maps(self, images: Tensor) -> list[Tensor]:
        """Compute the maps (B, n, K, h, w) of each level's n names."""
        stages = self.backbone.stages(images)[-len(self.levels) :]
        flat = [head(stage).float() for head, stage in zip(self.heads, stages, strict=True)]
        return [one.unflatten(1, (len(level.names), -1)) for one, level in zip(flat, self.levels, strict=True)]

    def _find_cells(self, end: str) -> Cells | None:
        """Return the pixel positions of a stage's cells; None for plain resizing."""
        return None if self.config.map_alignment == "resize" else self.backbone.find_cells(end)

    def _sample_maps(self, maps: Tensor, count: int) -> Tensor:
        """Draw some of the K maps (..., K, h, w) at random."""
        return maps[..., torch.randperm(maps.shape[-3])[: max(1, count)].to(maps.device), :, :]

    def _weight(self, level: Level) -> float:
        """Return the weight of a level's loss. A multi-label loss is already a mean over classes."""
        if self.config.balance == "even":
            return 0.5
        return 1 / len(level.names) if self.config.loss == "softmax" else 1.0

    def _compare_in_levels(self, found: list[Tensor], labels: Tensor) -> Tensor:
        """Compute the similarity of each present name's maps, averaged over images and names and summed over levels."""
        present = [level.labels(labels) > 0 for level in self.levels]
        sums = [all_gather(pairwise_cosine(maps[there])) for maps, there in zip(found, present, strict=True)]
        return torch.stack([one.sum() / max(1, len(one)) for one in sums]).sum()

    def _compare_with_ancestors(self, found: list[Tensor], labels: Tensor) -> Tensor:
        """Compute the absolute mean similarity of half the maps of a present class and its ancestors."""
        image, name = (labels > 0).nonzero(as_tuple=True)
        own = [maps[image, level.index(name)] for level, maps in zip(self.levels, found, strict=True)]
        size = own[0].shape[2:]
        together = torch.cat([interpolate(one, size, mode="bilinear", align_corners=True) for one in own], dim=1)
        count = together.shape[1] // 2
        mean = all_gather(pairwise_cosine(self._sample_maps(together, count))) / max(1, count * (count - 1) // 2)
        return mean.abs().sum() / max(1, len(mean))


def _levels(config: DanetConfig, task: Task) -> tuple[Level, ...]:
    """Return the labels of each head. Raises RequestError for more levels than the hierarchy has."""
    if config.levels == 1 or config.supervise == "classes":
        return build_hierarchy(task.classes, dict.fromkeys(task.classes, ())) * config.levels
    levels = build_levels(task, config.hierarchy)
    if len(levels) < config.levels:
        raise RequestError(f"levels={config.levels} is not allowed: the hierarchy of {task.dataset} has {len(levels)}.")
    return levels[-config.levels :]


def select_equal_ranks(maps: Tensor, scores: Tensor, class_scores: Tensor) -> Tensor:
    """Select for each class the map of the name whose score has the same rank, (B, C, h, w).

    maps: (B, n, h, w). scores: (B, n) of the names. class_scores: (B, C). Classes ranked beyond the last name get its
    map.
    """
    rank = class_scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    name = scores.argsort(dim=1, descending=True, stable=True).gather(1, rank.clamp(max=scores.shape[1] - 1))
    return maps.gather(1, name[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
