"""Photographs by their paths: what they are called, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data.photographs import Photographs, describe_left_out, find_photographs, name_unreadable
from bench.data.pixels import read_pixels
from bench.errors import BadFileError, MissingDataError, RequestError


def photograph(path: Path, width: int = 6, height: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height)).save(path)
    return path


def test_they_are_called_as_their_files_below_a_folder(tmp_path: Path) -> None:
    one, other = photograph(tmp_path / "a" / "b c.jpg"), photograph(tmp_path / "ü.PNG")
    (tmp_path / "a" / "text.txt").touch()
    assert find_photographs(tmp_path) == {"a/b c": one, "ü": other}
    assert find_photographs([str(one), other]) == {"b c": one, "ü": other}
    assert find_photographs([one, tmp_path / "a"]) == {"b c": one}


def test_images_that_are_not_read_are_named(tmp_path: Path) -> None:
    for name in ("b.gif", "c.webp", "d.tif", "e.bmp", "f.BMP"):
        photograph(tmp_path / name)
    photograph(tmp_path / "x.png").rename(tmp_path / "no.suffix")
    (tmp_path / "notes.txt").write_text("text")
    found = [
        "1 file left out (.gif; only JPEG and PNG are read): b.gif. Convert them to JPEG or PNG.",
        "1 file left out (.webp; only JPEG and PNG are read): c.webp. Convert them to JPEG or PNG.",
        "1 file left out (.tif; only JPEG and PNG are read): d.tif. Convert them to JPEG or PNG.",
        "2 files left out (.bmp; only JPEG and PNG are read): e.bmp, f.BMP. Convert them to JPEG or PNG.",
        "1 file left out (a JPEG or PNG by content, not by name): no.suffix. Name them .jpg, .jpeg, .png.",
    ]
    assert describe_left_out([tmp_path]) == found
    assert describe_left_out([tmp_path / "b.gif"]) == []
    with pytest.raises(RequestError, match=r"No photograph .* Note: 1 file left out \(\.gif; "):
        find_photographs(tmp_path)


def test_what_cannot_be_told_apart_or_found_is_refused(tmp_path: Path) -> None:
    one, other = photograph(tmp_path / "a" / "x.jpg"), photograph(tmp_path / "b" / "x.png")
    with pytest.raises(RequestError, match="would both be called x: give the folder above"):
        find_photographs([one, other])
    with pytest.raises(MissingDataError, match="none"):
        find_photographs([one, tmp_path / "none"])
    with pytest.raises(RequestError, match=r"No photograph \(\.jpg, \.jpeg, \.png\) in no path"):
        find_photographs([])
    photograph(tmp_path / "c" / "\udce4.jpg")
    with pytest.raises(BadFileError, match=r"\\udce4\.jpg: the file name is not UTF-8 text: rename the file"):
        find_photographs(tmp_path / "c")


def test_their_truth_has_sizes_and_shows_nothing(tmp_path: Path) -> None:
    dataset = Photographs("toy", ("cat", "dog"), find_photographs(photograph(tmp_path / "x.jpg")))
    truth = dataset.ground_truth()
    assert (truth.ids, truth.size.tolist(), truth.labels.tolist()) == (("x",), [[6, 4]], [[-1, -1]])
    assert (dataset.splits(), dataset.image_path("x")) == (("photographs",), tmp_path / "x.jpg")
    (tmp_path / "y.jpg").write_bytes(b"text")
    with pytest.raises(BadFileError, match=r"y\.jpg: not a JPEG or PNG image"):
        Photographs("toy", ("cat",), find_photographs(tmp_path)).ground_truth()


def test_all_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for name in "abcdefgh":
        photograph(tmp_path / f"{name}.jpg", 60, 40)
    for name in "bcdefg":
        whole = (tmp_path / f"{name}.jpg").read_bytes()
        (tmp_path / f"{name}.jpg").write_bytes(whole[: len(whole) - 40])
    (tmp_path / "h.jpg").write_bytes(b"text")
    files = find_photographs(tmp_path)
    with pytest.raises(BadFileError) as error, name_unreadable(files):
        read_pixels(files["c"])
    assert str(error.value).startswith(f"{files['c']}: not a readable image (image file is truncated")
    named = ", ".join(str(tmp_path / f"{name}.jpg") for name in "bcdef")
    says = f". 7 of 8 photographs cannot be read: {named} and 2 more. Replace them, or move them elsewhere"
    assert str(error.value).endswith(says)
    with pytest.raises(BadFileError, match=r"truncated[^.]*$"), name_unreadable({"a": files["a"], "b": files["b"]}):
        read_pixels(files["b"])
    with pytest.raises(BadFileError, match=r"^other: no$"), name_unreadable(files):
        raise BadFileError("other", "no")


def test_what_is_odd_about_them_is_noted(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "turned.jpg", exif=turned)
    Image.new("CMYK", (6, 4)).save(tmp_path / "cmyk.jpg")
    Image.fromarray(np.array([[255, 256, 65535]], np.uint16)).save(tmp_path / "deep.png")
    notes = [*Photographs("toy", ("cat",), find_photographs(tmp_path)).list_notes()]
    assert [note.rpartition(" (first: ")[2] for note in notes] == ["turned)", "deep)"]
    assert "1 photograph is in 16-bit greyscale, of which the upper 8 bits are read" in notes[1]
    assert read_pixels(tmp_path / "deep.png").tolist() == [[[0] * 3, [1] * 3, [255] * 3]]
