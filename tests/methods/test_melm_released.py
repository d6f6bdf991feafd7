"""MELM's variant for the released code against that code's steps in loops; what it shares with WSDDN."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from melm_cases import CLASSES, LABELS, melm, regions, softmax
from pydantic import ValidationError
from torch import Tensor

from bench.core.boxes import iou
from bench.method import Task
from methods.layers.losses import binary_log_loss
from methods.layers.min_entropy import clique_scores
from methods.layers.wsddn import image_log_scores, two_stream_log_scores
from methods.melm import Melm
from methods.wsddn import Wsddn


def released(**settings: Any) -> Melm:
    return melm(**{**Melm.variants["released"], **settings})


def product(streams: list[list[float]]) -> list[list[float]]:
    """Softmax over classes times softmax over rows, from the logits of both streams side by side."""
    by_row = [softmax([row[3 + y] for row in streams]) for y in range(3)]
    return [[softmax(row[:3])[y] * by_row[y][r] for y in range(3)] for r, row in enumerate(streams)]


def slow_cliques(p: list[list[float]], overlap: Any, tau: float, top: int) -> list[list[int]]:
    members = sorted(sorted(range(len(p)), key=lambda h: -max(p[h]))[:top])
    clique_of = {h: -1 - h for h in range(len(p)) if h not in members}
    for place, first in enumerate(members):
        if first not in clique_of:
            clique = [first]
            for h in members[place + 1 : place + 40]:
                clique += [h] if all(overlap[h, k] >= tau for k in clique) else []
            clique_of |= dict.fromkeys(clique, first)
    return [[h for h in range(len(p)) if clique_of[h] == name] for name in set(clique_of.values())]


def slow_branch(p: list[list[float]], overlap: Any, seeds: list[tuple[int, int]]) -> float:
    losses = []
    for h in range(len(p)):
        nearest, label = max((overlap[h, star], -k, y) for k, (star, y) in enumerate(seeds))[::2]
        if nearest >= 0.6:
            losses.append(-math.log(p[h][label] + 1e-5))
        elif 0.1 <= nearest < 0.4:
            losses.append(-math.log(p[h][3] + 1e-5))
    return sum(losses) / len(losses)


def slow_terms(method: Melm, features: Tensor, boxes: Tensor) -> list[float]:
    overlap, streams = iou(boxes.numpy(), boxes.numpy()), method.discovery(features).tolist()
    p = product(streams)
    cliques = slow_cliques(p, overlap, method.config.tau, method.config.top)
    means = [[sum(streams[h][k] for h in clique) / len(clique) for k in range(6)] for clique in cliques]
    image = [sum(row[y] for row in product(means)) for y in range(3)]
    seeds, local = [], 0.0
    for branch in method.localization:
        seeds += [(max(range(len(p)), key=lambda h: p[h][y]), y) for y in (0, 2)]
        p = [softmax(row) for row in branch(features).tolist()]
        local += 0.1 * slow_branch(p, overlap, seeds)
    return [-(math.log(image[0]) + math.log(image[2])) / 3, -math.log(1 - image[1]) / 3, local]


@pytest.mark.parametrize(("tau", "top"), [(0.7, 100), (0.5, 100), (0.5, 10)])
def test_terms_are_those_of_the_released_steps(tau: float, top: int) -> None:
    method, (features, boxes) = released(tau=tau, top=top), regions(least=6)
    terms = method.terms(features, boxes, LABELS)
    found = [terms["global"].item(), terms["absence"].item(), terms["local"].item()]
    # The method computes its losses in single precision.
    assert found == pytest.approx(slow_terms(method, features, boxes), rel=1e-4)


def test_gradients_of_its_image_loss_are_right() -> None:
    streams = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    clique = torch.tensor([0, 0, 2, 0, 2, 5, 6])

    def loss(logits: Tensor) -> Tensor:
        _, means = clique_scores(logits, clique)
        return binary_log_loss(image_log_scores(two_stream_log_scores(*means.chunk(2, dim=1))), LABELS)

    assert torch.autograd.gradcheck(loss, streams)


def test_two_streams_without_cliques_are_wsddn() -> None:
    method, (features, boxes) = released(cliques=False, branches=0, readout="d"), regions(least=6)
    wsddn = Wsddn(Wsddn.Config(net="tiny", weights="none"), Task("made-up", CLASSES)).double()
    for half, layer in ((slice(3), wsddn.recognition), (slice(3, 6), wsddn.detection)):
        layer.load_state_dict({name: value[half] for name, value in method.discovery.state_dict().items()})
    terms = method.terms(features, boxes, LABELS)
    whole = wsddn.terms(features, boxes, LABELS)["classification"]
    torch.testing.assert_close(terms["global"] + terms["absence"], whole)
    torch.testing.assert_close(method.score(features), wsddn.score(features))


def test_its_image_loss_reaches_the_features_and_its_pseudo_objects_do_not_reach_the_streams() -> None:
    method, (features, boxes) = released(), regions(least=6)
    features.requires_grad_()
    terms = method.terms(features, boxes, LABELS)
    assert torch.autograd.grad(terms["global"], features, retain_graph=True)[0].abs().sum() > 0
    terms["local"].backward()
    assert method.discovery.weight.grad is None
    assert all(branch.weight.grad.abs().sum() > 0 for branch in method.localization)  # type: ignore[union-attr]


def test_a_sample_without_a_background_is_refused() -> None:
    with pytest.raises(ValidationError, match="omega=sample needs background=true"):
        released(background=False)
