"""TS-CAM: its attention against the one that timm's layers use, its maps, and nets without a class token."""

from __future__ import annotations

import pytest
import torch
from map_cases import IMAGES, LABELS, made
from torch import Tensor

from bench.errors import RequestError
from methods.layers.token_attention import find_attention_layers
from methods.nets import build
from methods.ts_cam import TsCam

NET = "timm:test_vit"


def attention_of_layers(method: TsCam, images: Tensor) -> Tensor:
    """Attention (layers, B, heads, N, N) that timm multiplies values by, where it does so in steps."""
    found: list[Tensor] = []
    for layer in find_attention_layers(method.backbone.trunk):
        layer.fused_attn = False
        layer.attn_drop.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    method.backbone.features(images)
    return torch.stack(found)


@torch.inference_mode()
def test_maps_are_those_of_the_released_code() -> None:
    method = made(TsCam, net=NET)
    found = method(IMAGES)
    attention = attention_of_layers(made(TsCam, net=NET), IMAGES).mean(dim=2).sum(dim=0)[:, 0, 1:]
    assert len(find_attention_layers(method.backbone.trunk)) == 6
    semantic = method.maps(method.backbone.features(IMAGES))
    torch.testing.assert_close(6 * found.maps, attention.view(2, 1, 4, 3) * semantic, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.scores, semantic.mean(dim=(2, 3)))


@torch.inference_mode()
def test_the_other_maps_are_the_factors() -> None:
    coupled, semantic, attention = (made(TsCam, net=NET, **TsCam.variants[name])(IMAGES) for name in TsCam.variants)
    torch.testing.assert_close(coupled.maps, semantic.maps * attention.maps)
    assert (attention.maps > 0).all()
    assert attention.maps[:, 0].equal(attention.maps[:, 1])
    assert attention.maps[0, 0].sum() < 1  # the class token attends to itself too


def test_the_net_that_is_read_computes_as_it_does_otherwise() -> None:
    method = made(TsCam, net=NET)
    with torch.inference_mode():
        assert method(IMAGES).scores.equal(method.classify(IMAGES).mean(dim=(2, 3)))
    assert not [hooks for layer in method.modules() if (hooks := layer._forward_hooks)]
    method.loss(IMAGES, LABELS)["classification"].backward()
    assert method.maps.weight.grad.abs().sum() > 0


@torch.inference_mode()
def test_images_are_independent_and_may_have_any_size() -> None:
    method, images = made(TsCam, net=NET), torch.rand(2, 3, 50, 33)
    both = method(images)
    assert both.maps.shape == (2, 3, 4, 3)
    torch.testing.assert_close(both.maps[1:], method(images[1:]).maps, rtol=1e-4, atol=1e-6)


def test_a_frozen_net_that_computes_one_image_at_a_time_gives_the_same_maps() -> None:
    method, frozen = made(TsCam, net=NET), made(TsCam, net=NET, freeze_backbone=True)
    frozen.assume_pretrained()
    frozen.config = frozen.config.model_copy(update={"readout": "attention"})
    method.config = frozen.config
    with torch.inference_mode():
        torch.testing.assert_close(frozen.eval()(IMAGES).maps, method(IMAGES).maps, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("net", ["tiny", "timm:resnet18", "timm:test_vit3"])
def test_a_net_without_a_class_token_is_refused(net: str) -> None:
    assert find_attention_layers(build(net, "none").trunk) == []
    with pytest.raises(RequestError, match=r"class token, which .* has not: use a ViT or DeiT of timm"):
        made(TsCam, net=net)
