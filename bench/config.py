"""Settings of methods: frozen, closed, each of training or of prediction alone, with its default and its meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic._internal._model_construction import ModelMetaclass
from pydantic.fields import FieldInfo

from bench.core.setting_names import RENAMED as RENAMED
from bench.core.setting_names import use_current_names
from bench.errors import RequestError
from bench.predictions.decode import BoxRule, MaskRule
from bench.predictions.dense_crf import HOW_TO_INSTALL, DenseCrf, is_installed

Side = Annotated[int, Field(ge=32, le=4096)]


@dataclass(frozen=True)
class Range:
    """Numbers that `bench tune` draws from, evenly; log: evenly in their logarithm."""

    low: float
    high: float
    log: bool = False


Search = Range | tuple[Any, ...]
"""What `bench tune` draws a setting from: a range, or one of several values."""

ADAMW_SEARCHES: dict[str, Search] = {"lr": Range(1e-5, 1e-2, log=True), "weight_decay": Range(1e-4, 0.3, log=True)}
"""What it draws from under `optimizer=adamw`, in place of the ranges of SGD."""


def training(
    default: Any,
    text: str,
    *,
    file: bool = False,
    later: bool = False,
    before: Any = None,
    requires: str = "",
    needs: str = "",
    search: Search | None = None,
    **rules: Any,
) -> Any:
    """Declare a setting that determines the trained weights: changing it retrains.

    file: its value may be a file, whose content is then part of addresses, and whose folder is left out of records.
    later: it was added after trainings existed, which its default describes: they keep their address, so the default
    must never change. before: the value that describes those trainings, if it is not the default. requires: a setting,
    or property of the settings, without which this one has no effect and is left out of addresses. needs: what it needs
    to have an effect, in the syntax of `list_idle`. search: what `bench tune` draws its value from.
    """
    extra = _describe("training", file, default if later else before, requires=requires, needs=needs, search=search)
    return Field(default, description=text, json_schema_extra=extra, **rules)


def prediction(
    default: Any,
    text: str,
    *,
    file: bool = False,
    before: Any = None,
    needs: str = "",
    changes: str = "",
    search: Search | None = None,
    **rules: Any,
) -> Any:
    """Declare a setting that only changes what trained weights predict; file, needs and search: as for `training`.

    before: the value that describes predictions made before this setting existed, which so keep their address.
    changes: the kind of prediction that it changes, if it is only one.
    """
    extra = _describe("prediction", file, before, needs=needs, changes=changes, search=search)
    return Field(default, description=text, json_schema_extra=extra, **rules)


def _describe(stage: str, file: bool, before: Any, **more: Any) -> dict[str, Any]:
    present = {key: value for key, value in more.items() if value}
    return {"stage": stage, "file": file} | ({} if before is None else {"before": before}) | present


def _read_extra(info: FieldInfo) -> dict[str, Any]:
    return cast("dict[str, Any]", info.json_schema_extra or {})


def meets(config: object, need: str) -> bool:
    """Return whether settings have what another one needs to have an effect; see `BaseConfig.list_idle`."""
    return any(all(_holds(config, each) for each in part.split(" and ")) for part in need.split(" or "))


def _holds(config: object, condition: str) -> bool:
    key, _, values = condition.removeprefix("!").partition("=")
    value = getattr(config, key)
    is_met = str(value) in values.split("|") if values else bool(value)
    return is_met != condition.startswith("!")


def describe_need(need: str) -> str:
    """Describe what a setting needs.

    >>> describe_need("schedule=cosine|poly and !lr_steps"), describe_need("crf or !weights=none")
    ('schedule=cosine or poly, and no lr_steps', 'crf, or other weights than none')
    """
    return ", or ".join(", and ".join(map(_describe_condition, part.split(" and "))) for part in need.split(" or "))


def _describe_condition(condition: str) -> str:
    key, _, values = condition.removeprefix("!").partition("=")
    if not condition.startswith("!"):
        return condition.replace("|", " or ")
    return f"other {key} than {values}" if values else f"no {key}"


class _RenamingMeta(ModelMetaclass):
    """Renames fields with which a subclass redefines an inherited setting under its former name."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> type:
        # Before pydantic sees the class: from then on the set of its fields is fixed.
        inherited = {field for base in bases for field in getattr(base, "__pydantic_fields__", {})}
        annotations = namespace.get("__annotations__", {})
        for old, new in RENAMED.items():
            if isinstance(namespace.get(old), FieldInfo) and new in inherited and old not in inherited:
                if old not in annotations:
                    raise TypeError(f"{name}: the setting {old} is now called {new}: rename the field.")
                annotations[new], namespace[new] = annotations.pop(old), namespace.pop(old)
        return super().__new__(mcs, name, bases, namespace, **options)


class BaseConfig(BaseModel, metaclass=_RenamingMeta):
    """Base of every method's settings: frozen, closed, each field made by `training()` or `prediction()`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ABSENT: ClassVar[dict[str, str]] = {}
    """Settings of other methods that these cannot have, and why."""

    @model_validator(mode="before")
    @classmethod
    def _use_current_names(cls, settings: Any) -> Any:
        if not isinstance(settings, dict):
            return settings
        try:
            return use_current_names(settings, cls.model_fields)
        except RequestError as error:
            raise ValueError(str(error)) from None

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a setting by its former name."""
            new = RENAMED.get(name)
            return getattr(self, new) if new in type(self).model_fields else super().__getattr__(name)

    def stage(self, name: Literal["training", "prediction"]) -> dict[str, Any]:
        """Return the settings of one stage, as JSON values."""
        fields = type(self).model_fields
        mine = {key for key, info in fields.items() if _read_extra(info).get("stage") == name}
        return self.model_dump(mode="json", include=mine)

    def select_addressed(self, stage: Literal["training", "prediction"]) -> dict[str, Any]:
        """Return the settings of a stage that are part of addresses, without those with the value that these imply."""
        implied = self.list_implied()
        return {
            key: value
            for key, value in self.stage(stage).items()
            if (key not in implied or getattr(self, key) != implied[key]) and self._has_effect(key)
        }

    def _has_effect(self, key: str) -> bool:
        """Whether a setting has an effect, or is older than this rule, so that it is part of addresses in any case."""
        extra = _read_extra(type(self).model_fields[key])
        need = extra.get("requires") or (extra.get("needs") if "before" in extra else None)
        return need is None or meets(self, str(need))

    def list_idle(self) -> dict[str, str]:
        """List the settings that have no effect in combination with the others, with the condition that each needs.

        A condition is a setting or property that must be true, `crf`, or have one of several values,
        `schedule=cosine|poly`; an exclamation mark negates it. Conditions are joined by `and`, which binds closer, and
        `or`.
        """
        extras = {key: _read_extra(info) for key, info in type(self).model_fields.items()}
        needs = {key: str(extra.get("needs") or extra.get("requires", "")) for key, extra in extras.items()}
        return {key: describe_need(need) for key, need in needs.items() if need and not meets(self, need)}

    @classmethod
    def list_implied(cls) -> dict[str, Any]:
        """Return, for each setting added after addresses existed, the value that an address without it implies."""
        extras = {key: _read_extra(info) for key, info in cls.model_fields.items()}
        return {key: extra["before"] for key, extra in extras.items() if "before" in extra}

    @classmethod
    def list_searches(cls, stage: Literal["training", "prediction"], kind: str | None = None) -> dict[str, Search]:
        """Return what `bench tune` draws from, by setting, sorted. kind: only settings that change this kind."""
        extras = {key: _read_extra(info) for key, info in sorted(cls.model_fields.items())}
        return {
            key: cast("Search", extra["search"])
            for key, extra in extras.items()
            if extra.get("stage") == stage and "search" in extra and kind in (None, extra.get("changes", kind))
        }

    @classmethod
    def files(cls) -> set[str]:
        """Return the names of the fields whose value may be a file."""
        return {key for key, info in cls.model_fields.items() if _read_extra(info).get("file")}


class TrainedConfig(BaseConfig):
    """Settings that every trained method has: the net, and SGD as the papers use it, or another way to train."""

    net: str = training("vgg16", "backbone, by name: list nets, timm:NAME, torchvision:NAME")
    weights: str = training(
        "imagenet", "none, imagenet, or a file (.npz, .pth, .mat, .caffemodel, .safetensors)", file=True
    )
    input_size: int = training(224, "input size in pixels: the side of the square, or the larger side", ge=32, le=4096)
    epochs: int = training(20, "passes over the training split; 0 keeps the initial weights", needs="!iterations", ge=0)
    batch_size: int = training(16, "images a step", ge=1)
    optimizer: Literal["sgd", "adamw"] = training(
        "sgd", "sgd with momentum, or adamw, whose weight decay is apart from the gradient", later=True
    )
    lr: float = training(0.001, "learning rate", gt=0)
    head_lr_multiplier: float = training(10.0, "learning rate of the new layers, as a multiple of lr", gt=0)
    iterations: int = training(0, "steps of the training, in place of epochs; 0: by epochs", ge=0, later=True)
    schedule: Literal["step", "cosine", "poly"] = training(
        "step",
        "how the learning rate falls: step: at lr_drop or lr_steps; cosine: half a cosine; poly: (1-t)^poly_power",
        later=True,
    )
    lr_drop: float = training(
        0.75,
        "fraction of the epochs after which the learning rate is divided by 10",
        requires="drops_rate",
        needs="schedule=step and !lr_steps",
        gt=0,
        le=1,
    )
    lr_steps: tuple[int, ...] = training(
        (),
        "steps after each of which the learning rate is divided by 10, in place of lr_drop",
        later=True,
        needs="schedule=step",
    )
    lr_final: float = training(
        0.0,
        "learning rate towards which schedule=cosine and poly fall, as a share of lr",
        later=True,
        needs="schedule=cosine|poly",
        ge=0,
        lt=1,
    )
    poly_power: float = training(
        0.9, "exponent of schedule=poly (DeepLab: 0.9)", later=True, needs="schedule=poly", gt=0
    )
    warmup_steps: int = training(
        0,
        "first steps, in which the learning rate rises evenly to lr; cosine and poly fall later",
        ge=0,
        later=True,
    )
    warmup_epochs: float = training(0.0, "the same in epochs, in place of warmup_steps", ge=0, later=True)
    momentum: float = training(0.9, "SGD momentum; beta1 of adamw", ge=0, lt=1)
    beta2: float = training(0.999, "beta2 of adamw", later=True, needs="optimizer=adamw", ge=0, lt=1)
    weight_decay: float = training(5e-4, "weight decay", ge=0, search=Range(1e-5, 1e-2, log=True))
    ema: float = training(
        0.0,
        "decay a step of the moving average of the weights, which predicts; 0: the last weights do",
        ge=0,
        lt=1,
        later=True,
    )
    grad_clip_norm: float = training(0.0, "largest gradient norm; 0 for none", ge=0)
    flip: bool = training(True, "mirror each training image with probability one half")
    color_jitter: tuple[float, ...] = training(
        (), "ranges of brightness, contrast, saturation and hue at training: 0.4+0.4+0.4+0.1; empty: none", later=True
    )
    precision: Literal["auto", "float32", "bfloat16"] = training(
        "auto", "arithmetic of the network's forward pass; auto: bfloat16 where the device has it, else float32"
    )
    difficult_labels: Literal["ignore", "negative", "positive"] = training(
        "ignore", "what the loss does with a class that is present only as difficult"
    )
    snapshots: tuple[int, ...] = training(
        (), "epochs whose weights are kept beside the last ones, for checkpoint_epoch"
    )
    checkpoint_epoch: int = prediction(
        0, "predict with the weights after this epoch, one of snapshots; 0: the last", ge=0
    )
    flip_test: bool = prediction(False, "average the prediction with that of the mirrored image")

    @property
    def drops_rate(self) -> bool:
        """Whether the learning rate falls at `lr_drop` or `lr_steps`."""
        return self.schedule == "step"

    def list_transforms(self) -> tuple[str, ...]:
        """List what training does to an image, in order, as expressions of `torchvision.transforms.v2`."""
        mirror = ["RandomHorizontalFlip(p=0.5)"] if self.flip else []
        names = "brightness", "contrast", "saturation", "hue"
        ranges = ", ".join(f"{name}={value}" for name, value in zip(names, self.color_jitter, strict=False))
        return (*mirror, f"ColorJitter({ranges})") if ranges else tuple(mirror)

    def list_random_views(self) -> list[str]:
        """List the settings that show an image otherwise every time, so that no features of it can be kept."""
        return [
            f"{key}={'+'.join(map(str, value)) if isinstance(value, tuple) else value}"
            for key in ("augment", "color_jitter", "randaugment")
            if (value := getattr(self, key, ())) not in ("none", ())
        ]

    @field_validator("color_jitter")
    @classmethod
    def _jitter_has_four_ranges(cls, ranges: tuple[float, ...]) -> tuple[float, ...]:
        if ranges and not (len(ranges) == 4 and min(ranges) >= 0 and ranges[3] <= 0.5):
            raise ValueError("it takes brightness, contrast and saturation of at least 0, and a hue of 0 to 0.5")
        return ranges if any(ranges) else ()

    @field_validator("lr_steps")
    @classmethod
    def _steps_ascend(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(steps))  # in any order they mean the same, and have one address

    @model_validator(mode="after")
    def _warm_up_once(self) -> Self:
        if self.warmup_steps and self.warmup_epochs:
            raise ValueError("warmup_steps and warmup_epochs both say how long the warm-up is: give one of them")
        return self

    @model_validator(mode="after")
    def _epoch_is_kept(self) -> TrainedConfig:
        if late := [one for one in self.snapshots if not 0 < one <= (one if self.iterations else self.epochs)]:
            raise ValueError(f"snapshots={late[0]} is none of epochs 1 ... {self.epochs}")
        if (epoch := self.checkpoint_epoch) not in (0, *self.snapshots):
            raise ValueError(f"checkpoint_epoch={epoch} needs snapshots={epoch}: only their weights are kept")
        return self


class FrozenConfig(TrainedConfig):
    """Settings of methods whose backbone can be kept as its weights set it."""

    freeze_backbone: bool = training(False, "keep pretrained weights fixed and train the new layers only: much faster")
    feature_norm: Literal["standard", "none"] = training(
        "standard",
        "features of a frozen net, channel by channel: standard: to mean 0 and variance 1 on the training split; none",
        before="none",
        requires="freezes_features",
        needs="freeze_backbone and !weights=none",
    )
    feature_precision: Literal["float16", "float32"] = training(
        "float16",
        "what features of a frozen net are rounded to, so that they can be cached; float32: computed anew each time",
        before="float32",
        requires="freezes_features",
        needs="freeze_backbone and !weights=none",
    )

    @property
    def freezes_features(self) -> bool:
        """Whether all layers that compute features may be frozen: not without pretrained weights, or with a new layer.

        A file of weights may contain the layers of `roi_head=fc`, which are new otherwise.
        """
        is_new = getattr(self, "roi_head", "own") == "fc" and self.weights == "imagenet"
        return self.freeze_backbone and self.weights != "none" and not is_new


class MapConfig(TrainedConfig):
    """Settings of methods that give one score map a class; images are warped to a square."""

    lr: float = training(0.001, "learning rate", gt=0, search=Range(1e-3, 0.3, log=True))
    grad_accumulation_steps: int = training(
        1, "parts in which a batch goes through the net, for memory; what ranks images ranks a part", ge=1, later=True
    )
    augment: Literal["none", "crop", "resized-crop"] = training(
        "none",
        "what training sees of an image: none: all of it; crop: a random square of it, resized by resize; "
        "resized-crop: a random part of it, by crop_area and crop_aspect",
        later=True,
    )
    crop_area: tuple[float, float] = training(
        (0.08, 1.0),
        "least and greatest area of a resized crop, as shares of the image",
        later=True,
        needs="augment=resized-crop",
    )
    crop_aspect: tuple[float, float] = training(
        (3 / 4, 4 / 3),
        "least and greatest aspect of a resized crop, width by height",
        later=True,
        needs="augment=resized-crop",
    )
    randaugment: tuple[int, ...] = training(
        (), "operations of RandAugment an image, and their magnitude, 0 to 30: 2+9; empty: none", later=True
    )
    resize: Literal["warp", "shorter-side"] = training(
        "warp",
        "how an image is resized to resize_to before it is cropped: to a square, or by its shorter side",
        later=True,
        needs="augment=crop or test_crops",
    )
    resize_to: Side = training(
        256,
        "side in pixels to which an image is resized before it is cropped",
        later=True,
        needs="augment=crop or test_crops",
    )
    test_crops: Literal[0, 1, 10] = prediction(
        0,
        "crops whose scores are averaged: 1: the center; 10: corners and center, and their mirror images; 0: the whole "
        "image. Maps are always of the whole image",
        before=0,
    )
    box_rule: BoxRule = prediction(
        "largest-component",
        "what of the foreground boxes enclose, and what box_threshold is a share of",
        changes="boxes",
        search=("largest-component", "largest-component-minmax", "all-foreground", "all-foreground-minmax"),
    )
    box_threshold: float = prediction(
        0.2,
        "foreground is above this share of the map's maximum, or range (CAM: 20 %)",
        changes="boxes",
        search=Range(0.05, 0.5),
        ge=0,
        lt=1,
    )
    mask_rule: MaskRule = prediction("own-maximum", "what mask_threshold is a share of, and classes compete by")
    mask_threshold: float = prediction(0.3, "a pixel above this share of the maximum is no background", ge=0, lt=1)
    mask_score: float = prediction(0.5, "classes that score at least this, and the best one, take part in a mask")
    crf: bool = prediction(False, "move masks to the edges of the photograph by a dense CRF, which is to be installed")
    crf_appearance: float = prediction(10.0, "weight of its appearance kernel (SEC: 10)", needs="crf", ge=0)
    crf_appearance_xy: float = prediction(80.0, "that kernel's width in pixels (SEC: 80)", needs="crf", gt=0)
    crf_appearance_rgb: float = prediction(13.0, "that kernel's width in grey levels (SEC: 13)", needs="crf", gt=0)
    crf_smoothness: float = prediction(3.0, "weight of its smoothness kernel (SEC: 3)", needs="crf", ge=0)
    crf_smoothness_xy: float = prediction(3.0, "that kernel's width in pixels (SEC: 3)", needs="crf", gt=0)
    crf_steps: int = prediction(10, "iterations of its mean field (SEC: 10)", needs="crf", ge=1)
    map_alignment: Literal["cells", "resize"] = prediction(
        "cells",
        "cells: enlarge a map from where the net's cells lie; resize: as if they shared the image evenly (released)",
        before="resize",
    )
    half_maps: bool = prediction(False, "store maps in half precision")
    test_scales: tuple[Side, ...] = prediction(
        (), "sides of the input whose predictions are averaged; empty: input_size"
    )

    def list_transforms(self) -> tuple[str, ...]:
        """List what training does to an image, in order, as expressions of `torchvision.transforms.v2`."""
        last = ["RandAugment(num_ops={}, magnitude={})".format(*self.randaugment)] if self.randaugment else []
        return (*self._list_resizing(), *super().list_transforms(), *last)

    def _list_resizing(self) -> tuple[str, ...]:
        side = self.input_size
        if self.augment == "none":
            return (f"Resize(({side}, {side}))",)
        if self.augment == "resized-crop":
            return (f"RandomResizedCrop({side}, scale={self.crop_area}, ratio={self.crop_aspect})",)
        to = f"({self.resize_to}, {self.resize_to})" if self.resize == "warp" else str(self.resize_to)
        return f"Resize({to})", f"RandomCrop({side})"

    @field_validator("crop_area", "crop_aspect")
    @classmethod
    def _range_ascends(cls, limits: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        most = 1.0 if info.field_name == "crop_area" else math.inf
        if not 0 < limits[0] <= limits[1] <= most:
            raise ValueError(f"it takes two numbers above 0{' and up to 1' if most == 1 else ''}, the lower one first")
        return limits

    @field_validator("randaugment")
    @classmethod
    def _randaugment_has_two_numbers(cls, numbers: tuple[int, ...]) -> tuple[int, ...]:
        if numbers and not (len(numbers) == 2 and numbers[0] >= 1 and 0 <= numbers[1] <= 30):
            raise ValueError("it takes a number of operations, at least 1, and a magnitude of 0 to 30")
        return numbers

    @model_validator(mode="after")
    def _crops_fit(self) -> MapConfig:
        if (self.augment == "crop" or self.test_crops) and self.resize_to < self.input_size:
            raise ValueError(f"resize_to={self.resize_to} is smaller than a crop of input_size={self.input_size}")
        return self

    @model_validator(mode="after")
    def _crf_is_installed(self) -> MapConfig:
        if self.crf and not is_installed():
            raise ValueError(f"crf=true needs the package pydensecrf2: {HOW_TO_INSTALL}")
        return self

    @property
    def dense_crf(self) -> DenseCrf | None:
        """The CRF, if masks are to have one."""
        settings = {one.name: getattr(self, f"crf_{one.name}") for one in fields(DenseCrf)}
        return DenseCrf(**settings) if self.crf else None


class ProposalConfig(FrozenConfig):
    """Settings of methods that score region proposals; images keep their aspect."""

    ABSENT: ClassVar[dict[str, str]] = dict.fromkeys(
        ("augment", "crop_area", "crop_aspect", "randaugment"),
        "it would move the image away from under its proposals, which stay where they are; scales, flip and "
        "color_jitter are what may change an image here",
    )

    lr: float = training(0.001, "learning rate", gt=0, search=Range(3e-4, 0.03, log=True))
    input_size: int = training(
        688, "larger side of the image in pixels; see also scales", needs="!scales", ge=32, le=4096
    )
    scales: tuple[Side, ...] = training(
        (), "larger sides to draw from at training and to average at test; empty: input_size"
    )
    longest_side: int = training(
        0,
        "if not 0: input_size and scales are of the shorter side, and this is the most that the larger one may have",
        ge=0,
        later=True,
    )
    batch_size: int = training(1, "images a step", ge=1)
    proposals: str = training(
        "selective-search", "selective-search, edge-boxes, or a file (.mat, .pkl, .npz)", file=True
    )
    min_proposal: int = training(20, "proposals with a side under this many pixels are removed", ge=0)
    roi_head: Literal["own", "mean", "fc"] = training(
        "own", "what makes a pooled region a vector: what the net brings, the mean of its cells, one new layer"
    )
    roi_pooling: Literal["max", "align"] = training("max", "RoI pooling as Fast R-CNN's, or RoIAlign")
    max_proposals: int = training(2000, "at most so many proposals an image at training, the first ones", ge=1)
    nms_iou: float = prediction(0.3, "IoU above which the lower of two boxes of a class is dropped", gt=0, le=1)
    score_threshold: float = prediction(1e-6, "boxes that score less are not written", ge=0)
    max_detections: int = prediction(100, "at most so many boxes an image, over all classes", ge=1)

    def list_transforms(self) -> tuple[str, ...]:
        """List what training does to an image, in order, as expressions of `torchvision.transforms.v2`."""
        sizes = self.scales or (self.input_size,)
        resizing = [
            f"Resize({side}, max_size={self.longest_side})" if self.longest_side else f"Resize(None, max_size={side})"
            for side in sizes
        ]
        first = resizing[0] if len(resizing) == 1 else f"RandomChoice([{', '.join(resizing)}])"
        return first, *super().list_transforms()
