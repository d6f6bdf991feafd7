"""The catalogue of datasets, and opening one by name. Listing them imports no reader."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench.core.failures import describe_failure
from bench.core.files import Places
from bench.data.dataset import Dataset, data_digest
from bench.errors import BadFileError, BenchError, MissingDataError, RequestError, UnknownNameError

__all__ = ["DATASETS", "Dataset", "data_digest", "list_datasets", "open_dataset", "use_description"]

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
    "voc2012-actions": "bench.data.voc_actions",
    "coco2014": "bench.data.coco",
    "coco2017": "bench.data.coco",
    "ilsvrc2012": "bench.data.ilsvrc",
    "ilsvrc2013-det": "bench.data.ilsvrc",
    "cub": "bench.data.cub",
    "openimages": "bench.data.wsol",
    "mit67": "bench.data.mit67",
}


DESCRIPTIONS: dict[str, Path] = {}
"""The file of every dataset that a command describes with `--data FILE.toml` or `--plugin`."""


def list_datasets() -> dict[str, str]:
    """Return the line of each dataset by name: those built in, those of entry points, and those described by files."""
    others = {name: f"(entry point: {module})" for name, module in _entry_points().items() if name not in DATASETS}
    return {**DATASETS, **others, **{name: f"({path})" for name, path in DESCRIPTIONS.items()}}


def use_description(path: Path) -> str:
    """Add the dataset that a file describes, and return its name.

    Raises MissingDataError, BadFileError for a file that breaks a rule, RequestError for a name that is taken.
    """
    from bench.data.description import read_description

    if not path.is_file():
        raise MissingDataError("Description of a dataset", path, "python -m bench data init FOLDER writes one.")
    name, path = read_description(path).name, path.resolve()
    if name in DATASETS or name in _entry_points() or DESCRIPTIONS.setdefault(name, path) != path:
        raise RequestError(f"{path}: a dataset {name!r} already exists. Change the name in the file.")
    return name


def open_dataset(name: str | None, places: Places, options: Mapping[str, Any] = MappingProxyType({})) -> Dataset:
    """Open a dataset, or the one that a file `NAME.toml` describes; `shapes` is generated on first use.

    Only `shapes` and `ilsvrc2012` have options. Raises RequestError for None (the dataset of a protocol that has none),
    UnknownNameError for the name or an option, MissingDataError if it is not under the data root.
    """
    if name is None:
        raise RequestError("The protocol takes any dataset: say which one, --data NAME or --data FILE.toml.")
    if name.endswith(".toml"):
        name = use_description(Path(name))
    if name not in list_datasets():
        raise UnknownNameError("dataset", name, list_datasets(), hint="python -m bench list datasets")
    if name == "shapes":
        from bench.data.shapes import open_shapes

        return open_shapes(places, options)
    if name in DESCRIPTIONS:
        from bench.data.own import open_own

        _refuse_options(name, options)
        return open_own(DESCRIPTIONS[name], places.cache)
    data_root = _require_data_root(name, places)
    try:
        return _open_reader(name, data_root, places.cache, options)
    except MissingDataError as error:
        raise _suggest_data_root(error, data_root) from None


@functools.cache
def _entry_points() -> dict[str, str]:
    """Return the module of each entry point of the group `bench.datasets`; it has `open_dataset`, like our readers."""
    from importlib.metadata import entry_points

    return {entry.name: entry.value for entry in entry_points(group="bench.datasets")}


def _refuse_options(name: str, options: Mapping[str, Any]) -> None:
    if options:
        raise RequestError(f"Dataset {name} takes no options, but got: {', '.join(options)}.")


def _open_reader(name: str, data_root: Path, cache: Path, options: Mapping[str, Any]) -> Dataset:
    if name == "ilsvrc2012":
        from bench.data.ilsvrc import open_dataset as open_ilsvrc

        return open_ilsvrc(name, data_root, cache, options)
    _refuse_options(name, options)
    if (module := _READERS.get(name)) is not None:
        dataset: Dataset = import_module(module).open_dataset(name, data_root, cache)
        return dataset
    if (module := _entry_points().get(name)) is not None:
        return _open_from_others(name, module, data_root, cache)
    from bench.data.voc import VocDataset
    from bench.data.voc_parts import RULES

    folder = data_root / "VOCdevkit" / name.replace("voc", "VOC")
    rules = RULES if name == "voc2007" else {}
    return VocDataset(name, folder, cache, lists=data_root / "lists" / name, rules=rules)


def _open_from_others(name: str, module: str, data_root: Path, cache: Path) -> Dataset:
    """Open a dataset by an entry point's module. Raises BadFileError for any exception of the module."""
    try:
        dataset: Dataset = import_module(module).open_dataset(name, data_root, cache)
    except BenchError:
        raise
    except Exception as error:
        raise BadFileError(module, f"dataset {name} cannot be opened: {describe_failure(error)}. Correct it") from error
    return dataset


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
