"""LayerCAM, HiResCAM, XGrad-CAM and Grad-CAM++ against loops, their axioms, and pytorch-grad-cam's numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from attribution_cases import CLASSES, LAYER, PICTURES, STEEPNESS, explaining, fixed
from map_cases import IMAGES
from torch import Tensor
from torch.nn.functional import one_hot

from methods.grad_cam_plus_plus import find_alphas

REFERENCE = json.loads(Path(__file__).with_name("attribution_reference.json").read_text())
NAMES = ("layer-cam", "hires-cam", "x-grad-cam", "grad-cam-plus-plus")


def features_and_gradient(base: Any, images: Tensor, layer: str, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    kept = list[Tensor]()
    with base.get_submodule(layer).register_forward_hook(lambda *given: kept.append(given[2])):
        scores = base(images.clone().requires_grad_()).scores
    (gradient,) = torch.autograd.grad((scores * one_hot(labels, 3)).sum(), kept[0])
    return kept[0].detach(), gradient, scores.detach()


def slow_map(name: str, features: list[Any], gradient: list[Any]) -> list[list[float]]:
    """A map from the features and gradient (K, h, w) of an image, position by position."""
    height, width = len(features[0]), len(features[0][0])
    places = [(y, x) for y in range(height) for x in range(width)]
    found = [[0.0] * width for _ in range(height)]
    for a, g in zip(features, gradient, strict=True):
        total = sum(a[y][x] for y, x in places)
        alpha = {(y, x): 1 / (2 + g[y][x] * total) if g[y][x] else 0.0 for y, x in places}
        for y, x in places:
            weight = {
                "layer-cam": lambda g=g, y=y, x=x: max(g[y][x], 0.0),
                "hires-cam": lambda g=g, y=y, x=x: g[y][x],
                "x-grad-cam": lambda a=a, g=g, total=total: sum(
                    a[i][j] / total * g[i][j] if total else 0.0 for i, j in places
                ),
                "grad-cam-plus-plus": lambda g=g, alpha=alpha: sum(alpha[i, j] * max(g[i][j], 0.0) for i, j in places),
            }[name]()
            found[y][x] += weight * a[y][x]
    return [[one if name == "hires-cam" else max(one, 0.0) for one in row] for row in found]


@pytest.mark.parametrize("name", NAMES)
def test_a_map_is_what_loops_make_of_features_and_gradient(name: str) -> None:
    method = fixed(name, layer=LAYER)
    features, gradient, _ = features_and_gradient(method.base, PICTURES, LAYER, CLASSES)
    expected = [slow_map(name, one.tolist(), own.tolist()) for one, own in zip(features, gradient, strict=True)]
    found = method.explain(PICTURES.clone(), CLASSES)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-8)
    assert (found > 0).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_map_is_pytorch_grad_cams_before_it_cuts_and_scales(name: str) -> None:
    found = fixed(name, STEEPNESS.get(name, 1), layer=LAYER).explain(PICTURES.clone(), CLASSES)
    theirs = torch.tensor(REFERENCE[name], dtype=torch.float64)
    expected = theirs if name == "hires-cam" else theirs.relu()
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-6)  # it adds small numbers to what it divides by


def test_alphas_are_third_derivatives_of_the_exponential() -> None:
    """Eq. 19 by differentiating exp(y) three times, position by position; above the layer the net is of ReLUs."""
    method = fixed("grad-cam-plus-plus")
    base, layer = method.base, method.base.get_submodule(LAYER)
    kept = list[Tensor]()
    with layer.register_forward_hook(lambda *given: kept.append(given[2])):
        outcome = base(PICTURES[:1].clone().requires_grad_()).scores[0, 2].exp()
    features = kept[0]
    (first,) = torch.autograd.grad(outcome, features, create_graph=True)
    total = features.sum(dim=(2, 3))[0].tolist()
    expected = torch.zeros_like(features)
    for place in torch.cartesian_prod(torch.arange(5), torch.arange(12), torch.arange(10))[::7].tolist():
        at = (0, *place)
        second = torch.autograd.grad(first[at], features, create_graph=True)[0][at]
        third = torch.autograd.grad(second, features, retain_graph=True)[0][at] if second else torch.zeros(())
        below = 2 * second + total[place[0]] * third
        expected[at] = second / below if below else 0.0
    expected = expected.detach()
    gradient = (first / outcome).detach()
    found = torch.where(expected != 0, find_alphas(features.detach(), gradient), 0)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)  # scores are in single precision
    assert (expected != 0).sum() > 40


def test_released_alphas_of_a_feature_map_sum_to_1() -> None:
    """Then a map's weight is the mean of its positive gradient, weighted by alpha."""
    assert explaining("grad-cam-plus-plus").variants["released"] == {"shared_alphas": True}
    method = fixed("grad-cam-plus-plus", layer=LAYER, shared_alphas=True)
    features, gradient, _ = features_and_gradient(method.base, PICTURES, LAYER, CLASSES)
    alpha = find_alphas(features, gradient)
    weight = (alpha * gradient.relu()).sum(dim=(2, 3)) / alpha.sum(dim=(2, 3))
    expected = torch.einsum("bk,bkyx->byx", weight.nan_to_num(), features).relu()
    torch.testing.assert_close(method.explain(PICTURES.clone(), CLASSES), expected)


def test_a_hires_map_of_a_net_that_is_linear_above_it_sums_to_the_score_without_bias() -> None:
    method = explaining("hires-cam", "cam", net="squeezenet").double()
    images = IMAGES.double()
    found = method.explain(images.clone(), CLASSES)
    scores = method.base(images).scores - method.base.maps.bias
    torch.testing.assert_close(found.sum(dim=(1, 2)), scores[[0, 1], CLASSES].detach())


def test_xgrad_maps_conserve_what_hires_maps_sum_to() -> None:
    """Conservation: sum_k w_k sum A_k = sum (dy/dA) A, before what is negative is cut off."""
    method = fixed("x-grad-cam", layer=LAYER)
    features, gradient, _ = features_and_gradient(method.base, PICTURES, LAYER, CLASSES)
    cut = method.combine(features, gradient) - method.combine(features, -gradient)
    expected = (features * gradient).sum(dim=(1, 2, 3))
    torch.testing.assert_close(cut.sum(dim=(1, 2)), expected, rtol=1e-5, atol=1e-8)


def test_above_a_mean_two_of_them_are_grad_cams_map() -> None:
    expected = explaining("grad-cam", net="squeezenet").explain(IMAGES.clone(), CLASSES)
    for name in ("x-grad-cam", "hires-cam"):
        found = explaining(name, net="squeezenet").explain(IMAGES.clone(), CLASSES).relu()
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    assert expected.any()


def test_layer_cam_sees_no_gradient_that_is_negative_and_gives_no_negative_evidence() -> None:
    method = fixed("layer-cam")
    features, gradient, _ = features_and_gradient(method.base, PICTURES, LAYER, CLASSES)
    assert method.combine(features, gradient).equal(method.combine(features, gradient.clamp(min=0)))
    assert not method.combine(features, -gradient.abs()).any()
    assert (method.combine(-features, gradient) == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_maps_scale_with_the_score(name: str) -> None:
    """Twice the gradient, twice the map: except for Grad-CAM++, whose alphas shrink as the gradient grows."""
    method = fixed(name)
    features, gradient, _ = features_and_gradient(method.base, PICTURES, LAYER, CLASSES)
    single, double = method.combine(features, gradient), method.combine(features, 2 * gradient)
    assert torch.allclose(double, 2 * single) == (name != "grad-cam-plus-plus")
