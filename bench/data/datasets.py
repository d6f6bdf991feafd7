"""The catalogue of datasets, and opening one by name. Listing them imports no reader."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.core.files import Places
from bench.data.dataset import Dataset, data_digest
from bench.errors import MissingDataError, RequestError, UnknownNameError

__all__ = ["DATASETS", "Dataset", "data_digest", "open_dataset"]

DATASETS: dict[str, str] = {
    "voc2007": "PASCAL VOC 2007: 20 classes, 5,011 trainval and 4,952 test images, both annotated.",
    "voc2010": "PASCAL VOC 2010: 20 classes, train and val annotated.",
    "voc2012": "PASCAL VOC 2012: 20 classes, train and val annotated.",
    "voc2012-actions": "PASCAL VOC 2012 actions: 10 classes, of persons, or of images in the splits images/...",
    "coco2014": "COCO 2014 instances: 80 classes, 82,783 train and 40,504 val images, boxes and masks.",
    "coco2017": "COCO 2017 instances: 80 classes, 118,287 train and 5,000 val images, boxes and masks.",
    "ilsvrc2012": "ILSVRC 2012 CLS-LOC: 1,000 classes, 1,281,167 train and 50,000 val images; option blacklist.",
    "ilsvrc2013-det": "ILSVRC 2013 DET: 200 classes, val and its halves val1 and val2 annotated.",
    "cub": "Caltech-UCSD Birds-200-2011: 200 classes, 5,994 train and 5,794 test images, one box each.",
    "openimages": "OpenImages30k of wsolevaluation: 100 classes, masks of 2,500 val and 5,000 test images.",
    "mit67": "MIT Indoor 67: 67 classes, 5,360 train and 1,340 test images.",
    "shapes": "Synthetic: bodies with a small discriminative part, made on first use; options train, val, test ...",
}


_READERS = {
    "voc2012-actions": "voc_actions",
    "coco2014": "coco",
    "coco2017": "coco",
    "ilsvrc2012": "ilsvrc",
    "ilsvrc2013-det": "ilsvrc",
    "cub": "cub",
    "openimages": "wsol",
    "mit67": "mit67",
}


def open_dataset(name: str, places: Places, options: Mapping[str, Any] = MappingProxyType({})) -> Dataset:
    """Open a dataset; `shapes` is generated on first use. Only `shapes` and `ilsvrc2012` have options.

    Raises UnknownNameError for the name or an option, MissingDataError if it is not under the data root.
    """
    if name not in DATASETS:
        raise UnknownNameError("dataset", name, DATASETS, hint="python -m bench list datasets")
    if name == "shapes":
        from bench.data.shapes import open_shapes

        return open_shapes(places, options)
    data_root = _require_data_root(name, places)
    try:
        return _open_reader(name, data_root, places.cache, options)
    except MissingDataError as error:
        raise _suggest_data_root(error, data_root) from None


def _open_reader(name: str, data_root: Path, cache: Path, options: Mapping[str, Any]) -> Dataset:
    if name == "ilsvrc2012":
        from bench.data.ilsvrc import open_dataset as open_ilsvrc

        return open_ilsvrc(name, data_root, cache, options)
    if options:
        raise RequestError(f"Dataset {name} takes no options, but got: {', '.join(options)}.")
    if name in _READERS:
        dataset: Dataset = import_module(f"bench.data.{_READERS[name]}").open_dataset(name, data_root, cache)
        return dataset
    from bench.data.voc import VocDataset

    folder = data_root / "VOCdevkit" / name.replace("voc", "VOC")
    return VocDataset(name, folder, cache, lists=data_root / "lists" / name)


def _require_data_root(name: str, places: Places) -> Path:
    if places.data_root is None:
        how = "Give --data-root DIR, or set BENCH_DATA, to the folder that holds VOCdevkit, coco, ILSVRC ..."
        raise MissingDataError(name, Path("nowhere (no data root is set)"), how)
    return places.data_root


def _suggest_data_root(error: MissingDataError, data_root: Path) -> MissingDataError:
    """Return the error, naming the right data root if a folder above or inside the given one holds the missing path."""
    if data_root not in error.looked_in.parents:
        return error
    rest = error.looked_in.relative_to(data_root)
    above = [folder for folder in data_root.absolute().parents[:2] if (folder / rest).exists()]
    within = [data_root / path.relative_to(data_root).parts[0] for path in data_root.glob(f"*/{rest}")]
    if not (candidates := [*above, *within]):
        return error
    how = f"But {candidates[0]} holds it: give --data-root {candidates[0]}."
    return MissingDataError(error.what, error.looked_in, how)
