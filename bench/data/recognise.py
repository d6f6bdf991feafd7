"""Look at a folder of photographs and describe it: its layout, classes and splits."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from bench.data.coco import get_list, list_categories, read_document
from bench.data.datasets import list_datasets
from bench.data.description import Description, parse_description
from bench.data.label_table import read_records
from bench.data.lists import read_lines
from bench.data.own import find_photograph, list_photographs
from bench.errors import BadFileError, MissingDataError, RequestError

BOXES = "boxes.csv"
"""Table of boxes of a folder of classes."""

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "img", "photos", ".")
_MASK_FOLDERS = ("SegmentationClass", "masks")
_WHOLE = "all"


class Recognised(NamedTuple):
    """What a folder was recognised as: keys of a `Description`, and what the reader of it should know."""

    keys: dict[str, Any]
    notes: tuple[str, ...] = ()


def describe_folder(
    folder: Path, file: Path, *, name: str | None = None, layout: str | None = None
) -> tuple[Description, tuple[str, ...]]:
    """Describe a folder for a file that is yet to be written; with notes.

    Raises MissingDataError without a folder, RequestError if the file exists or nothing is recognised, BadFileError.
    """
    if not folder.is_dir():
        raise MissingDataError("folder of photographs", folder, "Give the folder that holds them.")
    if file.suffix != ".toml" or file.exists():
        rule = "exists already" if file.exists() else "does not end with .toml"
        raise RequestError(f"{file} {rule}: choose another file with --out.")
    keys, notes = recognise(folder, layout)
    name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "own"
    if name in list_datasets():
        raise RequestError(f"There is a dataset {name!r} already. Choose another name with --name.")
    said = {"name": name, "licence": "not stated", "folder": os.path.relpath(folder.resolve(), file.resolve().parent)}
    return parse_description(file, said | keys), notes


def recognise(folder: Path, layout: str | None = None) -> Recognised:
    """Recognise the layout of a folder, or read it as `layout`. Raises RequestError if it is none."""
    for name, look in _LOOKS.items():
        if layout in (None, name) and (found := look(folder)) is not None:
            keys, notes = {"layout": name, **found.keys, "splits": _sort_splits(found.keys["splits"])}, found.notes
            if list(keys["splits"]) == [_WHOLE]:
                keys["splits"] |= {"train": f"{_WHOLE}:1-4of5", "test": f"{_WHOLE}:5of5"}
                notes = (*notes, "no split was found: every fifth image is test, the others are train")
            for option, split in (("--train-split", "train"), ("--split", "test")):
                if split not in keys["splits"]:
                    notes = (*notes, f"no split is called {split}: name one with {option}, or rename one in the file")
            return Recognised(keys, notes)
    raise RequestError(
        f"{folder} holds no {layout or 'dataset'} that is recognised. Expected XML annotations (voc), a JSON file with "
        "images, annotations and categories (coco), a CSV file with the columns image and label (csv), or a folder of "
        "photographs for each class (folder)."
    )


def _sort_splits(splits: dict[str, Any]) -> dict[str, Any]:
    order = dict.fromkeys([*_SPLITS.values(), *splits])
    return {name: splits[name] for name in order if name in splits}


def _look_for_voc(folder: Path) -> Recognised | None:
    annotations = next((name for name in ("Annotations", "annotations", ".") if _holds(folder / name, "*.xml")), None)
    if annotations is None:
        return None
    files = sorted((folder / annotations).glob("*.xml"))
    ids = [file.stem for file in files]
    classes = sorted({name for file in files for name in _list_names(file)})
    images = _choose_folder(folder, _IMAGE_FOLDERS, ids)
    lists = {path.stem: path for path in sorted((folder / "ImageSets" / "Main").glob("*.txt"))}
    of_a_class = {f"{label}_{split}" for label in classes for split in lists}
    splits: dict[str, Any] = {
        name: str(path.relative_to(folder)) for name, path in lists.items() if name not in of_a_class
    }
    for path in sorted((folder / "ImageSets" / "Segmentation").glob("*.txt")):
        if _has_masks(folder / "SegmentationClass", read_lines(path)):
            splits[f"seg-{path.stem}"] = {"file": str(path.relative_to(folder)), "masks": "SegmentationClass"}
    keys = {"images": images, "annotations": annotations, "classes": classes, "splits": splits or {_WHOLE: annotations}}
    return Recognised(keys | _find_masks(folder, ids))


def _list_names(file: Path) -> Iterable[str]:
    """Return the class names in an annotation; reading the dataset reports what is wrong with it."""
    text = file.read_bytes().decode("utf-8", "replace")
    try:
        root = ElementTree.fromstring(text) if "<!" not in text else None
    except ElementTree.ParseError as error:
        raise BadFileError(file, f"malformed XML ({error})") from None
    return () if root is None else [(item.findtext("name") or "").strip() for item in root.iterfind("object")]


def _look_for_coco(folder: Path) -> Recognised | None:
    documents = dict(_read_instances(folder))
    if not documents:
        return None
    names: dict[int, str] = {}
    for path, document in documents.items():
        names |= list_categories(path, document)
    splits = {_name_split(path, folder): _describe_instances(folder, path, one) for path, one in documents.items()}
    used = {entry.get("category_id") for document in documents.values() for entry in document["annotations"]}
    unused = [name for number, name in sorted(names.items()) if number not in used]
    notes = [f"categories without objects are left out: {', '.join(unused)}"] if unused else []
    keys: dict[str, Any] = {
        "classes": [name for number, name in sorted(names.items()) if number in used],
        "splits": splits if len(splits) > 1 else {_WHOLE: next(iter(splits.values()))},
    }
    keys |= _find_masks(folder, [Path(name).stem for one in documents.values() for name in _list_file_names(one)])
    numbers = Counter(str(image.get("id")) for document in documents.values() for image in document["images"])
    if max(numbers.values(), default=1) > 1:
        keys["ids"] = "file"
        notes.append("splits have the same image numbers: an image's id is its file")
    return Recognised(keys, tuple(notes))


def _read_instances(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted([*folder.glob("*.json"), *folder.glob("*/*.json")]):
        try:
            document = read_document(path)
        except BadFileError:
            continue  # another JSON file
        if {"images", "annotations", "categories"} <= document.keys():
            for key in ("images", "annotations"):
                get_list(path, document, key)
            yield path, document


def _describe_instances(folder: Path, path: Path, document: dict[str, Any]) -> dict[str, str]:
    """Return a split's file, and the folder of its photographs: beside the file, named as it is, or a usual one."""
    own, split = path.stem.removeprefix("instances_"), _name_split(path, folder)
    beside = str(path.parent.relative_to(folder))
    candidates = (beside, own, split, f"images/{own}", f"images/{split}", *_IMAGE_FOLDERS)
    images = _choose_folder(folder, candidates, _list_file_names(document))
    return {"file": str(path.relative_to(folder)), "images": images}


def _list_file_names(document: dict[str, Any]) -> list[str]:
    return [str(image.get("file_name")) for image in document["images"]]


def _look_for_csv(folder: Path) -> Recognised | None:
    tables = dict(_read_tables(folder))
    if not tables:
        return None
    rows = [row for table in tables.values() for row in table]
    files = [row["image"] for row in rows]
    splits = {_name_split(path, folder): path.name for path in tables}
    keys = {
        "images": _choose_folder(folder, _IMAGE_FOLDERS, files),
        "classes": sorted({row["label"] for row in rows} - {""}),
        "splits": splits if len(splits) > 1 else {_WHOLE: next(iter(splits.values()))},
    }
    return Recognised(keys | _find_masks(folder, [str(Path(name).with_suffix("")) for name in files]))


def _read_tables(folder: Path) -> Iterator[tuple[Path, list[dict[str, str]]]]:
    for path in sorted(path for path in folder.glob("*.csv") if path.name != BOXES):
        try:
            yield path, list(read_records(path))
        except BadFileError:
            continue  # another table


def _look_for_folder(folder: Path) -> Recognised | None:
    below = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    splits = {_SPLITS[name.lower()]: name for name, path in below.items() if name.lower() in _SPLITS}
    roots = [below[name] for name in splits.values()] or [folder]
    holders = [path for root in roots for path in sorted(root.iterdir()) if path.is_dir()]
    holders = [path for path in holders if path.name not in _MASK_FOLDERS and list_photographs(path)]
    if not holders:
        return None
    keys: dict[str, Any] = {"classes": sorted({path.name for path in holders}), "splits": splits or {_WHOLE: "."}}
    if (folder / BOXES).is_file():
        keys["boxes"] = BOXES
    ids = [str(path.relative_to(folder).with_suffix("")) for holder in holders for path in list_photographs(holder)]
    return Recognised(keys | _find_masks(folder, ids))


_LOOKS: dict[str, Callable[[Path], Recognised | None]] = {
    "voc": _look_for_voc,
    "coco": _look_for_coco,
    "csv": _look_for_csv,
    "folder": _look_for_folder,
}


def _holds(folder: Path, pattern: str) -> bool:
    return next(folder.glob(pattern), None) is not None


def _name_split(path: Path, folder: Path) -> str:
    """Name a split as its file says, or else as the file's folder does: `instances_val2017` is val."""
    for text in (path.stem, path.parent.name if path.parent != folder else ""):
        words = [word for word in re.split(r"[^a-z]+", text.lower()) if word in _SPLITS]
        if words:
            return _SPLITS[words[-1]]
    return re.sub(r"[^\w.-]+", "-", path.stem)


def _choose_folder(folder: Path, candidates: Iterable[str], names: Sequence[str]) -> str:
    """Choose the folder that holds most of the first photographs, given with or without their suffix."""

    def count(candidate: str) -> int:
        below = folder / candidate
        return sum((below / name).is_file() or (below / find_photograph(below, name)).is_file() for name in names[:100])

    return max(dict.fromkeys(candidates), key=count)


def _find_masks(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the folder with a PNG for each image, if there is one."""
    found = next((name for name in _MASK_FOLDERS if _has_masks(folder / name, names)), None)
    return {} if found is None else {"masks": found}


def _has_masks(folder: Path, names: Sequence[str]) -> bool:
    return bool(names) and all((folder / f"{name}.png").is_file() for name in names)
