"""Backbones: features of images and regions, and a record of the parameters set by pretrained weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d
from torchvision.ops import roi_align, roi_pool

from bench.core.cells import Cells
from bench.core.files import array_digest
from methods.layers.boxes import canonical_order
from methods.nets.frozen import Compute, Frozen, Given, Output
from methods.nets.geometry import Pass, follow

RoiHead = Literal["own", "mean", "fc"]
RoiPooling = Literal["max", "align"]
Provided = AbstractContextManager[None]
FC_CHANNELS = 1024
REGIONS_AT_ONCE = 1024
"""Regions pooled at once. Pooling 4,000 regions of VGG16 at once would take two buffers of 400 MB."""
FEATURES_VERSION = 1
"""To be raised by hand whenever the same weights would give different frozen features."""


@dataclass(frozen=True)
class Normalisation:
    """Normalisation of RGB images in [0, 1] for pretrained weights: `(image - mean) / std`."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


TORCHVISION = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = Normalisation((123 / 255, 117 / 255, 104 / 255), (1 / 255, 1 / 255, 1 / 255))
"""BGR images in 0-255 minus 104/117/123; the first layer of such weights is converted to RGB when read."""


@dataclass(frozen=True)
class Layout:
    """A family of weight files.

    names: from our modules to the file's, each with its submodules; if two match a parameter, the longer one counts.
    An empty name stands for the file's whole net.
    spare: modules in the file that are not needed (the ImageNet classifier); their shapes are not checked. bgr: whether
    the first layer expects blue first. scale: factor of pooled regions, so that new layers, initialised and trained as
    in the papers for VGG's fc7, receive activations near 1.
    """

    names: Mapping[str, str]
    spare: tuple[str, ...]
    normalisation: Normalisation
    bgr: bool = False
    scale: float = 1.0


def caffe_layout(convolutions: Mapping[int, str]) -> Layout:
    """Return the layout of Caffe files with fc6, fc7 and fc8; convolutions: position in the trunk to name."""
    names = {f"trunk.{place}": name for place, name in convolutions.items()}
    return Layout(names | {"roi_head.1": "fc6", "roi_head.4": "fc7"}, ("fc8",), CAFFE, bgr=True)


@dataclass(frozen=True)
class Net:
    """The definition of a net; `describe_net` makes one for a new net by measuring it.

    trunk: builds the module from normalised images to the last feature map. stride: pixels per cell. origin: centre of
    the first cell in pixels (stride / 2 if every layer pads by half its kernel). stages: for conv3, conv4 and conv5 of
    VGG16, or their closest counterparts, the number of trunk layers up to the stage's end, or the path of a trunk
    module, and its channels. roi_head: builds the module from (R, channels, roi_size, roi_size) to (R, roi_channels).
    torchvision, package, imagenet: the source of ImageNet weights: the name of torchvision's model, or of a package on
    PyPI, or a function that reads them. has_sums: whether outputs of several layers are added or multiplied, as in
    residual nets. other_layers: other operations without a rule in excitation backprop and LRP. sight: where the first
    cell looks after training, if not at the origin. source: name and version of third-party code that computes the net.
    """

    trunk: Callable[[], nn.Module]
    channels: int
    stride: int
    origin: float
    stages: tuple[tuple[int | str, int], ...]
    roi_size: int
    roi_head: Callable[[], nn.Sequential]
    roi_channels: int
    torchvision: str | None = None
    package: str | None = None
    imagenet: Callable[[], Mapping[str, Tensor]] | None = None
    has_sums: bool = False
    other_layers: str = ""
    sight: float | None = None
    layouts: tuple[Layout, ...] = ()
    source: str = ""


class Backbone(nn.Module):
    """A net without its classifier: `features` of images, `regions` of proposals. It normalises its input."""

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(self, net: Net, roi_head: RoiHead | None, roi_pooling: RoiPooling) -> None:
        super().__init__()
        self.channels, self.stride, self.origin = net.channels, net.stride, net.origin
        self.cells = Cells(net.origin, net.stride)
        self._sight, self._layouts, self._source = net.sight, net.layouts, net.source
        self.stage_ends, self.stage_channels = zip(*net.stages, strict=True)
        self.stage_paths = tuple(end if isinstance(end, str) else str(end - 1) for end in self.stage_ends)
        self.roi_size, self.roi_pooling = net.roi_size, roi_pooling
        self.trunk = net.trunk()
        self.roi_head, self.roi_channels = _build_head(net, roi_head)
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("std", torch.ones(3, 1, 1))
        self.register_buffer("scale", torch.ones(()))
        self.normalise_as(TORCHVISION)
        self.pretrained: frozenset[str] = frozenset()
        self.frozen: Frozen | None = None
        self._kept_stages = len(net.stages)

    def look_as_trained(self) -> None:
        """Place the maps' cells where they look with the published weights."""
        if self._sight is not None:
            self.cells = Cells(self._sight, self.stride)

    def find_cells(self, layer: str) -> Cells | None:
        """Find the cells of a trunk layer, given by its path: `cells` at the trunk's end, else the windows' centres.

        None if they cannot be followed. Whether training moves what lower layers look at has not been measured.
        """
        cells = self._followed.layers[layer].cells if layer in self._followed.layers else None
        is_last = layer.partition(".")[0] == list(dict(self.trunk.named_children()))[-1]
        is_end = not layer or (is_last and cells == Cells(self.origin, self.stride))
        return self.cells if is_end else cells

    @cached_property
    def _followed(self) -> Pass:
        return follow(self.trunk)

    def assume_pretrained(self) -> None:
        """Treat all parameters that weight files contain as pretrained; learned weights are loaded later."""
        named = {module for layout in self._layouts for module in layout.names} or {"trunk", "roi_head"}
        parts = tuple(f"{module}." for module in named)
        self.pretrained = frozenset(name for name in self.state_dict() if name.startswith(parts))
        self.look_as_trained()

    def normalise_as(self, normalisation: Normalisation) -> None:
        """Set the normalisation of images that the loaded weights expect."""
        self.mean.copy_(torch.tensor(normalisation.mean).view(3, 1, 1))
        self.std.copy_(torch.tensor(normalisation.std).view(3, 1, 1))

    def features(self, images: Tensor) -> Tensor:
        """Compute feature maps (B, channels, h, w) of images (B, 3, H, W), RGB in [0, 1]."""
        return self._outputs("features", images, lambda images: [self._features(images)])[-1]

    def stages(self, images: Tensor) -> list[Tensor]:
        """Compute feature maps (B, stage_channels[i], h, w) at the ends of conv3, conv4 and conv5 (= `features`).

        A frozen net may return only the last ones; see `freeze`.
        """
        return self._outputs("stages", images, self._stages)

    def vectors(self, images: Tensor) -> Tensor:
        """Compute features (B, roi_channels) of whole images by the RoI head: VGG's fc7, or the mean of all cells."""
        return self._outputs("vectors", images, lambda images: [self._vectors(images)])[-1]

    def regions(self, image: Tensor, boxes: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute features (R, roi_channels) of half-open boxes (R, 4) in pixels of image (1, 3, H, W).

        weight: (R,), a factor for the pooled features of each box.
        """
        return self._outputs("regions", image, lambda image: [self._regions(image, boxes, weight)], boxes)[-1]

    def _outputs(self, output: Output, images: Tensor, compute: Compute, boxes: Tensor | None = None) -> list[Tensor]:
        return list(compute(images)) if self.frozen is None else self.frozen(output, images, compute, boxes)

    def _features(self, images: Tensor) -> Tensor:
        return self.trunk((images - self.mean) / self.std)  # type: ignore[no-any-return]

    def _stages(self, images: Tensor) -> list[Tensor]:
        outputs: dict[str, Tensor] = {}
        *inner, _ = self.stage_paths[-self._kept_stages :]
        with ExitStack() as hooks:
            for path in inner:
                hook = partial(_keep_output, outputs, path)
                hooks.enter_context(self.trunk.get_submodule(path).register_forward_hook(hook))
            last = self._features(images)
        return [*(outputs[path] for path in inner), last]

    def _vectors(self, images: Tensor) -> Tensor:
        features = self._features(images)
        if any(isinstance(layer, nn.Linear) for layer in self.roi_head.modules()):
            features = adaptive_max_pool2d(features, self.roi_size)  # the grid that the linear layers expect
        return self.roi_head(features)  # type: ignore[no-any-return]

    def _regions(self, image: Tensor, boxes: Tensor, weight: Tensor | None) -> Tensor:
        features, chunks = self._features(image), torch.split(boxes, REGIONS_AT_ONCE)
        if weight is None:
            scales: Sequence[Tensor] = [self.scale] * len(chunks)
        else:
            scales = torch.split(self.scale * weight[:, None, None, None], REGIONS_AT_ONCE)
        pooled = (self.pool(features, chunk) * scale for chunk, scale in zip(chunks, scales, strict=True))
        return torch.cat([self.roi_head(chunk) for chunk in pooled])

    def pool(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Pool regions (R, channels, roi_size, roi_size) from features (1, channels, h, w) and boxes (R, 4) in pixels.

        `max` is the RoI pooling of Fast R-CNN, whose boxes include their last pixel; `align` is the RoIAlign of Mask
        R-CNN. Boxes are shifted by the offset of the cells that unpadded layers cause.
        """
        shifted, features = boxes.float() - (self.origin - self.stride / 2), features.float()
        if self.roi_pooling == "align":
            return roi_align(features, [shifted], self.roi_size, 1 / self.stride, 2, aligned=True)  # type: ignore[no-any-return]
        inclusive = torch.cat([shifted[:, :2], shifted[:, 2:] - 1], dim=1)
        return roi_pool(features, [inclusive], self.roi_size, 1 / self.stride)  # type: ignore[no-any-return]

    def freeze(self, output: Output, *, standardise: bool, rounded: bool, stages: int = 3) -> None:
        """Exclude the parameters set by pretrained weights from training.

        If `output` depends on no other parameters, it becomes the frozen output, rounded to float16 if `rounded` and
        standardised if `standardise`. stages: how many of the last stages the output `stages` has.
        """
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name not in self.pretrained)
        if self.pretrained and not any(parameter.requires_grad for parameter in self._parts(output).parameters()):
            self._kept_stages = stages
            self.frozen = Frozen(output, self._count_channels(output), standardise=standardise, rounded=rounded)

    def extract(self, image: Tensor, boxes: Tensor | None = None) -> list[Tensor]:
        """Compute the frozen output of image (1, 3, H, W) before standardisation, in the order of boxes (R, 4)."""
        frozen = self._require_frozen()
        if frozen.output == "stages":
            return frozen.compute(image, self._stages)
        if boxes is None:
            compute = self._features if frozen.output == "features" else self._vectors
            return frozen.compute(image, lambda image: [compute(image)])
        order = canonical_order(boxes)
        features = frozen.compute(image, lambda image: [self._regions(image, boxes[order], None)])
        return [feature[order.argsort()] for feature in features]

    def provide(self, images: Tensor, features: Sequence[Tensor], boxes: Tensor | None = None) -> Provided:
        """Return a context in which the frozen output of these images is `features`, without computing it."""
        return self._require_frozen().provide(Given(images, features, boxes))

    def standardise(self, means: Sequence[Tensor], stds: Sequence[Tensor]) -> None:
        """Set the statistics (K,) of the channels of each frozen output; a constant channel is only shifted."""
        for layer, mean, std in zip(self._require_frozen().standardise, means, stds, strict=True):
            layer.mean.copy_(mean)  # type: ignore[operator]
            layer.std.copy_(torch.where(std > 0, std, 1))  # type: ignore[operator]

    @property
    def rounds(self) -> bool:
        """Whether the frozen output is rounded to float16, so that it can be cached."""
        return self._require_frozen().rounded

    @property
    def standardises(self) -> bool:
        """Whether the frozen output is standardised."""
        return len(self._require_frozen().standardise) > 0

    @property
    def takes_boxes(self) -> bool:
        """Whether the frozen output consists of region features."""
        return self._require_frozen().output == "regions"

    def digest(self) -> str:
        """Compute the digest of everything that determines the frozen output: layers, weights, pooling."""
        output, parts = self._require_frozen().output, self._parts(self._require_frozen().output)
        pooling = (self.roi_pooling, self.roi_size, self.stride, self.origin) if self.takes_boxes else ()
        text = (output, str(FEATURES_VERSION), repr(parts), repr(self.stage_ends[-self._kept_stages :]), repr(pooling))
        source = (self._source,) if self._source else ()
        tensors = (*parts.state_dict().values(), self.mean, self.std, self.scale)
        return array_digest((*text, *source), *(tensor.detach().cpu().numpy() for tensor in tensors))

    def _parts(self, output: Output) -> nn.Module:
        return self.trunk if output in ("features", "stages") else nn.ModuleList([self.trunk, self.roi_head])

    def _count_channels(self, output: Output) -> tuple[int, ...]:
        if output == "stages":
            return tuple(self.stage_channels[-self._kept_stages :])
        return (self.channels if output == "features" else self.roi_channels,)

    def _require_frozen(self) -> Frozen:
        if self.frozen is None:
            raise TypeError("the backbone is not frozen")
        return self.frozen

    def new_parameters(self) -> list[nn.Parameter]:
        """Return the parameters not set by pretrained weights."""
        return [parameter for name, parameter in self.named_parameters() if name not in self.pretrained]


def _keep_output(outputs: dict[str, Tensor], path: str, layer: nn.Module, given: object, out: Tensor) -> None:
    outputs[path] = out


def find_new_parameters(method: nn.Module, backbone: Backbone) -> list[nn.Parameter]:
    """Return a method's parameters except backbone parameters set by pretrained weights."""
    pretrained = {id(parameter) for name, parameter in backbone.named_parameters() if name in backbone.pretrained}
    return [parameter for parameter in method.parameters() if id(parameter) not in pretrained]


def _build_head(net: Net, kind: RoiHead | None) -> tuple[nn.Module, int]:
    if kind is None:
        return nn.Identity(), net.channels
    if kind == "own":
        return net.roi_head(), net.roi_channels
    if kind == "mean":
        return mean_head(), net.channels
    return fc_head(net.channels * net.roi_size**2, FC_CHANNELS), FC_CHANNELS


def conv3x3(before: int, after: int, groups: int = 1) -> nn.Conv2d:
    """Build a 3x3 convolution to be followed by a ReLU."""
    conv = nn.Conv2d(before, after, 3, padding=1, groups=groups)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def mean_head() -> nn.Sequential:
    """Build the mean over a region's cells, without parameters."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def fc_head(*sizes: int, dropout: float = 0.5) -> nn.Sequential:
    """Build fully connected layers as in AlexNet and VGG: flatten, then linear, ReLU and dropout for each size."""
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        linear = nn.Linear(before, after)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers)
