"""Other people's formats: what they say must be what our own says, and what breaks a rule is named."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.errors import BadFileError
from bench.predictions.export import coco_results, voc_files
from bench.predictions.formats import read_all, read_any
from bench.predictions.table import About, Predictions, ResolvedPredictions, resolve, write

CLASSES = ("aeroplane", "bicycle", "tv-monitor")
IDS = ("000005", "000012", "2007_000027")


@pytest.fixture
def truth() -> GroundTruth:
    none = Objects(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 4)), np.zeros(0, np.bool_))
    size = np.full((3, 2), 500, dtype=np.int32)
    return GroundTruth("toy", "test_subset", CLASSES, IDS, size, derive_labels(3, 3, none), none)


@pytest.fixture
def dyadic(tmp_path: Path, truth: GroundTruth) -> Path:
    """Forty boxes with corners and scores that binary fractions hold exactly, as our own parquet."""
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 4000, (40, 4)) / 8
    table = pa.table(
        {
            "image": generator.choice(IDS, 40),
            "label": generator.choice(CLASSES, 40),
            "score": generator.integers(0, 1024, 40) / 1024,
            **{name: numbers[:, column] for column, name in enumerate(("x1", "y1", "x2", "y2"))},
        }
    )
    write(tmp_path / "own.parquet", "boxes", table, About("test", "toy", "test_subset", IDS))
    return tmp_path / "own.parquet"


def entry(**changes: Any) -> dict[str, Any]:
    return {"image_id": 5, "category_id": 1, "bbox": [10, 20, 30, 40], "score": 0.5, **changes}


def coco_file(folder: Path, content: Any) -> Path:
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def voc_folder(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.replace('__', '-')}.txt").write_text(text)
    return folder


def refused(path: Path, truth: GroundTruth, rule: str, named: Path | None = None) -> None:
    with pytest.raises(BadFileError, match=rule) as caught:
        resolve(read_any(path, truth, ["boxes"]), truth)
    assert str(caught.value).startswith(str(named or path))
    assert "\n" not in str(caught.value)


def rows(found: ResolvedPredictions) -> list[Any]:
    return sorted(
        zip(found.image.tolist(), found.label.tolist(), found.score.tolist(), found.box.tolist(), strict=True)
    )


def test_the_same_dyadic_boxes_are_the_same_in_every_format(tmp_path: Path, truth: GroundTruth, dyadic: Path) -> None:
    own = resolve(read_any(dyadic, truth, ["boxes"]), truth)
    coco = resolve(read_any(coco_file(tmp_path, coco_results(own, truth)), truth, ["boxes"]), truth)
    (tmp_path / "voc").mkdir()
    for name, text in voc_files(own, truth, 3).items():
        (tmp_path / "voc" / name).write_text(text)
    voc = resolve(read_any(tmp_path / "voc", truth, ["boxes"]), truth)
    assert rows(own) == rows(coco) == rows(voc)
    assert coco.covered.all()
    assert voc.covered.all()


def test_a_coco_box_by_hand(tmp_path: Path, truth: GroundTruth) -> None:
    found = resolve(read_any(coco_file(tmp_path, [entry(image_id=2007000027, category_id=3)]), truth, ["boxes"]), truth)
    assert rows(found) == [(2, 2, 0.5, [10, 20, 40, 60])]


def test_a_voc_line_by_hand(tmp_path: Path, truth: GroundTruth) -> None:
    folder = voc_folder(tmp_path, **{"comp4_det_test_subset_tv__monitor": "000005 0.5 11 21 40 60\n\n"})
    found = read_any(folder, truth, ["boxes"])
    assert rows(resolve(found, truth)) == [(0, 2, 0.5, [10, 20, 40, 60])]
    absent = "no file for aeroplane, bicycle: no predictions of them"
    assert found.notes == (absent, "2 of 3 images have no boxes")


def test_a_voc_folder_of_class_scores(tmp_path: Path, truth: GroundTruth) -> None:
    files = {f"comp1_cls_test_subset_{name.replace('-', '__')}": "000005 0.25\n000012 -1e-3\n" for name in CLASSES}
    found = read_any(voc_folder(tmp_path, **files), truth, ["scores"])
    assert found.notes == ("1 of 3 images has no scores",)
    assert resolve(found, truth).score.tolist() == [0.25, -0.001] * 3


def test_predictions_made_for_another_split_are_said_to_be(tmp_path: Path, truth: GroundTruth) -> None:
    found = resolve(read_any(voc_folder(tmp_path, comp3_det_test_bicycle="000005 1 1 1 2 2"), truth, ["boxes"]), truth)
    assert found.notes[2] == "made for the split test, scored on test_subset"


def test_content_decides_and_not_the_name(tmp_path: Path, truth: GroundTruth, dyadic: Path) -> None:
    named = dyadic.rename(tmp_path / "results.json")
    assert read_any(named, truth, ["boxes"]).about.made_by == "test"
    marked = tmp_path / "results.parquet"
    marked.write_bytes(b"\xef\xbb\xbf " + json.dumps([entry()]).encode())
    assert len(read_any(marked, truth, ["boxes"]).table) == 1


def test_no_detections_in_coco_are_none_on_every_image(tmp_path: Path, truth: GroundTruth) -> None:
    found = resolve(read_any(coco_file(tmp_path, []), truth, ["boxes"]), truth)
    assert len(found.image) == 0
    assert found.covered.all()
    assert found.notes == ("the file has no boxes: all 3 images count as images without any",)


def test_how_many_images_have_no_rows_is_noted(tmp_path: Path, truth: GroundTruth) -> None:
    found = [entry(image_id=int(name)) for name in truth.ids]
    for some, notes in ((found[:1] * 2, ("2 of 3 images have no boxes",)), (found, ())):
        assert read_any(coco_file(tmp_path, some), truth, ["boxes"]).notes == notes


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("[", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[" + "1" * 5000 + "]", "not valid JSON"),
        ({"images": [], "annotations": []}, "COCO results are a list"),
        ([7], "row 0: expected an object, but got 7"),
        ([entry(), {"image_id": 5}], "row 1: needs category_id, bbox, score; it has"),
        ([entry(image_id=6)], "row 0: unknown image_id 6: toy test_subset does not have it"),
        ([entry(image_id="000009")], "row 0: Unknown image of toy test_subset '000009'"),
        ([entry(image_id=5.5)], "row 0: unknown image_id 5.5"),
        ([entry(image_id=True)], "row 0: unknown image_id True"),
        ([entry(image_id=[])], "row 0: unknown image_id"),
        ([entry(category_id=0)], r"row 0: unknown category_id 0: toy has 1 \.\.\. 3"),
        ([entry(category_id=4)], "row 0: unknown category_id 4"),
        ([entry(category_id=True)], "row 0: unknown category_id True"),
        ([entry(bbox=[1, 2, 3])], r"row 0: bbox must be \[x, y, width, height\]"),
        ([entry(bbox={"x": 1})], "row 0: bbox must be"),
        ([entry(bbox=[1, 2, 3, "4"])], "row 0: bbox and score must be finite numbers"),
        ([entry(bbox=[1, 2, 3, True])], "row 0: bbox and score must be finite numbers"),
        ([entry(), entry(score=float("nan"))], "row 1: bbox and score must be finite numbers"),
        ([entry(score=float("inf"))], "row 0: bbox and score must be finite numbers"),
        ([entry(score=None)], "row 0: bbox and score must be finite numbers"),
        ([entry(score=True)], "row 0: bbox and score must be finite numbers"),
        ('[{"image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1e999}]', "row 0: bbox and score must be"),
        ([entry(score=10**400)], "row 0: bbox and score must be finite numbers"),
        ([entry(bbox=[1e308, 0, 1e308, 1])], "row 0: column 'x2' must be finite"),
    ],
)
def test_a_broken_coco_file_is_named_with_row_and_rule(
    content: Any, rule: str, tmp_path: Path, truth: GroundTruth
) -> None:
    refused(coco_file(tmp_path, content), truth, rule)


def test_ids_that_are_no_numbers_have_no_coco_form(tmp_path: Path, truth: GroundTruth) -> None:
    named = GroundTruth("toy", "all", CLASSES, ("a", "b", "c"), truth.size, truth.labels, truth.objects)
    refused(coco_file(tmp_path, [entry()]), named, "whose ids are no numbers")
    double = GroundTruth("toy", "all", CLASSES, ("5", "05", "6"), truth.size, truth.labels, truth.objects)
    refused(coco_file(tmp_path, [entry()]), double, "two have the same number")


def test_coco_itself_has_gaps_in_its_category_ids(tmp_path: Path) -> None:
    from bench.data.coco import CLASSES as COCO

    none = Objects(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 4)), np.zeros(0, np.bool_))
    size = np.full((1, 2), 500, dtype=np.int32)
    truth = GroundTruth("coco2014", "val", COCO, ("42",), size, derive_labels(1, 80, none), none)
    file = coco_file(tmp_path, [entry(image_id=42, category_id=90)])
    found = resolve(read_any(file, truth, ["boxes", "segments"]), truth)
    assert COCO[found.label[0]] == "toothbrush"
    assert coco_results(found, truth)[0]["category_id"] == 90
    refused(coco_file(tmp_path, [entry(image_id=42, category_id=12)]), truth, r"unknown category_id 12: .* 1 \.\.\. 90")


def test_coco_segments_are_run_lengths_of_their_image(tmp_path: Path, truth: GroundTruth) -> None:
    whole = {"size": [500, 500], "counts": [0, 250_000]}
    rows_ = [entry(segmentation=whole), entry(segmentation=[[0, 0, 0, 500, 500, 500, 500, 0]], image_id=12, score=1)]
    found = resolve(read_any(coco_file(tmp_path, rows_), truth, ["segments"]), truth)
    assert (found.kind, found.image.tolist(), found.score.tolist()) == ("segments", [0, 1], [0.5, 1.0])
    assert found.segments[0] == found.segments[1]
    assert found.covered.all()


@pytest.mark.parametrize(
    ("segmentation", "rule"),
    [
        ({"size": [500, 499], "counts": "0"}, r"row 0: segmentation: expected polygons, or run lengths of size"),
        ({"size": [500, 500], "counts": [1]}, "row 0: segmentation: run lengths make 1 pixels"),
        ([[1, 2]], "row 0: segmentation: a polygon needs three corners"),
        (None, "row 0: segmentation: expected polygons"),
    ],
)
def test_a_broken_segment_is_named(segmentation: Any, rule: str, tmp_path: Path, truth: GroundTruth) -> None:
    file = coco_file(tmp_path, [entry(segmentation=segmentation)])
    with pytest.raises(BadFileError, match=rule):
        read_any(file, truth, ["segments"])


def test_coco_entries_with_box_and_segment_are_both_and_without_any_nothing_of_both(
    tmp_path: Path, truth: GroundTruth
) -> None:
    both = entry(segmentation={"size": [500, 500], "counts": [0, 250_000]})
    only = {key: value for key, value in both.items() if key != "bbox"}

    def kinds(*entries: Any) -> list[str]:
        return [one.kind for one in read_all(coco_file(tmp_path, list(entries)), truth, ["boxes", "segments"])]

    assert kinds(both, both) == kinds() == ["boxes", "segments"]
    assert kinds(both, only) == ["segments"]
    assert kinds(both, entry()) == ["boxes"]
    with pytest.raises(BadFileError, match="row 1: needs segmentation; it has"):
        read_any(coco_file(tmp_path, [both, entry()]), truth, ["segments"])


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("000006 1 1 1 2 2", "Unknown image of toy test_subset '000006'"),
        ("000005 1 1 1 2", r"expected an image id and 5 finite numbers \(score xmin ymin xmax ymax\)"),
        ("000005 1 1 1 2 2 2", "expected an image id and 5 finite numbers"),
        ("000005 nan 1 1 2 2", "expected an image id and 5 finite numbers"),
        ("000005 1 1 1 2 1e999", "expected an image id and 5 finite numbers"),
        ("000005 1 1 1 2 two", "expected an image id and 5 finite numbers"),
        ("000005 1 1 1 2 2_0", "expected an image id and 5 finite numbers"),
        ("000005,1,1,1,2,2", "Unknown image"),
    ],
)
def test_a_broken_voc_line_is_named_with_file_row_and_rule(
    line: str, rule: str, tmp_path: Path, truth: GroundTruth
) -> None:
    folder = voc_folder(tmp_path, comp3_det_test_subset_bicycle=f"000005 1 1 1 2 2\n{line}\n")
    refused(folder, truth, f"row 1: {rule}", folder / "comp3_det_test_subset_bicycle.txt")


def test_a_voc_file_that_is_no_text_is_named(tmp_path: Path, truth: GroundTruth) -> None:
    file = tmp_path / "comp3_det_test_subset_bicycle.txt"
    file.write_bytes(b"\xff\xfe0\x00")
    refused(tmp_path, truth, "not readable as UTF-8 text", file)


def test_a_voc_file_of_an_unknown_class_is_named(tmp_path: Path, truth: GroundTruth) -> None:
    folder = voc_folder(tmp_path, comp3_det_test_subset_bicicle="")
    rule = r"Unknown class of toy 'bicicle'\. Did you mean: bicycle"
    refused(folder, truth, rule, folder / "comp3_det_test_subset_bicicle.txt")


def test_a_folder_without_voc_files_says_what_it_expected(tmp_path: Path, truth: GroundTruth) -> None:
    voc_folder(tmp_path, readme="hello", comp3_cls_test_bicycle="")
    refused(
        tmp_path,
        truth,
        r"a folder of .*, which are no VOC text files, .*; expected names like comp4_det_test_subset_aeroplane\.txt",
    )


def test_two_sets_of_voc_files_in_one_folder_are_refused(tmp_path: Path, truth: GroundTruth) -> None:
    voc_folder(tmp_path, comp3_det_test_bicycle="", comp4_det_test_bicycle="")
    refused(tmp_path, truth, r"holds several sets of VOC text files \(comp3 on test, comp4 on test\)")


def test_voc_files_are_found_below_the_folder_that_is_named(tmp_path: Path, truth: GroundTruth) -> None:
    main = tmp_path / "results" / "VOC2012" / "Main"
    main.mkdir(parents=True)
    voc_folder(main, comp4_det_test_subset_bicycle="000005 0.5 11 21 40 60")
    found = read_any(tmp_path, truth, ["boxes"])
    assert rows(resolve(found, truth)) == [(0, 1, 0.5, [10, 20, 40, 60])]
    voc_folder(tmp_path, comp4_det_test_subset_bicycle="")
    with pytest.raises(BadFileError, match=r"comp4_det_test_subset_bicycle.txt: a second file of class 'bicycle'"):
        read_any(tmp_path, truth, ["boxes"])


def test_a_second_score_of_an_image_is_named(tmp_path: Path, truth: GroundTruth) -> None:
    voc_folder(tmp_path, comp1_cls_test_subset_bicycle="000005 1\n000005 2\n")
    with pytest.raises(
        BadFileError, match=r"comp1_cls_test_subset_bicycle\.txt, row 1: a second score of image '000005'"
    ):
        read_any(tmp_path, truth, ["scores"])


def test_a_format_of_another_kind_is_refused(tmp_path: Path, truth: GroundTruth) -> None:
    with pytest.raises(BadFileError, match="holds boxes; expected points"):
        read_any(coco_file(tmp_path, [entry()]), truth, ["points", "maps"])
    with pytest.raises(BadFileError, match="holds boxes; expected scores"):
        read_any(voc_folder(tmp_path, comp3_det_test_bicycle=""), truth, ["scores"])


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "is empty"),
        (b" \n", "is neither parquet, COCO results JSON, a CSV with a header"),
        (
            pickle.dumps([entry()]),
            "is a pickle, which may run any code and is not opened. Convert it where",
        ),
        (b"label,image\n", "its columns are label, image; a CSV has image,label,score, or image,label,score,x1"),
        (b"image,label\n", "its columns are image, label; a CSV has"),
        (
            b"000005,bicycle,0.5\n",
            "first line is '000005,bicycle,0.5': a CSV needs a header before it, such as image,",
        ),
        (b"a;b\n1;2\n", "Its first line is 'a;b': a CSV has one of its columns called image"),
        (b"\x89HDF\r\n", "is an HDF5 file. Read it with h5py"),
        (b"\x93NUMPY\x01", "is one array, which names no images"),
        (b"MATLAB 5.0", "is a MATLAB file"),
        (b"\x89PNG\r\n", "is one picture. Give the folder"),
        (b"<annotation>", "is XML or HTML"),
        ("image,label".encode("utf-16"), "is text in UTF-16"),
        (b"PAR1 and nothing else", "not a readable parquet file"),
        (b"[\xff]", "not valid JSON"),
    ],
)
def test_what_is_in_no_format_is_refused(content: bytes, rule: str, tmp_path: Path, truth: GroundTruth) -> None:
    (tmp_path / "p.parquet").write_bytes(content)
    refused(tmp_path / "p.parquet", truth, rule)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path, truth: GroundTruth) -> None:
    refused(tmp_path / "none.parquet", truth, "No such file or directory")


def test_nothing_in_a_pickle_is_executed(tmp_path: Path, truth: GroundTruth) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "executed",))

    (tmp_path / "p.parquet").write_bytes(pickle.dumps(Bomb()))
    refused(tmp_path / "p.parquet", truth, "is a pickle")
    assert not (tmp_path / "executed").exists()


CSV = "image,label,score\n000005,bicycle,0.5\n"


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "scores.csv"
    path.write_bytes(text.encode())
    return path


def scores(found: ResolvedPredictions) -> list[Any]:
    return sorted(zip(found.image.tolist(), found.label.tolist(), found.score.tolist(), strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "image,label,score\n000005,bicycle,0.5\n2007_000027,tv-monitor,-1e-3\n",
        "\ufeffimage,score,note,label\r\n\r\n000005, 0.5 ,,bicycle\r\n2007_000027,-0.001,x,tv-monitor",
        "image,tv-monitor,bicycle\n000005,,0.5\n2007_000027,-.001,\n",
        '"image","bicycle","tv-monitor"\n"000005","0.5",""\n"2007_000027"," ","-0.001"\n',
    ],
    ids=["long", "long with more", "wide", "wide, quoted"],
)
def test_scores_come_as_csv_long_or_wide(text: str, tmp_path: Path, truth: GroundTruth) -> None:
    found = resolve(read_any(csv_file(tmp_path, text), truth, ["boxes", "scores"]), truth)
    assert (found.kind, scores(found)) == ("scores", [(0, 1, 0.5), (2, 2, -0.001)])
    assert found.covered.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (",image,label,score\n0,000005,bicycle,0.5\n", ()),
        ("label,image,score\nbicycle,000005,0.5\n", ()),
        ("image;label;score\n000005;bicycle;0.5\n", ()),
        ("Image,Label,Score\n000005,bicycle,0.5\n", ("columns read: Image as image, Label as label, ",)),
        ("image\tlabel\tscore\n000005\tbicycle\t0.5\n", ()),
        (
            "image_id|class|conf\n000005|bicycle|0.5\n",
            ("columns read: image_id as image, class as label, ",),
        ),
        (
            "image,label,score\n5,Bicycle,0.5\n",
            ("image '5' is taken as '000005'", "class 'Bicycle'"),
        ),
        ("image,label,score\n5.0,bicycle,0.5\n", ("image '5.0' is taken as '000005'",)),
        ("image,label,score\n000005.jpg,bicycle,0.5\n", ("image '000005.jpg' is taken as '000005'",)),
        (",image,Bicycle\n0,000005,0.5\n", ()),
    ],
)
def test_nearly_right_csv_is_read_with_a_note(text: str, notes: Any, tmp_path: Path, truth: GroundTruth) -> None:
    given = read_any(csv_file(tmp_path, text), truth, ["scores"])
    assert scores(resolve(given, truth)) == [(0, 1, 0.5)]
    assert len(given.notes) == len(notes)
    assert all(mine.startswith(one) for mine, one in zip(given.notes, notes, strict=True))


def test_gzipped_files_are_read(tmp_path: Path, truth: GroundTruth) -> None:
    for name, content, kind in (("b.json.gz", json.dumps([entry()]), "boxes"), ("s.csv.gz", CSV, "scores")):
        (tmp_path / name).write_bytes(gzip.compress(content.encode()))
        assert len(resolve(read_any(tmp_path / name, truth, [kind]), truth).image) == 1
    (tmp_path / "cut.gz").write_bytes(gzip.compress(CSV.encode())[:-9])
    with pytest.raises(BadFileError, match="Compressed file ended"):
        read_any(tmp_path / "cut.gz", truth, ["scores"])


@pytest.mark.parametrize("image", [5.0, "000005", "5", "COCO_val2014_000000000005", "000005.jpg"])
@pytest.mark.parametrize("category", [2, 2.0, "2", "bicycle"])
def test_coco_takes_ids_and_names_as_text(image: Any, category: Any, tmp_path: Path, truth: GroundTruth) -> None:
    file = coco_file(tmp_path, [entry(image_id=image, category_id=category)])
    found = resolve(read_any(file, truth, ["boxes"]), truth)
    assert (found.image.tolist(), found.label.tolist()) == ([0], [1])


def test_an_object_of_coco_says_what_it_holds(tmp_path: Path, truth: GroundTruth) -> None:
    refused(coco_file(tmp_path, {"images": [], "annotations": []}), truth, "an annotation file, not results")
    refused(coco_file(tmp_path, {"detections": [entry()]}), truth, "write the list 'detections' alone")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            "image;label;score\n000005;bicycle;0,5\n",
            "row 0: score must be .* but got '0,5'; decimals have a point",
        ),
        ("image,label,score\n000005,bicycle\n", "row 0: expected 3 fields, but got 2"),
        ("image,label,score\n000005,bicycle,1\n000006,bicycle,1", "row 1: Unknown image of toy test_subset '000006'"),
        ("image,label,score\n000005,bicicle,1", r"row 0: Unknown class of toy 'bicicle'\. Did you mean: bicycle"),
        ("image,label,score\n000005,bicycle,x", "row 0: score must be a finite number, but got 'x'"),
        ("image,label,score\n000005,bicycle,", "row 0: score must be a finite number, but got ''"),
        ("image,label,score\n000005,bicycle,1_0", "row 0: score must be a finite number, but got '1_0'"),
        ("image,label,score\n000005,bicycle,nan", "row 0: score must be a finite number"),
        ("image,label,score\n\n000005,bicycle,1e999", "row 1: score must be a finite number"),
        ("image,label,score\n000005,bicycle,1\n000005,bicycle,2", "row 1: image '000005', class 'bicycle': a second"),
        ("image,bicycle\n000005,1\n000005,1", "row 1: image '000005', class 'bicycle': a second score"),
        ("image,label\n", "or image and a column of scores a class. Unknown class"),
        ("image,score,score,label\n", "column 'score' is there twice"),
        ("image,label,score,x1,y1,x2,y2\n000005,bicycle,.9,1,2,3,4\n", "holds boxes; expected scores"),
        ("image,label,score,x,y\n000005,bicycle,.9,1,2\n", "holds points; expected scores"),
        ("image,label,score,x1,y1\n000005,bicycle,.9,1,2\n", "looks like boxes .*, but lacks the columns x2, y2"),
        ("image,label,score,xmin,ymin,xmax,ymax\n", "looks like boxes .*, but lacks the columns x1, y1, x2, y2"),
        ("image,label,x,y\n000005,bicycle,1,2\n", "looks like .* points .*, but lacks the columns score"),
        ('image,bicycle\n000005,"1\n', "row 0: not readable as CSV in UTF-8"),
        ("image,bicycle\n000005," + "1" * 200_000, "row 0: not readable as CSV"),
    ],
)
def test_a_broken_csv_is_named_with_row_and_rule(text: str, rule: str, tmp_path: Path, truth: GroundTruth) -> None:
    with pytest.raises(BadFileError, match=rule) as caught:
        resolve(read_any(csv_file(tmp_path, text), truth, ["scores"]), truth)
    assert str(caught.value).startswith(str(tmp_path / "scores.csv"))
    assert "\n" not in str(caught.value)


def test_boxes_and_points_come_as_csv(tmp_path: Path, truth: GroundTruth) -> None:
    boxes = "image,x1,y1,x2,y2,label,score,by\n000005,1,2,3.5,4,bicycle,0.5,me\n000005,0,0,9,9,bicycle,.25,me\n"
    found = resolve(read_any(csv_file(tmp_path, boxes), truth, ["scores", "boxes"]), truth)
    assert (found.kind, scores(found)) == ("boxes", [(0, 1, 0.25), (0, 1, 0.5)])
    assert found.box.tolist() == [[1, 2, 3.5, 4], [0, 0, 9, 9]]
    assert found.covered.tolist() == [True, False, False]
    points = "image,label,score,x,y\n000005,bicycle,0.5,7,8\n"
    found = resolve(read_any(csv_file(tmp_path, points), truth, ["points"]), truth)
    assert (found.columns["x"].tolist(), found.columns["y"].tolist()) == ([7], [8])


def test_a_corner_of_a_csv_that_is_no_number_is_named(tmp_path: Path, truth: GroundTruth) -> None:
    text = "image,label,score,x1,y1,x2,y2\n000005,bicycle,.9,1,2,3,left\n"
    with pytest.raises(BadFileError, match="row 0: y2 must be a finite number, but got 'left'"):
        read_any(csv_file(tmp_path, text), truth, ["boxes"])


def test_a_csv_that_is_no_text_is_named(tmp_path: Path, truth: GroundTruth) -> None:
    (tmp_path / "scores.csv").write_bytes(b"image,bicycle\n\xff\xfe,1\n")
    with pytest.raises(BadFileError, match="not readable as UTF-8 text"):
        read_any(tmp_path / "scores.csv", truth, ["scores"])


def test_ultralytics_text_files_are_shares_of_their_images(tmp_path: Path, truth: GroundTruth) -> None:
    (tmp_path / "000005.txt").write_text("1 0.5 0.25 0.2 0.1 0.75\n\n0 0.1 0.1 0.2 0.2 0.5\n")
    (tmp_path / "000012.txt").write_text("")
    with pytest.raises(BadFileError, match=r"has classes as numbers; write classes\.txt in it, a name a line"):
        read_any(tmp_path, truth, ["boxes"])
    (tmp_path / "classes.txt").write_text("bicycle\ntv monitor\n")
    given = read_any(tmp_path, truth, ["boxes"])
    found = resolve(given, truth)
    assert (found.image.tolist(), found.label.tolist(), found.score.tolist()) == ([0, 0], [2, 1], [0.75, 0.5])
    assert np.allclose(found.box, [[200, 100, 300, 150], [0, 0, 100, 100]])
    assert found.covered.all()
    assert "class 'tv monitor' is taken as 'tv-monitor', and others like it" in given.notes


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("1 0.5 0.5 0.1 0.1", r"row 0: expected class cx cy width height confidence \(predict with save_conf=True\)"),
        ("7 0.5 0.5 0.1 0.1 0.9", r"row 0: class 7 is not in classes\.txt, which has 3"),
        ("1 0.5 0.5 0.1 0.1 high", "row 0: expected class cx"),
    ],
)
def test_a_broken_line_of_ultralytics_is_named(line: str, rule: str, tmp_path: Path, truth: GroundTruth) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    (tmp_path / "000005.txt").write_text(line)
    with pytest.raises(BadFileError, match=rule):
        read_any(tmp_path, truth, ["boxes"])


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_folder_of_parts_is_the_file_of_all(suffix: str, tmp_path: Path, truth: GroundTruth) -> None:
    scored = ((IDS[0], 0.5), (IDS[1], 0.25), (IDS[0], 0.75))
    entries = [entry(image_id=image, score=score) for image, score in scored]
    header = "image,label,score,x1,y1,x2,y2"
    lines = [f"{one['image_id']},bicycle,{one['score']},1,2,3,4" for one in entries]
    folder = tmp_path / "ranks"
    folder.mkdir()
    for name, rows in (("whole", slice(3)), ("ranks/0", slice(1)), ("ranks/1", slice(1, 3))):
        content = json.dumps(entries[rows]) if suffix == "json" else "\n".join([header, *lines[rows]])
        (tmp_path / f"{name}.{suffix}").write_text(content)
    whole, parts = (read_any(tmp_path / name, truth, ["boxes"]) for name in (f"whole.{suffix}", "ranks"))
    assert rows_of(parts, truth) == rows_of(whole, truth)
    assert (parts.notes, parts.about.ids) == (whole.notes, whole.about.ids)
    digest = parts.digest
    (folder / f"1.{suffix}").write_text((folder / f"1.{suffix}").read_text() + " ")
    assert read_any(folder, truth, ["boxes"]).digest != digest
    (folder / "2.csv").write_text(f"image,label,score\n{IDS[0]},bicycle,0.5\n")
    with pytest.raises(BadFileError, match=r"0\.\w+ and 2\.csv are of different kinds \(boxes, scores\)"):
        read_any(folder, truth, ["boxes", "scores"])


def rows_of(found: Predictions, truth: GroundTruth) -> list[Any]:
    return rows(resolve(found, truth))
