"""What every method on region proposals owes: order does not matter, and odd sets of proposals give defined results."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.method import Task
from methods.c_mil import CMil
from methods.layers.region_method import RegionMethod
from methods.melm import Melm
from methods.mist import Mist
from methods.nets import backbone
from methods.oicr import Oicr
from methods.pcl import Pcl
from methods.wsddn import Wsddn

TASK = Task("made-up", ("a", "b", "c", "d"))
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([1, -1, 0, 1])
CASES: list[tuple[type[RegionMethod], dict[str, Any]]] = [
    (Wsddn, {"spatial": 0.1}),
    (Wsddn, {"reduction": "sum", "temperature": 2.0}),
    (Wsddn, {"spatial": 0.1, "spatial_rule": "released", "reduction": "sum"}),
    (Oicr, {}),
    (Oicr, {"readout": "r1", "reduction": "sum"}),
    (Pcl, {}),
    (CMil, {}),
    (CMil, CMil.variants["released"]),
    (Mist, {}),
    (Mist, {"regression": False, "apart_from": "proposals", "share": 0.5}),
    (Pcl, {"spare": 5, "divide": "all", "kmeans": 1, "linked": 0.1}),
    *[(Melm, settings) for settings in Melm.variants.values()],
    (Melm, {"localize": "entropy", "discovery": "plain", "rank": "all"}),
    (Melm, {"background": False, "aggregate": "relative", "kernel": "printed"}),
    (Melm, {"omega": "clique", "top": 10, "tau": 0.2, "local_loss": "printed"}),
]


def method(cls: type[RegionMethod], settings: dict[str, Any]) -> RegionMethod:
    torch.manual_seed(0)
    return cls(cls.Config(net="tiny", weights="none", **settings), TASK)


def boxes(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    corners = torch.randint(0, 40, (count, 2), generator=generator).float()
    return torch.cat([corners, corners + torch.randint(8, 24, (count, 2), generator=generator)], dim=1)


ODD = {
    "one": torch.tensor([[3.0, 4, 20, 30]]),
    "duplicates": torch.tensor([[3.0, 4, 20, 30]] * 5),
    "border": torch.tensor([[0.0, 0, 64, 64], [0.0, 0, 1, 64], [63.0, 63, 64, 64], [0.0, 60, 64, 64]]),
    "many": boxes(40),
}


@pytest.mark.parametrize(("cls", "settings"), CASES)
def test_permuting_the_proposals_permutes_the_scores_and_changes_no_loss(
    cls: type[RegionMethod], settings: dict[str, Any]
) -> None:
    one, proposals = method(cls, settings), boxes(40)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    here, there = one.loss(IMAGE, proposals, LABELS), one.loss(IMAGE, proposals[order], LABELS)
    assert here.keys() == there.keys()
    assert all(here[name].item() == there[name].item() for name in here)
    assert one(IMAGE, proposals)[order].equal(one(IMAGE, proposals[order]))


def test_regions_are_the_same_however_many_are_pooled_together(monkeypatch: pytest.MonkeyPatch) -> None:
    net, proposals = method(Wsddn, {}).backbone, boxes(40)
    whole = net.regions(IMAGE, proposals)
    monkeypatch.setattr(backbone, "REGIONS_AT_ONCE", 7)
    torch.testing.assert_close(net.regions(IMAGE, proposals), whole)
    assert net.regions(IMAGE, proposals[:0]).shape == (0, whole.shape[1])


def test_own_scores_weigh_what_is_pooled_from_a_proposal_and_go_with_it() -> None:
    one, proposals = method(Wsddn, {"proposals": "p.npz", "box_scores": 10.0}), boxes(40)
    own = torch.rand(40, 1, generator=torch.Generator().manual_seed(2))
    scored, order = torch.cat([proposals, own], dim=1), torch.randperm(40, generator=torch.Generator().manual_seed(1))
    assert one(IMAGE, scored)[order].equal(one(IMAGE, scored[order]))
    assert one.loss(IMAGE, scored, LABELS) == one.loss(IMAGE, scored[order], LABELS)
    net, features = one.backbone, one.features(IMAGE, scored)
    maps = net.features(IMAGE)
    for row in range(40):
        alone = net.roi_head(net.pool(maps, proposals[row : row + 1]) * net.scale * (1 + 10 * own[row, 0]))
        torch.testing.assert_close(features[row], alone[0])
    assert one(IMAGE, torch.cat([proposals, own * 0], dim=1)).equal(one(IMAGE, proposals))
    assert not one(IMAGE, scored).allclose(one(IMAGE, proposals))


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(("cls", "settings"), CASES)
def test_odd_proposals_give_finite_scores_losses_and_gradients(
    cls: type[RegionMethod], settings: dict[str, Any], odd: str
) -> None:
    one, proposals = method(cls, settings), ODD[odd]
    scores = one(IMAGE, proposals)
    assert scores.shape == (len(proposals), 4)
    assert ((scores >= 0) & (scores <= 1 + 1e-6)).all()
    torch.stack(list(one.loss(IMAGE, proposals, LABELS).values())).sum().backward()
    grads = [parameter.grad for parameter in one.parameters() if parameter.grad is not None]
    assert grads
    assert all(torch.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize(("cls", "settings"), CASES[:7])
@pytest.mark.parametrize(("proposals", "labels"), [(torch.zeros(0, 4), LABELS), (boxes(5), torch.zeros(4))])
def test_an_image_that_teaches_nothing_has_loss_0_and_a_gradient_of_0(
    cls: type[RegionMethod], settings: dict[str, Any], proposals: Tensor, labels: Tensor
) -> None:
    one = method(cls, settings)
    losses = one.loss(IMAGE, proposals, labels)
    torch.stack(list(losses.values())).sum().backward()
    assert {value.item() for value in losses.values()} == {0.0}
    assert all(parameter.grad is not None and parameter.grad.eq(0).all() for parameter in one.parameters())
    assert one(IMAGE, proposals).shape == (len(proposals), 4)


@pytest.mark.parametrize(("cls", "settings"), CASES)
def test_an_image_without_any_present_class_has_a_loss(cls: type[RegionMethod], settings: dict[str, Any]) -> None:
    losses = method(cls, settings).loss(IMAGE, boxes(20), -torch.ones(4))
    assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize(("cls", "settings"), CASES)
def test_nothing_is_learned_about_a_class_of_unknown_label(cls: type[RegionMethod], settings: dict[str, Any]) -> None:
    one = method(cls, settings)
    torch.stack(list(one.loss(IMAGE, boxes(30), LABELS).values())).sum().backward()
    heads = [module for name, module in one.named_modules() if name and not name.startswith("backbone")]
    linears = [module for module in heads if isinstance(module, torch.nn.Linear)]
    assert linears
    for layer in linears:
        sides = 4 if layer.out_features == 4 * len(TASK.classes) else 1  # a regressor has four rows for a class
        assert layer.weight.grad is None or layer.weight.grad[2 * sides : 3 * sides].eq(0).all()
