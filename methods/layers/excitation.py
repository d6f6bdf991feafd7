"""Excitation backprop (Zhang et al., ECCV 2016): mass goes down a net along positive weights, none is lost or made.

Of a layer with inputs x >= 0 and weights w, an output's mass goes to input i as x_i max(w_i, 0) / sum_j x_j max(w_j, 0)
(Eq. 2, without biases). Maxima pass it to where they are, ReLUs and normalisation to the same place.
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
from bench.method import Attribution, AttributionConfig, MapConfig, Task, prediction
from methods.layers.attribution import layer_of, need_layers

Averaging = nn.AvgPool2d | nn.AdaptiveAvgPool2d
Summing = nn.Linear | nn.Conv2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d
NORMALISING = (nn.BatchNorm2d, nn.GroupNorm, nn.LocalResponseNorm)
MAPPED_AT = {"googlenet": "backbone.trunk.4"}
"""Where the authors' code maps another net than VGG16: GoogLeNet at pool2, 28 x 28 cells of 224 pixels."""

SMALLEST = 1e-30
"""Less excitation than this is none: its mass has nowhere to go."""


class ExcitationConfig(AttributionConfig):
    """Settings of excitation backprop."""

    saliency_layer: str = prediction(
        "",
        "module of the base whose output is mapped; empty: the end of the stage before the last (VGG16: pool4), "
        "but pool2 of GoogLeNet",
    )


class Excitation(Attribution):
    """An attribution by the mass that reaches a layer."""

    Own: ClassVar = ExcitationConfig
    config: Any

    def __init__(self, config: MapConfig, task: Task) -> None:
        super().__init__(config, task)
        backbone = need_layers(self.base, self.name).backbone
        stage = f"backbone.trunk.{backbone.stage_ends[-2] - 1}"
        self.saliency: str = self.config.saliency_layer or MAPPED_AT.get(config.net, stage)
        layer_of(self.base, self.saliency)

    @abstractmethod
    def reached(self, trace: Trace) -> Tensor:
        """Compute the mass (B, h, w) that reaches the saliency layer, of a pass that keeps what `layers` give."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the base that mass is asked for at."""
        return (self.saliency,)

    def explain(self, images: Tensor, labels: Tensor) -> Tensor:
        """At the resolution of the saliency layer."""
        return self.explain_each(images, [labels])[0]

    def explain_each(self, images: Tensor, labels: Sequence[Tensor]) -> list[Tensor]:
        """As `explain`, all from one pass."""
        with self.traced(images.detach().clone(), labels[0], *self.layers) as trace:
            return [self.reached(trace.of(classes)).detach() for classes in labels]

    @contextmanager
    def traced(self, images: Tensor, labels: Tensor, *layers: str) -> Iterator[Trace]:
        """Run images forward, recording these layers of the base, so that class mass can be traced back to them."""
        with ExitStack() as hooks:
            trace = Trace()
            for layer in self.base.modules():
                if (hook := trace.hook(layer, top=layer is self.base.output)) is not None:
                    hooks.enter_context(layer.register_forward_hook(hook))
            for name in layers:
                hooks.enter_context(self.base.get_submodule(name).register_forward_hook(trace.keep(name)))
            trace.scores = self.base(images.requires_grad_()).scores
            try:
                yield trace.of(labels)
            finally:
                trace.forget()


@dataclass(eq=False)
class Trace:
    """A pass through a net, in which gradients are mass."""

    kept: dict[str, Tensor] = field(default_factory=dict)
    negated: bool = False
    scores: Tensor = field(init=False)
    mass: Tensor = field(init=False)

    def of(self, labels: Tensor) -> Trace:
        """Select the classes (B,) int64 of the pass."""
        self.mass = one_hot(labels, self.scores.shape[1]).to(self.scores)
        return self

    def down(self, to: str, *, start: tuple[str, Tensor] | None = None, negated: bool = False) -> Tensor:
        """Compute the mass at the output of a layer, from 1 at each image's class, or from mass at a layer above.

        negated: as if the weights of the class layer had the other sign. Raises RequestError.
        """
        above, mass = (self.kept[start[0]], start[1]) if start else (self.scores, self.mass)
        self.negated = negated
        (found,) = torch.autograd.grad(above, self.kept[to], mass, retain_graph=True, allow_unused=True)
        if found is None:
            raise RequestError(f"The saliency layer {to!r} is not below {start[0] if start else 'the scores'!r}.")
        return found

    def forget(self) -> None:
        """Let go of the pass, which refers to this trace and would keep all its features until both are collected."""
        self.kept.clear()
        self.scores = self.mass = self.scores.detach()

    def keep(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        """Return a hook that records a layer's output."""

        def kept(layer: nn.Module, given: Any, out: Tensor) -> None:
            self.kept[name] = out

        return kept

    def hook(self, layer: nn.Module, *, top: bool) -> Callable[[nn.Module, Any, Tensor], Tensor] | None:
        """Return a hook that turns a layer's gradient into mass; None if its own gradient already is."""
        if isinstance(layer, NORMALISING):
            return lambda _, given, out: _Handed.apply(given[0], out)
        if isinstance(layer, Summing):

            def excitation(given: Tensor) -> Tensor:
                return _excitation(layer, given, -1.0 if top and self.negated else 1.0)

            return lambda _, given, out: _Shared.apply(given[0], out, excitation)
        return None


def _excitation(layer: Summing, given: Tensor, sign: float) -> Tensor:
    """Compute what non-negative inputs contribute to a layer's outputs through its positive weights."""
    if isinstance(layer, Averaging):
        return layer.forward(given)  # not a call, which would run the hooks again
    weight = (sign * layer.weight).clamp(min=0)
    if isinstance(layer, nn.Linear):
        return nn.functional.linear(given, weight)
    return layer._conv_forward(given, weight, None)  # the one place that knows all kinds of padding


class _Shared(torch.autograd.Function):
    """A layer's output as it is; backward an output's mass is shared among its inputs."""

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
        each = torch.where(total > SMALLEST, mass / total.clamp(min=SMALLEST), 0)
        (found,) = torch.autograd.grad(total, given, each)
        return given.detach() * found, None, None


class _Handed(torch.autograd.Function):
    """A layer's output as it is; backward mass stays in its place."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, out: Tensor) -> Tensor:
        return out.clone()

    @staticmethod
    def backward(ctx: Any, mass: Tensor) -> tuple[Tensor | None, ...]:
        return mass, None
