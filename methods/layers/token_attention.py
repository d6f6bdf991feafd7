"""Attention of a vision transformer's class token, read while images pass through timm's layers.

Shapes: B images, N tokens, the class token first; K channels; see docs/conventions.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def find_attention_layers(trunk: nn.Module) -> list[Any]:
    """Find the self-attention layers, in order, of a timm net with a class token; empty without one."""
    model = getattr(trunk, "model", None)
    if getattr(model, "cls_token", None) is None:
        return []
    return [layer for layer in trunk.modules() if hasattr(layer, "qkv") and hasattr(layer, "q_norm")]


@contextmanager
def record_queries(layers: list[Any]) -> Iterator[list[list[Tensor]]]:
    """Return a context in which each layer's queries, keys and values (B, N, 3 K) are kept, by layer and batch."""
    kept: list[list[Tensor]] = [[] for _ in layers]
    with ExitStack() as hooks:
        for layer, mine in zip(layers, kept, strict=True):
            hooks.enter_context(layer.qkv.register_forward_hook(partial(_keep, mine)))
        yield kept


def attend_from_class_token(layer: Any, qkv: Tensor) -> Tensor:
    """Compute the attention (B, N) of the class token to all tokens, averaged over the heads of a layer.

    qkv: (B, N, 3 K), the output of the layer's linear map. A head of d channels has softmax(q_class k^T / sqrt(d)).
    """
    queries, keys, _ = qkv.reshape(*qkv.shape[:2], 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    of_class = layer.q_norm(queries[:, :, :1]) * layer.scale
    logits: Tensor = of_class @ layer.k_norm(keys).transpose(2, 3)
    return logits.float().softmax(dim=3).mean(dim=1)[:, 0]


def average_attention(layers: list[Any], kept: list[list[Tensor]]) -> Tensor:
    """Compute the mean over the layers (B, N) of the class token's attention, from what `record_queries` kept."""
    each = [attend_from_class_token(layer, torch.cat(mine)) for layer, mine in zip(layers, kept, strict=True)]
    return torch.stack(each).mean(dim=0)


def _keep(kept: list[Tensor], layer: nn.Module, given: object, out: Tensor) -> None:
    kept.append(out)
