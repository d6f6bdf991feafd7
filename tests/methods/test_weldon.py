"""WELDON: k by the size of the image, the ablation, the ranking loss and its condition, several scales."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from map_cases import IMAGES, LABELS, made
from torch.nn.functional import interpolate

from bench import registry
from bench.errors import RequestError
from methods.gmp import Gmp
from methods.layers.ap_ranking import ap_ranking_loss
from methods.layers.pooling import pool_negative_evidence
from methods.mantra import Mantra
from methods.weldon import Weldon

SQUARE = interpolate(IMAGES, (64, 64))


@pytest.mark.parametrize(("size", "k"), [(224, 5), (230, 5), (448, 50), (747, 100), (1000, 100), (64, 5)])
def test_k_follows_the_size_of_the_image(size: int, k: int) -> None:
    maps = torch.randn(1, 2, 30, 30)
    assert made(Weldon, input_size=size).pool(maps).equal(pool_negative_evidence(maps, k, k))


@pytest.mark.parametrize(
    ("settings", "pooled"),
    [
        ({"k_plus": 3}, (3, 3)),
        ({"k_plus": 3, "k_minus": 0}, (3, 0)),
        ({"k_plus": 0.2, "k_minus": 0.5}, (0.2, 0.5)),
        ({"k_plus": 1, "k_minus": 2}, (1, 2)),
    ],
)
def test_k_can_be_given_for_both_or_each(settings: dict[str, float], pooled: tuple[float, float]) -> None:
    maps = torch.randn(1, 2, 6, 7)
    assert made(Weldon, **settings).pool(maps).equal(pool_negative_evidence(maps, *pooled))


def config(variant: str, **settings: Any) -> Any:
    weldon, _ = registry.parse("weldon")
    recipe = {"net": "tiny", "weights": "none", "input_size": 64}
    return registry.configure(weldon, variant, dataset="made-up", recipe=recipe, settings=settings)


@pytest.mark.parametrize(("variant", "cls"), [("a+b", Gmp), ("a+b+d", Mantra)])
def test_rows_of_the_ablation_are_max_pooling_and_mantra(variant: str, cls: Any) -> None:
    chosen = config(variant)
    ours = made(Weldon, k_plus=chosen.k_plus, k_minus=chosen.k_minus)
    torch.testing.assert_close(ours(IMAGES).scores, made(cls)(IMAGES).scores)


def test_the_first_row_of_the_ablation_learns_new_layers_alone() -> None:
    assert [config(row).freeze_backbone for row in ("a", "a+b", "a+b+c", "a+b+d", "a+b+c+d")] == [True, *[False] * 4]


def test_ap_ranks_the_batch_by_its_scores() -> None:
    method = made(Weldon, loss="ap", k_plus=2)
    labels = torch.tensor([[1, -1, 0], [-1, 1, 1]])
    found = method.loss(IMAGES, labels)
    assert found.keys() == {"ranking"}
    torch.testing.assert_close(found["ranking"], ap_ranking_loss(method(IMAGES).scores, labels))
    averaged = made(Weldon, loss="ap", k_plus=2, ap_pairs="mean")
    assert averaged.loss(IMAGES, labels)["ranking"] <= found["ranking"]


def test_ap_needs_as_many_lowest_as_highest_regions() -> None:
    with pytest.raises(RequestError, match=r"weldon: .*loss=ap needs k_minus = k_plus.*Proposition 1"):
        config("ap", k_minus=0)


def test_ap_needs_the_lowest_to_weigh_as_much_as_the_highest() -> None:
    with pytest.raises(RequestError, match=r"weldon: .*loss=ap needs alpha=1"):
        config("ap", alpha=0.7)


def test_wildcat_averages_its_maps_of_a_class_and_weighs_the_lowest_less() -> None:
    method = made(Weldon, maps=4, alpha=0.7, k_plus=2, k_minus=3)
    found, features = method(IMAGES), method.backbone.features(IMAGES)
    weight, bias = method.maps.weight[:, :, 0, 0], method.maps.bias
    for c in range(3):
        maps = sum(torch.einsum("k,bkhw->bhw", weight[4 * c + m], features) for m in range(4)) / 4
        torch.testing.assert_close(found.maps[:, c], maps)
        ordered = maps.flatten(1).sort(dim=1).values
        score = (ordered[:, -2:].mean(dim=1) + 0.7 * ordered[:, :3].mean(dim=1)) / 2
        torch.testing.assert_close(found.scores[:, c], score + bias[4 * c : 4 * c + 4].mean())


def test_scales_are_averaged_each_with_its_own_k() -> None:
    method, one, other = (made(Weldon, input_size=64, scales=scales) for scales in ((64, 48), (64,), (48,)))
    found = method(SQUARE)
    torch.testing.assert_close(found.scores, (one(SQUARE).scores + other(SQUARE).scores) / 2)
    assert found.maps.shape == one(SQUARE).maps.shape
    resized = interpolate(SQUARE, (48, 48), mode="bilinear", antialias=True)
    torch.testing.assert_close(other(SQUARE).scores, made(Weldon, input_size=48)(resized).scores)
    assert method.loss(SQUARE, LABELS)["classification"].isfinite()


@pytest.mark.parametrize("side", [48, 64, 320])
def test_an_image_of_another_size_has_the_k_of_its_own(side: int) -> None:
    image = interpolate(IMAGES, (side, side))
    torch.testing.assert_close(made(Weldon, input_size=448)(image).scores, made(Weldon, input_size=side)(image).scores)


def test_a_scale_above_the_size_of_the_images_is_refused() -> None:
    with pytest.raises(RequestError, match=r"scales may not be above input_size \(64\), but one is 747"):
        config("a+b", scales="64+747")


@pytest.mark.parametrize("method", ["weldon", "wsddn"])
@pytest.mark.parametrize("scale", ["0", "-5", "31"])
def test_a_scale_that_is_no_side_of_an_image_is_refused(method: str, scale: str) -> None:
    cls, variant = registry.parse(method)
    with pytest.raises(RequestError, match=rf"scales={scale} .*greater than or equal to 32"):
        registry.configure(cls, variant, dataset="", recipe={}, settings={"scales": scale})


def test_multi_scale_is_the_seven_sizes_of_the_papers_table() -> None:
    weldon, _ = registry.parse("weldon")
    chosen = registry.configure(weldon, "multi-scale", dataset="", recipe={}, settings={})
    assert (chosen.size, chosen.scales) == (747, (224, 280, 320, 374, 448, 560, 747))  # type: ignore[attr-defined]
