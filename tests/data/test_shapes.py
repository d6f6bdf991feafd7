from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.core.boxes import iou
from bench.core.files import Places
from bench.data.datasets import data_digest, open_dataset
from bench.data.proposals import drop_small_boxes, load_proposals
from bench.data.scenes import SHAPE_CLASSES, STYLES, Scene, draw_scene
from bench.data.shapes import VERSION, ShapesDataset, parse_options, write_dataset
from bench.errors import MissingDataError, RequestError, UnknownNameError

LISTS = ("train", "val", "trainval", "test")
SMALL = {"train": 24, "val": 12, "test": 12, "size": 96, "classes": 12}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def shapes(kept: Places) -> ShapesDataset:
    dataset = open_dataset("shapes", kept, SMALL)
    assert isinstance(dataset, ShapesDataset)
    return dataset


def scenes(images: int, size: int = 128) -> list[Scene]:
    rngs = [np.random.default_rng([7, index]) for index in range(images)]
    return [draw_scene(rng, SHAPE_CLASSES, index % 12, size, STYLES[VERSION]) for index, rng in enumerate(rngs)]


def content(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        total.update(str(path.relative_to(folder)).encode())
        total.update(path.read_bytes() if path.is_file() else b"")
    return total.hexdigest()


def test_the_voc_reader_reads_every_list(shapes: ShapesDataset) -> None:
    assert set(LISTS) < set(shapes.splits())
    assert [len(shapes.ground_truth(split).ids) for split in LISTS] == [24, 12, 36, 12]
    assert shapes.ground_truth("trainval").ids == shapes.ground_truth("train").ids + shapes.ground_truth("val").ids
    assert not set(shapes.ground_truth("trainval").ids) & set(shapes.ground_truth("test").ids)
    assert shapes.list_missing_images(shapes.ground_truth("trainval").ids + shapes.ground_truth("test").ids) == []


def test_lists_for_segmentation_and_of_each_class_agree_with_the_truth(shapes: ShapesDataset) -> None:
    truth = shapes.ground_truth("train")
    lists = shapes.folder / "ImageSets"
    assert tuple((lists / "Segmentation" / "train.txt").read_text().split()) == truth.ids
    for column, name in enumerate(shapes.classes):
        marks = [int(line.split()[1]) for line in (lists / "Main" / f"{name}_train.txt").read_text().splitlines()]
        assert marks == truth.labels[:, column].tolist()


def test_every_class_is_in_every_list(shapes: ShapesDataset) -> None:
    assert len(shapes.classes) == 12
    for split in LISTS:
        assert (shapes.ground_truth(split).labels == 1).any(axis=0).all()


def test_masks_and_boxes_agree(shapes: ShapesDataset) -> None:
    """The mask of a class reaches exactly as far as its boxes do together, and pixels on no object have no class."""
    truth = shapes.ground_truth("trainval")
    for row, image in enumerate(truth.ids):
        mask = np.array(Image.open(shapes.mask_path(image)))
        mine = truth.objects.where(truth.objects.image == row)
        assert set(np.unique(mask)) - {0, 255} == {label + 1 for label in mine.label}
        for label in np.unique(mine.label):
            boxes = mine.box[mine.label == label]
            ys, xs = np.nonzero(mask == label + 1)
            tight = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert tight == [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]


def test_each_box_is_tight_around_what_is_visible() -> None:
    for scene in scenes(24):
        for number, seen in enumerate(scene.objects, start=1):
            ys, xs = np.nonzero(scene.owner == number)
            assert seen.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_masks_are_indexed_with_a_border_of_255_around_objects(shapes: ShapesDataset) -> None:
    with Image.open(shapes.mask_path(shapes.ground_truth("train").ids[0])) as mask:
        assert mask.mode == "P"
        assert mask.getpalette()[3:6] == [128, 0, 0]  # type: ignore[index]
        values = np.array(mask)
    inside = np.pad((values > 0) & (values < 255), 1)
    border = values == 255
    assert border.any()
    beside = inside[:-2, 1:-1] | inside[2:, 1:-1] | inside[1:-1, :-2] | inside[1:-1, 2:]
    assert (beside[border]).all()
    assert (values[beside] != 0).all()


def test_the_same_options_give_the_same_bytes_in_any_process(shapes: ShapesDataset, tmp_path: Path) -> None:
    program = (
        f"from bench.data.datasets import open_dataset as o; from bench.core.files import Places as P; "
        f"from pathlib import Path; print(o('shapes', P(Path({str(tmp_path)!r})), {SMALL}).folder)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert content(Path(done.stdout.strip())) == content(shapes.folder)


def test_more_images_change_none_of_the_others(shapes: ShapesDataset, places: Places) -> None:
    more = open_dataset("shapes", places, {**SMALL, "train": 25})
    for split in ("train", "val", "test"):
        mine, theirs = shapes.ground_truth(split).ids[:3], more.ground_truth(split).ids[:3]
        for one, two in zip(mine, theirs, strict=True):
            assert shapes.image_path(one).read_bytes() == more.image_path(two).read_bytes()


@pytest.mark.parametrize("change", [{"seed": 1}, {"size": 112}, {"classes": 10}, {"version": 3}])
def test_other_options_give_another_set(shapes: ShapesDataset, places: Places, change: dict[str, Any]) -> None:
    other = open_dataset("shapes", places, {**SMALL, **change})
    assert other.ground_truth("train").digest != shapes.ground_truth("train").digest
    assert data_digest(other, other.ground_truth("train").ids) != data_digest(shapes, shapes.ground_truth("train").ids)


def test_classes_share_bodies_and_no_two_share_a_part(shapes: ShapesDataset) -> None:
    assert sorted(shapes.families.values()).count("disc") == 3
    assert set(shapes.families.values()) == {"disc", "slab", "wedge", "cross"}
    for style in STYLES.values():
        parts = {(kind.part, colour) for kind, colour in zip(SHAPE_CLASSES, style.colours, strict=True)}
        assert len(parts) == len(SHAPE_CLASSES) == 12
    assert set(shapes.contexts) == {"disc-stripes", "slab-stripes", "wedge-stripes"}


def brick_share(scene: Scene) -> float:
    """Share of pixels as red-brown as the bricks that come with `slab-stripes`, outside all objects."""
    near = np.abs(scene.pixels - np.array([0.6, 0.32, 0.22]) * 255).max(axis=-1) < 12
    return float((near & (scene.owner == 0)).mean())


def test_a_context_comes_with_its_class_and_never_alone() -> None:
    pictures = scenes(96)
    with_class = [any(seen.shape_class.name == "slab-stripes" for seen in scene.objects) for scene in pictures]
    shares = np.array([brick_share(scene) for scene in pictures])
    assert (shares[np.array(with_class)] > 0.03).mean() > 0.8
    assert shares[~np.array(with_class)].max() < 0.03


def test_objects_repeat_overlap_vary_in_scale_and_are_sometimes_difficult() -> None:
    pictures = scenes(96)
    every = [seen for scene in pictures for seen in scene.objects]
    sides = np.array([max(seen.box[2] - seen.box[0], seen.box[3] - seen.box[1]) for seen in every])
    overlaps = [iou([a.box for a in scene.objects], [b.box for b in scene.objects]) for scene in pictures]
    assert any(len({seen.shape_class.name for seen in scene.objects}) < len(scene.objects) for scene in pictures)
    assert sum((np.triu(table, 1) > 0.05).any() for table in overlaps) > 10
    assert sides.max() > 4 * sides.min()
    assert 0.03 < np.mean([seen.difficult for seen in every]) < 0.3
    assert any(seen.truncated for seen in every)
    assert {len(scene.objects) for scene in pictures} >= {1, 2, 3}


def test_selective_search_proposes_its_objects(shapes: ShapesDataset, kept: Places) -> None:
    truth = shapes.ground_truth("val")
    proposals = load_proposals("selective-search", shapes, truth.ids, kept, workers=1)
    clear = truth.objects.where(~truth.objects.difficult)
    best = np.concatenate(
        [
            iou(clear.box[clear.image == row], drop_small_boxes(proposals.of(image), 8)).max(axis=1)
            for row, image in enumerate(truth.ids)
        ]
    )
    assert (best >= 0.5).mean() > 0.9
    assert (best >= 0.7).mean() > 0.6


def test_a_set_is_made_once_and_appears_whole(places: Places) -> None:
    options = {"train": 1, "val": 1, "test": 1, "size": 64}
    first = open_dataset("shapes", places, options)
    assert isinstance(first, ShapesDataset)
    (first.folder / "mark").touch()
    again = open_dataset("shapes", places, options)
    assert isinstance(again, ShapesDataset)
    assert (again.folder / "mark").exists()
    assert not [path for path in places.cache.iterdir() if path.name.endswith(".part")]


def test_of_two_makers_the_first_wins_and_the_second_is_fine(tmp_path: Path) -> None:
    options = parse_options({"train": 1, "val": 1, "test": 1, "size": 64})
    write_dataset(tmp_path / "set", options)
    before = content(tmp_path)
    write_dataset(tmp_path / "set", options)
    assert content(tmp_path) == before


def test_options_may_be_text() -> None:
    assert parse_options({"train": "3", "seed": "5"}).train == 3


def test_an_unknown_option_and_a_bad_value_are_named(places: Places) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: train"):
        open_dataset("shapes", places, {"trian": 3})
    with pytest.raises(RequestError, match=r"Option classes of shapes: .*less than or equal to 12, but got 99"):
        open_dataset("shapes", places, {"classes": 99})


def test_unknown_datasets_and_options_of_voc_are_named(places: Places) -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean: .*voc2007"):
        open_dataset("voc2006", places)
    (places.runs / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main").mkdir(parents=True)
    with pytest.raises(RequestError, match="options"):
        open_dataset("voc2007", Places(places.runs, places.runs), {"seed": 1})
    with pytest.raises(MissingDataError, match="--data-root DIR"):
        open_dataset("voc2007", places)


def test_the_data_digest_follows_ids_and_sizes_of_files(places: Places) -> None:
    shapes = open_dataset("shapes", places, {"train": 2, "val": 1, "test": 1, "size": 64})
    ids = shapes.ground_truth("train").ids
    before = data_digest(shapes, ids)
    assert data_digest(shapes, ids[::-1]) != before
    shapes.image_path(ids[0]).write_bytes(b"shorter")
    assert data_digest(shapes, ids) != before
    shapes.image_path(ids[0]).unlink()
    with pytest.raises(MissingDataError, match="1 of 2 images of shapes"):
        data_digest(shapes, ids)
