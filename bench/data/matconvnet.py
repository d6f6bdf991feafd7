"""Weights of MatConvNet as arrays: read without torch, so that a separate process that may crash can do it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import BadFileError


def read_layers(path: Path) -> dict[str, NDArray[Any]]:
    """Read the convolutions of a `simplenn` file, as `<name>.weight` and `<name>.bias`. Raises BadFileError."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    found = {}
    try:
        for layer in loadmat(path, variable_names="layers")["layers"].flat:
            for filters, biases in _read_blobs(layer[0, 0]):
                name, weight = str(layer["name"][0, 0][0]), _to_floats(filters).transpose(3, 2, 0, 1)
                found[f"{name}.weight"] = weight[:, ::-1] if weight.shape[1] == 3 else weight
                found[f"{name}.bias"] = _to_floats(biases).flatten()
    except (MatReadError, OSError, EOFError, LookupError, TypeError, ValueError, RuntimeError, zlib.error):
        raise BadFileError(path, "not a MatConvNet file with `layers` (saved as -v7 or older)") from None
    return found


def _read_blobs(layer: Any) -> list[tuple[Any, Any]]:
    """Return the filters and biases of a layer, if it has any."""
    fields = layer.dtype.names
    if "filters" in fields:
        return [(layer["filters"], layer["biases"])]
    if "weights" in fields and layer["weights"].size:
        return [tuple(layer["weights"].flat[:2])]
    return []


def _to_floats(array: Any) -> NDArray[Any]:
    return np.array(array, dtype=np.float32)
