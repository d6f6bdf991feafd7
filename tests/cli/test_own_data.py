"""A dataset of one's own from `data init` to a number, and the same numbers for the same data in another layout."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import own_cases
import pytest
from own_cases import CLASSES, TEST

from bench import registry

if TYPE_CHECKING:
    from conftest import Answer

TINY = ("--weights", "none", "--set", "net=tiny,epochs=1,batch_size=4,input_size=64")
OF_MAPS = ("det", "coco-det", "corloc", "point", "point-pred", "loc", "maxbox", "cls", "cls-single")
OF_PROPOSALS = ("det", "coco-det", "corloc", "cls")
Bench = Callable[..., "Answer"]


def describe(here: Bench, folder: Path) -> str:
    """Describe a folder, and return the file."""
    file = f"{folder.name}.toml"
    answer = here("data", "init", folder, "--out", file)
    assert answer.code == 0, answer.err
    return file


def run(here: Bench, file: str, method: str, protocols: tuple[str, ...]) -> dict[str, Any]:
    """Train, and return the metrics by protocol."""
    answer = here("run", "--method", method, "--protocol", ",".join(protocols), "--data", file, *TINY, "--json")
    return {result["protocol"]: (result["metrics"], result["per_class"]) for result in answer.json()["results"]}


def take_objects(file: str) -> str:
    """Describe the same dataset, with masks of objects, in another file."""
    text = Path(file).read_text(encoding="utf-8")
    name = Path(file).stem
    other = Path(f"{name}-objects.toml")
    other.write_text('masks_of = "objects"\n' + text.replace(f'name = "{name}"', f'name = "{name}-objects"'))
    return str(other)


def test_init_says_what_it_recognised_and_check_says_it_again(here: Bench, tmp_path: Path) -> None:
    answer = here("data", "init", own_cases.write_csv(tmp_path / "mine"))
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"Layout csv, 2 classes: {', '.join(CLASSES)}\nmine\nsplit")
    assert "note: 1 image in greyscale (read as RGB): a 01.jpg\n" in answer.out
    assert answer.out.endswith("Wrote mine.toml\n")
    assert here("data", "init", "mine").code == 2
    (checked,) = here("data", "check", "mine.toml", "--contents", "--images", 4, "--json").json()["datasets"]
    assert checked["ok"]
    assert [split["counts"]["images"] for split in checked["splits"]] == [8, 4]
    assert all(len(split["contents"]) == 20 for split in checked["splits"])
    assert any("CMYK" in note for note in checked["notes"])
    assert (tmp_path / "runs" / "sheets" / "mine.html").is_file()
    assert "mine.toml" in here("--plugin", "mine.toml", "list", "datasets").out
    assert here("--plugin", "mine.toml", "show", "mine").out.splitlines()[2].split()[0] == "classes"
    listed = here("show", "det").out
    assert "any dataset (--data): train" in listed
    document = here("data", "init", "mine", "--out", "again.toml", "--json").json()
    assert (document["written"], document["layout"]) == ("again.toml", "csv")


def test_a_file_is_scored_on_own_data_and_labels_alone_are_refused(here: Bench, tmp_path: Path) -> None:
    file = describe(here, own_cases.write_csv(tmp_path / "mine"))
    rows = [
        f"{name}.jpg,{label},0.9,{','.join(map(str, box))}" for name in TEST for label, box in own_cases.objects(name)
    ]
    Path("boxes.csv").write_text("\n".join(["image,label,score,x1,y1,x2,y2", *rows]), encoding="utf-8")
    ask = ("score", "--predictions", "boxes.csv", "--protocol", "det")
    answer = here(*ask, "--data", file, "--json")
    assert answer.json()["results"][0]["metrics"] == {"mAP_area": 1.0}
    assert "det on mine" in here("table", "--protocol", "det").out
    assert "mAP_area" in here("table", "--protocol", "det", "--data", file).out
    assert "--data NAME or --data FILE.toml" in here(*ask).err
    labels = describe(here, own_cases.write_folders(tmp_path / "labels", boxes=False))
    answer = here(*ask, "--data", labels)
    assert answer.code == 2
    assert 'det needs boxes, which 4 of 4 images of labels test lack. Add boxes = "boxes.csv"' in answer.err
    answer = here("score", "--predictions", "boxes.csv", "--protocol", "pxap", "--data", file)
    assert "pxap needs object masks, which 4 of 4 images of mine test lack" in answer.err


def test_a_recipe_has_only_settings_that_a_method_has(here: Bench, tmp_path: Path) -> None:
    file = describe(here, own_cases.write_csv(tmp_path / "mine"))
    text = Path(file).read_text(encoding="utf-8")
    ask = ("run", "--method", "center", "--protocol", "point", "--data", file)
    for recipe, says in (
        ("epchs = 3", "Unknown setting in the recipe of mine 'epchs'. Did you mean: epochs"),
        ("local_los = 1", "Unknown setting in the recipe of mine 'local_los'. Did you mean: local_loss"),
        ("epochs = 3\nlocal_loss = 'proposals'\nclip = 1\nnet = 'tiny'", ""),
    ):
        Path(file).write_text(f"{text}\n[recipe]\n{recipe}\n", encoding="utf-8")
        answer = here(*ask)
        assert answer.code == (2 if says else 0)
        assert says in answer.err


def test_boxes_that_are_added_change_no_result_of_labels(here: Bench, tmp_path: Path) -> None:
    file = describe(here, own_cases.write_folders(tmp_path / "labels", boxes=False))
    rows = [f"{name},{label},{place}" for place, name in enumerate(TEST) for label in CLASSES]
    Path("scores.csv").write_text("\n".join(["image,label,score", *rows]), encoding="utf-8")
    ask = ("score", "--predictions", "scores.csv", "--protocol", "cls", "--data", file, "--json")
    (before,) = here(*ask).json()["results"]
    own_cases.write_folders(tmp_path / "labels")
    Path(file).write_text('boxes = "boxes.csv"\n' + Path(file).read_text(encoding="utf-8"), encoding="utf-8")
    (after,) = here(*ask).json()["results"]
    assert (after["address"], after["truth_digest"]) == (before["address"], before["truth_digest"])
    assert here("table", "--protocol", "cls", "--data", file).out.count("\nscores ") == 1
    Path("boxes.csv").write_text(f"image,label,score,x1,y1,x2,y2\n{TEST[0]},{CLASSES[0]},1,1,1,9,9\n", encoding="utf-8")
    of_boxes = ("score", "--predictions", "boxes.csv", "--protocol", "det", "--data", file, "--json", "--allow-missing")
    assert here(*of_boxes).json()["results"][0]["truth_digest"] != after["truth_digest"]


def test_the_page_shows_what_init_says(here: Bench, tmp_path: Path) -> None:
    page = (registry.ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    _, command, _, said, *_ = re.split(r"^```\w*\n", page, flags=re.MULTILINE)
    own_cases.write_csv(tmp_path / "photos")
    assert here(*command.split()[3:]).out == said
    assert here("show", "--plugin", "mine.toml", "mine").code == 0
    described = re.search(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert described
    Path("mine.toml").write_text(described[1], encoding="utf-8")
    assert here("data", "check", "mine.toml", "--images", 0).code == 0


def test_show_tells_what_a_file_describes(here: Bench, tmp_path: Path) -> None:
    file = describe(here, own_cases.write_csv(tmp_path / "mine"))
    assert "Rote Kugel, Würfel" in here("show", file).out
    assert here("show", file, "--json").json()["splits"] == ["train", "test"]
    for folder, name in (("bench/tracks", "shapes-quick"), ("protocols", "voc07-det")):
        assert here("show", registry.ROOT / folder / f"{name}.toml").out == here("show", name).out
    Path("other.toml").write_text("time = '1:00:00'\n")
    assert (
        "expected a dataset (layout), a protocol (family) or a track (groups or extends)"
        in here("show", "other.toml").err
    )
    Path("other.toml").write_text("time = \n")
    assert "other.toml: not valid TOML" in here("show", "other.toml").err
    assert "net or track 'none.toml'" in here("show", "none.toml").err


@pytest.mark.slow
def test_the_same_data_in_another_layout_gives_the_same_numbers(here: Bench, tmp_path: Path) -> None:
    voc = describe(here, own_cases.write_voc(tmp_path / "voc"))
    maps = run(here, voc, "cam", (*OF_MAPS, "seg"))
    boxes = run(here, voc, "wsddn", OF_PROPOSALS)
    pixels = run(here, take_objects(voc), "cam", ("pxap",))
    assert maps.keys() == {*OF_MAPS, "seg"}
    assert pixels["pxap"][0]["PxAP"] > 0
    for name, write in (("coco", own_cases.write_coco), ("csv", own_cases.write_csv)):
        file = describe(here, write(tmp_path / name))
        assert run(here, file, "cam", (*OF_MAPS, "seg")) == maps
        assert run(here, file, "wsddn", OF_PROPOSALS) == boxes
        assert run(here, take_objects(file), "cam", ("pxap",)) == pixels


@pytest.mark.slow
def test_folders_of_classes_give_the_numbers_of_voc(here: Bench, tmp_path: Path) -> None:
    voc = describe(here, own_cases.write_voc(tmp_path / "voc", of_one_class=True))
    folders = describe(here, own_cases.write_folders(tmp_path / "folders"))
    assert run(here, folders, "cam", OF_MAPS) == run(here, voc, "cam", OF_MAPS)
    assert run(here, folders, "wsddn", OF_PROPOSALS) == run(here, voc, "wsddn", OF_PROPOSALS)


@pytest.mark.slow
def test_labels_alone_are_trained_on_and_predicted(here: Bench, tmp_path: Path) -> None:
    file = describe(here, own_cases.write_folders(tmp_path / "labels", boxes=False))
    ask = ("run", "--method", "cam", "--data", file, *TINY, "--json")
    (one, other) = here(*ask, "--protocol", "cls,cls-single").json()["results"]
    assert (one["protocol"], other["protocol"]) == ("cls", "cls-single")
    answer = here("run", "--method", "cam", "--protocol", "det", "--data", file, *TINY)
    assert answer.code == 2
    assert 'Add boxes = "boxes.csv" (image,label,x1,y1,x2,y2) to ' in answer.err
    photographs = tmp_path / "labels" / "test"
    assert here("predict", one["address"], photographs, "--out", "predicted", "--device", "cpu").code == 0
    own_cases.write_folders(tmp_path / "labels")
    Path(file).write_text('boxes = "boxes.csv"\n' + Path(file).read_text(encoding="utf-8"), encoding="utf-8")
    of_boxes = ("--predictions", "predicted/boxes.parquet", "--protocol", "det", "--data", file, "--json")
    (later,) = here("score", *of_boxes).json()["results"]
    (trained,) = here(*ask, "--protocol", "det").json()["results"]
    assert later["metrics"] == pytest.approx(trained["metrics"])


def test_an_image_of_another_split_is_said_to_be_one(here: Bench, tmp_path: Path) -> None:
    import numpy as np
    import pyarrow as pa

    from bench.predictions.table import About, write

    file = describe(here, own_cases.write_csv(tmp_path / "mine"))
    name = own_cases.TRAIN[0]
    row = {"image": name, "label": CLASSES[0], "score": 0.9, "x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0}
    Path("a.csv").write_text("\n".join([",".join(row), ",".join(map(str, row.values()))]), encoding="utf-8")
    write(Path("b.parquet"), "boxes", pa.table({key: [value] for key, value in row.items()}), About("m"))
    Path("c").mkdir()
    np.save(Path("c", f"{name}.npy"), np.zeros((2, 8, 8)))
    for predictions, protocol in (("a.csv", "det"), ("b.parquet", "det"), ("c", "point")):
        answer = here("score", "--predictions", predictions, "--protocol", protocol, "--data", file)
        assert answer.code == 2
        assert f"{name!r} is of train, which --split train evaluates" in answer.err
    coco = own_cases.write_coco(tmp_path / "coco")
    Path("d.json").write_text('[{"image_id": 0, "category_id": 1, "bbox": [1, 1, 8, 8], "score": 0.5}]')
    answer = here("score", "--predictions", "d.json", "--protocol", "det", "--data", describe(here, coco))
    assert "unknown image_id 0: coco test does not have it; its ids are like 8. '0' is of train, which" in answer.err
