"""`data fetch` against a real server on this machine: resume, breaks, checksums, unpacking."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from bench.data import fetch as module
from bench.data.datasets import DATASETS
from bench.data.fetch import download, fetch
from bench.data.sources import SOURCES, File, Source
from bench.errors import BadFileError, RequestError, RunError, UnknownNameError

if TYPE_CHECKING:
    from conftest import Answer

CONTENT = bytes(range(251)) * 4000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


@dataclass
class Host:
    """What the server has and how it behaves; `asked` are the Range headers it saw."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    tag: str = '"one"'
    breaks_after: list[int] = field(default_factory=list)
    ranges: bool = True
    says_length: bool = True
    asked: list[str | None] = field(default_factory=list)


def handler_of(host: Host) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, asked = host.files.get(self.path), self.headers.get("Range")
            host.asked.append(asked)
            if content is None:
                self.send_error(404)
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and host.ranges else 0
            start = start if self.headers.get("If-Range") in (None, host.tag) else 0
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if host.says_length:
                self.send_header("Content-Length", str(len(content) - start))
            if host.tag:
                self.send_header("ETag", host.tag)
            self.end_headers()
            stop = start + host.breaks_after.pop(0) if host.breaks_after else len(content)
            self.wfile.write(content[start:stop])

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    host = Host(files={"/data.bin": CONTENT})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler_of(host)) as server:
        host.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield host
        server.shutdown()
        thread.join()


class Said:
    """A progress that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    task = module.SILENT.task


def file(host: Host, md5: str | None = MD5, size: int | None = None) -> File:
    return File("all", f"{host.url}/data.bin", md5=md5, size=size)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_whole_and_alone(host: Host, tmp_path: Path) -> None:
    path = download(file(host), tmp_path)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]


def test_a_broken_connection_is_gone_on_with_where_it_broke(host: Host, tmp_path: Path) -> None:
    host.breaks_after = [300_000, 400_000]
    assert download(file(host), tmp_path).read_bytes() == CONTENT
    assert host.asked == [None, "bytes=300000-", "bytes=700000-"]


def test_what_an_earlier_call_got_is_gone_on_with(host: Host, tmp_path: Path) -> None:
    host.breaks_after = [300_000, 0, 0]
    with pytest.raises(RunError, match=r"the connection broke .* Run again to resume after 300000 bytes"):
        download(file(host), tmp_path)
    assert not (tmp_path / "data.bin").exists()
    assert download(file(host), tmp_path).read_bytes() == CONTENT
    assert host.asked[-1] == "bytes=300000-"


def test_another_version_on_the_host_starts_anew(host: Host, tmp_path: Path) -> None:
    host.breaks_after = [300_000, 0, 0]
    with pytest.raises(RunError):
        download(file(host, md5=None), tmp_path)
    host.files["/data.bin"], host.tag = CONTENT[::-1], '"two"'
    assert download(file(host, md5=None), tmp_path).read_bytes() == CONTENT[::-1]


def test_a_host_that_names_no_version_is_asked_for_the_rest_only_if_a_checksum_will_tell(
    host: Host, tmp_path: Path
) -> None:
    host.tag, host.breaks_after = "", [300_000]
    assert download(file(host, md5=None), tmp_path / "without").read_bytes() == CONTENT
    assert host.asked == [None, None]
    host.breaks_after = [300_000]
    assert download(file(host), tmp_path / "with").read_bytes() == CONTENT
    assert host.asked[2:] == [None, "bytes=300000-"]


def test_a_host_without_ranges_sends_all_of_it_again(host: Host, tmp_path: Path) -> None:
    host.ranges, host.breaks_after = False, [300_000]
    assert download(file(host), tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_complete_already_is_not_fetched_again(host: Host, tmp_path: Path) -> None:
    (tmp_path / ".data.bin.part").write_bytes(CONTENT)
    assert download(file(host), tmp_path).read_bytes() == CONTENT
    assert host.asked == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_thrown_away(host: Host, tmp_path: Path) -> None:
    (tmp_path / ".data.bin.part").write_bytes(CONTENT + b"more")
    assert download(file(host), tmp_path).read_bytes() == CONTENT


def test_a_file_that_is_there_and_right_is_taken_without_asking(host: Host, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(CONTENT)
    assert download(file(host), tmp_path).read_bytes() == CONTENT
    assert host.asked == []


@pytest.mark.parametrize("there", [False, True])
def test_a_wrong_checksum_is_said_and_the_file_removed(host: Host, tmp_path: Path, there: bool) -> None:
    host.files["/data.bin"] = CONTENT[:-1] + b"?"
    if there:
        (tmp_path / "data.bin").write_bytes(host.files["/data.bin"])
    with pytest.raises(RunError, match=rf"has the MD5 checksum \w+, expected {MD5}"):
        download(file(host), tmp_path)
    assert names(tmp_path) == []


def test_another_length_than_published_is_refused(host: Host, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=f"expected 7 bytes, but the host offers {len(CONTENT)}"):
        download(file(host, size=7), tmp_path)
    host.says_length = False
    with pytest.raises(RunError, match=f"has {len(CONTENT)} bytes, expected 7"):
        download(file(host, size=7), tmp_path)
    assert not (tmp_path / "data.bin").exists()


def test_that_no_checksum_is_known_is_said(host: Host, tmp_path: Path) -> None:
    said = Said()
    download(file(host, md5=None), tmp_path, said)
    assert said.lines == ["data.bin: no checksum is publicly known; only its length could be checked"]


def test_a_host_that_refuses_or_is_not_there_is_named(host: Host, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"/other\.bin: the host answered 404"):
        download(File("all", f"{host.url}/other.bin"), tmp_path)
    with pytest.raises(RunError, match=r"127\.0\.0\.1:9/.*Connection refused.*resume after 0 bytes"):
        download(File("all", "http://127.0.0.1:9/data.bin"), tmp_path)


def archive(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as out:
        for name, text in files.items():
            out.writestr(name, text)
    return content.getvalue()


@pytest.fixture
def sources(host: Host) -> dict[str, Source]:
    host.files["/lists.zip"] = archive(**{"repo-master/metadata/CUB/a.txt": b"a", "repo-master/README.md": b"r"})
    host.files["/images.zip"] = archive(**{"val2014/1.jpg": b"j"})
    lists = File("lists", f"{host.url}/lists.zip", "lists/wsol", inside="repo-master/metadata")
    return {
        "made-up": Source("Research only.", (lists, File("images", f"{host.url}/images.zip", "coco"))),
        "closed": Source("register there."),
    }


def test_a_dataset_says_its_terms_first_and_lands_where_the_readers_look(
    sources: dict[str, Source], tmp_path: Path
) -> None:
    said = Said()
    came = fetch("made-up", tmp_path, progress=said, sources=sources)
    assert said.lines[0] == "made-up: Research only."
    assert [path.name for path in came] == ["lists.zip", "images.zip"]
    assert (tmp_path / "lists" / "wsol" / "CUB" / "a.txt").read_bytes() == b"a"
    assert (tmp_path / "coco" / "val2014" / "1.jpg").read_bytes() == b"j"
    assert not list(tmp_path.rglob("README.md"))


def test_a_second_fetch_asks_for_nothing_and_unpacks_nothing(
    sources: dict[str, Source], tmp_path: Path, host: Host
) -> None:
    fetch("made-up", tmp_path, sources=sources)
    (tmp_path / "coco" / "val2014" / "1.jpg").write_bytes(b"mine")
    asked, said = len(host.asked), Said()
    fetch("made-up", tmp_path, progress=said, sources=sources)
    assert len(host.asked) == asked
    assert (tmp_path / "coco" / "val2014" / "1.jpg").read_bytes() == b"mine"
    assert any("is already unpacked" in line for line in said.lines)


def test_a_part_can_be_fetched_alone(sources: dict[str, Source], tmp_path: Path) -> None:
    fetch("made-up", tmp_path, parts=("lists",), sources=sources)
    assert not (tmp_path / "coco").exists()
    with pytest.raises(UnknownNameError, match="Did you mean: images"):
        fetch("made-up", tmp_path, parts=("image",), sources=sources)


def test_what_nobody_may_download_says_how_to_get_it(sources: dict[str, Source], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"closed cannot be downloaded: register there\."):
        fetch("closed", tmp_path, sources=sources)
    with pytest.raises(UnknownNameError, match="Did you mean: made-up"):
        fetch("made_up", tmp_path, sources=sources)


def test_a_hostile_archive_is_refused_and_not_called_unpacked(
    sources: dict[str, Source], tmp_path: Path, host: Host
) -> None:
    host.files["/images.zip"] = archive(**{"../../escaped": b"x"})
    with pytest.raises(BadFileError, match="outside its folder"):
        fetch("made-up", tmp_path / "root", sources=sources)
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "root" / "downloads" / "images.zip.unpacked").exists()


def test_the_table_has_every_dataset_that_is_not_generated() -> None:
    assert set(DATASETS) - {"shapes"} <= set(SOURCES)


@pytest.mark.parametrize("entry", [file for source in SOURCES.values() for file in source.files], ids=lambda e: e.url)
def test_the_table_names_whole_checksums_and_publishers_hosts(entry: File) -> None:
    hosts = ("robots.ox.ac.uk", "cocodataset.org", "caltech.edu", "mit.edu", "github.com")
    assert urlsplit(entry.url).hostname is not None
    assert str(urlsplit(entry.url).hostname).endswith(hosts)
    assert entry.md5 is None or (len(entry.md5) == 32 and set(entry.md5) <= set("0123456789abcdef"))
    assert "/" not in entry.name


def test_the_verb_lists_refuses_and_says_where_to(bench: Callable[..., Answer], tmp_path: Path) -> None:
    listed = {entry["name"]: entry["parts"] for entry in bench("data", "fetch", "--json").json()["downloads"]}
    assert listed["coco2014"] == ["annotations", "train", "val"]
    closed = bench("data", "fetch", "ilsvrc2012", "--data-root", tmp_path)
    assert (closed.code, "ilsvrc2012 cannot be downloaded: image-net.org" in closed.err) == (2, True)
    nowhere = bench("data", "fetch", "cub")
    assert (nowhere.code, "--data-root DIR" in nowhere.err) == (2, True)
