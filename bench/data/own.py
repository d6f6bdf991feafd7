"""Users' own datasets, in the layouts of `Description`: voc, coco, folder, csv. Their files are not trusted.

Image ids are the name of the annotation without `.xml` (`voc`), the image's number or file (`coco`), the column `image`
(`csv`), or the file (`folder`). Files are paths below the dataset's folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench.core.files import digest, list_files
from bench.data.coco import parse_instances, to_objects
from bench.data.dataset import Dataset, read_split
from bench.data.description import Description, SplitSource, read_description
from bench.data.ground_truth import (
    ONLY_DIFFICULT,
    PRESENT,
    GroundTruth,
    Masks,
    Objects,
    derive_labels,
    empty_objects,
    encode_labels,
    join_objects,
)
from bench.data.label_table import LabelRow, read_label_rows
from bench.data.left_out import READABLE, LeftOut, find_unused_images
from bench.data.lists import index_ids, is_text, read_lines, require_file
from bench.data.mask_folders import find_mask
from bench.data.pixels import are_binary, read_size
from bench.data.truth_cache import fingerprint, load_or_parse, stack_sizes
from bench.data.voc import Annotations
from bench.errors import BadFileError, MissingDataError, RequestError

SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".Jpg", ".Jpeg", ".Png")
"""The suffixes that are tried for a photograph named without one."""

_ADVICE = {
    "voc": "Add their names to the list of a split, or move them elsewhere",
    "coco": "Add them to the JSON file of a split, or move them elsewhere",
    "folder": "Put each into the folder of its class, or move it elsewhere",
    "csv": "Add a row for each to the table of a split, or move it elsewhere",
}
"""What to do with photographs that are in no split."""

_PARSER_VERSION = "1"


class Content(NamedTuple):
    """The content of a split's files: N images and their annotations. files: photographs, as paths below `folder`."""

    ids: tuple[str, ...]
    folder: Path
    files: tuple[str, ...]
    size: NDArray[np.int32]
    labels: NDArray[np.int8]
    objects: Objects


class OwnDataset(Dataset):
    """A dataset that `file` describes; the file itself is not read here."""

    def __init__(self, file: Path, description: Description, cache: Path) -> None:
        self.file, self.description, self.cache = file, description, cache
        self.name, self.classes, self.recipe = description.name, description.classes, description.recipe
        self.folder = file.parent / description.folder
        self.how_to_get = f"Correct {file}, which says where it is."
        if not self.folder.is_dir():
            raise MissingDataError(f"folder of {self.name}", self.folder, self.how_to_get)
        if not is_text(str(self.folder.resolve())):
            raise BadFileError(self.folder, "the path of the folder is not UTF-8 text: rename it")
        self._photographs: dict[str, Path] = {}
        self._unread = {name for name, source in description.splits.items() if source.whole is None}

    def splits(self) -> tuple[str, ...]:
        """Return the splits that the description names, in its order."""
        return tuple(self.description.splits)

    def ground_truth(self, split: str) -> GroundTruth:
        """Return the ground truth of a split, with masks where the description names them."""
        if split not in self.description.splits:
            raise self.unknown_split(split)
        source = self.description.splits[split]
        if source.whole is not None:
            return replace(read_split(self, source.file), split=split)
        content = self._read(split, source)
        masks = self._find_masks(split, source, content)
        truth = (content.ids, content.size, content.labels, content.objects)
        files = () if content.files == content.ids else content.files
        return GroundTruth(self.name, split, self.classes, *truth, masks, files=files)

    def image_path(self, image: str) -> Path:
        """Return the path of an image. Raises RequestError for an id of no split."""
        while image not in self._photographs and self._unread:
            split = min(self._unread)
            self._read(split, self.description.splits[split])
        if image not in self._photographs:
            raise RequestError(f"{self.name} has no image {image!r}.")
        return self._photographs[image]

    def suggest_truth(self, what: str) -> str:
        """Suggest how to add boxes, or masks, to the dataset."""
        if what == "boxes":
            table = "image,label,x1,y1,x2,y2"
            return {
                "voc": "Add their <object> elements to the annotations",
                "coco": "Add them to the annotations",
                "csv": f"Add the columns x1, y1, x2, y2 ({table}) to the table",
                "folder": f'Add boxes = "boxes.csv" ({table}) to {self.file}',
            }[self.description.layout]
        kind, pixels = "objects", "above 0 is the object"
        if what == "class masks":
            kind, pixels = "classes", "0 is background, 1 + the class's index a class, 255 ignored"
        return f'Add masks = "FOLDER" and masks_of = "{kind}" to {self.file}: a PNG for each image, in which {pixels}'

    def find_left_out(self) -> list[LeftOut]:
        """Find the images below the dataset's folder that are in no split, and in no folder of masks."""
        ids = {image for split in self.description.splits for image in self.ground_truth(split).ids}
        masks = {self.description.masks, *(source.masks for source in self.description.splits.values())}
        folders = frozenset(self.locate(folder) for folder in masks if folder is not None)
        advice = _ADVICE[self.description.layout]
        return list(find_unused_images(self.folder, {self.image_path(image) for image in ids}, folders, advice))

    def locate(self, path: str) -> Path:
        """Return a path below the dataset's folder."""
        return self.folder / path

    def _read(self, split: str, source: SplitSource) -> Content:
        read = _READERS[self.description.layout]
        parts = [read(self, split, source.model_copy(update={"file": file})) for file in (source.file, *source.more)]
        content = parts[0] if len(parts) == 1 else _join(self.locate(source.file), parts)
        for image, file in zip(content.ids, content.files, strict=True):
            path = content.folder / file
            if self._photographs.setdefault(image, path) != path:
                advice = ' (set ids = "file")' if self.description.layout == "coco" else ""
                rule = f"id {image!r} also belongs to an image of another split{advice}"
                raise BadFileError(self.locate(source.file), rule)
        self._unread.discard(split)
        return content

    def _find_masks(self, split: str, source: SplitSource, content: Content) -> Masks | None:
        """Find the masks of a split. Raises BadFileError if class masks have only background and pixels to ignore."""
        folder, of_classes = source.masks or self.description.masks, self.description.masks_of == "classes"
        if folder is None:
            return None
        names = [str(Path(file).with_suffix("")) for file in content.files]
        paths = [self.locate(folder) / find_mask(self.locate(folder), name) for name in names]
        for image, path in zip(content.ids, paths, strict=True):
            require_file(path, f"mask of {image} of {self.name}", self.how_to_get)
        if of_classes and (content.labels == PRESENT).any() and are_binary(paths):
            rule = f"the masks of {split} in {folder} hold only 0 and 255, and 255 marks pixels to ignore"
            advice = (
                'if it marks the object, add masks_of = "objects" (for pxap) or write 1 + the class\'s index (for seg)'
            )
            raise BadFileError(self.file, f"{rule}: {advice}")
        files = tuple((path,) for path in paths)
        return Masks(of_classes, files, (None,) * len(paths))


def _join(path: Path, parts: Sequence[Content]) -> Content:
    """Join the parts of a split. Raises BadFileError for an image that is in two."""
    ids, files = (tuple(name for part in parts for name in getattr(part, key)) for key in ("ids", "files"))
    index_ids(path, ids)
    size, labels = (np.concatenate([getattr(part, key) for part in parts]) for key in ("size", "labels"))
    objects = join_objects([part.objects for part in parts], [len(part.ids) for part in parts])
    return Content(ids, parts[0].folder, files, size, labels, objects)


def open_own(file: Path, cache: Path) -> OwnDataset:
    """Open the dataset that a file describes. Raises BadFileError, and MissingDataError for its folder."""
    return OwnDataset(file, read_description(file), cache)


def find_photograph(folder: Path, name: str) -> str:
    """Return the file name of a photograph without its suffix; the first of `SUFFIXES` is added if there is none."""
    return next((name + suffix for suffix in SUFFIXES if (folder / (name + suffix)).is_file()), name + SUFFIXES[0])


def _find_file(folder: Path, name: str) -> str:
    """Return the file name of a photograph that is named with its suffix or without."""
    return name if (folder / name).is_file() or name.lower().endswith(READABLE) else find_photograph(folder, name)


def _read_voc(dataset: OwnDataset, split: str, source: SplitSource) -> Content:
    annotations = dataset.locate(dataset.description.annotations)
    path = dataset.locate(source.file)
    if path.is_dir():
        ids = [file.stem for file in sorted(path.glob("[!.]*.xml"))]
    else:
        ids = read_lines(_require(dataset, path, split))
    index_ids(path, ids)
    size, objects = Annotations(dataset.name, annotations, dataset.classes, dataset.cache, dataset.how_to_get).parse(
        ids
    )
    folder = _locate_photographs(dataset, source)
    files = tuple(find_photograph(folder, image) for image in ids)
    labels = derive_labels(len(ids), len(dataset.classes), objects)
    return Content(tuple(ids), folder, files, size, labels, objects)


def _read_coco(dataset: OwnDataset, split: str, source: SplitSource) -> Content:
    path = _require(dataset, dataset.locate(source.file), split)
    made_from = fingerprint(path.parent, [path.name], dataset.classes, (_PARSER_VERSION,))
    table = load_or_parse(_cache(dataset, path), made_from, lambda: parse_instances(path, dataset.classes))
    files = tuple(table["file"].to_pylist())
    folder, objects, size = _locate_photographs(dataset, source), to_objects(table), stack_sizes(table)
    ids = tuple(table["id"].to_pylist())
    if dataset.description.ids == "file":
        below = source.images or dataset.description.images
        ids = tuple(name if below == "." else f"{below}/{name}" for name in files)
    index_ids(path, ids)
    labels = derive_labels(len(ids), len(dataset.classes), objects)
    return Content(ids, folder, files, size, labels, objects)


def _read_folder(dataset: OwnDataset, split: str, source: SplitSource) -> Content:
    """Read images of one class each, named by their folder."""
    root, below = dataset.folder, dataset.locate(source.file)
    found = [(label, path) for label, name in enumerate(dataset.classes) for path in list_photographs(below / name)]
    if not found:
        how = f"{dataset.how_to_get} It needs a folder for each class, such as {dataset.classes[0]}."
        raise MissingDataError(f"images of {dataset.name} {split}", below, how)
    ids = tuple(str(path.relative_to(root)) for _, path in found)
    index = index_ids(below, ids)
    label = np.array([label for label, _ in found])
    labels, size = encode_labels(label, len(dataset.classes)), _read_sizes(dataset, root, ids)
    objects = empty_objects()
    if dataset.description.boxes is not None:
        path = _require(dataset, dataset.locate(dataset.description.boxes), "boxes")
        rows = [row for row in read_label_rows(path, dataset.classes) if _is_image(path, root, row, index)]
        for row in rows:
            if row.label is not None and row.label != label[index[row.image]]:
                raise BadFileError(path, f"the label of {row.image!r} is not the class of its folder", row=row.row)
        objects = _to_objects(rows, index)
    return Content(ids, root, ids, size, labels, objects)


def _read_csv(dataset: OwnDataset, split: str, source: SplitSource) -> Content:
    path = _require(dataset, dataset.locate(source.file), split)
    rows = read_label_rows(path, dataset.classes)
    if not rows:
        raise BadFileError(path, "lists no images")
    ids = tuple(dict.fromkeys(row.image for row in rows))
    index, folder = {image: row for row, image in enumerate(ids)}, _locate_photographs(dataset, source)
    files = tuple(_find_file(folder, image) for image in ids)
    labels = derive_labels(len(ids), len(dataset.classes), empty_objects())
    for row in rows:
        if row.label is not None:
            place = index[row.image], row.label
            labels[place] = max(labels[place], ONLY_DIFFICULT if row.difficult else PRESENT)
    return Content(ids, folder, files, _read_sizes(dataset, folder, files), labels, _to_objects(rows, index))


_READERS = {"voc": _read_voc, "coco": _read_coco, "folder": _read_folder, "csv": _read_csv}


def list_photographs(folder: Path) -> list[Path]:
    """Return the photographs in a folder and below, sorted."""
    paths = list_files(folder) if folder.is_dir() else []
    return [path for path in paths if path.suffix.lower() in READABLE and path.is_file()]


def _locate_photographs(dataset: OwnDataset, source: SplitSource) -> Path:
    return dataset.locate(source.images or dataset.description.images)


def _require(dataset: OwnDataset, path: Path, what: str) -> Path:
    return require_file(path, f"{what} of {dataset.name}", dataset.how_to_get)


def _is_image(path: Path, root: Path, row: LabelRow, index: dict[str, int]) -> bool:
    """Whether a row is for an image of this split. Raises BadFileError if there is no such image at all."""
    if row.image not in index and not (root / row.image).is_file():
        example = f"name images by their path below it, such as {next(iter(index))!r}"
        raise BadFileError(path, f"there is no image {row.image!r} in {root}: {example}", row=row.row)
    return row.image in index


def _to_objects(rows: Iterable[LabelRow], index: dict[str, int]) -> Objects:
    """Return the objects of rows with boxes, by image."""
    boxed = sorted((row for row in rows if row.box is not None), key=lambda row: index[row.image])
    return Objects(
        np.array([index[row.image] for row in boxed], dtype=np.int32),
        np.array([row.label for row in boxed], dtype=np.int32),
        np.array([row.box for row in boxed], dtype=np.float64).reshape(-1, 4),
        np.array([row.difficult for row in boxed], dtype=np.bool_),
    )


def _read_sizes(dataset: OwnDataset, folder: Path, files: Sequence[str]) -> NDArray[np.int32]:
    """Return the sizes (N, 2) of photographs, 0 where one is not on disk or cannot be read, which using it reports."""
    there = [name for name in files if (folder / name).is_file()]
    sizes = np.zeros((len(files), 2), dtype=np.int32)
    if there:
        made_from = fingerprint(folder, there, (_PARSER_VERSION,))
        path = _cache(dataset, folder, tuple(there))
        table = load_or_parse(path, made_from, lambda: _tabulate_sizes(folder, there))
        row = {name: position for position, name in enumerate(files)}
        sizes[[row[name] for name in there]] = stack_sizes(table)
    return sizes


def _tabulate_sizes(folder: Path, files: Sequence[str]) -> pa.Table:
    width, height = zip(*(_read_size(folder / name) for name in files), strict=True)
    return pa.table({"width": pa.array(width, pa.int32()), "height": pa.array(height, pa.int32())})


def _read_size(path: Path) -> tuple[int, int]:
    try:
        return read_size(path)
    except BadFileError:
        return 0, 0


def _cache(dataset: OwnDataset, path: Path, names: tuple[str, ...] = ()) -> Path:
    return dataset.cache / "truth" / f"{dataset.name}-{digest([str(path.resolve()), list(names)])}.parquet"
