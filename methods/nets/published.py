"""Readers of published weight files of MatConvNet (.mat) and Caffe (.caffemodel), by Caffe's names: `conv1.weight`.

They follow the format definitions and have not been tested on the published files.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.core.apart import read_apart
from bench.errors import BadFileError


def read_mat(path: Path) -> dict[str, Tensor]:
    """Read the convolutions of a MatConvNet `simplenn` file, in Caffe's order of axes and colours (blue first).

    `layers` is a cell array of structs with a name and `weights = {filters, biases}`, or in older files both
    as fields; filters (height, width, in, out) expect red first. Raises BadFileError.
    """
    arrays = read_apart("bench.data.matconvnet:read_layers", path)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """Read the weights and biases of a Caffe network, in either version of its format. Raises BadFileError."""
    from google.protobuf.message import DecodeError

    net = _message_class("NetParameter")()
    try:
        net.ParseFromString(path.read_bytes())
        layers = [layer for layer in (*net.layers, *net.layer) if layer.blobs]
        found = {
            f"{layer.name}.{kind}": _read_blob(blob)
            for layer in layers
            for kind, blob in zip(("weight", "bias"), layer.blobs, strict=False)
        }
    except (DecodeError, ValueError):
        raise BadFileError(path, "not a Caffe network (a binary NetParameter)") from None
    if not found:
        raise BadFileError(path, "a Caffe network without any weights")
    return found


def _read_blob(blob: Any) -> Tensor:
    """Read a blob; old files pad shapes to four numbers with leading ones. Raises ValueError."""
    shape = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
    while not blob.shape.dim and len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return torch.from_numpy(np.array(blob.data, dtype=np.float32).reshape(shape))


_CAFFE: dict[str, list[tuple[str, int, str]]] = {
    "BlobShape": [("dim", 1, "int64*")],
    "BlobProto": [
        *((name, number, "int32") for number, name in enumerate(("num", "channels", "height", "width"), start=1)),
        ("data", 5, "float*"),
        ("shape", 7, "BlobShape"),
    ],
    "V1LayerParameter": [("name", 4, "string"), ("blobs", 6, "BlobProto*")],
    "LayerParameter": [("name", 1, "string"), ("blobs", 7, "BlobProto*")],
    "NetParameter": [("layers", 2, "V1LayerParameter*"), ("layer", 100, "LayerParameter*")],
}
"""For each message of caffe.proto, the fields needed for weights: name, number, type (* for repeated)."""


@cache
def _message_class(message: str) -> Any:
    """Return the class of one of the messages above; other fields in a file are skipped."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="weakloc/caffe.proto", package="caffe", syntax="proto2")
    field = descriptor_pb2.FieldDescriptorProto
    for name, fields in _CAFFE.items():
        added = file.message_type.add(name=name)
        for key, number, kind in fields:
            entry = added.field.add(name=key, number=number)
            entry.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            if (plain := kind.removesuffix("*")) in _CAFFE:
                entry.type, entry.type_name = field.TYPE_MESSAGE, f".caffe.{plain}"
            else:
                entry.type = field.Type.Value(f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{message}"))
