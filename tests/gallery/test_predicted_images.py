"""Predictions on photographs: as documents, and drawn side by side."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from bench.errors import UnknownNameError
from bench.gallery.predicted_images import PredictedImages
from bench.predictions.table import KINDS

CLASSES = ("cat", "dog", "eel", "fox", "gnu")
SCORES = (0.2, 0.9, 0.6, 0.55, 0.5)


@pytest.fixture
def predicted(tmp_path: Path) -> PredictedImages:
    Image.new("RGB", (64, 32), (255, 255, 255)).save(tmp_path / "x.png")
    image = ["x"] * 5
    tables: dict[str, Any] = {
        "scores": {"image": image, "label": CLASSES, "score": SCORES},
        "points": {"image": image, "label": CLASSES, "score": SCORES, "x": [8] * 5, "y": [8] * 5},
        "boxes": {"image": ["x"] * 2, "label": ["dog"] * 2, "score": [0.9, 0.95]}
        | {"x1": [0, 16], "y1": [0, 8], "x2": [4, 48], "y2": [4, 24]},
    }
    maps = {("x", label): np.eye(4, dtype=np.float32) for label in CLASSES}
    made = {kind: pa.table(columns) for kind, columns in tables.items()}
    return PredictedImages("cam", CLASSES, {"x": tmp_path / "x.png"}, np.array([[64, 32]], np.int32), made, maps)


def test_a_document_has_the_best_first(predicted: PredictedImages) -> None:
    (document,) = predicted.list_documents()
    assert list(document["scores"]) == ["dog", "eel", "fox", "gnu", "cat"]
    assert (document["width"], document["height"]) == (64, 32)
    assert document["boxes"][0] == {"label": "dog", "score": 0.95, "x1": 16, "y1": 8, "x2": 48, "y2": 24}
    assert document["points"][0] == {"label": "dog", "score": 0.9, "x": 8, "y": 8}


def test_a_picture_is_the_photograph_then_a_map_for_each_of_the_best_classes(predicted: PredictedImages) -> None:
    picture = Image.open(io.BytesIO(predicted.draw("x")))
    assert picture.size == (4 * 320, 160)  # dog, eel and fox: three at most
    pixels = np.asarray(picture).astype(int)
    dog = np.array([0, 128, 0])  # VOC's colour of index 2
    assert np.abs(pixels[40 * 2, 16 * 5] - dog).max() < 60  # the left side of the best box
    assert (pixels[150, 300] > 240).all()  # the photograph
    assert pixels[5, 325, 0] > pixels[5, 325, 2] + 60  # red: the map is largest in its corner
    with pytest.raises(UnknownNameError, match="Unknown photograph 'y'"):
        predicted.draw("y")


def test_a_notebook_shows_the_pictures_with_their_names_escaped(predicted: PredictedImages) -> None:
    shown = predicted._repr_html_()
    assert shown.count("<img ") == 1
    assert base64.b64decode(shown.partition("base64,")[2].partition('"')[0]) == predicted.draw("x")
    evil = PredictedImages("cam", CLASSES, {"<b>": predicted.files["x"]}, predicted.size, empty(), {})
    assert "&lt;b&gt;" in evil._repr_html_()
    assert "<b>" not in evil._repr_html_()


def empty() -> dict[str, Any]:
    return {kind: pa.table({name: [] for name in KINDS[kind]}) for kind in ("scores", "boxes")}


def test_a_class_that_scores_less_than_a_half_is_drawn_if_it_is_the_best(predicted: PredictedImages) -> None:
    low = pa.table({"image": ["x"] * 2, "label": ["cat", "dog"], "score": [0.4, 0.3]})
    lone = PredictedImages(
        "cam", CLASSES, predicted.files, predicted.size, {"scores": low, "boxes": predicted.tables["boxes"]}, {}
    )
    assert Image.open(io.BytesIO(lone.draw("x"))).size == (320, 160)
    assert lone.list_documents()[0]["scores"] == {"cat": 0.4, "dog": 0.3}
    assert "points" not in lone.list_documents()[0]
