"""ACoL: a 1x1 convolution and GAP are GAP and a linear layer; what B sees, what is fused, what the variants change."""

from __future__ import annotations

import pytest
import torch
from map_cases import IMAGES, LABELS, made
from torch import Tensor, nn

from methods.acol import Acol
from methods.layers.erasing import min_max


def test_a_1x1_convolution_and_gap_are_gap_and_a_linear_layer_with_the_same_maps() -> None:
    features, linear, convolution = torch.randn(2, 6, 5, 4), nn.Linear(6, 3), nn.Conv2d(6, 3, 1)
    convolution.weight.data, convolution.bias = linear.weight.data[:, :, None, None], linear.bias
    torch.testing.assert_close(convolution(features).mean(dim=(2, 3)), linear(features.mean(dim=(2, 3))))  # Eq. 1, 4
    cam = (features[:, None] * linear.weight[:, :, None, None]).sum(dim=2)
    assert linear.bias is not None
    torch.testing.assert_close(convolution(features) - linear.bias[:, None, None], cam)  # Eq. 2, 3


def by_hand(method: Acol, image: Tensor, classes: list[int], delta: float) -> list[Tensor]:
    """A's and B's maps (C, h, w) of one image whose classes are given, position by position."""
    features = method.backbone.features(image[None])
    first = method.classifiers[0](features)[0]
    left = features.clone()
    for c in classes:
        low, high = first[c].min(), first[c].max()
        for i in range(first.shape[1]):
            for j in range(first.shape[2]):
                if (first[c, i, j] - low) / (high - low) > delta:
                    left[0, :, i, j] = 0
    assert (left != features).any()
    return [first, method.classifiers[1](left)[0]]


def test_at_training_every_present_class_erases_and_both_classifiers_learn() -> None:
    method = made(Acol, delta=0.5)
    maps = [by_hand(method, IMAGES[0], [0], 0.5), by_hand(method, IMAGES[1], [1, 2], 0.5)]
    terms = method.loss(IMAGES, LABELS)
    assert list(terms) == ["classifier A", "classifier B"]
    for branch, term in enumerate(terms.values()):
        logits = torch.stack([one[branch].mean(dim=(1, 2)) for one in maps])
        torch.testing.assert_close(term, method.classification(logits, LABELS))


def test_at_test_the_best_class_erases_and_normalised_maps_are_fused() -> None:
    method = made(Acol, delta=0.4)
    found = method(IMAGES)
    for image, scores, fused in zip(IMAGES, found.scores, found.maps, strict=True):
        first, second = by_hand(method, image, [int(scores.argmax())], 0.4)
        torch.testing.assert_close(scores, first.mean(dim=(1, 2)))
        torch.testing.assert_close(fused, torch.maximum(min_max(first), min_max(second)))


def test_the_map_of_a_class_that_is_asked_for_is_erased_by_that_class() -> None:
    method, best = made(Acol, delta=0.4, erased_by="each"), made(Acol, delta=0.4)
    found = method(IMAGES)
    for image, fused in zip(IMAGES, found.maps, strict=True):
        for label in range(3):
            first, second = (maps[label] for maps in by_hand(method, image, [label], 0.4))
            torch.testing.assert_close(fused[label], torch.maximum(min_max(first), min_max(second)))
    rows, predicted = torch.arange(len(IMAGES)), found.scores.argmax(dim=1)
    torch.testing.assert_close(found.maps[rows, predicted], best(IMAGES).maps[rows, predicted])
    assert (found.maps - best(IMAGES).maps).abs().max() > 0.1  # where the prediction is another class


def test_an_image_without_any_present_class_erases_nothing() -> None:
    method = made(Acol, delta=0.0)
    method.classifiers[1].load_state_dict(method.classifiers[0].state_dict())
    first, second = method.loss(IMAGES, -LABELS.abs()).values()
    assert first == second


def test_what_b_learns_says_nothing_about_a() -> None:
    method = made(Acol, freeze_backbone=False)
    method.loss(IMAGES, LABELS)["classifier B"].backward()
    assert all(parameter.grad is None for parameter in method.classifiers[0].parameters())
    assert all(parameter.grad is not None for parameter in method.classifiers[1].parameters())


def test_released_features_are_means_over_3x3_cells_of_which_those_beyond_the_border_are_0() -> None:
    method = made(Acol, smooth=True)
    features = nn.functional.pad(method.backbone.features(IMAGES), (1, 1, 1, 1))
    height, width = (side - 2 for side in features.shape[2:])
    shifted = [features[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    torch.testing.assert_close(method._features(IMAGES), torch.stack(shifted).mean(dim=0))


@pytest.mark.parametrize("settings", [{"inclusive": True, "delta": 1.0}, {"smooth": True}])
def test_released_details_change_what_b_sees(settings: dict[str, object]) -> None:
    plain = {"delta": settings.get("delta", 0.6)}
    assert made(Acol, **settings).loss(IMAGES, LABELS) != made(Acol, **plain).loss(IMAGES, LABELS)


def test_a_third_classifier_sees_what_neither_found() -> None:
    method = made(Acol, branches=3, delta=0.5)
    terms = method.loss(IMAGES, LABELS)
    assert list(terms) == ["classifier A", "classifier B", "classifier C"]
    chosen = LABELS > 0
    features = method.backbone.features(IMAGES)
    a, b, c = method._maps(features, chosen, method.classifiers[0](features))
    fused = torch.maximum(min_max(a), min_max(b)) * chosen[:, :, None, None]
    torch.testing.assert_close(c, method.classifiers[2](features * (fused.amax(dim=1) <= 0.5)[:, None]))
    assert method(IMAGES).maps.shape == a.shape


def test_its_net_has_8_pixels_a_cell() -> None:
    assert Acol.Config().net == "vgg16-stride8"  # type: ignore[attr-defined]
