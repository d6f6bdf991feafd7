"""Descriptions of files that no reader accepts: what they seem to be, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.data.ground_truth import GroundTruth

COLUMNS = {
    "scores": "image,label,score",
    "boxes": "image,label,score,x1,y1,x2,y2",
    "points": "image,label,score,x,y",
}
"""The header of a CSV of each kind."""

# A pickle is never opened: this code is for users who trust it.
_PICKLE = (
    "a pickle, which may run any code and is not opened. Convert it where you trust it: "
    "import pickle, numpy; data = pickle.load(open('{name}', 'rb')); "
    "numpy.savez('maps.npz', **{{image: array for image, array in data.items()}}) for maps, or "
    "pandas.DataFrame(rows, columns=['image', 'label', 'score', 'x1', 'y1', 'x2', 'y2']).to_csv('boxes.csv', "
    "index=False) for boxes"
)
_TORCH = "a file of torch.save, which may run any code. " + _PICKLE.partition("opened. ")[2].replace(
    "pickle.load(open('{name}', 'rb'))", "torch.load('{name}', map_location='cpu')"
).replace("import pickle, numpy", "import torch, numpy")

_MAGIC = (
    (rb"\x80[\x02-\x05]", _PICKLE),
    (rb"\x89HDF", "an HDF5 file. Read it with h5py, and write parquet, or a folder of .npy files, one an image"),
    (rb"MATLAB|\x00\x01IM", "a MATLAB file. Read it with scipy.io.loadmat, and write a CSV, or a folder of .npy files"),
    (rb"\x93NUMPY", "one array, which names no images. Write a folder of .npy files, one an image, or a CSV"),
    (rb"\x89PNG|\xff\xd8\xff", "one picture. Give the folder of the pictures, one an image"),
    (rb"7z|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "a packed file. Unpack it first"),
    (rb"\s*<", "XML or HTML, not predictions. Write a CSV or COCO results JSON"),
)


def describe_unrecognised(name: str, start: bytes, truth: GroundTruth, kinds: Sequence[str]) -> str:
    """Describe what a file looks like, the supported formats, and how to get to one. start: its first bytes."""
    for magic, what in _MAGIC:
        if re.match(magic, start):
            return f"is {what.format(name=name)}"
    text = start.removeprefix(b"\xef\xbb\xbf")
    if text.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in text[:8]:
        return "is text in UTF-16, or not text: save it as UTF-8"
    first = text.partition(b"\n")[0].decode("utf-8", "replace").strip()[:120]
    formats = "neither parquet, COCO results JSON, a CSV with a header, an .npz file of maps, nor a folder"
    return f"is {formats} of predictions. Its first line is {first!r}: {_advise(first, truth, kinds)}"


def _advise(first: str, truth: GroundTruth, kinds: Sequence[str]) -> str:
    header = next((COLUMNS[kind] for kind in kinds if kind in COLUMNS), COLUMNS["scores"])
    fields = [field.strip().strip("'\"") for field in re.split(r"[,;\t|]|\s+", first)]
    if any(field in truth.index or truth.names.find(field) is not None for field in fields[:1] if field):
        return f"a CSV needs a header before it, such as {header}; VOC's text files come in a folder, one a class"
    return f"a CSV has one of its columns called image, as in {header}, or image and a column a class"
