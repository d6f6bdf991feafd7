"""What sets a number apart is said before the run, and stands in its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import registry
from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.ground_truth import GroundTruth
from bench.data.published import PUBLISHED, describe_departure
from bench.execution.pipeline import Request, run
from bench.records.result import TRAINED_ON, Result
from bench.tables.leaderboard import leaderboards
from bench.verbs.scoring import score

TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}


class Heard:
    """A progress that remembers lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, *_: Any, **__: Any) -> Any:
        from bench.core.progress import SILENT

        return SILENT.task("", 0)

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Places:
    places = Places(tmp_path_factory.mktemp("runs"))
    open_dataset("shapes", places, TINY)
    return places


def ran(places: Places, protocol: str, *, data: str = "shapes", **more: Any) -> tuple[Result, list[str]]:
    """The result of cam, and the notes that were said before."""
    heard = Heard()
    record = registry.protocol(protocol).with_conventions(more.pop("conventions", {}))
    settings = {"net": "tiny", "weights": "none", "epochs": 0, "input_size": 32, **more.pop("set", {})}
    options = TINY if data == "shapes" else {}
    request = Request("cam", record, settings=settings, data=data, data_options=options, **more)
    report = run([request], places, progress=heard, device="cpu", workers=0, threads=1)  # type: ignore[arg-type]
    for error in report.failed.values():
        raise error
    return report.results[0], [line for line in heard.lines if line.startswith("note: ")]


@pytest.mark.parametrize(
    ("protocol", "splits", "overlap"),
    [
        ("voc07-cls", {"train_split": "trainval", "split": "test"}, 0),
        ("voc07-cls", {"train_split": "trainval", "split": "val"}, 4),
        ("voc07-cls", {"train_split": "train", "split": "trainval"}, 8),
        ("voc07-cls", {"train_split": "trainval:1-2of3", "split": "trainval:2-3of3"}, 4),
        ("voc07-corloc", {}, 0),
        ("voc07-corloc", {"train_split": "val"}, 0),
    ],
)
def test_images_both_trained_on_and_evaluated_are_counted(
    runs: Places, protocol: str, splits: dict[str, str], overlap: int
) -> None:
    result, said = ran(runs, protocol, **splits)
    text = f"{overlap} of {result.images} evaluated images are also trained on"
    assert result.counts.get(TRAINED_ON, 0) == overlap
    assert (text in result.notes) == bool(overlap)
    assert said == ([f"note: {text}."] if overlap else [])
    (table,) = leaderboards([result])
    assert (text in table.notes.values()) == bool(overlap)


def test_a_changed_convention_marks_its_number_at_once(runs: Places) -> None:
    result, said = ran(runs, "voc07-corloc", conventions={"iou_threshold": 0.25})
    assert said == ["note: not voc07-corloc as it is: iou_threshold 0.25, not 0.5."]
    assert "not voc07-corloc as it is: iou_threshold 0.25, not 0.5" in result.notes
    (table,) = leaderboards([result])
    assert "other conventions: iou_threshold 0.25, not 0.5" in table.notes.values()
    usual, said = ran(runs, "voc07-corloc", conventions={"iou_threshold": 0.5})
    assert (said, usual.address == result.address) == ([], False)
    assert "other conventions" not in " ".join(leaderboards([usual])[0].notes.values())
    assert not any("as it is" in note for note in usual.notes)


def test_changes_are_told_from_the_protocols_own_values() -> None:
    record = registry.protocol("voc07-corloc")
    changed = record.with_conventions({"iou_threshold": 0.3}).with_conventions({"iou_threshold": 0.4})
    assert changed.changed == {"iou_threshold": record.conventions["iou_threshold"]}
    assert changed.with_conventions({"iou_threshold": 0.5}) == record
    assert record.with_conventions({"iou_threshold": 0.5}).changed == {}


BIRDS = ("001.Albatross", "002.Auklet", "003.Blackbird")


@pytest.fixture
def aviary(tmp_path: Path) -> Path:
    """A data root with CUB's layout, three classes, and six images."""
    import numpy as np
    from PIL import Image

    folder = tmp_path / "CUB_200_2011"
    names = [f"{BIRDS[number % 3]}/bird_{number}.jpg" for number in range(6)]
    columns = {
        "classes.txt": BIRDS,
        "images.txt": names,
        "image_class_labels.txt": [number % 3 + 1 for number in range(6)],
        "train_test_split.txt": [int(number < 3) for number in range(6)],
        "bounding_boxes.txt": ["4.0 4.0 20.0 20.0"] * 6,
    }
    for name, values in columns.items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("".join(f"{row} {value}\n" for row, value in enumerate(values, 1)))
    for name in names:
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "images" / name)
    return tmp_path


def test_a_set_in_cubs_layout_is_not_cub(aviary: Path) -> None:
    places = Places(aviary / "runs", aviary)
    result, said = ran(places, "cub-loc", data="cub")
    departure = "3 images, published 5794; 3 objects, published 5794; 3 classes, published 200"
    assert said[-1] == f"note: not the published cub test: {departure}."
    assert f"not the published cub test: {departure}" in result.notes
    assert any(note.startswith("trained on: not the published cub train: 3 images, pub") for note in result.notes)
    assert (result.dataset, result.partial) == ("cub", True)


def test_predictions_from_elsewhere_are_marked_too(aviary: Path) -> None:
    places = Places(aviary / "runs", aviary)
    box = {"boxes": [[4, 4, 24, 24]], "scores": [1.0]}
    boxes = [(f"{BIRDS[row]}/bird_{row + 3}.jpg", {**box, "labels": [BIRDS[row]]}) for row in range(3)]
    result = score("cub-loc", iter(boxes), places=places, name="mine")
    assert result.partial
    assert result.notes[0].startswith("not the published cub test: 3 images, published 5794")


def test_other_names_depart_from_nothing() -> None:
    assert describe_departure(_truth("toy", "test")) == ""
    assert describe_departure(_truth("voc2007", "test_subset")) == ""
    assert describe_departure(_truth("mit67", "test")).startswith(
        "not the published mit67 test: 1 images, published 1340"
    )


@pytest.mark.voc2007
@pytest.mark.parametrize("split", ["trainval", "Segmentation/test"])
def test_voc_2007_is_voc_2007(data_root: Path, tmp_path: Path, split: str) -> None:
    truth = open_dataset("voc2007", Places(tmp_path, data_root)).ground_truth(split)
    assert describe_departure(truth) == ""
    ids = [*truth.ids]
    swapped = truth.subset(list(reversed(ids)), split=split)
    assert "other images" in describe_departure(swapped)
    assert split in PUBLISHED["voc2007"]


def _truth(dataset: str, split: str) -> GroundTruth:
    import numpy as np

    from bench.data.ground_truth import derive_labels, empty_objects

    none = empty_objects()
    return GroundTruth(dataset, split, ("a",), ("x",), np.array([[8, 8]], np.int32), derive_labels(1, 1, none), none)


def test_a_net_without_weights_is_not_frozen(runs: Places) -> None:
    assert ran(runs, "voc07-cls", set={"freeze_backbone": "true"})[1] == [
        "note: freeze_backbone=true has no effect with weights=none: all layers learn."
    ]
