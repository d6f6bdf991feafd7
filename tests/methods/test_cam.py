"""CAM: maps and logits are one function, unknown labels teach nothing, new layers are known as new."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.method import Task
from methods.cam import Cam

TASK = Task("made-up", ("a", "b", "c"))


def cam(**settings: object) -> Cam:
    torch.manual_seed(0)
    return Cam(Cam.Config(net="tiny", weights="none", **settings), TASK).eval()  # type: ignore[arg-type]


def test_logits_are_the_linear_layer_on_averaged_features() -> None:
    method, images = cam(), torch.rand(2, 3, 64, 64)
    scores, maps, *_ = method(images)
    pooled = method.backbone.features(images).mean(dim=(2, 3))
    torch.testing.assert_close(scores, pooled @ method.maps.weight[:, :, 0, 0].T + method.maps.bias)
    torch.testing.assert_close(scores, maps.mean(dim=(2, 3)))
    assert maps.shape == (2, 3, 8, 8)


def test_a_class_of_unknown_label_gets_no_gradient() -> None:
    method = cam()
    sum(method.loss(torch.rand(2, 3, 64, 64), torch.tensor([[1, 0, -1], [-1, 0, 1]])).values()).backward()
    assert method.maps.weight.grad is not None
    assert method.maps.weight.grad[1].eq(0).all()
    assert method.maps.weight.grad[[0, 2]].ne(0).any()


def test_a_neck_widens_the_maps_input_and_is_new() -> None:
    method = cam(neck=16)
    assert method(torch.rand(1, 3, 64, 64)).maps.shape == (1, 3, 8, 8)
    new = {id(parameter) for parameter in method.new_parameters()}
    assert {id(parameter) for parameter in method.neck.parameters()} <= new


def test_without_weights_every_parameter_is_new() -> None:
    method = cam()
    assert {id(one) for one in method.new_parameters()} == {id(one) for one in method.parameters()}


def test_a_softmax_learns_and_gives_probabilities_of_one_class_an_image() -> None:
    method, images, labels = cam(loss="softmax"), torch.rand(2, 3, 64, 64), torch.tensor([[-1, 1, -1], [1, -1, 0]])
    scores = method(images).scores
    known = torch.stack([-scores[0].log_softmax(0)[1], -scores[1, :2].log_softmax(0)[0]])
    torch.testing.assert_close(method.loss(images, labels)["classification"], known.mean())
    torch.testing.assert_close(method.probabilities(scores), scores.softmax(dim=1))


def test_frozen_only_new_layers_learn(tmp_path: Path) -> None:
    torch.save(
        {f"trunk.{name}": value for name, value in cam().backbone.trunk.state_dict().items()}, tmp_path / "w.pth"
    )
    method = Cam(Cam.Config(net="tiny", weights=str(tmp_path / "w.pth"), freeze_backbone=True, neck=8), TASK).train()
    assert {id(one) for one in method.parameters() if one.requires_grad} == {id(one) for one in method.new_parameters()}
    assert method.neck.training
    assert not method.backbone.training
