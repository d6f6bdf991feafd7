from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.images import fit, read_image, warp
from bench.data.pixels import resize_nearest
from bench.errors import BadFileError

GRADIENT = np.stack(np.meshgrid(np.arange(60) * 4, np.arange(40) * 6), axis=-1).astype(np.uint8)
RGB = np.dstack([GRADIENT, np.full((40, 60), 128, np.uint8)])


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def test_a_png_is_read_exactly(tmp_path: Path) -> None:
    found = read_image(saved(tmp_path / "a.png", Image.fromarray(RGB)))
    assert found.dtype == torch.uint8
    assert found.shape == (3, 40, 60)
    assert (found.numpy().transpose(1, 2, 0) == RGB).all()


@pytest.mark.parametrize(
    ("mode", "name"),
    [("L", "a.jpg"), ("CMYK", "a.jpg"), ("P", "a.png"), ("RGBA", "a.png"), ("1", "a.png"), ("LA", "a.png")],
)
def test_every_kind_of_image_becomes_rgb(tmp_path: Path, mode: str, name: str) -> None:
    found = read_image(saved(tmp_path / name, Image.fromarray(RGB).convert(mode)))
    assert found.shape == (3, 40, 60)


def test_a_cmyk_photograph_keeps_its_colours(tmp_path: Path) -> None:
    red = Image.new("RGB", (32, 32), (250, 5, 5)).convert("CMYK")
    mean = read_image(saved(tmp_path / "a.jpg", red)).float().mean(dim=(1, 2))
    assert mean[0] > 230
    assert mean[1:].max() < 30


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).convert("P")
    found = read_image(saved(tmp_path / "a.png", image, transparency=bytes([0, 128, 255])))
    assert found.shape == (3, 40, 60)


def test_the_orientation_in_exif_data_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_image(saved(tmp_path / "a.jpg", Image.fromarray(RGB), exif=exif)).shape == (3, 40, 60)


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a huge image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "not a JPEG or PNG image"),
        (b"this is text, not a photograph", "not a JPEG or PNG image"),
        (b"GIF89a" + bytes(40), "not a JPEG or PNG image"),
        (b"\xff\xd8\xff\xe0", "not a"),
        (png_that_claims(60_000, 60_000), "too large an image"),
        (png_that_claims(10_000, 10_000), "too large an image: 10000 x 10000 pixels in [0-9]+ bytes"),
        (png_that_claims(100, 100), "not a readable image"),
    ],
)
def test_what_is_no_image_is_named_with_its_rule(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=rf"a\.jpg: {rule}"):
        read_image(path)


def test_an_image_that_is_large_on_the_disk_may_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    monkeypatch.setattr("bench.data.pixels._MOST_PIXELS", 100)
    assert read_image(saved(tmp_path / "a.jpg", Image.fromarray(noise))).shape == (3, 64, 64)
    with pytest.raises(BadFileError, match="too large an image"):
        read_image(saved(tmp_path / "b.png", Image.new("L", (640, 640))))


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused(tmp_path: Path, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / name, Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(BadFileError, match=name):
        read_image(path)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"a\.jpg"):
        read_image(tmp_path / "a.jpg")


def test_warping_fills_the_square_and_stays_in_range() -> None:
    image = torch.from_numpy(RGB).permute(2, 0, 1)
    warped = warp(image, 32)
    assert warped.shape == (3, 32, 32)
    assert warped.dtype == torch.float32
    assert warped.min() >= 0
    assert warped.max() <= 1
    assert warped.mean().item() == pytest.approx(image.float().mean().item() / 255, abs=0.01)


def test_shrinking_averages_instead_of_skipping() -> None:
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    small = warp(checks.to(torch.uint8).expand(3, 64, 64), 16)
    assert (small - 0.5).abs().max() < 0.05


def test_an_image_of_the_right_size_only_changes_type() -> None:
    image = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8)
    assert torch.equal(warp(image, 24), image.float() / 255)


@pytest.mark.parametrize(
    ("height", "width", "h", "w"), [(40, 60, 80, 120), (60, 40, 120, 80), (375, 500, 90, 120), (1, 500, 1, 120)]
)
def test_fitting_keeps_the_aspect_and_says_its_scales(height: int, width: int, h: int, w: int) -> None:
    fitted, scale_x, scale_y = fit(torch.zeros((3, height, width), dtype=torch.uint8), 120)
    assert fitted.shape == (3, h, w)
    assert (width * scale_x, height * scale_y) == (w, h)


def test_a_box_follows_its_object_when_fitted() -> None:
    image = torch.zeros((3, 50, 100), dtype=torch.uint8)
    image[:, 10:30, 40:80] = 255
    fitted, scale_x, scale_y = fit(image, 200)
    ys, xs = torch.nonzero(fitted[0] > 0.5, as_tuple=True)
    assert (xs.min() / scale_x, ys.min() / scale_y) == (40, 10)
    assert ((xs.max() + 1) / scale_x, (ys.max() + 1) / scale_y) == (80, 30)


def test_numbers_at_another_size_are_those_at_the_same_place() -> None:
    numbers = np.array([[1, 2], [3, 4]], np.uint8)
    assert resize_nearest(numbers, 4, 2).tolist() == [[1, 1, 2, 2], [3, 3, 4, 4]]
    assert resize_nearest(numbers, 3, 1).tolist() == [[3, 4, 4]]
    assert resize_nearest(resize_nearest(numbers, 6, 10), 2, 2).tolist() == numbers.tolist()
