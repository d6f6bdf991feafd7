"""A small dataset of odd photographs, written in each layout that `bench data init` recognises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("Rote Kugel", "Würfel")
SIDE = 64
NAMES = [f"{'a' if place % 3 else 'größe'} {place:02}" for place in range(12)]
"""With a space and letters beyond ASCII; sorted otherwise than listed."""
GREY, TURNED, CMYK, EMPTY = NAMES[1], NAMES[3], NAMES[5], NAMES[2]
TRAIN, TEST = NAMES[:8], NAMES[8:]
Box = tuple[int, int, int, int]


def objects(name: str, *, of_one_class: bool = False) -> list[tuple[str, Box]]:
    """Class and half-open box of each object."""
    place = NAMES.index(name)
    first = (CLASSES[place % 2], (4 + place, 6, 30 + place, 36))
    second = (CLASSES[(place + 1) % 2], (36, 38, 60, 62))
    if of_one_class:
        return [first]
    return [] if name == EMPTY else [first, second][: 1 + (place % 3 > 0)]


def write_photograph(path: Path, name: str, *, of_one_class: bool = False) -> None:
    """Draw the objects of an image; one image is grey, one has an EXIF rotation, one is CMYK."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(NAMES.index(name)).integers(90, 160, (SIDE, SIDE, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    draw = ImageDraw.Draw(image)
    for label, (x1, y1, x2, y2) in objects(name, of_one_class=of_one_class):
        shape = draw.ellipse if label == CLASSES[0] else draw.rectangle
        shape((x1, y1, x2 - 1, y2 - 1), fill=(220, 30, 30) if label == CLASSES[0] else (30, 30, 220))
    exif = Image.Exif()
    if name == TURNED:
        exif[0x0112] = 6
    image.convert({GREY: "L", CMYK: "CMYK"}.get(name, "RGB")).save(path, quality=95, exif=exif)


def write_masks(folder: Path) -> None:
    """Write the class mask of each image."""
    folder.mkdir(parents=True)
    for name in NAMES:
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for label, (x1, y1, x2, y2) in objects(name):
            mask[y1:y2, x1:x2] = 1 + CLASSES.index(label)
        Image.fromarray(mask).save(folder / f"{name}.png")


def write_voc(folder: Path, *, of_one_class: bool = False) -> Path:
    """PASCAL VOC's layout; images of one class are listed class by class, as folders hold them."""
    for name in NAMES:
        write_photograph(folder / "JPEGImages" / f"{name}.jpg", name, of_one_class=of_one_class)
        write_annotation(folder / "Annotations" / f"{name}.xml", objects(name, of_one_class=of_one_class))
    for split, names in (("train", TRAIN), ("test", TEST)):
        if of_one_class:
            names = sorted(names, key=lambda name: (NAMES.index(name) % 2, name))
        path = folder / "ImageSets" / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(names), encoding="utf-8")
    if not of_one_class:
        write_masks(folder / "SegmentationClass")
    return folder


def write_annotation(path: Path, found: list[tuple[str, Box]]) -> None:
    text = f"<annotation><size><width>{SIDE}</width><height>{SIDE}</height></size>"
    for label, (x1, y1, x2, y2) in found:
        corners = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        text += f"<object><name>{label}</name><bndbox>{corners}</bndbox></object>"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}</annotation>", encoding="utf-8")


def write_coco(folder: Path, *, doubled: bool = False) -> Path:
    """COCO's layout; categories start at 7; if `doubled`, both splits count images from 0."""
    for split, names in (("train", TRAIN), ("test", TEST)):
        found = [(row, one) for row, name in enumerate(names) for one in objects(name)]
        start = NAMES.index(names[0]) * (not doubled)
        document = {
            "images": [
                {"id": start + row, "file_name": f"{name}.jpg", "width": SIDE, "height": SIDE}
                for row, name in enumerate(names)
            ],
            "categories": [{"id": 7 + row, "name": label} for row, label in enumerate((*CLASSES, "unused"))],
            "annotations": [
                {
                    "id": row,
                    "image_id": start + image,
                    "category_id": 7 + CLASSES.index(label),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
                for row, (image, (label, (x1, y1, x2, y2))) in enumerate(found)
            ],
        }
        path = folder / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
        for name in names:
            write_photograph(folder / split / f"{name}.jpg", name)
    write_masks(folder / "masks")
    return folder


def write_csv(folder: Path) -> Path:
    """Tables of labels and boxes."""
    for split, names in (("train", TRAIN), ("test", TEST)):
        lines = ["image,label,x1,y1,x2,y2"]
        for name in names:
            write_photograph(folder / "images" / f"{name}.jpg", name)
            rows = [[label, *map(str, box)] for label, box in objects(name)] or [[""] * 5]
            lines += [",".join([f"{name}.jpg", *row]) for row in rows]
        (folder / f"{split}.csv").write_text("\n".join(lines), encoding="utf-8")
    write_masks(folder / "masks")
    return folder


def write_folders(folder: Path, *, boxes: bool = True) -> Path:
    """A folder for each class; images show one class."""
    lines = ["image,label,x1,y1,x2,y2"]
    for split, names in (("train", TRAIN), ("test", TEST)):
        for name in names:
            ((label, box),) = objects(name, of_one_class=True)
            write_photograph(folder / split / label / f"{name}.jpg", name, of_one_class=True)
            lines.append(",".join([f"{split}/{label}/{name}.jpg", label, *map(str, box)]))
    if boxes:
        (folder / "boxes.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder
