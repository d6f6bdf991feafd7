"""MELM's entropies against its equations written out in loops, in double precision, and gradcheck."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from methods.layers import min_entropy
from methods.layers.min_entropy import Kernel

CLIQUE = torch.tensor([0, 0, 2, 0, 2, 5, 5])
CLIQUES = [[0, 1, 3], [2, 4], [5, 6]]
CLASSES = 3


def some_scores() -> Tensor:
    return torch.randn(7, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def slow_p(scores: Tensor) -> dict[tuple[int, int], float]:
    """Eq. 4: p(y, Hc) for each class and clique."""
    s = scores.tolist()
    power = {
        (y, c): math.exp(sum(s[h][y] for h in clique) / len(clique))
        for c, clique in enumerate(CLIQUES)
        for y in range(CLASSES)
    }
    return {key: value / sum(power.values()) for key, value in power.items()}


def slow_global(scores: Tensor, y: int) -> float:
    """Eq. 5 with Eq. 6."""
    p = slow_p(scores)
    total = 0.0
    for c in range(len(CLIQUES)):
        weight = p[y, c] / sum(p[other, c] for other in range(CLASSES))
        total += weight * p[y, c]
    return -math.log(total)


def test_joint_probability_of_cliques_is_equation_4() -> None:
    _, means = min_entropy.clique_scores(some_scores(), CLIQUE)
    p = min_entropy.joint_log_softmax(means).exp()
    assert p.sum().item() == pytest.approx(1)
    expected = slow_p(some_scores())
    assert all(p[c, y].item() == pytest.approx(expected[y, c], abs=1e-6) for y, c in expected)


def test_global_entropy_is_equation_5() -> None:
    _, means = min_entropy.clique_scores(some_scores(), CLIQUE)
    entropy = min_entropy.global_entropy(means).tolist()
    assert entropy == pytest.approx([slow_global(some_scores(), y) for y in range(CLASSES)], abs=1e-6)


def test_two_equal_cliques_of_two_classes_have_entropy_log_4() -> None:
    assert min_entropy.global_entropy(torch.zeros(2, 2)).tolist() == pytest.approx([math.log(4)] * 2)


def test_absence_is_the_second_term_of_equation_7() -> None:
    p = torch.tensor([[0.1, 0.2], [0.3, 0.4]], dtype=torch.float64)
    expected = [-math.log(0.9) - math.log(0.7), -math.log(0.8) - math.log(0.6)]
    assert min_entropy.absence(p.log()).tolist() == pytest.approx(expected, abs=1e-6)


def test_absence_of_a_lone_certain_proposal_is_finite() -> None:
    assert torch.isfinite(min_entropy.absence(torch.zeros(1, 1))).all()


def slow_soft_label(p: list[float], overlap: list[float], a: float, kernel: Kernel) -> list[float]:
    """w_h p(y, h) by Eq. 10 for the proposals of one neighbourhood."""
    g = [math.exp(-a * (1 - o) ** 2) for o in overlap]
    labels = []
    for h in range(len(p)):
        weight = sum(gi * pi for gi, pi in zip(g, p, strict=True)) / (p[h] * sum(g))
        labels.append(weight * p[h] * (g[h] if kernel == "iou" else 1))
    return labels


@pytest.mark.parametrize("kernel", ["iou", "printed"])
def test_soft_labels_are_equation_10(kernel: Kernel) -> None:
    p, overlap = [0.5, 0.2, 0.9], [1.0, 0.6, 0.8]
    inside = torch.tensor([[True, True, True, False]])
    rows = (torch.tensor([[*p, 0.7]]).double(), torch.tensor([[*overlap, 0.1]]).double())
    labels = min_entropy.soft_labels(*rows, inside, a=3.0, kernel=kernel)
    assert labels[0].tolist() == pytest.approx([*slow_soft_label(p, overlap, 3.0, kernel), 0.0], abs=1e-6)


def test_printed_labels_are_equal_and_iou_labels_fall_with_the_overlap() -> None:
    p, overlap, inside = torch.full((1, 3), 0.4), torch.tensor([[1.0, 0.8, 0.5]]), torch.ones(1, 3, dtype=torch.bool)
    printed = min_entropy.soft_labels(p, overlap, inside, a=5.0, kernel="printed")[0]
    falling = min_entropy.soft_labels(p, overlap, inside, a=5.0)[0]
    assert printed.tolist() == pytest.approx([0.4] * 3)
    assert falling[0] > falling[1] > falling[2]


def test_gradient_of_the_local_entropy_by_p_is_minus_w() -> None:
    p = torch.tensor([[0.5, 0.2, 0.9]], dtype=torch.float64, requires_grad=True)
    overlap, inside = torch.tensor([[1.0, 0.6, 0.8]]).double(), torch.ones(1, 3, dtype=torch.bool)
    labels = min_entropy.soft_labels(p, overlap, inside, a=3.0)
    min_entropy.local_entropy(p.log(), labels).sum().backward()
    assert p.grad is not None
    torch.testing.assert_close(p.grad, -labels / p.detach())


def test_an_empty_neighbourhood_has_no_labels_and_no_entropy() -> None:
    p, none = torch.full((1, 3), 0.4), torch.zeros(1, 3, dtype=torch.bool)
    labels = min_entropy.soft_labels(p, torch.zeros(1, 3), none, a=5.0)
    assert labels.tolist() == [[0, 0, 0]]
    assert min_entropy.local_entropy(p.log(), labels).tolist() == [0]


def test_gradients_of_the_global_loss_are_right_with_the_weight_differentiated() -> None:
    scores = some_scores().requires_grad_()

    def loss(s: Tensor) -> Tensor:
        _, means = min_entropy.clique_scores(s, CLIQUE)
        absent = min_entropy.absence(min_entropy.joint_log_softmax(s))[2]
        return min_entropy.global_entropy(means)[:2].sum() + absent

    assert torch.autograd.gradcheck(loss, scores)
    _, means = min_entropy.clique_scores(scores, CLIQUE)
    whole = torch.autograd.grad(min_entropy.global_entropy(means)[0], scores, retain_graph=True)[0]
    log_w = means.log_softmax(dim=1).detach()
    held = -(log_w + min_entropy.joint_log_softmax(means)).logsumexp(dim=0)[0]
    assert not torch.allclose(whole, torch.autograd.grad(held, scores)[0])


def test_gradients_of_the_local_loss_are_right() -> None:
    logits = some_scores().T.contiguous().requires_grad_()
    labels = torch.rand(CLASSES, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: min_entropy.local_entropy(x.log_softmax(0), labels), logits)
