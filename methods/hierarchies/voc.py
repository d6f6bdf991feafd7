"""PASCAL VOC: the upper two levels of the challenge's taxonomy (Everingham et al., IJCV 2010, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence

_GROUPS = {
    "person": {"people": "person"},
    "animals": {"birds": "bird", "domestic": "cat dog", "farmyard": "cow horse sheep"},
    "vehicles": {
        "aircraft": "aeroplane",
        "boats": "boat",
        "trains": "train",
        "two-wheeled": "bicycle motorbike",
        "four-wheeled": "bus car",
    },
    "household": {
        "bottles": "bottle",
        "plants": "pottedplant",
        "screens": "tvmonitor",
        "furniture": "chair diningtable sofa",
    },
}

_ANCESTORS = {
    name: (group, part) for group, parts in _GROUPS.items() for part, names in parts.items() for name in names.split()
}


def ancestors(classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the group and the subgroup of each class."""
    return {name: _ANCESTORS[name] for name in classes if name in _ANCESTORS}
