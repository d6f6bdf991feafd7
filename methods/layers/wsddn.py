"""Two streams and spatial regulariser of WSDDN (Bilen and Vedaldi, CVPR 2016)."""

from __future__ import annotations

from torch import Tensor

from methods.layers.boxes import iou


def two_stream_log_scores(recognition: Tensor, detection: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Compute the log of softmax over classes times softmax over proposals (R, C), from both streams' logits (R, C).

    temperature: divisor of the detection stream's logits (2 in the released code).
    """
    return recognition.log_softmax(dim=1) + (detection / temperature).log_softmax(dim=0)


def image_log_scores(log_scores: Tensor) -> Tensor:
    """Compute the log of an image's class scores (C,), the sums of its proposals' scores (R, C), which are in [0, 1].

    >>> import torch
    >>> logits = torch.tensor([[9.0, 0.0], [0.0, 0.0]])
    >>> image_log_scores(two_stream_log_scores(logits, logits * 0)).exp()
    tensor([0.7499, 0.2501])
    """
    return log_scores.logsumexp(dim=0)


def spatial_regulariser(
    features: Tensor, scores: Tensor, boxes: Tensor, present: Tensor, *, overlap: float = 0.6, top: int = 10
) -> Tensor:
    """Compute the sum over present classes of 1/2 sum_r score_best^2 |feature_best - feature_r|^2.

    r runs over the class's `top` best proposals with IoU >= `overlap` with its best one.
    features: (R, D). scores: (R, C). boxes: (R, 4). present: (C,) bool.
    """
    mine = scores[:, present]
    order = mine.argsort(dim=0, descending=True, stable=True)[:top]
    best = order[0]
    near = iou(boxes[best][:, None], boxes[order.T])[:, 0] >= overlap
    distance = (features[best][:, None] - features[order.T]).square().sum(dim=-1)
    weight = mine.gather(0, best[None])[0].square()
    return 0.5 * (weight[:, None] * distance * near).sum()
