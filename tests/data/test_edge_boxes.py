"""EdgeBoxes by OpenCV with the smallest forest there can be: a patch whose middle changes has an edge there."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from bench.core.boxes import iou
from bench.core.files import Places
from bench.core.progress import SILENT
from bench.data.computed import search_all
from bench.data.edge_boxes import MAX_BOXES, build_edge_boxes_search, edge_boxes
from bench.data.proposals import load_proposals
from bench.errors import BadFileError, MissingDataError

BINS = [channel * 256 + pixel for channel in range(13) for pixel in (119, 120, 135, 136)]
FOREST = f"""%YAML:1.0
---
options:
   stride: 2
   shrinkNumber: 2
   patchSize: 32
   patchInnerSize: 16
   numberOfGradientOrientations: 4
   gradientSmoothingRadius: 0
   regFeatureSmoothingRadius: 0
   ssFeatureSmoothingRadius: 0
   gradientNormalizationRadius: 4
   selfsimilarityGridSize: 5
   numberOfTrees: 1
   numberOfTreesToEvaluate: 1
childs:
   - [ 2, 0, 0 ]
featureIds:
   - [ 904, 0, 0 ]
thresholds:
   - [ 0.5, 0., 0. ]
edgeBoundaries:
   - [ 0, 0, 0, {len(BINS)} ]
edgeBins:
   - {BINS}
"""


@pytest.fixture
def equipped(tmp_path: Path) -> Places:
    """A data root with the forest."""
    folder = tmp_path / "data" / "edge-boxes"
    folder.mkdir(parents=True)
    (folder / "model.yml.gz").write_bytes(gzip.compress(FOREST.encode(), mtime=0))
    return Places(tmp_path / "runs", tmp_path / "data")


def model(places: Places) -> str:
    return str(places.data_root / "edge-boxes" / "model.yml.gz")  # type: ignore[operator]


def picture() -> np.ndarray:
    """A bright rectangle 40 ... 110 by 30 ... 90."""
    pixels = np.full((120, 160, 3), 40, np.uint8)
    pixels[30:90, 40:110] = 200
    return pixels


def test_the_best_boxes_are_around_the_object_each_once_and_inside(equipped: Places) -> None:
    boxes = edge_boxes(picture(), model(equipped))
    assert 10 < len(boxes) <= MAX_BOXES
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert iou([[40, 30, 110, 90]], boxes[:5]).max() > 0.7
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [160, 120]).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (8, 90), (90, 8), (33, 33), (100, 100)])
def test_blank_and_tiny_images_have_no_boxes(equipped: Places, size: tuple[int, int]) -> None:
    assert edge_boxes(np.full((*size, 3), 90, np.uint8), model(equipped)).shape == (0, 4)


def test_processes_find_the_same_and_keep_it_apart_by_model(equipped: Places, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    search = build_edge_boxes_search(equipped)
    (found,) = search_all(search, [tmp_path / "a.png"], SILENT, 1)
    assert found.tolist() == edge_boxes(picture(), model(equipped)).tolist()
    Path(model(equipped)).write_bytes(gzip.compress(FOREST.replace("0.5", "0.6").encode()))
    assert build_edge_boxes_search(equipped).folder != search.folder


def test_it_is_asked_for_by_name(equipped: Places, tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    dataset = SimpleNamespace(image_path=lambda image: tmp_path / f"{image}.png", require_images=lambda ids: None)
    found = load_proposals("edge-boxes", dataset, ("a",), equipped, workers=1)  # type: ignore[arg-type]
    assert found.of("a").tolist() == edge_boxes(picture(), model(equipped)).tolist()


def test_without_its_model_it_says_which_file_and_where_to_get_it(tmp_path: Path) -> None:
    for places in (Places(tmp_path), Places(tmp_path, tmp_path)):
        with pytest.raises(
            MissingDataError, match=r"EdgeBoxes' model not found: .*opencv_extra.*edge-boxes/model\.yml\.gz"
        ):
            build_edge_boxes_search(places)


@pytest.mark.parametrize("content", ["", "no model", "%YAML:1.0\n---\na: 3\n", "%YAML:1.0\n---\noptions: 3\n"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_that_is_no_model_is_refused_before_it_is_used(equipped: Places, content: str, packed: bool) -> None:
    Path(model(equipped)).write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    with pytest.raises(BadFileError, match=r"model\.yml\.gz: not a model of OpenCV's structured edge detection"):
        build_edge_boxes_search(equipped)


@pytest.mark.parametrize("broken", ["numberOfTrees: 1", "stride: 2", "featureIds:"])
def test_a_model_that_opencv_would_crash_on_is_refused(equipped: Places, broken: str) -> None:
    name = broken.split(":")[0]
    changed = FOREST.replace(broken, f"{name}: 0" if "1" in broken or "2" in broken else "other:")
    Path(model(equipped)).write_bytes(gzip.compress(changed.encode()))
    with pytest.raises(BadFileError, match="not a model"):
        build_edge_boxes_search(equipped)
