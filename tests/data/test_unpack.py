"""Archives of strangers: what they hold lands in its folder, whole, or they are refused."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from bench.data.unpack import unpack
from bench.errors import BadFileError

FILES = {"VOCdevkit/VOC2007/a.txt": b"a", "VOCdevkit/VOC2007/Annotations/b.xml": b"b" * 5000, "other/c": b"c"}


def member(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content) if kind == tarfile.REGTYPE else 0, kind, link
    return info


def tar(path: Path, *members: tarfile.TarInfo, content: bytes = b"x") -> Path:
    with tarfile.open(path, "w:gz" if path.suffix != ".tar" else "w") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def archive_of(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.suffix != ".tar" else "w") as out:
        for name, content in files.items():
            out.addfile(member(name, content), io.BytesIO(content))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz", "a.tar.gz"])
def test_an_archive_is_added_to_what_is_there(tmp_path: Path, name: str) -> None:
    target = tmp_path / "data"
    (target / "VOCdevkit" / "VOC2007").mkdir(parents=True)
    (target / "VOCdevkit" / "VOC2007" / "there.txt").write_bytes(b"before")
    unpack(archive_of(tmp_path / name, FILES), target)
    assert contents(target) == {**FILES, "VOCdevkit/VOC2007/there.txt": b"before"}


def test_one_folder_of_an_archive_can_be_taken_alone(tmp_path: Path) -> None:
    archive = archive_of(tmp_path / "a.zip", FILES)
    unpack(archive, tmp_path / "data", inside="VOCdevkit/VOC2007")
    assert contents(tmp_path / "data") == {"a.txt": b"a", "Annotations/b.xml": b"b" * 5000}
    with pytest.raises(BadFileError, match="holds no folder VOC"):
        unpack(archive, tmp_path / "data", inside="VOC")


def test_a_file_that_is_no_archive_is_put_there(tmp_path: Path) -> None:
    (tmp_path / "TrainImages.txt").write_bytes(b"kitchen/a.jpg")
    unpack(tmp_path / "TrainImages.txt", tmp_path / "data")
    assert contents(tmp_path / "data") == {"TrainImages.txt": b"kitchen/a.jpg"}


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "..\\x", "C:x"])
@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_a_name_outside_the_folder_is_refused(tmp_path: Path, kind: str, name: str) -> None:
    archive = archive_of(tmp_path / kind, {"good": b"g", name: b"x"})
    with pytest.raises(BadFileError, match="outside its folder"):
        unpack(archive, tmp_path / "data" / "below")
    assert contents(tmp_path / "data") == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar(tmp_path / "a.tar", member("good"), member("bad", kind=kind, link="good"))
    with pytest.raises(BadFileError, match="link or device: 'bad'"):
        unpack(archive, tmp_path / "data")
    assert contents(tmp_path / "data") == {}


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("bad")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(BadFileError, match="link or device"):
        unpack(tmp_path / "a.zip", tmp_path / "data")


@pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, name: str) -> None:
    content = bytes(3_000_000)
    if name == "a.zip":
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("bomb", content)
    else:
        tar(tmp_path / name, member("bomb", content), content=content)
    with pytest.raises(BadFileError, match="declares 3000000 bytes"):
        unpack(tmp_path / name, tmp_path / "data")
    assert contents(tmp_path / "data") == {}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.8])
def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path: Path, name: str, share: float) -> None:
    archive = archive_of(tmp_path / name, {"a": bytes(range(256)) * 100, "b": bytes(range(256)) * 100})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BadFileError, match="a damaged archive"):
        unpack(archive, tmp_path / "data")
    assert contents(tmp_path / "data") == {}
