"""C-MIL: subsets, scores and losses against the algorithm in loops, at the beginning, between and at the end."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from test_refined_methods import LABELS, made, regions, stages
from torch import Tensor

from bench.core.boxes import iou
from methods.c_mil import CMil
from methods.layers.cliques import partition_around_best
from methods.layers.continuation import Continuation, compute_lambda


def at(progress: float, **settings: Any) -> CMil:
    method: CMil = made(CMil, **settings)
    method.progress = progress
    return method


@pytest.mark.parametrize(
    ("continuation", "released"),
    [
        ("log", lambda epoch: (math.log(epoch + 0.01) - math.log(0.01)) / (math.log(20.01) - math.log(0.01))),
        ("linear", lambda epoch: epoch / 20),
        ("pieces", lambda epoch: min(1, math.ceil(epoch / 4) / 20 * 4)),
        ("sigmoid", lambda epoch: 1 / (1 + math.exp(10 - epoch))),
        ("exp", lambda epoch: math.exp((epoch - 20) / 4)),
    ],
)
def test_lambda_is_that_of_the_released_code_at_each_of_20_epochs(continuation: Continuation, released: Any) -> None:
    for epoch in (0, 0.3, 1, 2, 7, 10, 19.5, 20):
        assert compute_lambda(epoch / 20, continuation) == pytest.approx(released(epoch), abs=1e-12)


def slow_subsets(boxes: Tensor, scores: list[float], tau: float, top: int) -> list[list[int]]:
    """The best proposal takes all of the rest that overlap it, then the best of what is left; others are alone."""
    overlap = iou(boxes.numpy(), boxes.numpy())
    ranked = sorted(range(len(boxes)), key=lambda r: -scores[r])
    left, subsets = ranked[:top], [[row] for row in ranked[top:]]
    while left:
        subsets.append([row for row in left if row == left[0] or overlap[left[0], row] >= tau])
        left = [row for row in left if row not in subsets[-1]]
    return subsets


@pytest.mark.parametrize("tau", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("top", [25, 100])
def test_subsets_are_those_around_the_best_proposals(tau: float, top: int) -> None:
    boxes, scores = regions(60)[1], torch.rand(60, generator=torch.Generator().manual_seed(1))
    members, clique = partition_around_best(boxes, scores, tau=tau, top=top)
    found = {frozenset(members[clique == name].tolist()) for name in clique.tolist()}
    expected = {
        frozenset(each) for each in slow_subsets(boxes, scores.tolist(), tau, top) if set(each) & set(members.tolist())
    }
    assert found == expected
    assert members[0] == scores.argmax()


def slow_image(method: CMil, features: Tensor, boxes: Tensor) -> list[float]:
    """The image's scores from subsets, whose streams are the means of their members'."""
    first = stages(method, features)[0]
    subsets = slow_subsets(boxes, first.amax(dim=1).tolist(), method.continuation, method.config.top)
    streams = [
        [sum(layer(features)[row] for row in rows) / len(rows) for rows in subsets]
        for layer in (method.recognition, method.detection)
    ]
    products = torch.stack(streams[0]).softmax(1) * torch.stack(streams[1]).softmax(0)
    return (products.amax(0) if method.config.bag == "max" else products.sum(0)).tolist()


@pytest.mark.parametrize("settings", [{}, {"bag": "max"}, {"top": 10}])
@pytest.mark.parametrize("progress", [0.0, 0.01, 0.3, 1.0])
def test_the_image_loss_is_the_hinge_of_the_score_of_its_subsets(settings: dict[str, Any], progress: float) -> None:
    method, (features, boxes) = at(progress, **settings), regions()
    p = slow_image(method, features, boxes)
    expected = ((1 - p[0]) + (1 + p[1]) + (1 - p[2])) / 3
    assert method.terms(features, boxes, LABELS)["classification"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bag", ["sum", "max"])
def test_the_logarithmic_loss_is_of_the_same_score(bag: str) -> None:
    method, (features, boxes) = at(0.3, bag=bag, bag_loss="log"), regions()
    p = slow_image(method, features, boxes)
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + math.log(p[2])) / 3
    assert method.terms(features, boxes, LABELS)["classification"].item() == pytest.approx(expected, rel=1e-5)


def test_at_first_there_is_one_subset_and_in_the_end_there_are_single_proposals() -> None:
    features, boxes = regions()
    known, labels = torch.ones(3).bool(), torch.tensor([1, 1, 1])
    first = 1 - at(0.0).classify(features, boxes, known, labels)[1]
    torch.testing.assert_close(first, at(0.0).recognition(features).mean(dim=0).softmax(dim=0).float())
    last = 1 - at(1.0).classify(features, boxes, known, labels)[1]
    torch.testing.assert_close(last, stages(at(1.0), features)[0].sum(dim=0).float())


def slow_detector(p: Tensor, scores: Tensor, boxes: Tensor, near: float, close: float, far: float) -> float:
    """Mean of -log(p + 1e-5) of objects and background, by the IoU with the best proposals of classes 0 and 2."""
    overlap, seeds, losses = iou(boxes.numpy(), boxes.numpy()), [int(scores[:, y].argmax()) for y in (0, 2)], []
    for row in range(len(boxes)):
        best = max(overlap[row, seed] for seed in seeds)
        label = 0 if overlap[row, seeds[0]] == best else 2
        if best >= near:
            losses.append(-math.log(p[row, label].item() + 1e-5))
        elif far <= best < close:
            losses.append(-math.log(p[row, 3].item() + 1e-5))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("labels", ["continuation", "fixed"])
@pytest.mark.parametrize("progress", [0.0, 0.1, 1.0])
def test_detectors_learn_from_the_best_proposals_of_the_one_before(progress: float, labels: str) -> None:
    method, (features, boxes) = at(progress, labels=labels, lam=0.3), regions()
    end = method.continuation
    bounds = (0.6, 0.4, 0.1) if labels == "fixed" else (1 - end / 2, end / 2, 0)
    total = sum(slow_detector(after, before, boxes, *bounds) for before, after in pairwise(stages(method, features)))
    assert method.terms(features, boxes, LABELS)["refinement"].item() == pytest.approx(0.3 * total, rel=1e-5)


def test_features_are_weighted_by_the_detectors_more_and_more() -> None:
    features, boxes = regions()
    share, last = 0.6 * 0.5, stages(at(0.5), features)[-1][:, :3].amax(dim=1, keepdim=True)
    weighted = features * (1 - share + share * last)
    given = (boxes, torch.ones(3).bool(), LABELS)
    found = at(0.5, recurrence=0.6).classify(features, *given)
    torch.testing.assert_close(found, at(0.5).classify(weighted, *given))
    torch.testing.assert_close(at(0.0, recurrence=0.6).classify(features, *given), at(0.0).classify(features, *given))


def test_detectors_teach_no_layer_before_them() -> None:
    method, (features, boxes) = at(0.5, recurrence=0.6), regions()
    terms = method.terms(features, boxes, LABELS)
    terms["refinement"].backward()
    assert method.recognition.weight.grad is None
    assert all(one.weight.grad.abs().sum() > 0 for one in method.refinements)


def test_proposals_that_are_alone_or_none_of_their_class_have_finite_losses() -> None:
    for progress in (0.0, 0.5, 1.0):
        method, (features, boxes) = at(progress), regions(1)
        assert all(term.isfinite() for term in method.terms(features, boxes, LABELS).values())
        assert method.terms(features, boxes, -LABELS.abs())["refinement"].item() == 0
