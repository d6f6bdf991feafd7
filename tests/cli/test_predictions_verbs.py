"""`score`, `audit` and `export` as their users meet them: what they read, what they refuse, what they write."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.predictions.arrays import write_shard
from bench.predictions.table import KINDS, About, write

IDS = ("000001", "000002", "000003", "000004")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with four images of VOC 2007: each holds one dog, 0..8 x 0..8, in a picture of 16 x 16."""
    from PIL import Image

    root = tmp_path_factory.mktemp("data")
    folder = root / "VOCdevkit" / "VOC2007"
    for name in ("ImageSets/Main", "ImageSets/Segmentation", "Annotations", "SegmentationClass"):
        (folder / name).mkdir(parents=True)
    for name in ("Main", "Segmentation"):
        (folder / "ImageSets" / name / "test.txt").write_text("\n".join(IDS))
    (folder / "ImageSets" / "Main" / "val.txt").write_text("\n".join(IDS[:2]))
    size = "<size><width>16</width><height>16</height><depth>3</depth></size>"
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox>"
    dog = f"<object><name>dog</name><difficult>0</difficult>{box}</object>"
    mask = np.zeros((16, 16), np.uint8)
    mask[:8, :8] = 12
    for name in IDS:
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{dog}</annotation>")
        Image.fromarray(mask).save(folder / "SegmentationClass" / f"{name}.png")
    return root


@pytest.fixture
def asked(here: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`asked("score", "voc07-det", file, ...)`."""
    monkeypatch.setattr("bench.analysis.audit.ORDERS", 2)

    def run(verb: str, protocol: str, file: object, *more: object) -> Any:
        return here(verb, "--protocol", protocol, "--predictions", file, "--data-root", root, *more)

    return run


def boxes(path: Path, ids: tuple[str, ...] = IDS, **about: Any) -> Path:
    """The dog of each image, found."""
    rows: dict[str, Any] = {"image": ids, "label": ["dog"] * len(ids), "score": [0.5] * len(ids)}
    rows |= {name: [0.0 if name in ("x1", "y1") else 8.0] * len(ids) for name in KINDS["boxes"][3:]}
    write(path, "boxes", pa.table(rows), About(**{"made_by": "hand", "split": "test", "ids": ids, **about}))
    return path


def test_an_audit_says_what_each_switch_does_and_records_nothing(asked: Any, tmp_path: Path) -> None:
    found = asked("audit", "voc07-det", boxes(tmp_path / "p.parquet"), "--json").json()
    assert (found["method"], found["protocol"], found["split"]) == ("hand", "voc07-det", "test")
    assert found["metrics"] == {"mAP_11pt": 1.0, "mAP_area": 1.0}
    settings = {(one["switch"], one["value"]): one for one in found["settings"]}
    assert len(settings) == 9
    assert settings["rounding", "devkit"]["ranges"] == {"mAP_11pt": [1.0, 1.0], "mAP_area": [1.0, 1.0]}
    assert settings["iou_compare", ">"]["differences"] == {"mAP_11pt": 0.0, "mAP_area": 0.0}
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("results"))


@pytest.mark.parametrize(("format_", "says"), [("text", "hand · voc07-det on"), ("md", "| plus_one")])
def test_an_audit_is_read_as_a_table(asked: Any, tmp_path: Path, format_: str, says: str) -> None:
    answer = asked("audit", "voc07-det", boxes(tmp_path / "p.parquet"), "--format", format_)
    assert answer.code == 0
    assert says in answer.out
    assert "100.00 +0.00 [100.00, 100.00]" in answer.out


def scored(answer: Any) -> dict[str, Any]:
    """The one record of an answer."""
    (record,) = answer.json()["results"]
    return record


def lines(folder: Path, **files: str) -> Path:
    """A folder of text files; of a name without suffix, `.txt`."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def voc_boxes(folder: Path) -> Path:
    return lines(folder / "results", comp3_det_test_dog="".join(f"{name} 0.5 1 1 8 8\n" for name in IDS))


def coco_boxes(folder: Path) -> Path:
    entries = [{"image_id": number, "category_id": 12, "bbox": [0, 0, 8, 8], "score": 0.5} for number in range(1, 5)]
    (folder / "boxes.json").write_text(json.dumps(entries))
    return folder / "boxes.json"


def voc_scores(folder: Path) -> Path:
    return lines(folder / "results", comp1_cls_test_dog="".join(f"{name} 0.9\n" for name in IDS))


def csv_scores(folder: Path) -> Path:
    (folder / "scores.csv").write_text("image,label,score\n" + "".join(f"{name},dog,0.9\n" for name in IDS))
    return folder / "scores.csv"


def wide_scores(folder: Path) -> Path:
    (folder / "scores.csv").write_text("image,cat,dog\n" + "".join(f"{name},,0.9\n" for name in IDS))
    return folder / "scores.csv"


def voc_masks(folder: Path) -> Path:
    from PIL import Image

    mask = np.zeros((16, 16), np.uint8)
    mask[:8, :8] = 12
    (folder / "results" / "VOC2007" / "Segmentation" / "comp5_test_cls").mkdir(parents=True)
    for name in IDS:
        Image.fromarray(mask).save(folder / f"results/VOC2007/Segmentation/comp5_test_cls/{name}.png")
    return folder / "results"


def npy_maps(folder: Path) -> Path:
    (folder / "scoremaps").mkdir()
    for name in IDS:
        np.save(folder / "scoremaps" / f"{name}.npy", np.pad(np.ones((8, 8), np.float32), ((0, 8), (0, 8))))
    return folder / "scoremaps"


@pytest.mark.parametrize(
    ("protocol", "made", "metric"),
    [
        ("voc07-det", voc_boxes, "mAP_area"),
        ("voc07-det", coco_boxes, "mAP_area"),
        ("voc07-cls", voc_scores, "mAP"),
        ("voc07-cls", csv_scores, "F1_C"),
        ("voc07-cls", wide_scores, "F1_C"),
        ("voc07-seg", voc_masks, "mIoU"),
        ("voc07-energy", npy_maps, "object_energy"),
        ("voc07-point", npy_maps, "accuracy"),
        ("cub-maxbox", npy_maps, "MaxBoxAccV2"),
    ],
)
def test_the_right_answer_in_anybodys_format_scores_all(
    asked: Any, tmp_path: Path, protocol: str, made: Any, metric: str
) -> None:
    split = "Segmentation/test" if protocol == "voc07-seg" else "test"
    record = scored(asked("score", protocol, made(tmp_path), "--data", "voc2007", "--split", split, "--json"))
    assert record["metrics"][metric] == 1.0
    assert record["tuned_on"] == ("unknown" if protocol != "cub-maxbox" else record["tuned_on"])


def test_class_scores_from_a_second_file_say_which_class_is_best(asked: Any, tmp_path: Path) -> None:
    rows = [(name, label, score) for name in IDS for label, score in (("cat", 0.9), ("dog", 0.5))]
    columns: dict[str, Any] = dict(zip(("image", "label", "score"), map(list, zip(*rows, strict=True)), strict=True))
    columns |= {name: [0.0 if name in ("x1", "y1") else 8.0] * len(rows) for name in KINDS["boxes"][3:]}
    write(tmp_path / "p.parquet", "boxes", pa.table(columns), About("hand", "voc2007", "test", IDS))
    alone = scored(asked("score", "cub-loc", tmp_path / "p.parquet", "--data", "voc2007", "--json"))
    assert alone["metrics"]["top1_loc_error"] == alone["metrics"]["top1_cls_error"] == 1.0
    more = ("--data", "voc2007", "--json", "--scores")
    both = scored(asked("score", "cub-loc", tmp_path / "p.parquet", *more, csv_scores(tmp_path)))
    assert both["metrics"]["top1_loc_error"] == both["metrics"]["top1_cls_error"] == 0.0
    assert set(both["predictions_digest"]) == {"boxes", "scores"}
    assert both["address"] != alone["address"]


def test_class_scores_are_refused_where_the_protocol_takes_none(asked: Any, tmp_path: Path) -> None:
    refused = asked("score", "voc07-det", boxes(tmp_path / "p.parquet"), "--scores", csv_scores(tmp_path))
    assert (refused.code, refused.out) == (2, "")
    assert "--scores: voc07-det does not accept class scores in addition to boxes." in refused.err


@pytest.mark.parametrize("tuned_on", ["none", "val-boxes", "test-oracle"])
def test_a_scored_file_may_say_what_tuned_it(asked: Any, tmp_path: Path, tuned_on: str) -> None:
    file = boxes(tmp_path / "p.parquet")
    assert scored(asked("score", "voc07-det", file, "--tuned-on", tuned_on, "--json"))["tuned_on"] == tuned_on


def other_split(folder: Path) -> Path:
    return boxes(folder / "p.parquet", ("000001", "000077"), split="trainval")


def other_dataset(folder: Path) -> Path:
    return boxes(folder / "p.parquet", dataset="voc2012")


def missing_images(folder: Path) -> Path:
    return boxes(folder / "p.parquet", IDS[2:])


def image_twice(folder: Path) -> Path:
    return boxes(folder / "p.parquet", (*IDS, "000002"))


def two_scores(folder: Path) -> Path:
    (folder / "s.csv").write_text("image,label,score\n000001,dog,1\n000001,dog,2\n")
    return folder / "s.csv"


def two_maps(folder: Path) -> Path:
    for name in ("1", "2"):
        write_shard(folder / "maps" / f"{name}.parquet", "objectness", IDS[:1], [np.ones((2, 2))], About("spn"))
    return folder / "maps"


def few_masks(folder: Path) -> Path:
    found = voc_masks(folder)
    (found / "VOC2007" / "Segmentation" / "comp5_test_cls" / "000003.png").unlink()
    return found


def broken_line(folder: Path) -> Path:
    return lines(folder / "results", comp3_det_test_dog="000001 0.5 1 1 8\n")


def broken_json(folder: Path) -> Path:
    (folder / "b.json").write_text('[{"image_id": 1, "category_id": 12, "bbox": [0, 0, 8, 8]}]')
    return folder / "b.json"


def broken_mask(folder: Path) -> Path:
    found = voc_masks(folder)
    (found / "VOC2007" / "Segmentation" / "comp5_test_cls" / "000002.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return found


def broken_map(folder: Path) -> Path:
    found = npy_maps(folder)
    np.save(found / "000004.npy", np.full((2, 2), np.nan))
    return found


@pytest.mark.parametrize(
    ("protocol", "made", "says"),
    [
        ("voc07-det", other_split, "row 1: Unknown image of voc2007 test (the file was made for trainval) '000077'"),
        ("voc07-det", other_dataset, "holds predictions on voc2012, but the ground truth is that of voc2007"),
        ("voc07-det", missing_images, "The boxes do not cover 2 of 4 images of voc2007 test: 000001, 000002."),
        ("voc07-det", image_twice, "row 4 of its ids: image '000002' is listed twice"),
        ("voc07-cls", two_scores, "s.csv, row 1: image '000001', class 'dog': a second score"),
        ("voc07-energy", two_maps, "row 1: image '000001': a second row for the same image"),
        ("voc07-seg", few_masks, "The masks do not cover 1 of 4 images of voc2007 Segmentation/test: 000003."),
        ("voc07-det", broken_line, "comp3_det_test_dog.txt, row 0: expected an image id and 5 finite numbers"),
        ("voc07-det", broken_json, "b.json, row 0: needs score; it has"),
        ("voc07-seg", broken_mask, "000002.png: not a"),
        ("voc07-energy", broken_map, "000004.npy: a map must be finite"),
        (
            "voc07-cls",
            npy_maps,
            "scoremaps: holds maps or objectness, but voc07-cls evaluates scores; "
            "maps or objectness are evaluated by voc07-",
        ),
        (
            "voc07-det",
            csv_scores,
            "s.csv: holds scores, but voc07-det evaluates boxes; scores are evaluated by voc07-cls, ",
        ),
    ],
)
def test_what_is_not_of_these_images_or_breaks_a_rule_is_one_line_and_writes_nothing(
    asked: Any, tmp_path: Path, protocol: str, made: Any, says: str
) -> None:
    file = made(tmp_path)
    for verb in ("score", "audit"):
        answer = asked(verb, protocol, file)
        assert (answer.code, answer.out) == (2, "")
        assert says in answer.err
        assert answer.err.count("\n") == 1
        assert answer.err.startswith("Error: ")
    assert not list((tmp_path / "runs").rglob("results"))


def test_an_export_scores_the_same_as_what_was_exported(asked: Any, here: Any, root: Path, tmp_path: Path) -> None:
    file = jittered(tmp_path / "p.parquet")
    before = scored(asked("score", "voc07-det", file, "--json"))
    assert 0 < before["metrics"]["mAP_area"] < 1
    for format_, out in (("coco", "out.json"), ("voc-server", "out.tgz")):
        more = ("--protocol", "voc07-det", "--data-root", root, "--out", tmp_path / out)
        answer = here("export", file, "--format", format_, *more)
        assert answer.code == 0, answer.err
        assert f"Wrote {tmp_path / out}: 40 boxes on 4 images of voc2007 test" in answer.out
    with tarfile.open(tmp_path / "out.tgz") as archive:
        assert len(archive.getnames()) == 20
        archive.extractall(tmp_path / "in", filter="data")
    for out in ("out.json", "in"):
        assert scored(asked("score", "voc07-det", tmp_path / out, "--json"))["metrics"] == before["metrics"]


def jittered(path: Path) -> Path:
    """Ten boxes near the dog of each image, some on it."""
    generator = np.random.default_rng(0)
    corners = np.array([0.0, 0.0, 8.0, 8.0]) + generator.integers(-3, 4, (40, 4)) * 0.5
    columns = {"image": list(IDS) * 10, "label": ["dog"] * 40, "score": generator.random(40)}
    columns |= {name: corners[:, at] for at, name in enumerate(KINDS["boxes"][3:])}
    write(path, "boxes", pa.table(columns), About("hand", "voc2007", "test", IDS))
    return path


def test_masks_and_scores_are_exported_to_the_server(here: Any, root: Path, tmp_path: Path) -> None:
    for protocol, file, name in (
        ("voc07-seg", voc_masks(tmp_path), "Segmentation/comp5_test_cls/000001.png"),
        ("voc07-cls", csv_scores(tmp_path), "Main/comp1_cls_test_aeroplane.txt"),
    ):
        more = ("--format", "voc-server", "--data-root", root, "--out", "o.tar", "--own-data", "--json")
        found = here("export", file, "--protocol", protocol, *more).json()
        assert found["images"] == 4
        with tarfile.open(found["written"][0]) as archive:
            assert archive.getnames()[0] == f"results/VOC2007/{name}"


def test_a_test_set_without_annotations_is_exported(here: Any, tmp_path: Path) -> None:
    sets = tmp_path / "data" / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "test.txt").write_text("\n".join(IDS))
    file = boxes(tmp_path / "p.parquet", dataset="voc2012")
    more = ("--protocol", "voc12-det", "--data-root", tmp_path / "data", "--out", "out.tar")
    assert here("score", "--predictions", file, *more[:4]).code == 2
    assert here("export", file, "--format", "voc-server", *more).code == 0
    with tarfile.open("out.tar") as archive:
        text = archive.extractfile("results/VOC2012/Main/comp4_det_test_dog.txt")
        assert text is not None
        assert text.read().decode().splitlines()[0] == "000001 0.5 1.0 1.0 8.0 8.0"


SMALL = ("--data", "shapes", "--data-option", "train=6,val=2,test=4,size=64")


def test_what_a_run_predicted_is_exported_by_its_results_address(here: Any) -> None:
    run = ("--method", "cam", "--weights", "none", "--set", "epochs=1", "--threads", 1, "--json")
    (record,) = here("run", *run, "--protocol", "cub-loc", *SMALL, "--train-split", "train").json()["results"]
    out = ("--out", "out.json", "--format", "coco", "--json", *SMALL[2:])
    found = here("export", record["address"][:8], *out).json()
    assert (found["kind"], found["images"]) == ("boxes", 4)
    same = here("export", record["predictions"], "--protocol", "cub-loc", *SMALL[:2], *out).json()
    assert same == found
    judged = here("score", "--predictions", "out.json", "--protocol", "cub-loc", *SMALL, "--json")
    assert scored(judged)["metrics"]["gt_known_loc_error"] == record["metrics"]["gt_known_loc_error"]
    refused = here("export", record["address"], "--out", "out.tar", "--format", "voc-server", *SMALL[2:])
    assert (refused.code, refused.out) == (2, "")
    assert "VOC's server evaluates the years of VOC, but these predictions are on shapes." in refused.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("p.parquet --format coco", "p.parquet: add --protocol NAME; only a result records its protocol."),
        ("abc --format coco", "Unknown result 'abc'."),
        (
            "p.parquet --format coco --protocol voc07-point",
            "supports boxes, segments, but voc07-point accepts points or",
        ),
        (
            "p.parquet --format voc-server --protocol voc07-cls",
            "p.parquet: holds boxes; expected scores",
        ),
        (
            "few.parquet --format coco --protocol voc07-det",
            "do not cover 2 of 4 images of voc2007 test: 000003, 000004.",
        ),
        ("p.parquet --format word --protocol voc07-det", "'word' is not one of 'coco', 'voc-server'"),
    ],
)
def test_what_cannot_be_exported_is_one_message(
    here: Any, root: Path, tmp_path: Path, arguments: str, says: str
) -> None:
    boxes(tmp_path / "p.parquet")
    boxes(tmp_path / "few.parquet", IDS[:2])
    answer = here("export", *arguments.split(), "--out", "out", "--data-root", root)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert not (tmp_path / "out").exists()


def test_a_result_of_a_file_cannot_be_exported_again(asked: Any, here: Any, tmp_path: Path) -> None:
    address = scored(asked("score", "voc07-det", boxes(tmp_path / "p.parquet"), "--json"))["address"]
    answer = here("export", address, "--format", "coco", "--out", "out.json")
    assert answer.code == 2
    assert (
        f"The predictions of result {address} are not in this runs folder: give their file and --protocol."
        in answer.err
    )
