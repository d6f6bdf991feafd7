"""Hierarchy of the synthetic dataset: classes by outline, then by body."""

from __future__ import annotations

from collections.abc import Sequence

from bench.data.scenes import SHAPE_CLASSES

_OUTLINES = {"disc": "compact", "slab": "compact", "wedge": "pointed", "cross": "pointed"}

_ANCESTORS = {kind.name: (_OUTLINES[kind.body], kind.body) for kind in SHAPE_CLASSES}


def ancestors(classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the outline and the body of each class."""
    return {name: _ANCESTORS[name] for name in classes if name in _ANCESTORS}
