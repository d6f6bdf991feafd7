"""Weight files: each family is read, normalised as it was trained, and refused in one message if it does not fit."""

from __future__ import annotations

import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError
from methods.nets import NETS, Backbone, build
from methods.nets.backbone import Layout

CAFFE_MEAN = [123 / 255, 117 / 255, 104 / 255]


def file_of(net: str, layout: Layout, folder: Path, suffix: str, **changes: Tensor | None) -> tuple[Path, Backbone]:
    """A weight file in a family's names, from a fresh net; `changes` replace or (None) remove entries."""
    torch.manual_seed(1)
    backbone = build(net, "none", roi_head="own")
    state = {
        theirs: backbone.state_dict()[ours] for ours, theirs in layout.names.items() if ours in backbone.state_dict()
    }
    state = {name: value for name, value in {**state, **changes}.items() if value is not None}
    path = folder / f"weights{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in state.items()})
    else:
        torch.save(state, path)
    return path, backbone


@pytest.mark.parametrize("suffix", [".npz", ".pth"])
def test_torchvisions_family_is_loaded_as_it_is(tmp_path: Path, suffix: str) -> None:
    path, source = file_of("squeezenet", NETS["squeezenet"].layouts[0], tmp_path, suffix)
    loaded = build("squeezenet", str(path))
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[name])
    assert loaded.new_parameters() == []


def test_caffes_family_is_turned_to_rgb_and_normalised_as_caffe_does(tmp_path: Path) -> None:
    spare = torch.zeros(1000, 512, 1, 1)
    path, source = file_of("squeezenet", NETS["squeezenet"].layouts[1], tmp_path, ".npz", **{"conv10.weight": spare})
    loaded = build("squeezenet", str(path)).eval()
    assert loaded.mean.flatten().tolist() == pytest.approx(CAFFE_MEAN)
    image = torch.rand(1, 3, 64, 64)
    bgr = image.flip(1) * 255 - torch.tensor([104.0, 117, 123]).view(3, 1, 1)
    torch.testing.assert_close(loaded.features(image), source.trunk(bgr), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("net", NETS)
def test_layouts_name_every_pretrained_parameter_once(net: str) -> None:
    with torch.device("meta"):
        ours = {name for name, _ in NETS[net].trunk().named_parameters(prefix="trunk")}
    for layout in NETS[net].layouts:
        assert ours <= set(layout.names)
        assert len(set(layout.names.values())) == len(layout.names)


def test_vgg16_reads_torchvisions_names() -> None:
    from torchvision.models import vgg16

    with torch.device("meta"):
        theirs = {name: value.shape for name, value in vgg16().state_dict().items()}
        net = NETS["vgg16"]
        ours = dict(net.trunk().named_parameters(prefix="trunk")) | dict(
            net.roi_head().named_parameters(prefix="roi_head")
        )
    layout = net.layouts[0]
    assert {*layout.names.values(), *layout.spare} == set(theirs)
    assert all(ours[mine].shape == theirs[name] for mine, name in layout.names.items())


def test_what_a_new_head_brings_is_new(tmp_path: Path) -> None:
    path, _ = file_of("squeezenet", NETS["squeezenet"].layouts[0], tmp_path, ".npz")
    backbone = build("squeezenet", str(path), roi_head="fc")
    assert {id(one) for one in backbone.new_parameters()} == {id(one) for one in backbone.roi_head.parameters()}


def test_every_fault_of_a_file_is_in_one_message(tmp_path: Path) -> None:
    changes = {
        "features.0.weight": torch.zeros(96, 3, 5, 5),
        "features.0.bias": None,
        "surprise": torch.zeros(1),
    }
    path, _ = file_of("squeezenet", NETS["squeezenet"].layouts[0], tmp_path, ".pth", **changes)
    with pytest.raises(BadFileError) as caught:
        build("squeezenet", str(path))
    text = str(caught.value)
    assert "missing: features.0.bias" in text
    assert "unexpected: surprise" in text
    assert "mis-shaped: features.0.weight (96, 3, 5, 5), expected (96, 3, 7, 7)" in text


def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    path, _ = file_of("squeezenet", NETS["squeezenet"].layouts[0], tmp_path, ".npz")
    with pytest.raises(BadFileError, match="missing"):
        build("tiny", str(path))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"features.0.weight": Trap()}))
    np.savez(tmp_path / "evil.npz", **{"conv1.weight": np.array([Trap()], dtype=object)})
    for name in ("evil.pth", "evil.npz"):
        with pytest.raises(BadFileError):
            build("squeezenet", str(tmp_path / name))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("suffix", [".npz", ".pth"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"no weights at all"])
def test_a_broken_file_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match="broken"):
        build("tiny", str(path))


def test_a_pth_that_is_no_dictionary_of_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "state.pth")
    with pytest.raises(BadFileError, match="plain dictionary"):
        build("tiny", str(tmp_path / "state.pth"))


def test_a_file_that_is_not_there_and_a_mistyped_word_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="not found: looked in"):
        build("tiny", str(tmp_path / "none.npz"))
    with pytest.raises(UnknownNameError, match=r"Did you mean: imagenet\?.*or a file \.npz or \.pth"):
        build("tiny", "imagnet")


def test_a_net_without_imagenet_weights_says_so() -> None:
    with pytest.raises(RequestError, match="no ImageNet weights"):
        build("tiny", "imagenet")


def test_offline_the_message_says_where_the_file_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", _offline)
    monkeypatch.setattr("torch.hub.urlopen", _offline)
    with pytest.raises(MissingDataError, match=r"squeezenet1_0-.*Put that file there"):
        build("squeezenet", "imagenet")


def _offline(*_: object, **__: object) -> None:
    raise urllib.error.URLError("no network")
