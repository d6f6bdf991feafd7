"""Recognition of a folder of photographs: its layout, classes and splits."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.core.toml import check_toml
from bench.data.coco import get_list, list_categories, read_document
from bench.data.datasets import list_datasets
from bench.data.description import Description
from bench.data.image_names import drop_suffix
from bench.data.label_table import read_records
from bench.data.left_out import LeftOut, find_unreadable_images, leave_out
from bench.data.lists import read_lines
from bench.data.mask_folders import MASK_FOLDERS, find_listed_masks, find_masks
from bench.data.own import find_photograph, list_photographs
from bench.data.voc import parse_xml
from bench.errors import BadFileError, MissingDataError, RequestError, format_names

BOXES = "boxes.csv"
"""Table of boxes of a folder of classes."""

_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "img", "photos", ".")
_NO_CLASSES = {"images", "image", "imgs", "img", "jpegimages", "photos", "photographs", "pictures", "pics"}
"""Names of folders, in lower case, that are not classes."""

_TABLES = (".csv", ".tsv", ".xls", ".xlsx", ".ods")
_WHOLE = "all"
_CORRECT = "Correct it, and run data init again"


class Recognised(NamedTuple):
    """A recognised folder: keys of a `Description`, notes for the user, and the files that are not read."""

    keys: dict[str, Any]
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


class Described(NamedTuple):
    """A description yet to be written, what the reader should know, and files that it leaves out."""

    description: Description
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def describe_folder(folder: Path, file: Path, *, name: str | None = None, layout: str | None = None) -> Described:
    """Describe a folder, for a description file that does not exist yet.

    Raises MissingDataError without a folder, RequestError if the file exists or nothing is recognised, BadFileError.
    """
    if not folder.is_dir():
        raise MissingDataError("folder of photographs", folder, "Give the folder that holds them.")
    if file.suffix != ".toml" or file.exists():
        rule = "already exists" if file.exists() else "does not end with .toml"
        raise RequestError(f"{file} {rule}: choose another file with --out.")
    keys, notes, left_out = recognise(folder, layout)
    name = name or re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "own"
    if name in list_datasets():
        raise RequestError(f"A dataset {name!r} already exists. Choose another name with --name.")
    own = {"name": name, "licence": "not stated", "folder": os.path.relpath(folder.resolve(), file.resolve().parent)}
    return Described(check_toml(file, own | keys, Description), notes, left_out)


def recognise(folder: Path, layout: str | None = None) -> Recognised:
    """Recognise the layout of a folder, or read it as `layout`. Raises RequestError if it has none."""
    left_out: list[LeftOut] = []
    for name, look in _LOOKS.items():
        if layout not in (None, name):
            continue
        if (found := look(folder, left_out)) is not None:
            keys, notes = {"layout": name, **found.keys, "splits": _sort_splits(found.keys["splits"])}, found.notes
            if list(keys["splits"]) == [_WHOLE]:
                keys["splits"] |= {"train": f"{_WHOLE}:1-4of5", "test": f"{_WHOLE}:5of5"}
                notes = (*notes, "no splits found: every fifth image is in test, the others are in train")
            for option, split in (("--train-split", "train"), ("--split", "test")):
                if split not in keys["splits"]:
                    notes = (*notes, f"no split is called {split}: name one with {option}, or rename one in the file")
            return Recognised(keys, notes, tuple(left_out))
    left_out += find_unreadable_images(folder)
    raise RequestError(
        f"No {layout or 'dataset'} recognised in {folder}. Expected XML annotations (voc), a JSON file with "
        "images, annotations and categories (coco), a CSV file with the columns image and label (csv), or a folder of "
        f"photographs for each class (folder).{''.join(f' Note: {one.describe()}' for one in left_out[:3])}"
    )


def _sort_splits(splits: dict[str, Any]) -> dict[str, Any]:
    order = dict.fromkeys([*_SPLITS.values(), *splits])
    return {name: splits[name] for name in order if name in splits}


def _look_for_voc(folder: Path, left_out: list[LeftOut]) -> Recognised | None:
    annotations, classes = next(_read_annotations(folder, left_out), ("", {}))
    if not classes:
        return None
    ids, names = list(classes), sorted({name for some in classes.values() for name in some})
    lists = _find_lists(folder, names)
    splits: dict[str, Any] = {name: str(path.relative_to(folder)) for name, path in lists.items()}
    for path in sorted((folder / "ImageSets" / "Segmentation").glob("[!.]*.txt")):
        if (lacking := find_listed_masks(folder, read_lines(path), str(path.relative_to(folder)))) is not None:
            left_out.append(lacking)
        else:
            splits[f"seg-{path.stem}"] = {"file": str(path.relative_to(folder)), "masks": "SegmentationClass"}
    left_out += _find_unlisted(folder, annotations, ids, lists)
    images = _choose_folder(folder, _IMAGE_FOLDERS, ids)
    keys = {"images": images, "annotations": annotations, "classes": names, "splits": splits or {_WHOLE: annotations}}
    has_lists_of_masks = any(isinstance(split, dict) for split in splits.values())
    return _add_masks(folder, keys, ids, [] if has_lists_of_masks else left_out)


def _read_annotations(folder: Path, left_out: list[LeftOut]) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield each folder with annotations, and the class names in each annotation; other XML files are left out."""
    for name in ("Annotations", "annotations", "."):
        classes: dict[str, list[str]] = {}
        for file in sorted((folder / name).glob("[!.]*.xml")):
            try:
                found = parse_xml(file).iterfind("object")
            except BadFileError as error:
                left_out.append(leave_out(folder, error, "If it is an annotation, correct it"))
            else:
                classes[file.stem] = [(item.findtext("name") or "").strip() for item in found]
        if classes:
            yield name, classes
        elif lost := tuple(str(path.relative_to(folder)) for path in sorted((folder / name).glob("[!.]*.XML"))):
            left_out.append(LeftOut(lost, "annotations end in .xml in small letters", "Rename them"))


def _find_lists(folder: Path, classes: Sequence[str]) -> dict[str, Path]:
    """Find the lists of images, by name, except those of a single class."""
    lists = {path.stem: path for path in sorted((folder / "ImageSets" / "Main").glob("[!.]*.txt"))}
    of_a_class = {f"{label}_{split}" for label in classes for split in lists}
    return {name: path for name, path in lists.items() if name not in of_a_class}


def _find_unlisted(folder: Path, annotations: str, ids: Sequence[str], lists: dict[str, Path]) -> Iterator[LeftOut]:
    """Find lists of images outside ImageSets/Main, and annotations that are in no list."""
    for path in sorted([*folder.glob("[!.]*.txt"), *folder.glob("ImageSets/[!.]*.txt")]):
        if {line.strip() for line in path.read_text("utf-8", "replace").splitlines()} & {*ids}:
            advice = "Move it there, and run data init again"
            yield LeftOut((str(path.relative_to(folder)),), "lists are read from ImageSets/Main", advice)
    listed = {image for path in lists.values() for image in read_lines(path)}
    if lists and (unlisted := [image for image in ids if image not in listed]):
        files = tuple(str(Path(annotations, f"{image}.xml")) for image in unlisted)
        yield LeftOut(files, "not in any list of ImageSets/Main", "Add their names to a list")


def _look_for_coco(folder: Path, left_out: list[LeftOut]) -> Recognised | None:
    documents = dict(_read_instances(folder, left_out))
    if not documents:
        return None
    names: dict[int, str] = {}
    for path, document in documents.items():
        names |= list_categories(path, document)
    splits = {
        split: _describe_instances(folder, path, documents[path])
        for split, path in _name_splits(documents, folder).items()
    }
    used = {entry.get("category_id") for document in documents.values() for entry in document["annotations"]}
    unused = [name for number, name in sorted(names.items()) if number not in used]
    notes = [f"categories without objects are left out: {', '.join(unused)}"] if unused else []
    keys: dict[str, Any] = {
        "classes": [name for number, name in sorted(names.items()) if number in used],
        "splits": _take_as_whole(splits, left_out),
    }
    numbers = Counter(str(image.get("id")) for document in documents.values() for image in document["images"])
    if max(numbers.values(), default=1) > 1:
        keys["ids"] = "file"
        notes.append("image numbers repeat across splits: ids are file names instead")
    images = [drop_suffix(name) for one in documents.values() for name in _list_file_names(one)]
    return _add_masks(folder, keys, images, left_out, notes)


def _read_instances(folder: Path, left_out: list[LeftOut]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted([*folder.glob("[!.]*.json"), *folder.glob("[!.]*/[!.]*.json")]):
        try:
            document = read_document(path)
            for key in ("images", "annotations", "categories"):
                get_list(path, document, key)
        except BadFileError as error:
            left_out.append(leave_out(folder, error, "If it lists images and objects as COCO does, correct it"))
        else:
            yield path, document


def _describe_instances(folder: Path, path: Path, document: dict[str, Any]) -> dict[str, str]:
    """Return a split's file, and the folder of its photographs: the file's own, one named like it, or a common one."""
    own, split = path.stem.removeprefix("instances_"), _name_split(path, folder)
    beside = str(path.parent.relative_to(folder))
    candidates = (beside, own, split, f"images/{own}", f"images/{split}", *_IMAGE_FOLDERS)
    images = _choose_folder(folder, candidates, _list_file_names(document))
    return {"file": str(path.relative_to(folder)), "images": images}


def _list_file_names(document: dict[str, Any]) -> list[str]:
    return [str(image.get("file_name")) for image in document["images"]]


def _look_for_csv(folder: Path, left_out: list[LeftOut]) -> Recognised | None:
    tables = dict(_read_tables(folder, left_out))
    if not tables:
        return None
    rows = [row for table in tables.values() for row in table]
    files = [row["image"] for row in rows]
    splits = {split: path.name for split, path in _name_splits(tables, folder).items()}
    keys = {
        "images": _choose_folder(folder, _IMAGE_FOLDERS, files),
        "classes": sorted({row["label"] for row in rows} - {""}),
        "splits": _take_as_whole(splits, left_out),
    }
    if (folder / BOXES).is_file():
        advice = "Add the columns x1, y1, x2 and y2 there"
        left_out.append(LeftOut((BOXES,), "boxes are read from the tables of splits", advice))
    return _add_masks(folder, keys, [drop_suffix(name) for name in files], left_out)


def _read_tables(folder: Path, left_out: list[LeftOut]) -> Iterator[tuple[Path, list[dict[str, str]]]]:
    for path in sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() == ".csv" and path.name != BOXES):
        try:
            yield path, list(read_records(path))
        except BadFileError as error:
            left_out.append(leave_out(folder, error, "If it is the table of a split, correct it"))


def _look_for_folder(folder: Path, left_out: list[LeftOut]) -> Recognised | None:
    below = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    of_splits = [path for path in below if path.name.lower() in _SPLITS]
    holders = [path for root in of_splits or [folder] for path in sorted(root.iterdir()) if path.is_dir()]
    holders = [path for path in holders if path.name not in MASK_FOLDERS and path.name[0] != "."]
    holders = [path for path in holders if list_photographs(path)]
    if not holders:
        return None
    classes = sorted({path.name for path in holders})
    _refuse_lost_labels(folder, classes, left_out)
    splits = {split: path.name for split, path in _name_splits(of_splits, folder).items()}
    keys: dict[str, Any] = {"classes": classes, "splits": splits or {_WHOLE: "."}}
    if (folder / BOXES).is_file():
        keys["boxes"] = BOXES
    ids = [str(path.relative_to(folder).with_suffix("")) for holder in holders for path in list_photographs(holder)]
    return _add_masks(folder, keys, ids, left_out)


def _refuse_lost_labels(folder: Path, classes: Sequence[str], left_out: Sequence[LeftOut]) -> None:
    """Raise RequestError if folders are unlikely to be classes, and files that may hold the labels are not read."""
    says_none = any(name.lower() in _NO_CLASSES for name in classes)
    if not says_none and len(classes) > 1:
        return
    lost = [*left_out, *(_find_other_tables(folder, left_out) if says_none else ())]
    if lost:
        raise RequestError(
            f"The folders of {folder} would give the classes {format_names(classes)}, but files that may hold the "
            f"labels are not read. {' '.join(one.describe() for one in lost[:3])} If the folders are the classes, "
            "move these files elsewhere."
        )


def _find_other_tables(folder: Path, left_out: Sequence[LeftOut]) -> Iterator[LeftOut]:
    """Find the tables other than CSV files directly in the folder."""
    known = {BOXES, *(name for one in left_out for name in one.files)}
    paths = [
        path for path in sorted([*folder.glob("[!.]*"), *folder.glob("[!.]*/[!.]*")]) if path.suffix.lower() in _TABLES
    ]
    if names := tuple(name for path in paths if (name := str(path.relative_to(folder))) not in known):
        yield LeftOut(names, "tables are CSV files directly in the folder", "Save them there as CSV")


_LOOKS: dict[str, Callable[[Path, list[LeftOut]], Recognised | None]] = {
    "voc": _look_for_voc,
    "coco": _look_for_coco,
    "csv": _look_for_csv,
    "folder": _look_for_folder,
}
"""The recogniser of each layout, which adds the files that it does not read to the list."""


def _name_splits(paths: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Name the splits of files or folders; those that would share a name are named by their full path."""
    named = {path: _name_split(path, folder) for path in paths}
    shared = {name for name, count in Counter(named.values()).items() if count > 1}
    own = {path: re.sub(r"[^\w.-]+", "-", str(path.relative_to(folder).with_suffix(""))) for path in named}
    return {own[path] if name in shared else name: path for path, name in named.items()}


def _name_split(path: Path, folder: Path) -> str:
    """Name a split after its file, or else the file's folder: `instances_val2017` is val."""
    for text in (path.stem, path.parent.name if path.parent != folder else ""):
        words = [word for word in re.split(r"[^a-z]+", text.lower()) if word in _SPLITS]
        if words:
            return _SPLITS[words[-1]]
    return re.sub(r"[^\w.-]+", "-", path.stem)


def _take_as_whole(splits: dict[str, Any], left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Return a single split as the whole set, to be divided, unless it or a file left out is for evaluation."""
    names = {*splits, *(_name_split(Path(file), Path()) for one in left_out for file in one.files)}
    if len(splits) > 1 or names & {"val", "test"}:
        return splits
    return {_WHOLE: next(iter(splits.values()))}


def _choose_folder(folder: Path, candidates: Iterable[str], names: Sequence[str]) -> str:
    """Choose the folder with most of the first 100 photographs, which are named with or without suffix."""

    def count(candidate: str) -> int:
        below = folder / candidate
        return sum((below / name).is_file() or (below / find_photograph(below, name)).is_file() for name in names[:100])

    return max(dict.fromkeys(candidates), key=count)


def _add_masks(
    folder: Path, keys: dict[str, Any], images: Sequence[str], left_out: list[LeftOut], notes: Sequence[str] = ()
) -> Recognised:
    """Return what was recognised, with the masks of images, named without suffix."""
    masks, more, lacking = find_masks(folder, [*dict.fromkeys(images)])
    left_out += lacking
    return Recognised(keys | masks, (*notes, *more))
