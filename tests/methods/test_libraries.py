"""Nets of timm and torchvision: shapes, cells, stages, weights, and what methods say of those that they cannot use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from map_cases import TASK
from torch import nn
from torchvision.models import get_model

from bench import registry
from bench.contract import check_method, clauses
from bench.core.cells import Cells
from bench.core.files import Places
from bench.errors import MissingDataError, RequestError, UnknownNameError
from methods.nets import build, find_net
from methods.nets.backbone import Backbone

NETS = {
    "timm:resnet18": (512, Cells(0.5, 32), (128, 256, 512)),
    "timm:convnext_atto": (320, Cells(16.0, 32), (80, 160, 320)),
    "timm:mobilenetv3_small_100": (576, Cells(0.5, 32), (24, 48, 576)),
    "timm:vit_tiny_patch16_224": (192, Cells(8.0, 16), (192,)),
    "torchvision:resnet18": (512, Cells(0.5, 32), (128, 256, 512)),
    "timm:resnet18@16": (512, Cells(0.5, 16), (128, 256, 512)),
}
FAMILIES = (
    *("convnext_tiny", "densenet121", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small"),
    *("resnet50", "shufflenet_v2_x0_5", "squeezenet1_1"),
)
METHODS = ("cam", "gmp", "weldon", "spn", "grad-cam", "wsddn", "melm")


def find_sight(backbone: Backbone, row: int, column: int, size: int) -> tuple[float, float]:
    """Where a cell of an untrained net looks, in pixels (y, x): the centre of its gradient's square."""
    images = torch.rand(2, 3, size, size, requires_grad=True)
    maps = backbone.eval().features(images)
    (maps[:, :, row, column] * torch.randn(maps.shape[1])).sum().backward()
    assert images.grad is not None
    seen, pixels = images.grad.square().sum(dim=(0, 1)), torch.arange(size) + 0.5
    y, x = (float((seen.sum(1 - axis) * pixels).sum() / seen.sum()) for axis in (0, 1))
    return y, x


@pytest.mark.parametrize("name", NETS)
def test_a_net_of_a_library_has_the_maps_stages_and_cells_that_it_says(name: str) -> None:
    torch.manual_seed(0)
    backbone = build(name, "none", roi_head="own").eval()
    channels, cells, stages = NETS[name]
    assert (backbone.channels, backbone.cells, backbone.stage_channels) == (channels, cells, stages)
    images = torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        found, regions = backbone.stages(images), backbone.regions(images, torch.tensor([[8.0, 8, 90, 80]]))
    assert tuple(stage.shape[1] for stage in found) == stages
    assert found[-1].shape[2:] == (96 / cells.stride, 128 / cells.stride)
    assert regions.shape == (1, channels)
    assert backbone.find_cells(backbone.stage_paths[-1]) == cells
    size, row, column = int(cells.stride * 8), 3, 4
    y, x = find_sight(backbone, row, column, size)
    at = [cells.origin + cells.stride * place for place in (row, column)]
    assert [y, x] == pytest.approx(at, abs=cells.stride / 3)


def test_a_transformer_pads_images_to_whole_patches() -> None:
    backbone = build("timm:vit_tiny_patch16_224", "none").eval()
    with torch.inference_mode():
        assert backbone.features(torch.rand(1, 3, 33, 16)).shape == (1, 192, 3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_maps_of_torchvision_are_what_its_classifier_is_given(name: str) -> None:
    theirs = get_model(name, weights=None).eval()
    backbone = build(f"torchvision:{name}", "none").eval()
    backbone.trunk.load_state_dict(theirs.state_dict(), strict=False)
    images, given = torch.rand(1, 3, 96, 96), []
    top = next(layer for head in ("classifier", "fc", "head") if (layer := getattr(theirs, head, None)) is not None)
    top.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.inference_mode():
        theirs(images)
        maps = backbone.trunk(images)
    if name == "squeezenet1_1":
        torch.testing.assert_close(maps, given[0])
    else:
        torch.testing.assert_close(maps.mean(dim=(2, 3)), given[0].flatten(1), rtol=1e-3, atol=1e-4)


def test_weights_are_read_by_the_names_of_the_library(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(1)
    theirs = timm.create_model("resnet18").eval()
    save_file(theirs.state_dict(), tmp_path / "resnet18.safetensors")
    backbone = build("timm:resnet18", str(tmp_path / "resnet18.safetensors")).eval()
    assert backbone.new_parameters() == []
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(
            backbone.features(image), theirs.forward_features((image - backbone.mean) / backbone.std)
        )
    assert backbone.mean.flatten().tolist() == pytest.approx(theirs.pretrained_cfg["mean"])


def test_weights_of_torchvision_are_read_by_its_names(tmp_path: Path) -> None:
    theirs = get_model("resnet18", weights=None)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    backbone = build("torchvision:resnet18", str(tmp_path / "resnet18.pth"))
    assert backbone.new_parameters() == []
    assert torch.equal(backbone.trunk.get_submodule("layer4.0.conv1").weight, theirs.layer4[0].conv1.weight)


def test_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    create = timm.create_model

    def refuse(name: str, **options: Any) -> nn.Module:
        if options.get("pretrained"):
            raise OSError("no network")
        model: nn.Module = create(name, **options)
        return model

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(MissingDataError, match=r"timm's weights of resnet18 .*no network.*Set weights to a file"):
        build("timm:resnet18", "imagenet")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("timm:resnet81", UnknownNameError, "Unknown net of timm 'resnet81'. Did you mean: resnet18"),
        ("torchvision:resnet19", UnknownNameError, "Did you mean: resnet18"),
        ("timm:resnet18@x", UnknownNameError, "Unknown net 'timm:resnet18@x'"),
        ("torchvision:vit_b_16", RequestError, "use a ViT of timm"),
        ("torchvision:resnet18@16", RequestError, "timm:resnet18@16 may be had"),
        ("timm:resnet18@3", RequestError, "timm cannot build resnet18 with 3 pixels a cell: it takes only"),
        ("timm:vit_tiny_patch16_224@8", RequestError, "timm cannot build vit_tiny_patch16_224 with 8 pixels a cell"),
    ],
)
def test_a_net_that_cannot_be_had_says_why(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        find_net(name)


def test_without_timm_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(RequestError, match=r"need the package timm: pip install 'weakloc\[timm\]'"):
        find_net("timm:resnet34")


@pytest.mark.parametrize(
    ("method", "net", "message"),
    [
        ("danet", "timm:vit_tiny_patch16_224", "danet takes maps of 3 stages, and .* has 1 stage: use one of alexnet"),
        ("spg", "timm:vit_tiny_patch16_224", "spg takes maps of 2 stages, and .* has 1 stage: use one of alexnet"),
        ("mwp", "timm:vit_tiny_patch16_224", "no rule for softmax attention in timm:vit.*: use one of alexnet"),
        ("lrp", "timm:resnet18", "no rule for the sums of timm:resnet18, a residual net: use one of alexnet"),
        ("guided-backprop", "timm:vit_tiny_patch16_224", "how ReLUs pass gradients, and .* has none: use gradient"),
    ],
)
def test_a_method_says_what_its_net_lacks_before_it_is_trained(method: str, net: str, message: str) -> None:
    cls: Any = registry.method(method)
    with torch.device("meta"), pytest.raises(RequestError, match=message):
        cls(cls.Config(net=net, weights="none"), TASK)


def test_the_digest_of_frozen_features_has_the_library_and_its_version() -> None:
    import timm

    assert find_net("timm:resnet18").source.startswith(f"timm {timm.__version__} resnet18")
    assert find_net("tiny").source == ""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("libraries") / "runs")


LATIN = [
    (method, net)
    for row, method in enumerate(METHODS)
    for column, net in enumerate(name for name in NETS if "@" not in name)
    if (row + column) % 2 == 0
]
"""Half of all pairs: each method on several nets, and each net under several methods."""


@pytest.mark.slow
@pytest.mark.parametrize(("method", "net"), LATIN)
def test_the_contract_holds_on_nets_of_libraries(
    method: str, net: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clauses, "STEPS", 12)  # enough for the loss to fall on each of these
    found = check_method(method, places, net=net)
    assert [f"{one.name}: {one.detail}" for one in found if one.status == "failed"] == []
