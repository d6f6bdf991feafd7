"""`compare` and ranks as their users meet them, from files that were scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from bench.predictions.table import About, write

N = 40
IDS = tuple(f"{number:06}" for number in range(1, N + 1))


@pytest.fixture(scope="session")
def dogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root whose test images each hold one dog, 0..8 x 0..8."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "VOCdevkit" / "VOC2007"
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    (folder / "ImageSets" / "Main" / "test.txt").write_text("\n".join(IDS))
    (folder / "ImageSets" / "Main" / "half.txt").write_text("\n".join(IDS[::2]))
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax><ymax>8</ymax></bndbox>"
    dog = f"<object><name>dog</name><difficult>0</difficult>{box}</object>"
    size = "<size><width>16</width><height>16</height><depth>3</depth></size>"
    for name in IDS:
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{dog}</annotation>")
    return root


Score = Callable[..., str]


@pytest.fixture
def scored(here, dogs: Path, tmp_path: Path) -> Score:
    """`scored("name", every, *more)`: the address of a result that finds the dog in all but every so many images."""

    def record(name: str, every: int, *more: str, ids: tuple[str, ...] = IDS) -> str:
        side = [0.0 if int(image) % every == 0 else 8.0 for image in ids]
        zero = [0.0] * len(ids)
        columns = {"image": ids, "label": ["dog"] * len(ids), "score": [0.5] * len(ids)}
        table = pa.table({**columns, "x1": zero, "y1": zero, "x2": side, "y2": side})
        file = tmp_path / f"{name}.parquet"
        write(file, "boxes", table, About(name, "voc2007", "test", ids))
        (result,) = here(
            "score", "--protocol", "voc07-det", "--predictions", file, "--data-root", dogs, "--json", *more
        ).json()["results"]
        return str(result["address"])

    return record


def test_the_difference_comes_as_text_as_markdown_and_as_one_document(here, scored: Score) -> None:
    good, bad = scored("good", 20), scored("bad", 2)
    found = here("compare", good[:8], bad, "--json").json()
    line = found["metrics"]["mAP_area"]
    assert line["difference"] == line["a"] - line["b"] > 0
    assert line["interval"][0] < line["difference"] < line["interval"][1]
    assert line["p"] < 0.05
    assert (found["a"]["method"], found["b"]["method"], found["paired"], found["unlike"]) == ("good", "bad", True, [])
    text, markdown = here("compare", good, bad), here("compare", good, bad, "--format", "md")
    assert (text.code, markdown.code) == (0, 0)
    assert f"+{100 * line['difference']:.1f}" in text.out
    assert "| mAP_area |" in markdown.out


def test_published_records_are_compared_without_data_by_their_paths(here, scored: Score, tmp_path: Path) -> None:
    paths = []
    for name, every in (("good", 20), ("bad", 2)):
        address = scored(name, every, "--tuned-on", "none")
        paths += here("publish", address, "--into", tmp_path / "kept", "--json").json()["written"][:1]
    (tmp_path / "runs").rename(tmp_path / "gone")
    found = here("compare", *paths, "--per-class", "--json").json()
    assert found["per_class"]["mAP_area"]["dog"] == {
        key: pytest.approx(value) for key, value in found["metrics"]["mAP_area"].items() if key != "higher_is_better"
    }
    assert found["per_class"]["mAP_area"]["cat"]["difference"] is None


def test_no_number_stands_beside_one_judged_differently_unmarked(here, scored: Score) -> None:
    usual, moved = scored("usual", 4), scored("moved", 4, "--convention", "iou_threshold=0.75")
    part = scored("part", 4, "--split", "half", ids=IDS[::2])
    for other, why in ((moved, "iou_threshold 0.75, not 0.5"), (part, "half, 20 images, not test, 40 images")):
        refused = here("compare", usual, other)
        assert (refused.code, refused.out) == (2, "")
        assert why in refused.err
        assert "Traceback" not in refused.err
        marked = here("compare", usual, other, "--anyway")
        assert marked.code == 0
        assert f"Different protocol: {why}" in marked.out.replace("other conventions: ", "").replace(
            "other images: ", ""
        )
    (table,) = here("table", "--json").json()["tables"]
    notes = {row["values"]["method"]: " ".join(row["notes"]) for row in table["rows"]}
    assert "iou_threshold 0.75, not 0.5" in notes["moved"]
    assert "evaluated on half, 20 images" in notes["part"]
    assert "judged" not in notes["usual"]
    assert "conventions" not in notes["usual"]


def test_the_table_ranks_and_shares_ranks(here, scored: Score) -> None:
    for name, every in (("best", 20), ("second", 19), ("worst", 2)):
        scored(name, every)
    (table,) = here("table", "--json").json()["tables"]
    assert {row["values"]["method"]: row["values"]["rank"] for row in table["rows"]} == {
        "best": 1,
        "second": 1,
        "worst": 3,
    }
    assert "best (a)" in here("table").out


def test_an_address_that_nobody_has_is_said_with_those_that_are(here, scored: Score) -> None:
    known = scored("good", 20)
    answer = here("compare", known, "zz")
    assert answer.code == 2
    assert f"Error: Unknown result 'zz'. Available: {known}" in answer.err
    assert here("compare", known, "no.json").code == 2


def test_methods_are_compared_by_name_where_one_pair_fits_and_else_listed(here, scored: Score) -> None:
    good, bad = scored("good", 20), scored("bad", 2)
    found = here("compare", "good", "bad", "--json").json()
    assert ([found[side]["address"] for side in "ab"], found["settings"]) == ([good, bad], [])
    assert found["verdict"].startswith("good is better than bad by ")
    strict = scored("bad", 2, "--convention", "iou_compare=>")
    assert here("compare", "good", "bad").code == 0, "only one was evaluated like good"
    scored("good", 20, "--convention", "iou_compare=>")
    both = here("compare", "good", "bad")
    assert both.code == 2
    assert "good and bad have 2 pairs of results that can be compared" in both.err
    assert strict in both.err
    assert bad in both.err
    other = here("compare", "good", "bad", "--protocol", "voc07-point")
    assert "no pairs of results that can be compared under voc07-point" in other.err
    other = here("compare", "good", "bad", "--data", "shapes")
    assert "no pairs of results that can be compared on shapes" in other.err
    assert here("table", "voc07-det").code == 0
    assert "Did you mean: voc07-det" in here("table", "voc7-det").err
