"""Files in the layouts of MatConvNet and Caffe, written here byte by byte or by scipy: read, turned, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import savemat
from torch import Tensor, nn

from bench.errors import BadFileError
from methods.nets import Backbone, build

PIXELS = torch.tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
"""Caffe's mean colour, blue first."""

LAYERS = {
    "vgg-f": {"trunk.0": "conv1", "trunk.4": "conv2", "trunk.8": "conv3", "trunk.10": "conv4", "trunk.12": "conv5"},
    "cnn-s": {"trunk.0": "conv1", "trunk.4": "conv2", "trunk.7": "conv3", "trunk.9": "conv4", "trunk.11": "conv5"},
}


def source(net: str) -> Backbone:
    torch.manual_seed(2)
    return build(net, "none").eval()


def convolutions(backbone: Backbone, net: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights (out, in, height, width), blue first, and biases."""
    found = {}
    for ours, theirs in LAYERS[net].items():
        layer = backbone.get_submodule(ours)
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        found[theirs] = (layer.weight.detach(), layer.bias.detach())
    return found


def matconvnet(path: Path, layers: dict[str, tuple[Tensor, Tensor]], *, old: bool) -> Path:
    """imagenet-vgg-f.mat's layout: a cell array of structs, filters (height, width, in, out), red first."""
    cells: list[dict[str, Any]] = []
    for name, (weight, bias) in layers.items():
        filters = (weight.flip(1) if weight.shape[1] == 3 else weight).permute(2, 3, 1, 0).numpy()
        biases = bias.numpy()[None] if old else bias.numpy()[:, None]
        cell: NDArray[Any] = np.empty((1, 2), dtype=object)
        cell[0, 0], cell[0, 1] = filters, biases
        parameters = {"filters": filters, "biases": biases} if old else {"weights": cell}
        cells += [{"type": "conv", "name": name, **parameters, "stride": 1.0}, {"type": "relu", "name": f"re{name}"}]
    cells.append({"type": "softmax", "name": "prob", "weights": np.zeros((0, 0))})
    every: NDArray[Any] = np.empty((1, len(cells)), dtype=object)
    every[0, :] = cells
    savemat(path, {"layers": every, "meta": {"normalization": {"averageImage": np.zeros((2, 2, 3))}}})
    return path


def varint(value: int) -> bytes:
    low, high = value & 127, value >> 7
    return bytes([low | 128]) + varint(high) if high else bytes([low])


def field(number: int, content: bytes | str | int) -> bytes:
    """A field of a protocol buffer: whole numbers as varints, everything else with its length in front."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(values: Tensor, *, old: bool) -> bytes:
    data = field(5, values.numpy().astype("<f4").tobytes())
    if old:
        padded = [1] * (4 - values.ndim) + list(values.shape)
        return b"".join(field(number, size) for number, size in enumerate(padded, start=1)) + data
    return data + field(7, field(1, b"".join(map(varint, values.shape))))


def caffe(path: Path, layers: dict[str, tuple[Tensor, Tensor]], *, old: bool) -> Path:
    """VGG_CNN_F.caffemodel's layout: NetParameter with `layers` (old) or `layer`, and layers without blobs between."""
    net = field(1, "VGG_CNN_F")
    name_of, blobs_of, layers_of = (4, 6, 2) if old else (1, 7, 100)
    for name, values in layers.items():
        blobs = b"".join(field(blobs_of, blob(value, old=old)) for value in values)
        net += field(layers_of, field(name_of, name) + blobs) + field(layers_of, field(name_of, f"relu-{name}"))
    path.write_bytes(net)
    return path


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("net", LAYERS)
@pytest.mark.parametrize(("write", "suffix"), [(matconvnet, ".mat"), (caffe, ".caffemodel")])
def test_a_published_file_gives_the_features_it_stands_for(
    tmp_path: Path, net: str, old: bool, write: Any, suffix: str
) -> None:
    backbone = source(net)
    loaded = build(net, str(write(tmp_path / f"net{suffix}", convolutions(backbone, net), old=old))).eval()
    image = torch.rand(1, 3, 96, 80)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.features(image), backbone.trunk(image.flip(1) * 255 - PIXELS), rtol=1e-3, atol=1e-3
        )
    assert loaded.new_parameters() == []


@pytest.mark.slow
@pytest.mark.parametrize(("write", "suffix"), [(matconvnet, ".mat"), (caffe, ".caffemodel")])
def test_fully_connected_layers_are_read_whether_stored_as_such_or_as_convolutions(
    tmp_path: Path, write: Any, suffix: str
) -> None:
    backbone = source("vgg-f")
    fc6, fc7 = torch.rand(4096, 256, 6, 6), torch.rand(4096, 4096)
    heads = {
        "fc6": fc6 if suffix == ".mat" else fc6.flatten(1),
        "fc7": fc7[:, :, None, None],
        "fc8": torch.rand(9, 4096, 1, 1),
    }
    layers = convolutions(backbone, "vgg-f") | {name: (value, value.flatten(1)[:, 0]) for name, value in heads.items()}
    path = write(tmp_path / f"net{suffix}", layers, old=True)
    assert build("vgg-f", str(path)).new_parameters() == []
    loaded = build("vgg-f", str(path), roi_head="own").eval()
    pooled = torch.rand(2, 256, 6, 6)
    expected = ((pooled.flatten(1) @ fc6.flatten(1).T + fc6[:, 0, 0, 0]).relu() @ fc7.T + fc7[:, 0]).relu()
    with torch.no_grad():
        torch.testing.assert_close(loaded.roi_head(pooled), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("write", "suffix"), [(matconvnet, ".mat"), (caffe, ".caffemodel")])
def test_a_file_that_lacks_a_layer_is_refused_by_name(tmp_path: Path, write: Any, suffix: str) -> None:
    layers = convolutions(source("vgg-f"), "vgg-f")
    layers["conv9"] = layers.pop("conv3")
    with pytest.raises(BadFileError, match=r"missing: conv3\.weight, conv3\.bias; unexpected: conv9"):
        build("vgg-f", str(write(tmp_path / f"net{suffix}", layers, old=True)))


def test_files_of_another_net_are_refused(tmp_path: Path) -> None:
    path = caffe(tmp_path / "net.caffemodel", convolutions(source("cnn-s"), "cnn-s"), old=True)
    with pytest.raises(BadFileError, match=r"mis-shaped: conv1\.weight \(96, 3, 7, 7\), expected \(64, 3, 11, 11\)"):
        build("vgg-f", str(path))


@pytest.mark.parametrize("suffix", [".mat", ".caffemodel"])
@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"\x0a\xff\xff\xff\xff", bytes(range(256)) * 4])
def test_a_broken_file_is_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"broken{suffix}").write_bytes(content)
    with pytest.raises(BadFileError, match="broken"):
        build("vgg-f", str(tmp_path / f"broken{suffix}"))


@pytest.mark.parametrize("content", [{"net": 1.0}, {"layers": 3.0}, {"layers": np.zeros((1, 2), dtype=object)}])
def test_a_mat_file_without_layers_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    savemat(tmp_path / "other.mat", content)
    with pytest.raises(BadFileError, match="not a MatConvNet file"):
        build("vgg-f", str(tmp_path / "other.mat"))
