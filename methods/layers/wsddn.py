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
    """Compute the log of an image's class scores (C,) in [0, 1], the sums of its proposals' scores (R, C).

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


def released_regulariser(
    features: Tensor, scores: Tensor, boxes: Tensor, present: Tensor, *, overlap: float = 0.6, top: int = 10
) -> Tensor:
    """Compute the released code's sum over present classes of 1/2 sum_r score_r^2 |feature_best - feature_r|^2.

    r runs over the class's `top` best proposals with IoU > `overlap` with its best one. The gradient, as released, is
    that of 1/2 sum_r score_r |feature_best - feature_r|^2, with scores constant. Arguments as in `spatial_regulariser`.

    >>> import torch
    >>> features, scores = torch.tensor([[1.0, 0.0], [0.0, 0.0]], requires_grad=True), torch.tensor([[0.5], [0.1]])
    >>> boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0]])
    >>> loss = released_regulariser(features, scores, boxes, torch.tensor([True]))
    >>> loss.backward()
    >>> round(loss.item(), 4), features.grad[0]
    (0.005, tensor([0.1000, 0.0000]))
    """
    mine = scores.detach()[:, present]
    order = mine.argsort(dim=0, descending=True, stable=True)[:top]
    best, others = order[0], order[1:]
    near = iou(boxes[best][:, None], boxes[others.T])[:, 0] > overlap
    weight = mine.gather(0, others).T * near
    distance = (features[best][:, None] - features[others.T]).square().sum(dim=-1)
    differentiated = 0.5 * (weight * distance).sum()
    return differentiated + (0.5 * (weight.square() * distance).sum() - differentiated).detach()
