"""The plain classifier: the same function as torchvision's, whatever the net's head is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from map_cases import IMAGES, TASK, made
from torchvision.models import get_model

from methods.classifier import Classifier
from methods.nets.backbone import TORCHVISION


@pytest.mark.parametrize(("net", "last"), [("alexnet", "classifier.6"), ("resnet50", "fc")])
def test_it_is_torchvisions_net_at_224_pixels(tmp_path: Path, net: str, last: str) -> None:
    torch.manual_seed(0)
    theirs, image = get_model(net, num_classes=3).eval(), torch.rand(1, 3, 224, 224)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = Classifier(Classifier.Config(net=net, weights=str(tmp_path / "weights.pth")), TASK).eval()
    ours.output.load_state_dict(theirs.get_submodule(last).state_dict())
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (TORCHVISION.mean, TORCHVISION.std))
    with torch.no_grad():
        torch.testing.assert_close(ours(image).scores, theirs((image - mean) / std), rtol=1e-3, atol=1e-4)


def test_it_claims_scores_alone_and_its_maps_are_these() -> None:
    found = made(Classifier)(IMAGES)
    assert Classifier.kinds == ("scores",)
    assert found.maps[:, :, 0, 0].equal(found.scores)
