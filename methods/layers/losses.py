"""Image-level classification losses that leave out classes with label 0."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def multi_label_soft_margin(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Compute the mean of log(1 + exp(-y s)) over the known labels y, for logits s.

    logits: (..., C). labels: (..., C) in {+1, 0, -1}; 0 is left out, and without known labels the loss is 0.
    smoothing, e: the target probability of a class is 1 - e / 2 or e / 2 instead of 1 or 0.

    >>> multi_label_soft_margin(torch.tensor([0.0, 5.0]), torch.tensor([1, 0]))  # log 2
    tensor(0.6931)
    """
    known = labels != 0
    margins = labels.to(logits) * logits
    losses = -logsigmoid(margins)
    if smoothing:  # the loss for the opposite label is larger by the margin
        losses = losses + smoothing / 2 * margins
    return (losses * known).sum() / known.sum().clamp(min=1)


def softmax_log_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Compute the mean over images of -log p of the present class; p is the softmax over classes with known labels.

    logits: (B, C). labels: (B, C) in {+1, 0, -1}. Several present classes are averaged. Images without a present
    class are left out; if no image remains, the loss is 0. smoothing, e: (1 - e) times this loss, plus e times the mean
    of -log p over the known labels (Szegedy et al., CVPR 2016, Sec. 7).
    """
    present, known = labels > 0, labels != 0
    log_p = logits.masked_fill(~known, torch.finfo(logits.dtype).min).log_softmax(dim=1)
    losses = -torch.where(present, log_p, 0).sum(dim=1) / present.sum(dim=1).clamp(min=1)
    if smoothing:
        spread = -torch.where(known, log_p, 0).sum(dim=1) / known.sum(dim=1).clamp(min=1)
        losses = torch.where(present.any(dim=1), (1 - smoothing) * losses + smoothing * spread, 0)
    return losses.sum() / present.any(dim=1).sum().clamp(min=1)


def binary_log_loss(log_p: Tensor, labels: Tensor) -> Tensor:
    """Compute (C,) from log p (C,): -log p for present classes, -log(1 - p) for absent ones, 0 for the others.

    p is kept below 1 by its type's machine epsilon, so the loss is finite.

    >>> binary_log_loss(torch.tensor([0.5, 0.5, 0.5]).log(), torch.tensor([1, -1, 0]))
    tensor([0.6931, 0.6931, 0.0000])
    """
    limit = -torch.finfo(log_p.dtype).eps
    absent = -torch.log(-torch.expm1(log_p.clamp(max=limit)))
    return torch.where(labels > 0, -log_p, absent) * (labels != 0)
