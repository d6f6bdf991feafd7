"""GMP, LSE, MANTRA and HaS: what their scores are of their maps, and what HaS trains on."""

from __future__ import annotations

import math

import pytest
import torch
from map_cases import IMAGES, LABELS, made

from methods.cam import Cam
from methods.gmp import Gmp
from methods.has import Has
from methods.layers.map_method import PooledMaps
from methods.lse import Lse
from methods.mantra import Mantra
from methods.weldon import Weldon


@pytest.mark.parametrize("cls", [Cam, Gmp, Lse, Mantra, Has, Weldon])
@pytest.mark.parametrize("loss", ["multi-label", "softmax"])
def test_every_pooling_learns_by_either_loss(cls: type[PooledMaps], loss: str) -> None:
    method = made(cls, loss=loss, dropout=0.5).train()
    terms = method.loss(IMAGES, LABELS)
    torch.stack(list(terms.values())).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in method.parameters())
    expected = method.probabilities(torch.tensor([[1.0, 2.0, 3.0]])).sum().item()
    assert (expected == pytest.approx(1)) == (loss == "softmax")


def test_dropout_of_channels_varies_a_logit_as_dropout_after_pooling_does() -> None:
    """Its variance is p / (1 - p) times the sum of squares of what channels add; positions are averaged away."""
    spreads = {}
    for dropout_of in ("channels", "positions"):
        method = made(Cam, dropout=0.5, dropout_of=dropout_of).train()
        features = method.backbone.features(IMAGES[:1])
        method.backbone.features = lambda images, features=features: features  # type: ignore[method-assign, misc]
        torch.manual_seed(0)
        with torch.no_grad():
            logits = torch.cat([method(IMAGES[:1]).scores for _ in range(2000)])
        spreads[dropout_of] = logits.std(dim=0)
    added = method.maps.weight[:, :, 0, 0] * features.mean(dim=(2, 3))
    torch.testing.assert_close(spreads["channels"], added.square().sum(dim=1).sqrt(), rtol=0.06, atol=0)
    assert (spreads["positions"] < spreads["channels"] / 4).all()


def test_gmp_scores_the_strongest_position() -> None:
    found = made(Gmp)(IMAGES)
    torch.testing.assert_close(found.scores, found.maps.amax(dim=(2, 3)) + made(Gmp).maps.bias)


def test_lse_is_log_mean_exp() -> None:
    method = made(Lse, beta=3.0)
    found = method(IMAGES)
    expected = (3 * found.maps).exp().mean(dim=(2, 3)).log() / 3
    torch.testing.assert_close(found.scores, expected + method.maps.bias)


def test_mantra_is_half_the_sum_of_maximum_and_minimum_and_twice_that_without_the_half() -> None:
    method, doubled = made(Mantra), made(Mantra, halve=False)
    maps = method(IMAGES).maps
    both = maps.amax(dim=(2, 3)) + maps.amin(dim=(2, 3))
    torch.testing.assert_close(method(IMAGES).scores, both / 2 + method.maps.bias)
    torch.testing.assert_close(doubled(IMAGES).scores, both + method.maps.bias)


def test_has_is_cam_at_test_and_where_nothing_is_hidden() -> None:
    has, cam = made(Has, patches=(0,)), made(Cam)
    torch.testing.assert_close(has(IMAGES).scores, cam(IMAGES).scores)
    torch.testing.assert_close(has.loss(IMAGES, LABELS), cam.loss(IMAGES, LABELS))


def test_has_fills_hidden_patches_with_the_mean_colour() -> None:
    has, cam = made(Has, patches=(64,), hidden=1.0), made(Cam)
    torch.testing.assert_close(has.loss(IMAGES, LABELS), cam.loss(has.backbone.mean.expand_as(IMAGES), LABELS))


def test_has_draws_its_patches_from_torchs_generator() -> None:
    method, losses = made(Has, patches=(8,)), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(method.loss(IMAGES, LABELS)["classification"].item())
    assert losses[0] == losses[1] != losses[2]
    assert all(math.isfinite(loss) for loss in losses)
