"""Predictions stored as folders of masks or maps, of which one at a time is in memory.

masks: `<image>.png`, indexed (0 background, 1 + the class's index, 255 no answer); or a folder above VOC's own,
`comp5_<split>_cls` or `comp6_<split>_cls`.
maps and objectness: `.npy` and `.npz` files as described in `map_files`, such as `<image>.npy`, one float array (h, w),
as wsolevaluation writes them. Or our shards, parquet with one row per map: `image`, `label` (maps only), `height`,
`width`, `map`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bench.core.files import list_files
from bench.data.ground_truth import GroundTruth, find_image
from bench.errors import BadFileError, UnknownImageError, WrongKindError, first_line, format_count
from bench.predictions.map_files import check_map, read_map, read_map_folder
from bench.predictions.palettes import describe_palette, find_palette, read_mask
from bench.predictions.table import FOLDERS, KINDS, About, Predictions, read, write_rows

_KINDS_OF = {"*.parquet": ("maps", "objectness"), "*.np[yz]": ("maps", "objectness"), "*.png": ("masks",)}
_VOC_MASKS = re.compile(r"comp[56]_(.+)_cls", re.ASCII)
_MOST_NUMBERS = 1 << 26
"""The most numbers in a shard's row group; larger ones are refused unread, since a few kilobytes can claim any size."""


def read_folder(folder: Path, truth: GroundTruth, kinds: Sequence[str]) -> Predictions | None:
    """Read masks, maps or objectness; None if the folder has no parquet, array or `.png` files.

    Raises BadFileError if none of `kinds` is stored in such files, or no file belongs to an image of the truth.
    """
    for pattern, possible in _KINDS_OF.items():
        files = list_files(folder, pattern)
        kind = next((kind for kind in kinds if kind in possible), None)
        if files and kind is None and not list_files(folder, "comp*.txt"):
            raise WrongKindError(folder, possible, kinds, seen=f"{files[0].suffix} files, that is ")
        if files and kind is not None:
            return _read_files(folder, kind, files, truth)
    return None


def _read_files(folder: Path, kind: str, files: list[Path], truth: GroundTruth) -> Predictions:
    if files[0].suffix == ".parquet":
        return _shards(folder, kind, files)
    return read_map_folder(folder, files, truth) if kind == "maps" else _files(folder, kind, files, truth)


def read_parquet(path: Path, kinds: Sequence[str]) -> Predictions:
    """Read a table of one of `kinds`, or one shard. Raises BadFileError."""
    tables = [kind for kind in kinds if kind in KINDS]
    found = read(path, *tables, *(kind for kind in kinds if kind in _KINDS_OF["*.parquet"]))
    return _shards(path, found.kind, [path]) if found.kind in _KINDS_OF["*.parquet"] else found


def write_shard(
    path: Path,
    kind: str,
    images: Sequence[str],
    maps: Sequence[NDArray[np.floating]],
    about: About,
    labels: Sequence[str] | None = None,
    *,
    half: bool = False,
    double: bool = False,
) -> None:
    """Write maps (h, w) as one shard, atomically, in float32, float16 or float64. labels: the classes, if `maps`."""
    number = np.float16 if half else np.float64 if double else np.float32
    columns: dict[str, Any] = {"image": pa.array(images, pa.string())}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.string())
    columns |= {"height": [one.shape[0] for one in maps], "width": [one.shape[1] for one in maps]}
    columns["map"] = pa.array([one.ravel().astype(number) for one in maps], pa.list_(pa.from_numpy_dtype(number)))
    at_once = max(1, _MOST_NUMBERS // max((one.size for one in maps), default=1))
    write_rows(path, kind, pa.table(columns), about, at_once)


def _files(folder: Path, kind: str, files: list[Path], truth: GroundTruth) -> Predictions:
    suffix = files[0].suffix
    root, split = _find_masks(folder, truth) if kind == "masks" else (folder, None)
    files = [file for file in files if file.is_relative_to(root)]
    named: dict[int, Path] = {}
    for file in files:
        image = find_image(truth, file, file.relative_to(root).as_posix().removesuffix(suffix), None)
        if image is not None and named.setdefault(image, file) != file:
            raise BadFileError(file, f"a second file of image {truth.ids[image]!r}, beside {named[image]}")
    found = sorted(named)
    if not found:
        expected = f"{truth.ids[0]}{suffix}" if truth.ids else "an image's id"
        rule = f"no file is of an image of {truth.dataset} {truth.split}; expected {expected} ..."
        raise UnknownImageError(folder, rule, files[0].stem if files else "")
    wanted = find_palette(truth) if kind == "masks" else None
    one = partial(read_mask, wanted=wanted) if kind == "masks" else read_map
    palette = describe_palette(named[found[0]], wanted) if kind == "masks" else ""
    others = len(files) - len(found)
    unread = f"{format_count(others, f'{suffix} file')} of no image of {truth.dataset} {truth.split}, left unread"
    return Predictions(
        kind,
        pa.table({"image": pa.array([truth.ids[image] for image in found], pa.string())}),
        About(made_by=folder.name, split=split),
        str(root),
        tuple(filter(None, [unread * bool(others), palette])),
        lambda: (one(named[image]) for image in found),
    )


def _find_masks(folder: Path, truth: GroundTruth) -> tuple[Path, str | None]:
    """Find the folder of masks and their split; the folder itself and no split if it has no VOC names."""
    named = [
        (one, match) for one in (folder, *list_files(folder, "comp*")) if (match := _VOC_MASKS.fullmatch(one.name))
    ]
    if not named:
        return folder, None
    if len(named) > 1:
        sets = ", ".join(str(one.relative_to(folder)) for one, _ in named)
        raise BadFileError(folder, f"holds several sets of masks ({sets}); name one of them")
    ((root, match),) = named
    return root, truth.split if truth.split == f"Segmentation/{match[1]}" else match[1]


def _shards(folder: Path, kind: str, files: list[Path]) -> Predictions:
    parts = [read(file, kind) for file in files]
    for file in files:
        _check_shard(file)
    table = pa.concat_tables([part.table.cast(pa.schema([(n, pa.string()) for n in FOLDERS[kind]])) for part in parts])
    first = parts[0].about
    about = About(made_by=first.made_by, dataset=first.dataset, split=first.split, extra=first.extra)
    return Predictions(kind, table, about, str(folder), (), lambda: (one for file in files for one in _read_maps(file)))


def _check_shard(file: Path) -> None:
    with pq.ParquetFile(file) as shard:
        schema = shard.schema_arrow
        types = {name: schema.field(name).type for name in ("height", "width", "map") if schema.names.count(name) == 1}
        numbers = [pa.types.is_integer(types[name]) for name in ("height", "width") if name in types]
        if "map" not in types or not pa.types.is_list(types["map"]) or numbers != [True, True]:
            raise BadFileError(file, "a shard needs the columns height and width (integers) and map (a list of floats)")
        if not pa.types.is_floating(types["map"].value_type):
            raise BadFileError(file, f"column 'map' must hold lists of floats, but got {types['map']}")
        if (most := _most_numbers(file, shard)) > _MOST_NUMBERS:
            raise BadFileError(file, f"has a row group of {most} numbers; at most {_MOST_NUMBERS} are read at once")


def _most_numbers(file: Path, shard: pq.ParquetFile) -> int:
    """Return the count of numbers in the maps of the largest row group."""
    try:
        shard.scan_contents(columns=["map"])  # without this, pyarrow crashes on broken metadata below
    except (pa.ArrowException, OSError) as error:
        raise BadFileError(file, f"not a readable shard ({first_line(error)})") from None
    groups = [shard.metadata.row_group(number) for number in range(shard.metadata.num_row_groups)]
    (leaf,) = [n for n in range(len(shard.schema)) if shard.schema.column(n).path.startswith("map.")]
    return max((group.column(leaf).num_values for group in groups), default=0)


def _read_maps(file: Path) -> Iterator[NDArray[np.floating]]:
    row = 0
    try:
        with pq.ParquetFile(file) as shard:
            for batch in shard.iter_batches(batch_size=16, columns=["height", "width", "map"]):
                for height, width, values in zip(*(batch[name] for name in ("height", "width", "map")), strict=True):
                    yield _reshape(file, height.as_py(), width.as_py(), values.values, row)
                    row += 1
    except (pa.ArrowException, OSError) as error:
        raise BadFileError(file, f"not a readable shard ({first_line(error)})") from None


def _reshape(file: Path, height: Any, width: Any, values: Any, row: int) -> NDArray[np.floating]:
    sides = min(height or 0, width or 0) > 0
    if not sides or values is None or values.null_count or len(values) != height * width:
        raise BadFileError(file, f"expected {height} x {width} numbers", row=row)
    return check_map(file, values.to_numpy(zero_copy_only=False).reshape(height, width), row)
