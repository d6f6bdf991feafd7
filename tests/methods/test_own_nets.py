"""A net of one's own, by a plug-in: the one that docs/own-nets.md shows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from map_cases import TASK
from torch import nn

from bench import registry
from bench.core.cells import Cells
from bench.errors import BadFileError, RequestError, UnknownNameError
from methods.nets import build, describe_net, find_net
from methods.nets.geometry import find_cells, follow

PAGE = registry.ROOT / "docs" / "own-nets.md"


@pytest.fixture(autouse=True)
def _no_plugins_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_PLUGINS", {"method": {}, "protocol": {}, "net": {}})
    monkeypatch.setattr(registry, "_LOADED", {})
    yield
    sys.modules.pop("weakloc_plugin_small", None)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    code = re.search(r"<!-- file: small.py -->\n```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert code
    (tmp_path / "small.py").write_text(code[1])
    return tmp_path / "small.py"


def test_the_net_of_the_page_is_measured(small: Path) -> None:
    registry.use_plugin(small)
    assert registry.nets()["small"].summary == "A small net with strided convolutions."
    net = find_net("small")
    assert (net.channels, net.stride, net.origin, net.roi_channels) == (64, 8, 0.5, 64)
    assert net.stages == (("2", 16), ("5", 32), ("", 64))
    backbone = build("small", "none", roi_head="own")
    assert [backbone.find_cells(path) for path in backbone.stage_paths] == [Cells(0.5, s) for s in (2, 4, 8)]
    assert backbone.regions(torch.rand(1, 3, 64, 64), torch.tensor([[0.0, 0, 40, 40]])).shape == (1, 64)


def test_a_plug_in_net_called_as_one_of_ours_is_refused(small: Path) -> None:
    registry.use_plugin(small.rename(small.with_name("tiny.py")))
    with pytest.raises(RequestError, match=r"'tiny' is a net of ours and one of .*tiny\.py: rename that"):
        find_net("tiny")


@pytest.mark.slow
def test_a_plug_in_net_keeps_the_contract_and_trains(small: Path, here) -> None:
    assert "failed" not in here("check", "--plugin", small, "--net", "small").out
    options = ("--set", "net=small,epochs=1", "--data-option", "train=8,val=4,test=8", "--runs", small.parent / "runs")
    made = here("run", "--plugin", small, "--method", "cam", "--protocol", "voc07-cls", "--data", "shapes", *options)
    assert made.code == 0
    assert "small" in here("list", "nets", "--plugin", small).out
    assert "8 pixels" in here("show", "small", "--plugin", small).out


def test_weights_of_an_own_net_have_our_names(small: Path, tmp_path: Path) -> None:
    registry.use_plugin(small)
    source = build("small", "none")
    torch.save({f"trunk.{name}": value for name, value in source.trunk.state_dict().items()}, tmp_path / "small.pth")
    loaded = build("small", str(tmp_path / "small.pth"))
    assert torch.equal(loaded.trunk[0].weight, source.trunk[0].weight)  # type: ignore[index]
    assert loaded.new_parameters() == []


def test_an_edited_file_has_other_frozen_features(small: Path) -> None:
    registry.use_plugin(small)
    before = find_net("small").source
    small.write_text(small.read_text() + "# a remark\n")
    registry.use_plugin(small)
    assert find_net("small").source == before
    small.write_text(small.read_text().replace("(32, 64)", "(32, 48)"))
    registry.use_plugin(small)
    assert find_net("small").source != before
    assert find_net("small").channels == 48


def test_a_file_whose_net_is_none_is_refused(small: Path) -> None:
    small.write_text("NET = 1\n")
    registry.use_plugin(small)
    with pytest.raises(BadFileError, match="NET is not a methods"):
        find_net("small")


def test_excitation_backprop_asks_for_a_layer_of_a_net_without_stages(small: Path) -> None:
    small.write_text(small.read_text().replace(', stages=("2", "5")', "").replace("nn.GroupNorm(4, after), ", ""))
    registry.use_plugin(small)
    cls: Any = registry.method("mwp")
    with pytest.raises(RequestError, match="small has no stage below its last: set saliency_layer"):
        cls(cls.Config(net="small", weights="none"), TASK)
    method = cls(cls.Config(net="small", weights="none", saliency_layer="backbone.trunk.3"), TASK).eval()
    assert method(torch.rand(1, 3, 64, 64)).cells == Cells(0.5, 4.0)


def test_an_unknown_net_names_those_of_plug_ins_too(small: Path) -> None:
    registry.use_plugin(small)
    with pytest.raises(UnknownNameError, match="Did you mean: small"):
        find_net("smal")


def test_what_is_no_map_or_no_stage_is_refused() -> None:
    with pytest.raises(RequestError, match="gives no feature maps"):
        describe_net(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()))
    with pytest.raises(RequestError, match="no module '7' that gives feature maps"):
        describe_net(lambda: nn.Sequential(nn.Conv2d(3, 4, 3)), stages=("7", "0"))
    with pytest.raises(RequestError, match="takes no image of 224 x 224 pixels"):
        describe_net(lambda: nn.Sequential(nn.Conv2d(4, 4, 3)))
    with pytest.raises(RequestError, match=r"stride=8 is given, but the net makes a cell every 2 pixels"):
        describe_net(lambda: nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1)), stride=8)
    with pytest.raises(RequestError, match=r"one cell of \d+ x \d+ pixels, of which nothing can be localized"):
        describe_net(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)))


class Odd(nn.Module):
    """Pads by itself, pools by a function, and swaps axes to normalise: no module says where its cells lie."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 4, stride=2), nn.LayerNorm(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.conv(nn.functional.pad(images, (1, 2, 1, 2)))
        maps = maps + self.norm(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return nn.functional.avg_pool2d(maps, 2)


def test_functions_are_followed_as_modules_are() -> None:
    # pad: pixel 0 is the second of 4; conv: centred 2 in, less 1; pool: half a cell of 2 pixels further
    assert find_cells(Odd()) == Cells(2.0, 4.0)
    assert "add" in follow(Odd()).functions
    assert describe_net(Odd).has_sums


def test_cells_that_cannot_be_followed_share_the_image_evenly() -> None:
    net = describe_net(lambda: nn.Sequential(nn.PixelUnshuffle(8), nn.Conv2d(192, 5, 1)))
    assert (net.stride, net.origin) == (8, 4.0)
    assert build_cells_of_stage(net) is None


def build_cells_of_stage(net: object) -> Cells | None:
    """The cells below the end of a net whose cells cannot be followed."""
    from methods.nets.backbone import Backbone, Net

    assert isinstance(net, Net)
    return Backbone(net, None, "max").find_cells("0")
