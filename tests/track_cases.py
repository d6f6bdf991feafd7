"""A track of a few shapes, which tests of tracks and their verbs share."""

from __future__ import annotations

from pathlib import Path

TINY = """
version = 2
summary = "A few shapes"
dataset = "shapes"
data_options = { train = 8, val = 4, test = 6, size = 64, classes = 4 }
train_split = "train"
minutes = 1
seeds = [0, 1]

[settings]
net = "tiny"
weights = "none"

[splits]
voc07-point = "val"

[tuning]
train_split = "train:1of2"
eval_split = "train:2of2"
labels = "voc07-cls"

[groups.maps]
protocols = ["voc07-point", "voc07-corloc"]
settings = { epochs = 1 }

[groups.baselines]
protocols = ["voc07-point", "voc07-corloc"]

[methods.center]
group = "baselines"

[methods.cam-untrained]
group = "maps"
method = "cam"
settings = { epochs = 0 }

[methods.cam]
group = "maps"
settings = { dropout = 0.25 }
search = { by = "boxes", trials = 30, seed = 0, protocol = "voc07-point", score = 0.5, trial = 7 }
"""


def write_track(folder: Path, text: str = TINY) -> Path:
    """Write a track as `tiny.toml`."""
    path = folder / "tiny.toml"
    path.write_text(text)
    return path
