"""SPG: seeds, what they supervise, and what gets no gradient from them."""

from __future__ import annotations

import math

import pytest
import torch
from map_cases import IMAGES, LABELS, made
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from methods.layers.erasing import compute_attention
from methods.spg import Spg, SpgConfig, guided_loss


def spg(**settings: object) -> Spg:
    return made(Spg, mask_width=8, **settings)


def test_masks_learn_where_the_guide_is_low_or_high_and_nowhere_else() -> None:
    logits = torch.tensor([[[2.0, 5.0, -1.0]]], requires_grad=True)
    loss = guided_loss(logits, torch.tensor([[[0.9, 0.4, 0.1]]]), (0.2, 0.7))
    loss.backward()
    assert loss.item() == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2)
    assert logits.grad is not None
    assert logits.grad.ne(0).tolist() == [[[True, False, True]]]


def test_where_nothing_is_above_the_strongest_positions_are_foreground() -> None:
    logits, guide = torch.zeros(1, 1, 4), torch.tensor([[[0.01, 0.3, 0.5, 0.4]]])
    expected = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    marked = torch.tensor([[[True, False, True, True]]])
    logits.requires_grad_()
    guided_loss(logits, guide, (0.05, 0.7)).backward()
    torch.testing.assert_close(logits.grad, torch.where(marked, (0.5 - expected) / 3, 0))


def test_what_is_below_the_low_seed_is_background_even_if_nothing_is_above_it() -> None:
    logits, guide = torch.full((1, 2, 2), 0.5), torch.tensor([[[0.04, 0.03], [0.01, 0.04]]])
    assert guided_loss(logits, guide, (0.05, 0.7)).item() == pytest.approx(math.log(1 + math.exp(0.5)))


def test_as_little_foreground_as_30_pixels_of_224_x_224_is_none() -> None:
    """Of 96 x 96 cells 5.5: with five above the high seed, those above .7 of the maximum are foreground too."""
    for above, foreground in ((5, 105), (6, 6)):
        guide, logits = torch.full((1, 96, 96), 0.3), torch.zeros(1, 96, 96, requires_grad=True)
        guide[0, 0, :above], guide[0, 1:11, :10] = 0.8, 0.6
        guided_loss(logits, guide, (0.05, 0.7)).backward()
        assert logits.grad is not None
        assert int((logits.grad < 0).sum()) == foreground


def test_without_images_the_loss_is_0() -> None:
    assert guided_loss(torch.randn(0, 2, 2), torch.rand(0, 2, 2), (0.2, 0.7)).item() == 0


def test_a_guide_learns_nothing_from_the_mask() -> None:
    guide = torch.rand(1, 4, 4, requires_grad=True)
    guided_loss(torch.randn(1, 4, 4, requires_grad=True), guide, (0.4, 0.6)).backward()
    assert guide.grad is None


def slow_guided_loss(logits: Tensor, guide: Tensor, low: float, high: float) -> float:
    """The released steps of Choe et al.: mark all as ignored, then foreground, then background, then the mean."""
    losses = []
    for image, attention in zip(logits, guide, strict=True):
        mask = torch.full_like(attention, 255.0)
        foreground = attention > high
        if int(foreground.sum()) < 30:
            foreground = attention > attention.max() * 0.7
        mask[foreground], mask[attention < low] = 1.0, 0.0
        losses += [
            binary_cross_entropy_with_logits(logit, target).item()
            for logit, target in zip(image.flatten(), mask.flatten(), strict=True)
            if target < 255
        ]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("high", [0.7, 0.999])
def test_at_224_pixels_the_loss_is_that_of_choe_et_al(high: float) -> None:
    generator = torch.Generator().manual_seed(0)
    guide, logits = (
        interpolate(torch.randn(2, 1, 9, 9, generator=generator), (224, 224), mode="bilinear")[:, 0] for _ in range(2)
    )
    guide = guide.sigmoid()
    expected = slow_guided_loss(logits, guide, 0.3, high)
    assert guided_loss(logits, guide, (0.3, high)).item() == pytest.approx(expected, rel=1e-4)


def test_masks_are_compared_at_the_images_pixels_where_that_is_asked_for() -> None:
    method, size = spg(**{**Spg.variants["choe2020"], "width": 16}), IMAGES.shape[2:]
    conv4, conv5 = method.backbone.stages(IMAGES)[-2:]
    features = method.features(conv5)
    enlarged = [
        interpolate(one, size, mode="bilinear")
        for one in (
            method.maps(features),
            method.side_mask(method.sides[0](conv4)),
            method.side_mask(method.sides[1](conv5)),
            method.mask(features),
        )
    ]
    maps, (low, high, last) = enlarged[0], (one[:, 0] for one in enlarged[1:])
    attention, config = compute_attention(maps, LABELS > 0), method.config
    assert config.attention_seeds == (0.01, 0.7)
    terms = method.loss(IMAGES, LABELS)
    for name, mask, guide, seeds in (
        ("conv5 mask", high, attention, config.attention_seeds),
        ("conv4 mask", low, high.sigmoid(), config.mask_seeds),
        ("last mask", last, (low.sigmoid() + high.sigmoid()) / 2, config.fused_seeds),
    ):
        torch.testing.assert_close(terms[name], config.guidance * guided_loss(mask, guide, seeds))


def test_each_term_teaches_its_own_layers() -> None:
    method = spg()
    terms = method.loss(IMAGES, LABELS)
    assert list(terms) == ["classification", "conv5 mask", "conv4 mask", "last mask"]
    own = {
        "classification": method.maps,
        "conv5 mask": method.sides[1],
        "conv4 mask": method.sides[0],
        "last mask": method.mask,
    }
    for name, term in terms.items():
        method.zero_grad()
        term.backward(retain_graph=True)
        taught = {key for key, module in own.items() if any(one.grad is not None for one in module.parameters())}
        assert taught == {name}


def test_an_image_without_a_class_gives_no_seeds() -> None:
    method, labels = spg(), torch.tensor([[1, -1, -1], [-1, -1, -1]])
    alone, both = method.loss(IMAGES[:1], labels[:1]), method.loss(IMAGES, labels)
    for name in ("conv5 mask", "conv4 mask", "last mask"):
        torch.testing.assert_close(alone[name], both[name])


def test_scores_are_the_means_of_the_maps() -> None:
    found = spg()(IMAGES)
    torch.testing.assert_close(found.scores, found.maps.mean(dim=(2, 3)))


@pytest.mark.parametrize("seeds", [(0.7, 0.05), (-0.1, 0.5), (0.1, 1.5)])
def test_seeds_that_are_no_two_shares_in_order_are_refused(seeds: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="the lower one first"):
        SpgConfig(attention_seeds=seeds)
