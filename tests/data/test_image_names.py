"""Images are found in predictions by their id, and by a part of their path that they alone have, in every format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import own_cases
import pytest
from own_cases import CLASSES, NAMES, TEST
from PIL import Image

from bench.data.ground_truth import GroundTruth
from bench.data.image_names import ImageNames
from bench.data.own import OwnDataset
from bench.data.proposal_files import read_proposals
from bench.data.recognise import describe_folder
from bench.errors import BadFileError, RequestError
from bench.predictions.formats import read_any
from bench.predictions.handover import as_file
from bench.predictions.table import About, resolve, write_rows

if TYPE_CHECKING:
    from conftest import Answer

BOX = {"label": CLASSES[0], "score": 1.0, "x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0}
IDS = ("test/cat/a 01.jpg", "test/dog/b.c.PNG", "train/cat/a 01.jpg", "000139")


def test_an_image_is_its_id_or_a_part_of_its_path_that_it_alone_has() -> None:
    names = ImageNames(IDS, ("x.jpg", "y.jpg", "z.jpg", "val/000000000139.jpg"))
    for row, image in enumerate(IDS):
        assert names.find(image) == row
    called = {"test/cat/a 01": 0, "b.c": 1, "dog/b.c": 1, "b.c.PNG": 1, "x": 0, "000000000139": 3, "139": 3}
    assert {name: names.find(name) for name in called} == called
    for name in ("b", "og/b.c", "dog", "", "a/test/dog/b.c", "1390", "b.c.jpg", "a 01.png"):
        assert names.find(name) is None
    with pytest.raises(
        RequestError, match=r"Image 'cat/a 01' may be any of 'test/cat/a 01\.jpg', 'train/cat/a 01\.jpg'"
    ):
        names.find("cat/a 01")
    assert ImageNames(("a", "b/a")).find("a") == 0  # an id comes first


@pytest.fixture
def truth(tmp_path: Path) -> GroundTruth:
    folder = own_cases.write_folders(tmp_path / "set")
    file = tmp_path / "set.toml"
    return OwnDataset(file, describe_folder(folder, file).description, tmp_path / "cache").ground_truth("test")


def write_parquet(folder: Path, name: str) -> Path:
    import pyarrow as pa

    write_rows(folder / "p.parquet", "boxes", pa.Table.from_pylist([{"image": name, **BOX}]), About("m", ids=(name,)))
    return folder / "p.parquet"


def write_table(folder: Path, name: str) -> Path:
    (folder / "p.csv").write_text(f"image,label,score,x1,y1,x2,y2\n{name},{CLASSES[0]},1,1,1,9,9\n", encoding="utf-8")
    return folder / "p.csv"


def write_map(folder: Path, name: str, more: str = "") -> Path:
    path = folder / "maps" / f"{name}{more}.npy"
    path.parent.mkdir(parents=True)
    np.save(path, np.ones((3, 3), np.float32))
    return folder / "maps"


def write_map_of_a_class(folder: Path, name: str) -> Path:
    return write_map(folder, name, f"_{CLASSES[0]}")


def write_mask(folder: Path, name: str) -> Path:
    path = folder / "masks" / f"{name}.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.ones((3, 3), np.uint8)).save(path)
    return folder / "masks"


FORMATS = {
    "boxes": (write_parquet, write_table),
    "maps": (write_map, write_map_of_a_class),
    "objectness": (write_map,),
    "masks": (write_mask,),
}


@pytest.mark.parametrize(("kind", "write"), [(kind, write) for kind, some in FORMATS.items() for write in some])
def test_every_format_finds_them(kind: str, write: Callable[..., Path], truth: GroundTruth, tmp_path: Path) -> None:
    for place, name in enumerate((truth.ids[1], truth.ids[1].removesuffix(".jpg"), Path(truth.ids[1]).stem)):
        (tmp_path / str(place)).mkdir()
        found = resolve(read_any(write(tmp_path / str(place), name), truth, [kind]), truth)
        assert found.image.tolist() == [1]
        assert found.covered.tolist() == [False, True, False, False]


def test_voc_text_finds_them(truth: GroundTruth, tmp_path: Path) -> None:
    from dataclasses import replace

    named = replace(truth, ids=("a/1.jpg", *truth.ids[1:]), classes=("red", "blue"))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "comp4_det_test_red.txt").write_text("1 0.5 1 1 9 9\n")
    found = read_any(tmp_path / "p", named, ["boxes"])
    assert found.table["image"].to_pylist() == ["a/1.jpg"]


def test_a_loop_and_proposals_may_call_them_so(truth: GroundTruth, tmp_path: Path) -> None:
    stems = [Path(image).stem for image in truth.ids]
    item: dict[str, Any] = {"boxes": np.zeros((0, 4)), "labels": [], "scores": []}
    with as_file([(name, item) for name in stems], truth, ["boxes"], tmp_path, made_by=None) as file:
        assert resolve(read_any(file, truth, ["boxes"]), truth).covered.all()
    for names, asked in ((stems, truth.ids), (truth.ids, stems)):
        boxes = np.arange(16).reshape(4, 4) + np.array([0, 0, 20, 20])
        np.savez(tmp_path / "p.npz", ids=np.array(names), offsets=np.arange(5), boxes=boxes)
        found, _ = read_proposals(tmp_path / "p.npz", asked)
        assert [rows[0].tolist() for rows in found] == boxes.tolist()


@pytest.mark.parametrize("write", [write_parquet, write_table, write_map])
def test_a_name_of_several_is_refused_with_the_candidates(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = own_cases.write_folders(tmp_path / "set", boxes=False)
    for label in CLASSES:
        own_cases.write_photograph(folder / "test" / label / "both.jpg", NAMES[0])
    file = tmp_path / "set.toml"
    truth = OwnDataset(file, describe_folder(folder, file).description, tmp_path / "cache").ground_truth("test")
    kind = "maps" if write is write_map else "boxes"
    with pytest.raises(
        BadFileError, match=f"Image 'both' may be any of 'test/{CLASSES[0]}/both.jpg', 'test/{CLASSES[1]}/"
    ):
        resolve(read_any(write(tmp_path, "both"), truth, [kind]), truth)


def test_predictions_on_photographs_are_scored_on_folders(here: Callable[..., Answer], tmp_path: Path) -> None:
    import pyarrow as pa

    folder = own_cases.write_folders(tmp_path / "set")
    assert here("data", "init", folder).code == 0
    rows = []
    for name in TEST:
        ((label, box),) = own_cases.objects(name, of_one_class=True)
        corners = dict(zip(("x1", "y1", "x2", "y2"), map(float, box), strict=True))
        rows.append({"image": f"{label}/{name}", "label": label, "score": 0.9, **corners})
    about = About("cam", ids=tuple(row["image"] for row in rows))
    write_rows(tmp_path / "boxes.parquet", "boxes", pa.Table.from_pylist(rows), about)
    answer = here("score", "--predictions", "boxes.parquet", "--protocol", "det", "--data", "set.toml", "--json")
    assert answer.json()["results"][0]["metrics"] == {"mAP_area": 1.0}


def test_numbered_images_are_found_by_their_files(tmp_path: Path) -> None:
    folder = own_cases.write_coco(tmp_path / "set")
    file = tmp_path / "set.toml"
    truth = OwnDataset(file, describe_folder(folder, file).description, tmp_path / "cache").ground_truth("test")
    assert truth.names.find(TEST[2]) == 2
    assert truth.subset(truth.ids[1:], split="part").names.find(TEST[2]) == 1
    assert json.dumps(truth.ids) == '["8", "9", "10", "11"]'
