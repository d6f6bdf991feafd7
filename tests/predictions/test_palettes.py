"""Masks whose palette is not the ground truth's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.ground_truth import GroundTruth, Masks, empty_objects, encode_labels
from bench.data.pixels import voc_palette, write_indices
from bench.predictions.formats import read_any

MASK = np.array([[0, 0, 3], [3, 12, 255], [12, 12, 0]], dtype=np.uint8)


@pytest.fixture
def truth(tmp_path: Path) -> GroundTruth:
    (tmp_path / "truth").mkdir()
    file = tmp_path / "truth" / "a.png"
    write_indices(file, MASK)
    masks = Masks(indexed=True, files=((file,),), ignore=(None,))
    labels = encode_labels(np.array([0]), 20)
    classes = tuple(f"class {number}" for number in range(20))
    size = np.full((1, 2), 3, np.int32)
    return replace(GroundTruth("toy", "test", classes, ("a",), size, labels, empty_objects()), masks=masks)


def save(folder: Path, indices: np.ndarray, palette: list[int]) -> Path:
    folder.mkdir()
    image = Image.fromarray(indices)
    image.putpalette(palette)
    image.save(folder / "a.png")
    return folder


def read(folder: Path, truth: GroundTruth) -> tuple[list[list[int]], str]:
    found = read_any(folder, truth, ["masks"])
    assert found.arrays is not None
    (mask,) = found.arrays()
    return mask.tolist(), "; ".join(found.notes)


def test_colours_count_where_a_program_numbered_them_anew(tmp_path: Path, truth: GroundTruth) -> None:
    used = np.unique(MASK)
    colours = np.reshape(voc_palette(), (-1, 3))[used]
    folder = save(tmp_path / "adaptive", np.searchsorted(used, MASK).astype(np.uint8), colours.ravel().tolist())
    mask, notes = read(folder, truth)
    assert mask == MASK.tolist()
    assert "masks have another palette than the ground truth, such as a.png: colours count, not indices" in notes


def test_indices_count_under_colours_that_the_ground_truth_does_not_have(tmp_path: Path, truth: GroundTruth) -> None:
    own = np.random.default_rng(0).integers(1, 9, 768).tolist()
    mask, notes = read(save(tmp_path / "own", MASK, own), truth)
    assert mask == MASK.tolist()
    assert notes.endswith("a.png: indices count")


@pytest.mark.parametrize("palette", [voc_palette(), voc_palette()[: 3 * 20]])
def test_the_same_colours_need_no_word(palette: list[int], tmp_path: Path, truth: GroundTruth) -> None:
    indices = np.minimum(MASK, 19)
    assert read(save(tmp_path / "same", indices, palette), truth) == (indices.tolist(), "")
