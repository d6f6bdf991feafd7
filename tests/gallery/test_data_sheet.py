"""Sheets of a split's photographs: which, what is drawn on them, and that drawings do not slip through unseen."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.ground_truth import Masks
from bench.errors import MissingDataError, UnknownNameError
from bench.gallery.data_sheet import PAIRS, TILE, _draw_card, draw_sample, draw_samples, join_pictures
from bench.gallery.drawing import TRUTH, Picture
from bench.gallery.image_card import Example
from bench.site.sheet import render_samples

TINY = {"train": 4, "val": 4, "test": 9, "size": 96, "classes": 4}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("sheet") / "runs")


def pixels_of(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(picture.jpeg)))


def test_the_seed_chooses_the_photographs_and_the_bytes(shapes: Places) -> None:
    dataset = open_dataset("shapes", shapes, TINY)
    first, again, other = (draw_sample(dataset, "test", 5, seed) for seed in (0, 0, 1))
    assert first == again
    assert join_pictures(first.examples) == join_pictures(again.examples)
    names = [[card.image for card in sample.examples] for sample in (first, other)]
    assert names[0] != names[1]
    assert all(len(set(some)) == 5 for some in names)
    assert {card.image for card in draw_sample(dataset, "test", 60).examples} == set(dataset.ground_truth("test").ids)


def test_each_is_shown_as_it_is_and_with_its_boxes(shapes: Places) -> None:
    dataset = open_dataset("shapes", shapes, TINY)
    truth = dataset.ground_truth("test")
    for card in draw_sample(dataset, "test", 3).examples:
        row = truth.index[card.image]
        plain, marked = (pixels_of(picture).astype(int) for picture in card.pictures[:2])
        assert set(card.lines[0].replace(" (difficult)", "").split(", ")) == {
            truth.classes[label] for label in truth.objects.label[truth.objects.image == row]
        }
        scale = plain.shape[1] / truth.size[row, 0]
        x1, y1, x2, _ = truth.objects.box[truth.objects.image == row][0] * scale
        changed = np.abs(marked - plain).max(axis=2) > 40
        assert changed[min(round(y1) + 1, 319), round(x1) : round(x2)].mean() > 0.8
        assert np.abs(marked - TRUTH).max(axis=2).min() < 60


def test_a_mask_is_drawn_where_there_is_one(shapes: Places) -> None:
    dataset = open_dataset("shapes", shapes, TINY)
    assert dataset.ground_truth("Segmentation/test").masks
    (card,) = draw_sample(dataset, "Segmentation/test", 1).examples
    assert [picture.caption for picture in card.pictures] == ["as it is", "ground truth", "true mask"]


def test_masks_of_another_size_than_the_image_are_named_and_the_others_drawn(tmp_path: Path) -> None:
    dataset = open_dataset("shapes", Places(tmp_path / "runs"), TINY)
    truth, files = dataset.ground_truth("test"), list[Path]()
    for name, side in (("small", 48), ("whole", 96)):
        files.append(tmp_path / f"{name}.png")
        Image.fromarray(np.full((side, 96), 255, np.uint8)).save(files[-1])

    def draw(*chosen: Path) -> Example:
        masks = Masks(indexed=False, files=(chosen,) * 9, ignore=(None,) * 9)
        return _draw_card(dataset, replace(truth, masks=masks), 0)[0]

    both, small, whole = draw(*files), draw(files[0]), draw(files[1])
    assert both.pictures == whole.pictures
    assert [picture.caption for picture in small.pictures] == ["as it is", "ground truth"]
    assert whole.lines[1:] == ()
    for card in (both, small):
        assert card.lines[1].endswith("small.png: the mask has 96 x 48 pixels, and its image 96 x 96")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of a split, 24 of noise and blobs."""
    places = Places(tmp_path / "runs")
    dataset = open_dataset("shapes", places, {**TINY, "test": 24, "size": 160})
    dataset.ground_truth("test")
    return dataset.image_path(dataset.ground_truth("test").ids[0]).parent


def draw_on(path: Path) -> None:
    """Draw a detector's boxes on a photograph, with class names, and save it in place."""
    image = Image.open(path).convert("RGB")
    draw = ImageDraw.Draw(image)
    for box, colour, name in (
        ((12, 20, 130, 140), (255, 0, 255), "dog 0.98"),
        ((40, 60, 100, 150), (0, 255, 0), "car"),
    ):
        draw.rectangle(box, outline=colour, width=3)
        draw.text((box[0] + 3, box[1] + 3), name, fill=colour)
    image.save(path, quality=90)


def test_a_split_that_was_drawn_on_is_suspected_and_its_drawings_are_on_the_sheet(folder: Path, tmp_path: Path) -> None:
    places = Places(tmp_path / "runs")
    dataset = open_dataset("shapes", places, {**TINY, "test": 24, "size": 160})
    clean = draw_sample(dataset, "test", 12)
    for name in dataset.ground_truth("test").ids:
        draw_on(dataset.image_path(name))
    drawn = draw_sample(dataset, "test", 12)
    assert len(drawn.suspects) >= 10 > len(clean.suspects)
    assert f"{len(drawn.suspects)} of 12 photographs of test have long straight lines" in drawn.describe_suspects()
    assert "was it drawn on?" in render_samples("shapes", [drawn])
    for before, after in zip(clean.examples, drawn.examples, strict=True):
        assert before.image == after.image
        magenta = np.abs(pixels_of(after.pictures[0]).astype(int) - (255, 0, 255)).max(axis=2) < 80
        assert magenta.sum() > 300


def test_a_bad_photograph_ends_no_sheet_and_is_named(folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset("shapes", Places(tmp_path / "runs"), {**TINY, "test": 24, "size": 160})
    bad, missing = (dataset.image_path(name) for name in dataset.ground_truth("test").ids[:2])
    bad.write_bytes(b"no image")
    missing.unlink()
    sample = draw_sample(dataset, "test", 24)
    assert len(sample.examples) == 23
    assert sample.unreadable == (bad.stem,)
    (card,) = (card for card in sample.examples if card.image == bad.stem)
    assert "not a JPEG or PNG image" in card.lines[1]
    assert np.unique(pixels_of(card.pictures[0])).tolist() == [208]
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(MissingDataError, match="24 of 24 images of shapes"):
        draw_sample(dataset, "test", 3)
    with pytest.raises(UnknownNameError, match="Unknown split of shapes 'tests'"):
        draw_sample(dataset, "tests", 3)
    samples, notes = draw_samples(dataset, ["test", "tests"], 3)
    assert (samples, len(notes)) == ([], 2)


def test_the_picture_has_a_place_for_every_photograph(shapes: Places) -> None:
    sample = draw_sample(open_dataset("shapes", shapes, TINY), "test", 7)
    picture = Image.open(io.BytesIO(join_pictures(sample.examples)))
    assert picture.size == (2 * TILE * PAIRS, 2 * (TILE + 14))
    tile = np.asarray(picture).astype(int)[14 : 14 + TILE - 4, : TILE - 4]
    same = Image.open(io.BytesIO(sample.examples[0].pictures[0].jpeg)).resize((TILE - 4, TILE - 4))
    assert np.abs(tile - np.asarray(same).astype(int)).mean() < 8
