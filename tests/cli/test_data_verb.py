"""`data look` and the sheet of `data check`: what is written where, and what is said of drawings and bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bench.data.pixels import read_size

IDS = [f"{number:06}" for number in range(1, 11)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with ten photographs of VOC 2007, of one dog each."""
    folder = tmp_path / "data" / "VOCdevkit" / "VOC2007"
    for name in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "val.txt").write_text("\n".join(IDS))
    size = "<size><width>160</width><height>120</height><depth>3</depth></size>"
    box = "<bndbox><xmin>21</xmin><ymin>31</ymin><xmax>100</xmax><ymax>90</ymax></bndbox>"
    dog = f"<object><name>dog</name><difficult>0</difficult>{box}</object>"
    for seed, name in enumerate(IDS):
        (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{size}{dog}</annotation>")
        small = np.random.default_rng(seed).integers(60, 200, (3, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize((160, 120)).save(photograph(tmp_path / "data", name))
    return tmp_path / "data"


def photograph(root: Path, name: str) -> Path:
    return root / "VOCdevkit" / "VOC2007" / "JPEGImages" / f"{name}.jpg"


def draw_on(path: Path) -> None:
    image = Image.open(path)
    ImageDraw.Draw(image).rectangle((20, 30, 120, 100), outline=(255, 0, 0), width=3)
    image.save(path, quality=90)


def test_look_writes_a_page_or_a_picture_and_says_where(here, root: Path, tmp_path: Path) -> None:
    ask = ("data", "look", "--split", "val", "--data-root", root)
    answer = here(*ask)
    assert (answer.code, answer.out) == (0, "Wrote 10 photographs: runs/sheets/voc2007.val.html\n")
    page = (tmp_path / "runs" / "sheets" / "voc2007.val.html").read_text()
    assert page.count("<img") == 20
    assert "<h2>val: 10 of 10 images</h2>" in page
    document = here(*ask, "--images", 4, "--seed", 3, "--out", "s.jpg", "--json").json()
    assert document == {"written": "s.jpg", "images": 4, "suspects": {}, "unreadable": {}, "notes": []}
    assert read_size(tmp_path / "s.jpg") == (1600, 214)
    written = (tmp_path / "s.jpg").read_bytes()
    here(*ask, "--images", 4, "--seed", 3, "--out", "t.jpg")
    assert (tmp_path / "t.jpg").read_bytes() == written
    assert here("data", "look", "--split", "vall", "--data-root", root).code == 2


def test_check_draws_what_is_there_and_reports_drawings(here, root: Path, tmp_path: Path) -> None:
    ask = ("data", "check", "voc2007", "--data-root", root)
    assert "10 photographs to look at: runs/sheets/voc2007.html" in here(*ask).out
    assert "drawn" not in here(*ask).out
    for name in IDS:
        draw_on(photograph(root, name))
    photograph(root, IDS[0]).write_text("nothing")
    answer = here(*ask)
    assert "note: 9 of 10 photographs of val have long straight lines of one pure colour" in answer.out
    assert "note: cannot be read, of val: 000001\n" in answer.out
    (found,) = here(*ask, "--json")._replace(code=0).json()["datasets"]
    assert found["sheet"]["suspects"]["val"]
    assert found["sheet"]["unreadable"] == {"val": ["000001"]}
    assert (tmp_path / found["sheet"]["written"]).read_text().count("was it drawn on?") == 9


def test_check_goes_on_where_no_sheet_can_be_written(here, root: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "sheets").write_text("in the way")
    answer = here("data", "check", "voc2007", "--data-root", root)
    assert "note: no sheet of photographs written: " in answer.out
    assert "to look at" not in answer.out
    (found,) = here("data", "check", "voc2007", "--data-root", root, "--json")._replace(code=0).json()["datasets"]
    assert found["sheet"]["written"] is None


def test_check_draws_nothing_without_photographs_or_where_none_are_asked_for(here, root: Path, tmp_path: Path) -> None:
    assert "to look at" not in here("data", "check", "voc2007", "--data-root", root, "--images", 0).out
    for name in IDS:
        photograph(root, name).unlink()
    (found,) = here("data", "check", "voc2007", "--data-root", root, "--json")._replace(code=0).json()["datasets"]
    assert found["sheet"] is None
    assert not (tmp_path / "runs" / "sheets").exists()
