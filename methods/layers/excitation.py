"""Excitation backprop (Zhang et al., ECCV 2016): mass is passed down a net along positive weights, and conserved.

In a layer with inputs x >= 0 and weights w, input i receives the fraction x_i max(w_i, 0) / sum_j x_j max(w_j, 0) of an
output's mass (Eq. 2, without biases). Max pooling passes mass to the maximum; ReLU and normalisation leave it in place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from bench.errors import RequestError
from bench.method import AttributionConfig, Cells, MapConfig, Task, prediction
from methods.layers.attribution import LayerwiseAttribution, find_layer_cells, get_layer, require_classifier

Averaging = nn.AvgPool2d | nn.AdaptiveAvgPool2d
Summing = nn.Linear | nn.Conv2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d
NORMALISING = (nn.BatchNorm2d, nn.GroupNorm, nn.LocalResponseNorm)
MAPPED_AT = {"googlenet": "backbone.trunk.4"}
"""Saliency layers of the authors' code for nets other than VGG16: GoogLeNet at pool2, 28 x 28 cells of 224 pixels."""

SMALLEST = 1e-30
"""Excitation below this counts as zero; its mass is lost."""


class ExcitationConfig(AttributionConfig):
    """Settings of excitation backprop."""

    saliency_layer: str = prediction(
        "",
        "module of the base whose output is mapped; empty: the end of the last stage but one (VGG16: pool4), "
        "or pool2 for GoogLeNet",
    )


class Excitation(LayerwiseAttribution):
    """An attribution that maps the mass at the saliency layer."""

    Own: ClassVar = ExcitationConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        backbone = require_classifier(self.base, self.name).backbone
        stages = [f"backbone.trunk.{path}" for path in backbone.stage_paths[-2:-1]]
        named = self.config.saliency_layer or MAPPED_AT.get(config.net, "".join(stages))
        if not named:
            raise RequestError(f"{config.net} has no stage below its last: set saliency_layer, as backbone.trunk.2.")
        self.saliency: str = named
        get_layer(self.base, self.saliency)

    @abstractmethod
    def compute_mass(self, trace: Trace) -> Tensor:
        """Compute the mass (B, h, w) at the saliency layer from a pass that recorded the outputs of `layers`."""

    def find_cells(self) -> Cells | None:
        """Return where the saliency layer's cells lie."""
        return find_layer_cells(self.base, self.saliency)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the base whose mass is recorded."""
        return (self.saliency,)

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """Compute maps (B, h, w) at the resolution of the saliency layer."""
        return self.explain_each(images, [labels])[0]

    def explain_each(self, images: Tensor, labels: Sequence[Tensor]) -> list[Tensor]:
        """Explain all classes from one pass."""
        with self.trace_mass(images.detach().clone(), labels[0], *self.layers) as trace:
            return [self.compute_mass(trace.select(classes)).detach() for classes in labels]

    @contextmanager
    def trace_mass(self, images: Tensor, labels: Tensor, *layers: str) -> Iterator[Trace]:
        """Run images forward and record the outputs of `layers`, so that class mass can be traced back to them."""
        with ExitStack() as hooks:
            trace = Trace()
            for layer in self.base.modules():
                if (hook := trace.hook(layer, top=layer is self.base.output)) is not None:
                    hooks.enter_context(layer.register_forward_hook(hook))
            for name in layers:
                hooks.enter_context(self.base.get_submodule(name).register_forward_hook(trace.record(name)))
            trace.scores = self.base(images.requires_grad_()).scores
            try:
                yield trace.select(labels)
            finally:
                trace.release()


@dataclass(eq=False)
class Trace:
    """A pass through a net in which the gradients are mass."""

    kept: dict[str, Tensor] = field(default_factory=dict)
    negated: bool = False
    scores: Tensor = field(init=False)
    mass: Tensor = field(init=False)

    def select(self, labels: Tensor) -> Trace:
        """Select the classes (B,) int64 of the pass."""
        self.mass = one_hot(labels, self.scores.shape[1]).to(self.scores)
        return self

    def propagate(self, to: str, *, start: tuple[str, Tensor] | None = None, negated: bool = False) -> Tensor:
        """Compute the mass at the output of a layer, from 1 at each image's class, or from mass at a layer above.

        negated: flip the sign of the class layer's weights. Raises RequestError.
        """
        above, mass = (self.kept[start[0]], start[1]) if start else (self.scores, self.mass)
        self.negated = negated
        (found,) = torch.autograd.grad(above, self.kept[to], mass, retain_graph=True, allow_unused=True)
        if found is None:
            raise RequestError(
                f"The saliency layer {to!r} is not below {start[0] if start else 'the scores'!r}: choose a lower one."
            )
        return found

    def release(self) -> None:
        """Release the pass; a reference cycle with this trace would keep its features until garbage collection."""
        self.kept.clear()
        self.scores = self.mass = self.scores.detach()

    def record(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        """Return a hook that records a layer's output."""

        def keep_output(layer: nn.Module, given: Any, out: Tensor) -> None:
            self.kept[name] = out

        return keep_output

    def hook(self, layer: nn.Module, *, top: bool) -> Callable[[nn.Module, Any, Tensor], Tensor] | None:
        """Return a hook that turns a layer's gradient into mass; None if its own gradient already is mass."""
        if isinstance(layer, NORMALISING):
            return lambda _, given, out: _Handed.apply(given[0], out)
        if isinstance(layer, Summing):

            def excitation(given: Tensor) -> Tensor:
                return _excitation(layer, given, -1.0 if top and self.negated else 1.0)

            return lambda _, given, out: _Shared.apply(given[0], out, excitation)
        return None


def _excitation(layer: Summing, given: Tensor, sign: float) -> Tensor:
    """Compute the contribution of non-negative inputs to a layer's outputs through its positive weights."""
    if isinstance(layer, Averaging):
        mean: Tensor = layer.forward(given)  # not a call, which would run the hooks again
        return mean
    weight = (sign * layer.weight).clamp(min=0)
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(given, weight)
    summed: Tensor = layer._conv_forward(given, weight, None)  # private, but handles every kind of padding
    return summed


class _Shared(torch.autograd.Function):
    """Identity on a layer's output whose backward pass shares each output's mass among its inputs."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, out: Tensor, excitation: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(given)
        ctx.excitation = excitation
        return out.clone()

    @staticmethod
    def backward(ctx: Any, mass: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors[0].detach().clamp(min=0).requires_grad_()
        with torch.enable_grad():
            total = ctx.excitation(given)
        per_unit = torch.where(total > SMALLEST, mass / total.clamp(min=SMALLEST), 0)
        (weights,) = torch.autograd.grad(total, given, per_unit)
        return given.detach() * weights, None, None


class _Handed(torch.autograd.Function):
    """Identity on a layer's output whose backward pass leaves mass in place."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, out: Tensor) -> Tensor:
        return out.clone()

    @staticmethod
    def backward(ctx: Any, mass: Tensor) -> tuple[Tensor | None, ...]:
        return mass, None
