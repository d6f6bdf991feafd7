"""A track of a few shapes whose methods can be tuned in a second a trial."""

from __future__ import annotations

from pathlib import Path

TUNABLE = """\
# A track to tune.
version = 1
summary = "A few shapes"
dataset = "shapes"
data_options = { train = 24, val = 8, test = 8, size = 64, classes = 4 }
train_split = "train"
minutes = 1

[settings]  # what all share
net = "tiny"
weights = "none"

[tuning]
train_split = "train:1-2of3"
eval_split = "train:3of3"
labels = "voc07-cls"

[tuning.boxes]
maps = "voc07-corloc"
attributions = "voc07-point"

[groups.maps]
protocols = ["voc07-point"]
settings = { epochs = 1, batch_size = 4 }

[groups.attributions]
protocols = ["voc07-point"]
settings = { epochs = 1, batch_size = 4 }

[groups.baselines]
protocols = ["voc07-point"]

[methods.center]
group = "baselines"

[methods.cam-untrained]
group = "maps"
method = "cam"
settings = { epochs = 0 }

[methods.cam]  # the one that is tuned
group = "maps"
settings = { neck = 8, lr = 0.5 }  # by hand

[methods."weldon:a+b"]
group = "maps"

[methods.gradient]
group = "attributions"

[methods.deconv]
group = "attributions"
"""


def write_tunable(folder: Path, text: str = TUNABLE) -> Path:
    """Write the track as `tunable.toml`."""
    path = folder / "tunable.toml"
    path.write_text(text)
    return path
