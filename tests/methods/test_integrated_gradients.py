"""Integrated gradients against captum, a loop over Eq. 3, released code's rule, and the axiom of completeness."""

from __future__ import annotations

import pytest
import torch
from attribution_cases import CLASSES, PICTURES, explaining, fixed
from captum.attr import IntegratedGradients
from map_cases import IMAGES

from methods.layers.attribution import Scores

NAME = "integrated-gradients"


@pytest.mark.parametrize(("rule", "method"), [("right", "riemann_right"), ("gauss-legendre", "gausslegendre")])
@pytest.mark.parametrize("blank", ["black", "mean"])
def test_maps_are_captums_summed_over_the_channels(rule: str, method: str, blank: str) -> None:
    ours = fixed(NAME, path_points=9, path_rule=rule, blank=blank, batch_size=4)
    start = ours.base.backbone.mean.expand(2, 3, 12, 10) if blank == "mean" else torch.zeros_like(PICTURES)
    captums = IntegratedGradients(Scores(ours.base)).attribute(PICTURES, start, CLASSES, n_steps=9, method=method)
    torch.testing.assert_close(ours.explain(PICTURES.clone(), CLASSES), captums.sum(dim=1), rtol=1e-5, atol=1e-7)


def compute_gradient(base: object, image: torch.Tensor, label: int) -> torch.Tensor:
    image = image.clone().requires_grad_()
    return torch.autograd.grad(base(image[None]).scores[0, label], image)[0]  # type: ignore[operator]


def test_eq_3_is_a_mean_of_gradients_on_the_way() -> None:
    method, image = fixed(NAME, path_points=6), PICTURES[0]
    way = sum(compute_gradient(method.base, image * k / 6, 2) for k in range(1, 7))
    expected = (image * way / 6).sum(dim=0)
    torch.testing.assert_close(method.explain(image[None].clone(), CLASSES[:1])[0], expected, rtol=1e-5, atol=1e-7)


def test_released_code_takes_the_mean_of_neighbours_on_the_way() -> None:
    assert explaining(NAME).variants["released"] == {"path_rule": "trapezoid", "path_points": 51}
    method, image = fixed(NAME, path_points=7, path_rule="trapezoid"), PICTURES[0]
    gradients = torch.stack([compute_gradient(method.base, image * k / 6, 2) for k in range(7)])
    expected = (image * ((gradients[:-1] + gradients[1:]) / 2).mean(dim=0)).sum(dim=0)
    torch.testing.assert_close(method.explain(image[None].clone(), CLASSES[:1])[0], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rule", ["right", "trapezoid", "gauss-legendre"])
def test_a_map_sums_to_the_score_minus_that_of_the_blank_image(rule: str) -> None:
    method = fixed(NAME, path_points=200, path_rule=rule)
    found = method.explain(PICTURES.clone(), CLASSES).sum(dim=(1, 2))
    scores = [method.base(images).scores.detach()[[0, 1], CLASSES] for images in (PICTURES, PICTURES * 0)]
    torch.testing.assert_close(found.float(), scores[0] - scores[1], rtol=0.02, atol=0.005)


def test_magnitudes_are_at_least_the_signed_evidence() -> None:
    signed, magnitude = (explaining(NAME, path_points=3, magnitude=one) for one in (False, True))
    assert (magnitude.explain(IMAGES.clone(), CLASSES) >= signed.explain(IMAGES.clone(), CLASSES).abs() - 1e-7).all()
