"""SPN: logits are what the coupled features give, maps are R_c, the proposal is the layer's and no gradient's way."""

from __future__ import annotations

import pytest
import torch
from map_cases import IMAGES, LABELS, TASK, made
from torch import nn

from bench import registry
from bench.errors import RequestError
from methods.layers.soft_proposal import dissimilarity, stable_state, walk
from methods.spn import Spn


def test_response_maps_are_the_weights_times_coupled_features() -> None:
    method = made(Spn, neck=8)
    features = method.neck(method.backbone.features(IMAGES))
    coupled = features * method.proposal(features)[:, None]
    expected = torch.einsum("ck,bkij->bcij", method.output.weight, coupled)
    found = method(IMAGES)
    torch.testing.assert_close(found.maps, expected)
    torch.testing.assert_close(found.scores, found.maps.sum(dim=(2, 3)) + method.output.bias)


@pytest.mark.parametrize(("epsilon_of", "width"), [("side", 0.15 * 48**0.5), ("cells", 0.15 * 48)])
@pytest.mark.parametrize("proposal", ["stable", "walk"])
def test_the_proposal_is_the_layers_on_a_map_of_any_shape(epsilon_of: str, width: float, proposal: str) -> None:
    method = made(Spn, epsilon_of=epsilon_of, proposal=proposal, steps=7)
    features = torch.rand(2, 5, 8, 6)
    apart = dissimilarity(features, width)
    expected = stable_state(apart) if proposal == "stable" else walk(apart, steps=7, tolerance=1e-4)
    found = method.proposal(features)
    torch.testing.assert_close(found, expected.view(2, 8, 6))
    torch.testing.assert_close(found.sum(dim=(1, 2)), torch.ones(2))


def test_the_proposal_is_the_methods_objectness() -> None:
    method = made(Spn, neck=0)
    found = method(IMAGES)
    assert "objectness" in method.kinds
    torch.testing.assert_close(found.objectness, method.proposal(method.backbone.features(IMAGES)))


def test_no_gradient_flows_through_the_proposal() -> None:
    method = made(Spn, neck=0)
    features = torch.rand(1, 128, 4, 4, requires_grad=True)
    proposal = method.proposal(features)
    assert not proposal.requires_grad
    (features * proposal[:, None]).sum().backward()
    torch.testing.assert_close(features.grad, proposal[:, None].expand_as(features))


@pytest.mark.parametrize("loss", ["multi-label", "softmax"])
def test_it_learns_by_either_loss(loss: str) -> None:
    method = made(Spn, loss=loss, neck=8, dropout=0.5).train()
    method.loss(IMAGES, LABELS)["classification"].backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize(
    ("net", "channels", "side"),
    [("cnn-s", 512, 17), ("vgg16", 512, 14), ("googlenet", 1024, 7), ("googlenetgap", 832, 14)],
)
def test_on_the_papers_nets_it_adds_a_grouped_convolution_to_1024_channels(net: str, channels: int, side: int) -> None:
    cls, _ = registry.parse("spn")
    with torch.device("meta"):
        method = cls(cls.Config(net=net, weights="none"), TASK)
        features = method.neck(method.backbone.features(torch.empty(1, 3, 224, 224)))
    assert features.shape == (1, 1024, side, side)
    convolution = method.neck[0]
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.in_channels, convolution.out_channels, convolution.groups) == (channels, 1024, 2)
    assert method.output.weight.shape == (3, 1024)


@pytest.mark.parametrize(("variant", "rule"), [(None, "mean"), ("released-voc", "mean-components-4")])
def test_its_boxes_enclose_what_reaches_the_mean(variant: str | None, rule: str) -> None:
    cls, _ = registry.parse("spn")
    config = registry.configure(cls, variant, dataset="", recipe={}, settings={})
    assert config.stage("prediction")["box_rule"] == rule
    assert "box_rule" not in config.stage("training")


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(RequestError, match=r"groups=3 does not divide a convolution of \d+ to 32 channels"):
        made(Spn, neck=32, groups=3)
