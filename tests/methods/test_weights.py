"""Weight files: each family is read, normalised as it was trained, and refused in one message if it does not fit."""

from __future__ import annotations

import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import get_model

from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError
from methods.nets import NETS, Backbone, build
from methods.nets.backbone import TORCHVISION, Layout
from methods.nets.weights import _map_names

CAFFE_MEAN = [123 / 255, 117 / 255, 104 / 255]


def named(backbone: Backbone, layout: Layout) -> dict[str, Tensor]:
    """A backbone's parameters in the names of a family."""
    return {theirs: backbone.state_dict()[ours] for ours, theirs in _map_names(backbone, layout).items()}


def file_of(net: str, layout: Layout, folder: Path, suffix: str, **changes: Tensor | None) -> tuple[Path, Backbone]:
    """A weight file in a family's names, from a fresh net; `changes` replace or (None) remove entries."""
    torch.manual_seed(1)
    backbone = build(net, "none", roi_head="own")
    state = {name: value for name, value in {**named(backbone, layout), **changes}.items() if value is not None}
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
def test_layouts_name_every_parameter_once(net: str) -> None:
    with torch.device("meta"):
        backbone = build(net, "none", roi_head="own")
    ours = {name for name, _ in backbone.named_parameters()}
    for layout in NETS[net].layouts:
        wanted = _map_names(backbone, layout)
        assert ours <= set(wanted)
        assert len(set(wanted.values())) == len(wanted)


@pytest.mark.parametrize("net", [net for net in NETS if NETS[net].torchvision])
def test_torchvisions_names_and_shapes_are_read(net: str) -> None:
    with torch.device("meta"):
        theirs = get_model(NETS[net].torchvision, init_weights=False).state_dict() if "google" in net else None
        theirs = theirs or get_model(NETS[net].torchvision).state_dict()
        backbone = build(net, "none", roi_head="own")
    layout, ours = NETS[net].layouts[0], backbone.state_dict()
    wanted = _map_names(backbone, layout)
    assert all(theirs[name].shape == ours[mine].shape for mine, name in wanted.items())
    left = {name for name in theirs if name not in wanted.values() and not name.endswith("num_batches_tracked")}
    assert {name for name in left if not name.startswith(tuple(f"{spare}." for spare in layout.spare))} == set()


def test_a_net_of_torchvisions_weights_gives_torchvisions_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs, image = get_model("googlenet", init_weights=False).eval(), torch.rand(1, 3, 64, 64)
    state = {
        name: torch.rand_like(value) * 0.1 for name, value in theirs.state_dict().items() if value.is_floating_point()
    }
    theirs.load_state_dict(state, strict=False)
    torch.save(state, tmp_path / "googlenet.pth")
    loaded, seen = build("googlenet", str(tmp_path / "googlenet.pth")).eval(), []
    theirs.avgpool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    theirs.transform_input = True
    with torch.no_grad():
        theirs((image - torch.tensor(TORCHVISION.mean).view(3, 1, 1)) / torch.tensor(TORCHVISION.std).view(3, 1, 1))
        torch.testing.assert_close(loaded.features(image), seen[0], rtol=1e-3, atol=1e-4)


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


def test_a_name_that_the_net_has_not_is_unexpected_even_below_a_module_that_it_has(tmp_path: Path) -> None:
    changes = {"features.3.squeeze.gain": torch.zeros(1), "features.99.weight": torch.zeros(1)}
    path, _ = file_of("squeezenet", NETS["squeezenet"].layouts[0], tmp_path, ".pth", **changes)
    with pytest.raises(BadFileError, match=r"unexpected: features\.3\.squeeze\.gain, features\.99\.weight"):
        build("squeezenet", str(path))


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
    with pytest.raises(
        UnknownNameError, match=r"Did you mean: imagenet\?.*or a file \.npz or \.pth or \.mat or \.caffemodel"
    ):
        build("tiny", "imagnet")


def test_a_net_without_imagenet_weights_says_so() -> None:
    with pytest.raises(RequestError, match="no ImageNet weights"):
        build("tiny", "imagenet")


def test_offline_the_message_says_where_the_file_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", _offline)
    monkeypatch.setattr("torch.hub.urlopen", _offline)
    with pytest.raises(MissingDataError, match=r"squeezenet1_0-.*Put the file there"):
        build("squeezenet", "imagenet")


def _offline(*_: object, **__: object) -> None:
    raise urllib.error.URLError("no network")
