"""Batch normalisation of a single value per channel, which cannot be trained: one image per pass, one cell per map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.errors import RequestError
from bench.method import MapMethod, ProposalMethod
from bench.training.batches import BatchSource, Example, plan, shard
from bench.training.device import autocast
from bench.training.feature_cache import provide


def refuse_single_values(
    method: MapMethod | ProposalMethod, source: BatchSource, move: Callable[[Example], list[Tensor]], size: int
) -> None:
    """Raise RequestError if a pass of the first epoch, over `size` processes, normalises a single value per channel.

    A pass is tried, without learning, only if it has one image and the method has batch normalisation that learns.
    """
    number, positions = _find_smallest_pass(source, size)
    layers = _list_learning_layers(method)
    if positions != 1 or not layers:
        return
    config = method.config
    example = source.step(plan(config, len(source.ids), 0, 0), number)[-1]
    images, *rest = arguments = move(example)
    given = provide(source.features, images, example.features, rest[0])
    with _watch(layers) as single, given, autocast(images.device, config.precision):
        method.loss(*arguments)
    if single:
        where = "each step has" if config.batch_size == 1 else "the last step of an epoch has"
        raise RequestError(
            f"Batch normalisation in net={config.net} cannot be trained: {where} a pass of one image "
            f"(batch_size={config.batch_size}, {len(source.ids)} images), and one cell a channel at "
            f"input_size={config.input_size}. Give a larger input_size, or a batch_size that leaves no single image."
        )


def _find_smallest_pass(source: BatchSource, size: int) -> tuple[int, int]:
    """Return the first or last step of an epoch, whichever has the smallest pass, and the images in that pass."""
    steps = {0, source.count_steps(0) - 1}
    sizes = [
        (len(shard(positions, rank, size)), number)
        for number in steps
        for positions in source.passes(number, size)
        for rank in range(size)
    ]
    smallest, number = min(pair for pair in sizes if pair[0])
    return number, smallest


def _list_learning_layers(method: nn.Module) -> list[nn.Module]:
    """List the batch normalisations whose statistics a training step computes."""
    method.train()
    layers: list[nn.Module] = [layer for layer in method.modules() if isinstance(layer, _BatchNorm) and layer.training]
    method.eval()
    return layers


@contextmanager
def _watch(layers: list[nn.Module]) -> Iterator[list[nn.Module]]:
    """Collect the layers that receive a single value per channel."""
    single: list[nn.Module] = []

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        if given[0].numel() == given[0].shape[1] * len(given[0]):
            single.append(layer)

    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    try:
        yield single
    finally:
        for hook in hooks:
            hook.remove()
