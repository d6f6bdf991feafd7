"""Which datasets there are, and how one is opened by name. Listing them imports no reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.data.dataset import Dataset, data_digest
from bench.errors import MissingDataError, RequestError, UnknownNameError
from bench.files import Places

__all__ = ["DATASETS", "Dataset", "data_digest", "open_dataset"]

DATASETS: dict[str, str] = {
    "voc2007": "PASCAL VOC 2007: 20 classes, 5,011 trainval and 4,952 test images, truth of both.",
    "voc2010": "PASCAL VOC 2010: 20 classes, truth of train and val.",
    "voc2012": "PASCAL VOC 2012: 20 classes, truth of train and val.",
    "shapes": "Synthetic: bodies with a small telling part, made on first use; options train, val, test, size, seed.",
}


def open_dataset(name: str, places: Places, options: Mapping[str, Any] = MappingProxyType({})) -> Dataset:
    """Open a dataset; only `shapes` has options, and it is made where it is not there yet.

    Raises UnknownNameError for the name or an option, MissingDataError where it is not under the data root.
    """
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS)
    if name == "shapes":
        from bench.data.shapes import open_shapes

        return open_shapes(places, options)
    if options:
        raise RequestError(f"Dataset {name} takes no options, but got: {', '.join(options)}.")
    from bench.data.voc import VocDataset

    return VocDataset(name, voc_folder(name, places.data_root), places.cache)


def voc_folder(name: str, data_root: Path | None) -> Path:
    """Where a VOC year is: `<data root>/VOCdevkit/VOC2007` for `voc2007`.

    Raises MissingDataError if no data root is set.
    """
    if data_root is None:
        how = "Give --data-root DIR, or set BENCH_DATA, to the folder that holds VOCdevkit."
        raise MissingDataError(name, Path("nowhere (no data root is set)"), how)
    return data_root / "VOCdevkit" / name.replace("voc", "VOC")
