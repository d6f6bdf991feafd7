"""Unfinished predictions: each part of a split's images is written whole, so that a killed run can resume.

Tables are in `parts/<kind>-<rows>.parquet`, shards of maps and objectness in `parts/<kind>`, and masks in
`parts/masks/<image>.png`. After the last part, tables are joined; folders are complete as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.core.boxes import FloatArray
from bench.core.files import atomic_file
from bench.data.ground_truth import GroundTruth
from bench.data.pixels import write_indices
from bench.data.proposals import Proposals
from bench.errors import RunError
from bench.predictions.arrays import write_shard
from bench.predictions.table import FOLDERS, KINDS, About
from bench.training.feature_cache import FeatureCache
from bench.training.inputs import Images


@dataclass(frozen=True, eq=False)
class Drawn:
    """Arrays of some images: masks, or maps with the class of each. half: whether to store them as float16."""

    images: Sequence[str]
    arrays: Sequence[NDArray[Any]]
    labels: Sequence[str] | None = None
    half: bool = False


@dataclass(frozen=True, eq=False)
class Split:
    """The images to predict, with their proposals. truth: its labels are read only to select the classes to write."""

    truth: GroundTruth
    images: Images
    proposals: Proposals | None = None
    features: FeatureCache | None = None


Made = Mapping[str, pa.Table | Drawn]
"""The predictions of a part, by kind."""


@dataclass(frozen=True)
class Parts:
    """The parts of predictions in `folder`. about: metadata of the shards."""

    folder: Path
    about: About
    ids: tuple[str, ...]

    def is_done(self, kind: str, rows: range) -> bool:
        """Whether a part has been written."""
        return all(path.exists() for path in self._paths(kind, rows))

    def write(self, kind: str, rows: range, made: pa.Table | Drawn) -> None:
        """Write a part atomically; of masks, each file."""
        paths = self._paths(kind, rows)
        if not isinstance(made, Drawn):
            with atomic_file(paths[0]) as part:
                pq.write_table(made, part)
        elif kind == "masks":
            for path, mask in zip(paths, made.arrays, strict=True):
                with atomic_file(path) as part:
                    write_indices(part, mask)
        else:
            write_shard(paths[0], kind, made.images, made.arrays, self.about, made.labels, half=made.half)

    def table(self, kind: str, parts: Sequence[range]) -> pa.Table:
        """Join the parts of a kind that is a table."""
        return pa.concat_tables(pq.read_table(self._paths(kind, rows)[0]) for rows in parts)

    def _paths(self, kind: str, rows: range) -> list[Path]:
        parts, name = self.folder / "parts", f"{rows.start:08d}-{rows.stop:08d}.parquet"
        if kind == "masks":
            return [parts / kind / f"{self.ids[row]}.png" for row in rows]
        return [parts / kind / name if kind in FOLDERS else parts / f"{kind}-{name}"]


def table(
    truth: GroundTruth, kind: str, image: NDArray[np.int64], label: NDArray[np.int64], *values: FloatArray
) -> pa.Table:
    """Build the table of a kind: image and class of each row, then its values. Raises RunError for NaN or infinity."""
    if not all(np.isfinite(value).all() for value in values):
        raise RunError(f"The {kind} of a method must be finite, but it gave NaN or infinity.")
    names = [_take_names(truth.ids, image), _take_names(truth.classes, label)]
    return pa.table([*names, *(pa.array(value, pa.float64()) for value in values)], names=list(KINDS[kind]))


def _take_names(names: Sequence[str], index: NDArray[np.int64]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(index, pa.int64()))
