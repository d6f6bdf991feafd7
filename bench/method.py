"""What a method is. It owns its network, its loss and its prediction; the harness owns data, optimisation and files.

A method is one file `methods/<name>.py` with one subclass of `MapMethod`, `ProposalMethod` or `Predictor`, and its
`Config`; or of `Attribution`, which explains what another method has learned. Images come as float32 RGB in [0, 1]; a
net normalises them itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import pyarrow as pa
import torch
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from torch import Tensor, nn

from bench.decode import BoxRule, MaskRule
from bench.truth import Truth


def training(default: Any, text: str, *, file: bool = False, **rules: Any) -> Any:
    """A config field that determines the trained weights: changing it trains again.

    file: it may name a file, whose content then counts, and whose folder no record tells.
    """
    return Field(default, description=text, json_schema_extra={"stage": "training", "file": file}, **rules)


def prediction(default: Any, text: str, *, file: bool = False, **rules: Any) -> Any:
    """A config field that only changes what trained weights predict; file: as for `training`."""
    return Field(default, description=text, json_schema_extra={"stage": "prediction", "file": file}, **rules)


class BaseConfig(BaseModel):
    """Base of every method's settings: frozen, closed, each field made by `training()` or `prediction()`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def stage(self, name: Literal["training", "prediction"]) -> dict[str, Any]:
        """The settings that belong to one stage, as JSON values."""
        fields = type(self).model_fields
        mine = {key for key, info in fields.items() if dict(info.json_schema_extra or {}).get("stage") == name}  # type: ignore[arg-type]
        return self.model_dump(mode="json", include=mine)

    @classmethod
    def files(cls) -> set[str]:
        """Names of the fields that may name a file."""
        return {key for key, info in cls.model_fields.items() if dict(info.json_schema_extra or {}).get("file")}  # type: ignore[arg-type]


class TrainedConfig(BaseConfig):
    """Settings that every trained method has: the net, and SGD as the papers use it."""

    net: str = training("vgg16", "backbone, by name (methods/nets)")
    weights: str = training("imagenet", "none, imagenet, or a file (.npz, .pth, .mat, .caffemodel)", file=True)
    size: int = training(224, "input size in pixels: the side of the square, or the larger side", ge=32, le=4096)
    epochs: int = training(20, "passes over the training split; 0 keeps the initial weights", ge=0)
    batch_size: int = training(16, "images a step", ge=1)
    lr: float = training(0.001, "learning rate", gt=0)
    head_lr: float = training(10.0, "learning rate of the new layers, as a multiple of lr", gt=0)
    lr_drop: float = training(0.75, "fraction of the epochs after which the learning rate is divided by 10", gt=0, le=1)
    momentum: float = training(0.9, "SGD momentum", ge=0, lt=1)
    weight_decay: float = training(5e-4, "SGD weight decay", ge=0)
    clip: float = training(0.0, "largest gradient norm; 0 for none", ge=0)
    flip: bool = training(True, "mirror each training image with probability one half")
    precision: Literal["auto", "float32", "bfloat16"] = training(
        "auto", "arithmetic of the network's forward pass; auto: bfloat16 where the device has it, else float32"
    )
    difficult_labels: Literal["ignore", "negative", "positive"] = training(
        "ignore", "what the loss does with a class that is present only as difficult"
    )
    snapshots: tuple[int, ...] = training((), "epochs whose weights are kept beside the last ones, for epoch")
    epoch: int = prediction(0, "predict with the weights after this epoch, one of snapshots; 0: the last", ge=0)
    flip_test: bool = prediction(False, "average the prediction with that of the mirrored image")

    @model_validator(mode="after")
    def _epoch_is_kept(self) -> TrainedConfig:
        if late := [one for one in self.snapshots if not 0 < one <= self.epochs]:
            raise ValueError(f"snapshots={late[0]} is none of epochs 1 ... {self.epochs}")
        if self.epoch not in (0, *self.snapshots):
            raise ValueError(f"epoch={self.epoch} needs snapshots={self.epoch}: only their weights are kept")
        return self


class MapConfig(TrainedConfig):
    """Settings of methods that give one score map a class; images are warped to a square."""

    box_rule: BoxRule = prediction(
        "largest-component", "what of the foreground a box encloses, and what box_threshold is a share of"
    )
    box_threshold: float = prediction(
        0.2, "foreground is above this share of the map's maximum, or range (CAM: 20 %)", ge=0, lt=1
    )
    mask_rule: MaskRule = prediction("own-maximum", "what mask_threshold is a share of, and classes compete by")
    mask_threshold: float = prediction(0.3, "a pixel above this share of the maximum is no background", ge=0, lt=1)
    mask_score: float = prediction(0.5, "classes that score at least this, and the best one, take part in a mask")
    half_maps: bool = prediction(False, "store maps in half precision")


class ProposalConfig(TrainedConfig):
    """Settings of methods that score region proposals; images keep their aspect."""

    size: int = training(688, "larger side of the image in pixels; see also scales", ge=32, le=4096)
    scales: tuple[int, ...] = training((), "larger sides to draw from at training and to average at test; empty: size")
    batch_size: int = training(1, "images a step", ge=1)
    proposals: str = training(
        "selective-search", "selective-search, edge-boxes, or a file (.mat, .pkl, .npz)", file=True
    )
    min_proposal: int = training(20, "proposals with a side under this many pixels are removed", ge=0)
    roi_head: Literal["own", "mean", "fc"] = training(
        "own", "what makes a pooled region a vector: what the net brings, the mean of its cells, one new layer"
    )
    roi_pooling: Literal["max", "align"] = training("max", "RoI pooling as Fast R-CNN's, or RoIAlign")
    freeze: bool = training(False, "keep what the weights set as it is: only new layers learn, much faster")
    max_proposals: int = training(2000, "at most so many proposals an image at training, the first ones", ge=1)
    nms: float = prediction(0.3, "IoU above which the lower of two boxes of a class is dropped", gt=0, le=1)
    score_floor: float = prediction(1e-6, "boxes that score less are not written", ge=0)
    max_boxes: int = prediction(100, "at most so many boxes an image, over all classes", ge=1)


@dataclass(frozen=True)
class Task:
    """What a method learns: the classes, in the dataset's order."""

    dataset: str
    classes: tuple[str, ...]


class Maps(NamedTuple):
    """What a map method gives: scores (B, C) and maps (B, C, h, w), which need not be normalised.

    objectness: (B, h, w), at least 0, of a method that has such a map and says so in its `kinds`.
    """

    scores: Tensor
    maps: Tensor
    objectness: Tensor | None = None


class Predictor(ABC):
    """A method that learns nothing: it predicts from the images' sizes, or from their proposals."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    Config: ClassVar[type[BaseConfig]] = BaseConfig
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    default_variant: ClassVar[str | None] = None
    recipes: ClassVar[dict[str, dict[str, Any]]] = {}
    kinds: ClassVar[tuple[str, ...]]
    needs_proposals: ClassVar[bool] = False

    def __init__(self, config: BaseConfig) -> None:
        self.config = config

    @abstractmethod
    def predict(self, truth: Truth, proposals: Any) -> dict[str, pa.Table]:
        """Tables of every kind in `kinds`. Of the truth it may use ids, sizes and classes only."""


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

    def __init__(self, config: TrainedConfig, task: Task) -> None:
        super().__init__()
        self.config, self.task = config, task

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters that pretrained weights did not set: they learn `head_lr` times faster."""
        return []

    def watched(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by a name under which the log has the norm of their gradient, the mean over an epoch's steps."""
        return {}


class MapMethod(Method):
    """A method that gives a score and a map for every class."""

    kinds: ClassVar[tuple[str, ...]] = ("scores", "points", "boxes", "maps", "masks")

    @abstractmethod
    def forward(self, images: Tensor) -> Maps:
        """Scores (B, C) and maps (B, C, h, w) of images (B, 3, H, W)."""

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Named terms, summed by the harness; labels (B, C) in {+1, 0, -1}, 0 masked out of the loss."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """Class scores as written to prediction files; the sigmoid unless a method says otherwise."""
        return scores.sigmoid()


class AttributionConfig(BaseConfig):
    """What an attribution is set by, beside all that its base is."""

    base: str = training("classifier", "method whose net is trained as it is by itself, and explained")


class Attribution(MapMethod):
    """Explains a trained classifier, its base, which it shares with all that explain it: scores and training are its.

    The registry hands it out `on` a base. Its maps are computed in float32, one class after the other.
    """

    Base: ClassVar[type[MapMethod]]
    Own: ClassVar[type[AttributionConfig]] = AttributionConfig
    """Its own settings, all but `base` of prediction; its `Config` has them beside those of the base."""

    @classmethod
    def on(cls, base: type[MapMethod]) -> type[Attribution]:
        """This attribution of a base, with the base's settings, recipes and variants."""
        named: Any = (str, training(base.name, str(cls.Own.model_fields["base"].description)))
        shared = {name: getattr(base, name) for name in ("recipes", "variants", "default_variant")}
        config = create_model("Config", __base__=(base.Config, cls.Own), base=named)
        return type(cls.__name__, (cls,), {"Base": base, "Config": config, **shared, "__module__": cls.__module__})

    def __init__(self, config: TrainedConfig, task: Task) -> None:
        super().__init__(config, task)
        self.base = self.Base(config, task)
        for layer in self.base.modules():  # whoever looks between two layers must find what the first one gave
            if isinstance(getattr(layer, "inplace", None), bool):
                layer.inplace = False  # type: ignore[assignment]

    @abstractmethod
    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Maps (B, h, w) of how images (B, 3, H, W) show the classes (B,) int64; gradients are enabled."""

    def forward(self, images: Tensor) -> Maps:
        """The base's scores (B, C), and maps (B, C, h, w)."""
        scores = self.base(images).scores
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
            labels = torch.arange(len(self.task.classes), device=images.device)
            maps = [self.explain(images.detach().clone(), label.expand(len(images))).detach() for label in labels]
        return Maps(scores, torch.stack(maps, dim=1))

    def loss(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The base's."""
        return self.base.loss(images, labels)

    def probabilities(self, scores: Tensor) -> Tensor:
        """The base's."""
        return self.base.probabilities(scores)

    def new_parameters(self) -> list[nn.Parameter]:
        """The base's."""
        return self.base.new_parameters()

    def watched(self) -> dict[str, list[nn.Parameter]]:
        """The base's."""
        return self.base.watched()


class ProposalMethod(Method):
    """A method that scores the region proposals of one image at a time."""

    kinds: ClassVar[tuple[str, ...]] = ("boxes", "scores", "proposals")

    @abstractmethod
    def forward(self, image: Tensor, proposals: Tensor) -> Tensor:
        """Scores (R, C), at least 0, of proposals (R, 4) in pixels of `image` (1, 3, H, W)."""

    @abstractmethod
    def loss(self, image: Tensor, proposals: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Named terms, summed by the harness; labels (C,) in {+1, 0, -1}, 0 masked out of the loss.

        A method whose config names a run as `pseudo` is given its pseudo objects too: boxes (S, 4), classes (S,) int64.
        """

    def detect(self, image: Tensor, proposals: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores as `forward`; of a method that moves proposals also boxes (R, C, 4) in `image`'s pixels, else None."""
        return self(image, proposals), None

    def image_scores(self, scores: Tensor) -> Tensor:
        """Class scores (C,) of an image from its proposals' scores (R, C): the best, unless a method says otherwise."""
        return scores.amax(dim=0)
