"""The interface of methods. A method owns its network, loss and prediction; the harness owns data, training and files.

A method is one file `methods/<name>.py` with one subclass of `MapMethod`, `ProposalMethod` or `Predictor`, and its
`Config`; or of `Attribution`, which explains what another method has learned. Images come as float32 RGB in [0, 1]; a
net normalises them itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import pyarrow as pa
import torch
from pydantic import create_model
from torch import Tensor, nn

from bench.config import BaseConfig, MapConfig, ProposalConfig, Range, TrainedConfig, prediction, training
from bench.core.cells import Cells
from bench.data.ground_truth import GroundTruth

__all__ = [
    "Attribution",
    "AttributionConfig",
    "BaseConfig",
    "Cells",
    "MapConfig",
    "MapMethod",
    "Maps",
    "Method",
    "Predictor",
    "ProposalConfig",
    "ProposalMethod",
    "Range",
    "Task",
    "TrainedConfig",
    "prediction",
    "training",
]


@dataclass(frozen=True)
class Task:
    """The task of a method: the classes to learn, in the dataset's order."""

    dataset: str
    classes: tuple[str, ...]


class Maps(NamedTuple):
    """The output of a map method: scores (B, C) and maps (B, C, h, w), which need not be normalised.

    objectness: (B, h, w), at least 0, from a method that lists it in its `kinds`. cells: where the maps' cells lie, in
    pixels of the images; None: they divide the image evenly.
    """

    scores: Tensor
    maps: Tensor
    objectness: Tensor | None = None
    cells: Cells | None = None


class Predictor(ABC):
    """A method that does not learn: it predicts from the images' sizes, or from their proposals."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Config: ClassVar[type[BaseConfig]] = BaseConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    default_variant: ClassVar[str | None] = None
    recipes: ClassVar[dict[str, dict[str, Any]]] = {}
    kinds: ClassVar[tuple[str, ...]]
    needs_proposals: ClassVar[bool] = False
    uses_truth: ClassVar[bool] = False
    """Whether it predicts from labels or objects of the evaluated images: its results are `test-oracle`."""

    def __init__(self, config: BaseConfig) -> None:
        self.config = config

    @abstractmethod
    def predict(self, truth: GroundTruth, proposals: Any) -> dict[str, pa.Table]:
        """Return a table of each kind in `kinds`.

        Use only ids, sizes and classes of the ground truth, unless `uses_truth`.
        """


class FrozenNet(Protocol):
    """The part of a method that does not learn, whose output the harness may compute only once per image and view.

    B images, R regions, K channels of an output; an output is (R, K) or (1, K) or (1, K, h, w), float32.
    """

    @property
    def rounds(self) -> bool:
        """Whether outputs are rounded to float16, so that they can be cached."""

    @property
    def standardises(self) -> bool:
        """Whether outputs are standardised, by statistics that `standardise` sets."""

    @property
    def takes_boxes(self) -> bool:
        """Whether the output is computed from regions."""

    def digest(self) -> str:
        """Compute the digest of everything that determines the output."""

    def extract(self, image: Tensor, boxes: Tensor | None = None) -> list[Tensor]:
        """Compute the outputs, not yet standardised, of an image (1, 3, H, W), or of boxes (R, 4) in its pixels."""

    def provide(
        self, images: Tensor, features: Sequence[Tensor], boxes: Tensor | None = None
    ) -> AbstractContextManager[None]:
        """Return a context in which the net returns these features for exactly these images, without computing them."""

    def standardise(self, means: Sequence[Tensor], stds: Sequence[Tensor]) -> None:
        """Set the statistics (K,) of each output's channels."""


class Method(nn.Module, ABC):
    """Base of trained methods; write a `MapMethod` or a `ProposalMethod`."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Bumped by hand whenever the same config would train to other weights."""
    Config: ClassVar[type[TrainedConfig]]
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    """Variant name to the config fields it sets; read-outs of one network differ in prediction fields only."""
    default_variant: ClassVar[str | None] = None
    recipes: ClassVar[dict[str, dict[str, Any]]] = {}
    """Dataset name to the config fields this method wants on it."""
    kinds: ClassVar[tuple[str, ...]]
    """Kinds of prediction it can make."""
    progress: float = 0.0
    """Share of the training's steps that are done, set by the harness before each step."""

    def __init__(self, config: TrainedConfig, task: Task) -> None:
        super().__init__()
        self.config, self.task = config, task

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that pretrained weights did not set: they learn `head_lr_multiplier` times faster."""
        return []

    def frozen_net(self) -> FrozenNet | None:
        """Return the part of the method that does not learn; None if all of it does."""
        return None

    def alters_images(self) -> bool:
        """Return whether `forward` or `loss` change the images, so that features of the unchanged ones are useless."""
        return False

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return groups of parameters by name, whose gradient norms, averaged over an epoch, are logged."""
        former = getattr(self, "watched", None)  # the name of this hook in release 0.1
        return former() if callable(former) else {}


class MapMethod(Method):
    """A method that computes a score and a map for every class."""

    kinds: ClassVar[tuple[str, ...]] = ("scores", "points", "boxes", "maps", "masks")

    @abstractmethod
    def forward(self, images: Tensor) -> Maps:
        """Return scores (B, C) and maps (B, C, h, w) of images (B, 3, H, W)."""

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return named terms, which the harness sums; labels (B, C) in {+1, 0, -1}, 0 masked out of the loss.

        A term must be a mean over the images, or computed from rows passed through
        `bench.training.collectives.all_gather`, so that several processes that share a batch learn like one.
        """

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return class scores as written to prediction files; by default the sigmoid."""
        return scores.sigmoid()


class AttributionConfig(BaseConfig):
    """The settings of an attribution, in addition to those of its base."""

    base: str = training("classifier", "method whose net is trained as it is by itself, and explained")
    map_classes: Literal["auto", "all", "present"] = prediction(
        "auto",
        "classes that maps are computed for: all; those that an image shows, which are much fewer; auto: what the "
        "protocol looks at",
        before="all",
    )


class Attribution(MapMethod):
    """Explains a trained map method, its base; scores and training are the base's, shared by all its attributions.

    The registry returns it bound to a base by `on`. Its maps are computed in float32, one class after the other.
    """

    Base: ClassVar[type[MapMethod]]
    Own: ClassVar[type[AttributionConfig]] = AttributionConfig
    """Its own settings, all of prediction except `base`; its `Config` has them in addition to those of the base."""

    @classmethod
    def on(cls, base: type[MapMethod]) -> type[Attribution]:
        """Bind this attribution to a base, with the base's settings, recipes and variants in addition to its own."""
        named: Any = (str, training(base.name, str(cls.Own.model_fields["base"].description)))
        recipes = {name: {**base.recipes.get(name, {}), **own} for name, own in cls.recipes.items()}
        shared: dict[str, Any] = {
            "default_variant": base.default_variant,
            "variants": {**base.variants, **cls.variants},
            "recipes": {**base.recipes, **recipes},
        }
        config = create_model("Config", __base__=(base.Config, cls.Own), base=named)
        return type(cls.__name__, (cls,), {"Base": base, "Config": config, **shared, "__module__": cls.__module__})

    def __init__(self, config: TrainedConfig, task: Task) -> None:
        super().__init__(config, task)
        self.base = self.Base(config, task)
        for layer in self.base.modules():  # an in-place layer would overwrite the output that is read before it
            if isinstance(getattr(layer, "inplace", None), bool):
                layer.inplace = False  # type: ignore[assignment]

    @abstractmethod
    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, h, w) of the evidence for classes (B,) int64 in images (B, 3, H, W).

        Gradients are enabled.
        """

    def forward(self, images: Tensor, classes: Sequence[int] | None = None) -> Maps:
        """Return the base's scores (B, C), and maps (B, C, h, w), which are 0 for all but `classes`, if given."""
        scores = self.base(images).scores
        asked = range(len(self.task.classes)) if classes is None else classes
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
            labels = [torch.full((len(images),), label, device=images.device) for label in asked]
            maps = [map.detach() for map in self.explain_each(images, labels)] if labels else []
        every = scores.new_zeros((*scores.shape, *(maps[0].shape[1:] if maps else (1, 1))))
        for label, map in zip(asked, maps, strict=True):
            every[:, label] = map
        return Maps(scores, every, cells=self.find_cells())

    def find_cells(self) -> Cells | None:
        """Return where the maps' cells lie, in pixels of the images; None: they divide the image evenly."""
        return None

    def explain_each(self, images: Tensor, labels: Sequence[Tensor]) -> list[Tensor]:
        """Call `explain` for each of `labels`. Override this if one pass over the images suffices for all of them."""
        return [self.explain(images.detach().clone(), classes) for classes in labels]

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the base's."""
        return self.base.loss(images, labels)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the base's."""
        return self.base.probabilities(scores)

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the base's."""
        return self.base.new_parameters()

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the base's."""
        return self.base.gradient_groups()


class ProposalMethod(Method):
    """A method that scores the region proposals of one image at a time.

    If its config has `box_scores`, and not 0, proposals are (R, 5), with their own scores in the last column.
    """

    kinds: ClassVar[tuple[str, ...]] = ("boxes", "scores", "proposals")

    @abstractmethod
    def forward(self, image: Tensor, proposals: Tensor) -> Tensor:
        """Return scores (R, C), at least 0, of proposals (R, 4) in pixels of `image` (1, 3, H, W)."""

    @abstractmethod
    def loss(self, image: Tensor, proposals: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return named terms, which the harness sums; labels (C,) in {+1, 0, -1}, 0 masked out of the loss.

        A method whose config names a run as `pseudo` is given its pseudo objects too: boxes (S, 4), classes (S,) int64.
        """

    def detect(self, image: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return scores as `forward`, and boxes (R, C, 4) in `image`'s pixels if the method moves them, else None."""
        return self(image, proposals), None

    def image_scores(self, scores: Tensor) -> Tensor:
        """Return an image's class scores (C,) from its proposals' scores (R, C): the best, unless overridden."""
        return scores.amax(dim=0)
