"""MELM's losses against Eq. 4-11 and Alg. 1 written out one proposal after the other; its variants and read-outs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from melm_cases import CLASSES, LABELS, melm, regions, softmax
from pydantic import ValidationError
from torch import Tensor

from bench.core.boxes import iou
from methods.layers.pseudo import Seeds
from methods.melm import Melm, MelmConfig
from tools.docs import FOLDER


class Slow:
    """The paper's equations for one image and all classes, in the readings that the config names; features (R, D)."""

    def __init__(self, method: Melm, features: Tensor, boxes: Tensor, labels: Tensor) -> None:
        self.method, self.config, self.boxes = method, method.config, boxes.numpy()
        self.present = [y for y in range(len(labels)) if labels[y] > 0]
        self.absent = [y for y in range(len(labels)) if labels[y] < 0]
        self.overlap = iou(self.boxes, self.boxes)
        totals = [0.0, 0.0, 0.0]
        weight = torch.ones(len(features), 1, dtype=torch.float64)
        for _ in range(method.config.passes):
            found, last = self.one_pass(features * weight)
            totals = [a + b for a, b in zip(totals, found, strict=True)]
            weight = torch.tensor([[1 - p[-1] if self.config.background else sum(p)] for p in last]).double()
            weight /= weight.max() if self.config.aggregate == "relative" else 1
            weight = 1 - self.config.recurrence + self.config.recurrence * weight
        self.losses = [total / method.config.passes for total in totals]

    def one_pass(self, features: Tensor) -> tuple[tuple[float, float, float], list[list[float]]]:
        s = self.method.discovery(features).tolist()
        branches = [self.probabilities(branch(features).tolist()) for branch in self.method.localization]
        ranking = self.present if self.config.rank == "present" else range(len(CLASSES))
        cliques = self.partition([max(row[y] for y in ranking) for row in s])
        energy = {
            (y, c): math.exp(sum(s[h][y] for h in clique) / len(clique))
            for c, clique in enumerate(cliques)
            for y in range(len(CLASSES))
        }
        p = {key: value / sum(energy.values()) for key, value in energy.items()}
        worth = {(y, c): p[y, c] ** 2 / sum(p[k, c] for k in range(len(CLASSES))) for y, c in p}
        entropy = sum(-math.log(sum(worth[y, c] for c in range(len(cliques)))) for y in self.present)
        everything = sum(math.exp(x) for row in s for x in row)
        absence = sum(-math.log(1 - math.exp(row[y]) / everything) for y in self.absent for row in s)
        seeds = []
        for y in self.present:
            by = worth if self.config.discovery == "weighted" else p
            star = cliques[max(range(len(cliques)), key=lambda c: by[y, c])]
            if self.config.localize == "entropy":
                column = [row[y] for row in branches[0]]
                seeds.append((min(star, key=lambda h: self.entropy(column, h, star)), y))
            else:
                anywhere = range(len(s)) if self.config.localize == "image" else star
                seeds.append((max(anywhere, key=lambda h: s[h][y]), y))
        self.clique = {h: number for number, clique in enumerate(cliques) for h in clique}
        local = 0.0
        for probabilities in branches:
            local += self.config.lam * self.local(probabilities, seeds)
            seeds += [(max(range(len(s)), key=lambda h: probabilities[h][y]), y) for y in self.present]
        return (entropy, absence, local), branches[-1] if branches else []

    def probabilities(self, logits: list[list[float]]) -> list[list[float]]:
        if self.config.background:
            return [softmax(row) for row in logits]
        total = sum(math.exp(x) for row in logits for x in row)
        return [[math.exp(x) / total for x in row] for row in logits]

    def partition(self, scores: list[float]) -> list[list[int]]:
        left = sorted(range(len(scores)), key=lambda h: -scores[h])[: self.config.top]
        cliques = []
        while left:
            clique = [left.pop(0)]
            for member in clique:
                near = [h for h in left if self.overlap[h, member] > self.config.tau]
                clique += near
                left = [h for h in left if h not in near]
            cliques.append(clique)
        return cliques

    def labels(self, p: list[float], star: int, omega: list[int]) -> dict[int, float]:
        """t_h by Eq. 10 for the neighbourhood omega of an object."""
        mean = self.mean_around(p, star, omega)
        return {h: mean * (self.kernel(star, h) if self.config.kernel == "iou" else 1) for h in omega}

    def mean_around(self, p: list[float], star: int, omega: list[int]) -> float:
        """w_h p of Eq. 10 as printed, one value for the neighbourhood."""
        g = {h: self.kernel(star, h) for h in omega}
        return sum(g[h] * p[h] for h in omega) / sum(g.values())

    def kernel(self, star: int, h: int) -> float:
        return math.exp(-self.config.a * (1 - self.overlap[star, h]) ** 2)

    def entropy(self, p: list[float], star: int, clique: list[int]) -> float:
        """Eq. 9 of one class in a clique, as if `star` were its object."""
        near = [h for h in clique if self.overlap[star, h] >= self.config.radius]
        return -sum(t * math.log(p[h]) for h, t in self.labels(p, star, near).items())

    def local(self, p: list[list[float]], seeds: list[tuple[int, int]]) -> float:
        owner = [max(range(len(seeds)), key=lambda k: self.overlap[seeds[k][0], h]) for h in range(len(p))]
        total = weights = doubted = count = 0.0
        negatives = []
        for k, (star, y) in enumerate(seeds):
            mine = [h for h in range(len(p)) if owner[h] == k and self.together(h, star)]
            omega = [h for h in mine if self.overlap[star, h] >= self.config.radius]
            count += len(mine)
            negatives += [-math.log(p[h][-1]) for h in mine if h not in omega]
            if not omega:
                continue
            sure = self.mean_around([row[y] for row in p], star, omega)
            doubted += sum(-sure * math.log(p[h][-1]) for h in mine if h not in omega)
            labels = self.labels([row[y] for row in p], star, omega)
            total += sum(-t * math.log(p[h][y]) for h, t in labels.items())
            weights += sum(labels.values())
        if self.config.local_loss == "proposals":
            return (total + (doubted if self.config.background else 0)) / count
        loss = total / weights if self.config.local_loss == "mean" else total
        if not negatives or not self.config.background:
            return loss
        share = self.config.negatives
        return (loss + share * sum(negatives) / len(negatives)) / (1 + share)

    def together(self, h: int, star: int) -> bool:
        alone = -1 - h, -1 - star
        same = self.clique.get(h, alone[0]) == self.clique.get(star, alone[1])
        return same or self.config.omega == "image"


@pytest.mark.parametrize("variant", ["base+clique", "l", "l+rl", "l2+arl"])
@pytest.mark.parametrize("top", [8, 200])
def test_losses_are_those_of_the_equations(variant: str, top: int) -> None:
    method = melm(**Melm.variants[variant], top=top, tau=0.6)
    features, boxes = regions()
    terms = method.terms(features, boxes, LABELS)
    slow = Slow(method, features, boxes, LABELS).losses
    # The method computes its losses in single precision.
    found = [terms["global"].item(), terms["absence"].item(), terms["local"].item()]
    assert found == pytest.approx(slow, rel=1e-4)


READINGS: list[dict[str, Any]] = [
    {},
    {"rank": "all", "top": 8},
    {"discovery": "plain"},
    {"localize": "entropy", "radius": 0.7},
    {"localize": "entropy", "radius": 0.7, "kernel": "printed"},
    {"localize": "image"},
    {"aggregate": "relative"},
    {"background": False},
    {"kernel": "printed", "a": 9.0, "radius": 0.7, "negatives": 1.0},
    {"omega": "image"},
    {"local_loss": "printed"},
    {"local_loss": "printed", "background": False},
    {"local_loss": "proposals"},
    {"local_loss": "proposals", "omega": "image", "kernel": "printed"},
    {"local_loss": "proposals", "background": False},
    {"recurrence": 0.5},
    {"recurrence": 0.3, "aggregate": "relative"},
]


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_each_reading_of_an_open_point_is_what_it_says(reading: dict[str, Any]) -> None:
    method, (features, boxes) = melm(**reading), regions()
    terms = method.terms(features, boxes, LABELS)
    slow = Slow(method, features, boxes, LABELS).losses
    assert [terms["global"].item(), terms["local"].item()] == pytest.approx([slow[0], slow[2]], rel=1e-4)
    default = melm().terms(features, boxes, LABELS)
    assert (terms == default) == (not reading)


@pytest.mark.parametrize(("p", "mean", "printed"), [(0.009, 4.71, 0.128), (0.787, 0.24, 0.57)])
def test_as_printed_an_unsure_seed_pulls_less_than_a_sure_one(p: float, mean: float, printed: float) -> None:
    """Three proposals of IoU 1 with their seed: divided by the labels' sum, the loss is -log p."""
    rest = (1 - p) / 4
    log_p, boxes = torch.tensor([[p, rest, rest, rest, rest]] * 3).log(), torch.tensor([[0.0, 0, 9, 9]] * 3)
    seeds, clique = Seeds(torch.tensor([0]), torch.tensor([0])), torch.zeros(3, dtype=torch.int64)
    found = {
        rule: melm(local_loss=rule)._local_loss(log_p, boxes, seeds, clique).item() for rule in ("mean", "printed")
    }
    assert found == {"mean": pytest.approx(mean, abs=5e-3), "printed": pytest.approx(printed, abs=5e-3)}


def test_the_second_term_of_equation_7_may_be_over_cliques() -> None:
    method = melm(absent="cliques", branches=0, readout="d", passes=1, tau=0.6)
    features, boxes = regions()
    slow = Slow(method, features, boxes, LABELS)
    s = method.discovery(features).tolist()
    cliques = slow.partition([max(row[y] for y in slow.present) for row in s])
    energy = [[math.exp(sum(s[h][y] for h in clique) / len(clique)) for y in range(len(CLASSES))] for clique in cliques]
    expected = sum(-math.log(1 - row[1] / sum(map(sum, energy))) for row in energy)
    terms = method.terms(features, boxes, LABELS)
    assert terms["absence"].item() == pytest.approx(expected, rel=1e-4)
    assert terms["global"].item() == pytest.approx(slow.losses[0], rel=1e-4)


def test_a_probability_that_underflows_teaches_nothing_and_breaks_nothing() -> None:
    method = melm(passes=1)
    features, boxes = regions()
    with torch.no_grad():
        for branch in method.localization:
            branch.bias[:-1] = -1e4  # type: ignore[index]
    assert method.terms(features, boxes, LABELS)["local"].isfinite()


def test_base_is_a_clique_a_proposal() -> None:
    features, boxes = regions()
    base = melm(**Melm.variants["base"]).terms(features, boxes, LABELS)
    alone = melm(**Melm.variants["base+clique"], tau=1.0).terms(features, boxes, LABELS)
    assert base["global"].item() == pytest.approx(alone["global"].item())
    assert base["local"].item() == 0


def test_read_outs_of_one_network_share_their_training_settings() -> None:
    def trained(name: str) -> dict[str, Any]:
        return MelmConfig(**Melm.variants[name]).stage("training")

    assert trained("d") == trained("l")
    assert trained("d+rl") == trained("l+rl")
    assert trained("d+arl") == trained("l1+arl") == trained("l2+arl") == trained("arl")
    assert len({str(trained(name)) for name in ("base", "base+clique", "l", "l+rl", "l2+arl")}) == 5


def test_the_variant_with_hard_negatives_is_the_default_config() -> None:
    assert MelmConfig(**Melm.variants["negatives"]) == MelmConfig()


def test_read_outs_are_different_scores_of_the_same_weights() -> None:
    features, _ = regions()
    methods = [melm(readout=readout) for readout in ("d", "l1", "l2", "mean")]
    for other in methods[1:]:
        other.load_state_dict(methods[0].state_dict())
    scores = [method.score(features) for method in methods]
    assert scores[0].sum().item() == pytest.approx(1, abs=1e-5)
    assert not scores[1].allclose(scores[2])
    torch.testing.assert_close(scores[3], (scores[1] + scores[2]) / 2)


def test_a_second_pass_sees_features_times_the_probability_of_an_object() -> None:
    features, _ = regions()
    two, one = melm(passes=2), melm(passes=1)
    one.load_state_dict(two.state_dict())
    objectness = 1 - two.localization[1](features).float().softmax(dim=1)[:, -1:]
    torch.testing.assert_close(two.score(features), one.score(features * objectness.double()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("liked", "sign"), [(5.0, -1), (0.0, 1)])
def test_what_the_first_branch_likes_is_an_object_to_the_second_and_else_background(liked: float, sign: int) -> None:
    method = melm(passes=1, omega="image")
    features, boxes = regions()
    features, boxes = torch.cat([features, features[:1]]), torch.cat([boxes, torch.tensor([[90.0, 90, 99, 99]])])
    features[:, -1] = 0
    features[-1, -1] = 1  # so that this weight's gradient is that of the proposal apart
    with torch.no_grad():
        for layer in (method.discovery, *method.localization):
            layer.weight.zero_()  # type: ignore[operator, union-attr]
        method.localization[0].weight[0, -1] = liked  # type: ignore[operator, index]
    local = method.terms(features, boxes, torch.tensor([1, -1, -1]))["local"]
    gradient = torch.autograd.grad(local, method.localization[1].weight)[0]  # type: ignore[arg-type]
    assert gradient[0, -1].sign() == sign


def test_a_read_out_that_the_network_lacks_is_refused() -> None:
    with pytest.raises(ValidationError, match="readout l2 needs branches >= 2, but got 1"):
        MelmConfig(branches=1, readout="l2")
    with pytest.raises(ValidationError, match="readout mean needs branches >= 1, but got 0"):
        MelmConfig(branches=0, readout="mean")


def test_it_watches_the_gradients_of_both_kinds_of_branch() -> None:
    assert {name: len(layers) for name, layers in melm().gradient_groups().items()} == {"global": 2, "local": 4}
    assert melm(branches=0, readout="d").gradient_groups()["local"] == []


OPEN = [name for name, info in MelmConfig.model_fields.items() if str(info.description).startswith("*")]


@pytest.mark.parametrize("name", OPEN)
def test_each_point_that_the_paper_leaves_open_is_on_the_page_with_its_default(name: str) -> None:
    default = MelmConfig().model_dump(mode="json")[name]
    shown = str(default).lower() if isinstance(default, bool) else default
    assert f"\n| `{name}` | `{shown}` | " in (FOLDER / "proposals.md").read_text(encoding="utf-8")
