"""Image-level classification losses that leave out the classes whose label is 0."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def multi_label_soft_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of log(1 + exp(-y s)) over the known labels.

    logits: (..., C). labels: (..., C) in {+1, 0, -1}; 0 is left out, and without any known label the loss is 0.
    """
    known = labels != 0
    losses = -logsigmoid(labels.to(logits) * logits)
    return (losses * known).sum() / known.sum().clamp(min=1)


def softmax_log_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over images of -log p of the present class, p being the softmax over the classes whose label is known.

    logits: (B, C). labels: (B, C) in {+1, 0, -1}. Of several present classes the mean counts; images without any are
    left out, and without any image the loss is 0.
    """
    present = labels > 0
    log_p = logits.masked_fill(labels == 0, torch.finfo(logits.dtype).min).log_softmax(dim=1)
    losses = -torch.where(present, log_p, 0).sum(dim=1) / present.sum(dim=1).clamp(min=1)
    return losses.sum() / present.any(dim=1).sum().clamp(min=1)


def binary_log_loss(log_p: Tensor, labels: Tensor) -> Tensor:
    """-log p of the present classes, -log(1 - p) of the absent ones, 0 for the others (C,); from log p (C,).

    p is kept below 1 by the precision of its type, so that the loss stays finite.
    """
    limit = -torch.finfo(log_p.dtype).eps
    absent = -torch.log(-torch.expm1(log_p.clamp(max=limit)))
    return torch.where(labels > 0, -log_p, absent) * (labels != 0)
