"""OICR and PCL whole: their terms by hand from the scores of each stage, their read-outs, what a recipe may not ask."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.method import Task
from methods.layers.clusters import cluster_seeds
from methods.layers.pseudo import select_distinct_best
from methods.layers.refined_method import RefinedMethod
from methods.layers.refinement import assign_targets, cluster_loss, refinement_loss
from methods.oicr import Oicr
from methods.pcl import Pcl

TASK = Task("made-up", ("a", "b", "c"))
LABELS = torch.tensor([1, -1, 1])


def made(cls: type[Any], **settings: Any) -> Any:
    torch.manual_seed(0)
    method = cls(cls.Config(net="tiny", weights="none", **settings), TASK).double()
    for name, parameter in method.named_parameters():
        if not name.startswith("backbone"):
            torch.nn.init.normal_(parameter, std=0.3)
    return method


def regions(count: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    corners = torch.randint(0, 12, (count, 2), generator=generator).double()
    sides = torch.randint(6, 12, (count, 2), generator=generator)
    return torch.rand(count, 256, generator=generator, dtype=torch.float64), torch.cat([corners, corners + sides], 1)


def stages(method: RefinedMethod, features: Tensor) -> list[Tensor]:
    """Probabilities of the two streams (R, C), then of each refinement (R, C + 1)."""
    streams = method.recognition(features).softmax(1) * method.detection(features).softmax(0)
    return [streams, *(one(features).softmax(1) for one in method.refinements)]


@pytest.mark.parametrize(("reduction", "share"), [("mean", 1 / 3), ("sum", 1)])
def test_the_image_loss_is_that_of_the_streams(reduction: str, share: float) -> None:
    method, (features, boxes) = made(Oicr, reduction=reduction), regions()
    p = stages(method, features)[0].sum(0).tolist()
    expected = -(math.log(p[0]) + math.log(1 - p[1]) + math.log(p[2])) * share
    assert method.terms(features, boxes, LABELS)["classification"].item() == pytest.approx(expected, rel=1e-5)


def test_each_refinement_of_oicr_learns_from_the_one_before() -> None:
    method, (features, boxes) = made(Oicr), regions()
    total, present = 0.0, torch.tensor([0, 2])
    for before, after in pairwise(stages(method, features)):
        seeds = select_distinct_best(before[:, :3], present)
        learned = assign_targets(boxes, seeds, before[seeds.proposal, present], background=3)
        total += refinement_loss(after.log(), learned).item()
    assert method.terms(features, boxes, LABELS)["refinement"].item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("divide", ["weighing", "all"])
def test_the_first_refinement_of_pcl_counts_three_times(divide: str) -> None:
    method, (features, boxes) = made(Pcl, divide=divide), regions()
    total, present, config = 0.0, torch.tensor([0, 2]), method.config
    for number, (before, after) in enumerate(pairwise(stages(method, features))):
        how = {"clusters": 3, "overlap": 0.4, "most": 5, "spare": 0}
        seeds, worth = cluster_seeds(boxes, before[:, :3], present, **how)
        learned = assign_targets(boxes, seeds, worth, background=3, ignored=config.ignored)
        over = int((learned.weight > 0).sum()) if divide == "weighing" else len(boxes)
        loss = cluster_loss(after.log(), learned, seeds, background=3).item() / over
        total += loss * (3 if number == 0 else 1)
    assert method.terms(features, boxes, LABELS)["refinement"].item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("cls", [Oicr, Pcl])
def test_pseudo_labels_are_constants_so_a_refinement_teaches_no_layer_before_it(cls: type[RefinedMethod]) -> None:
    method, (features, boxes) = made(cls), regions()
    method.terms(features, boxes, LABELS)["refinement"].backward()
    assert method.recognition.weight.grad is None
    assert all(one.weight.grad.abs().sum() > 0 for one in method.refinements)


def test_the_scores_are_the_mean_over_the_refinements_or_those_of_one() -> None:
    features, _ = regions()
    each = [made(Oicr, readout=f"r{number}").score(features) for number in (1, 2, 3)]
    mean = made(Oicr).score(features)
    torch.testing.assert_close(mean, torch.stack(each).mean(0))
    torch.testing.assert_close(mean, torch.stack(stages(made(Oicr), features)[1:]).mean(0)[:, :3].float())
    assert not each[0].equal(each[1])


def test_without_a_present_class_only_the_image_is_learned() -> None:
    method, (features, boxes) = made(Pcl), regions()
    terms = method.terms(features, boxes, -torch.ones(3))
    assert terms["classification"].item() > 0
    assert terms["refinement"].item() == 0


def test_a_read_out_that_the_network_lacks_is_refused() -> None:
    with pytest.raises(ValidationError, match="readout r3 needs refinements >= 3, but got 2"):
        Oicr.Config(refinements=2, readout="r3")
