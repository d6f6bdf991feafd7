"""The synthetic set `shapes`: its options and recipe, and its generation in VOC's own layout on first use.

`scenes` draws the images. Image i of a list depends only on the version, the seed, the list, i, the size and the
classes, so asking for more images changes none of the others.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.core.boxes import to_voc
from bench.core.files import Places, digest, make_part_path, name_errors, sweep
from bench.data.pixels import write_indices
from bench.data.scenes import SHAPE_CLASSES, STYLES, Scene, draw_scene
from bench.data.voc import VocDataset
from bench.errors import RequestError, UnknownNameError

VERSION = 4
"""The default of `ShapesOptions.version`: increased by hand, with a style, for other images."""

_LISTS = ("train", "val", "test")
_VOID = 255


class ShapesOptions(BaseModel):
    """How many images each list has, and what they look like."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(200, ge=1, le=100_000)
    val: int = Field(100, ge=1, le=100_000)
    test: int = Field(150, ge=1, le=100_000)
    size: int = Field(128, ge=64, le=1024)
    seed: int = Field(0, ge=0)
    classes: int = Field(6, ge=2, le=len(SHAPE_CLASSES))
    version: int = Field(VERSION, ge=min(STYLES), le=max(STYLES))
    """How images are drawn: a key of `STYLES`."""


class ShapesDataset(VocDataset):
    """The synthetic set; `families` maps a class to its body, `contexts` to the context that appears only with it."""

    def __init__(self, folder: Path, cache: Path, options: ShapesOptions) -> None:
        classes = SHAPE_CLASSES[: options.classes]
        super().__init__("shapes", folder, cache, tuple(each.name for each in classes))
        self.options = options
        self.families = {each.name: each.body for each in classes}
        self.contexts = {each.name: each.context for each in classes if each.context is not None}
        self.recipe = {
            "net": "tiny",
            "weights": "none",
            "input_size": options.size,
            "epochs": 12,
            "batch_size": 16,
            "lr": 0.05,
            "head_lr_multiplier": 1.0,
            "precision": "float32",  # a net this small spends more time on casting than it saves
        }
        self.how_to_get = f"Delete {folder.parent.parent}: it is generated again on next use."


def open_shapes(places: Places, options: Mapping[str, Any]) -> ShapesDataset:
    """Open the synthetic set with these options (fields of `ShapesOptions`), generating it on first use.

    Raises UnknownNameError for an unknown option, RequestError for an invalid value.
    """
    chosen = parse_options(options)
    root = places.cache / f"shapes-{digest(chosen.model_dump())}"
    if not root.is_dir():
        write_dataset(root, chosen)
    return ShapesDataset(_voc_folder(root), places.cache, chosen)


def parse_options(options: Mapping[str, Any]) -> ShapesOptions:
    """Parse options given by a user."""
    for name in options:
        if name not in ShapesOptions.model_fields:
            raise UnknownNameError("option of shapes", name, ShapesOptions.model_fields)
    try:
        return ShapesOptions.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"Option {first['loc'][0]} of shapes: {first['msg']}, but got {first['input']!r}.") from None


def write_dataset(root: Path, options: ShapesOptions) -> None:
    """Write the set as `root`/VOCdevkit/VOC2007, atomically; of several processes, the first wins."""
    part = make_part_path(root)
    try:
        with name_errors(root):
            root.parent.mkdir(parents=True, exist_ok=True)
            sweep(root.parent)
            _write_set(_voc_folder(part), options)
            part.rename(root)
    except OSError:
        if not root.is_dir():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _voc_folder(root: Path) -> Path:
    return root / "VOCdevkit" / "VOC2007"


def _write_set(folder: Path, options: ShapesOptions) -> None:
    for name in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Main", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    classes = SHAPE_CLASSES[: options.classes]
    lists: dict[str, dict[str, Scene]] = {name: {} for name in _LISTS}
    number = 0
    for code, name in enumerate(_LISTS):
        for index in range(getattr(options, name)):
            number += 1
            rng = np.random.default_rng([options.seed, code, index])
            scene = draw_scene(rng, classes, index % len(classes), options.size, STYLES[options.version])
            lists[name][f"{number:06d}"] = scene
            _write_image(folder, f"{number:06d}", scene)
    lists["trainval"] = {**lists["train"], **lists["val"]}
    _write_lists(folder / "ImageSets", lists, [each.name for each in classes])


def _write_image(folder: Path, image: str, scene: Scene) -> None:
    from PIL import Image

    photograph = Image.fromarray(scene.pixels)
    photograph.save(folder / "JPEGImages" / f"{image}.jpg", quality=90, subsampling=0, optimize=False)
    write_indices(folder / "SegmentationClass" / f"{image}.png", class_mask(scene))
    xml = _build_annotation(image, scene)
    ElementTree.indent(xml, "\t")
    (folder / "Annotations" / f"{image}.xml").write_text(ElementTree.tostring(xml, "unicode") + "\n", encoding="utf-8")


def _build_annotation(image: str, scene: Scene) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    _add_texts(root, folder="VOC2007", filename=f"{image}.jpg")
    height, width, depth = scene.pixels.shape
    _add_texts(ElementTree.SubElement(root, "size"), width=width, height=height, depth=depth)
    _add_texts(root, segmented=1)
    for visible in scene.objects:
        item = ElementTree.SubElement(root, "object")
        _add_texts(item, name=visible.shape_class.name, pose="Unspecified")
        _add_texts(item, truncated=int(visible.truncated), difficult=int(visible.difficult))
        corners = to_voc(visible.box)[0].astype(int)
        _add_texts(
            ElementTree.SubElement(item, "bndbox"), **dict(zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True))
        )
    return root


def _add_texts(parent: ElementTree.Element, **values: Any) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = str(value)


def class_mask(scene: Scene) -> NDArray[np.uint8]:
    """Return VOC's mask (S, S), uint8: 1 + class index on objects, 255 on background within a pixel of one, else 0.

    Unlike VOC's, the border lies wholly outside the objects, so boxes are tight around masks.
    """
    codes = [0, *(1 + SHAPE_CLASSES.index(visible.shape_class) for visible in scene.objects)]
    mask = np.array(codes, np.uint8)[scene.owner]
    padded = np.pad(scene.owner > 0, 1)
    is_near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return np.where(is_near & (mask == 0), np.uint8(_VOID), mask)


def _write_lists(folder: Path, lists: Mapping[str, Mapping[str, Scene]], classes: Sequence[str]) -> None:
    for split, scenes in lists.items():
        text = "".join(f"{image}\n" for image in scenes)
        (folder / "Segmentation" / f"{split}.txt").write_text(text)
        (folder / "Main" / f"{split}.txt").write_text(text)
        for name in classes:
            marks = "".join(f"{image} {_encode_label(scene, name):2d}\n" for image, scene in scenes.items())
            (folder / "Main" / f"{name}_{split}.txt").write_text(marks)


def _encode_label(scene: Scene, name: str) -> int:
    flags = [item.difficult for item in scene.objects if item.shape_class.name == name]
    return -1 if not flags else 0 if all(flags) else 1
