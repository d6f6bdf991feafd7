"""`data fetch`: open data downloaded from their publishers' hosts, with resume and checks, and unpacked in place.

Files are stored in `<data root>/downloads`; a correct file found there is used as it is. A checksum is compared where
one is publicly known; otherwise that is reported, and only the length and the archive's own checks are verified.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.files import write_text
from bench.core.progress import SILENT, Progress, Step
from bench.data.sources import SOURCES, File, Source
from bench.data.unpack import unpack
from bench.errors import RequestError, RunError, UnknownNameError

_ATTEMPTS = 8
_BLOCK = 1 << 20
_TIMEOUT = 60


def fetch(
    name: str,
    data_root: Path,
    *,
    parts: tuple[str, ...] = (),
    progress: Progress = SILENT,
    sources: Mapping[str, Source] = SOURCES,
) -> list[Path]:
    """Download and unpack a dataset, or some parts of it (`annotations`); return the downloaded files.

    Raises UnknownNameError for the name or a part, RequestError for data that requires registration, RunError if the
    host does not answer or a file is not what it should be. Calling it again resumes.
    """
    if name not in sources:
        raise UnknownNameError("download", name, sources)
    source = sources[name]
    if not source.files:
        raise RequestError(f"{name} cannot be downloaded: {source.terms}")
    known = dict.fromkeys(file.part for file in source.files)
    for part in parts:
        if part not in known:
            raise UnknownNameError(f"part of {name}", part, known)
    progress.say(f"{name}: {source.terms}")
    return [_fetch_file(file, data_root, progress) for file in source.files if not parts or file.part in parts]


def _fetch_file(file: File, data_root: Path, progress: Progress) -> Path:
    path = download(file, data_root / "downloads", progress)
    marker = path.with_name(f"{path.name}.unpacked")
    if marker.is_file():
        progress.say(f"{path.name} is already unpacked; remove {marker} to unpack it again")
        return path
    progress.say(f"unpack {path.name}")
    unpack(path, data_root / file.target, inside=file.inside)
    write_text(marker, file.url)
    return path


def download(file: File, folder: Path, progress: Progress = SILENT) -> Path:
    """Return the file in `folder`, complete and checked; a partial download is resumed.

    Raises RunError if the host refuses, the connection breaks too often, or another file arrives.
    """
    path = folder / file.name
    if path.is_file():
        _check_download(file, path, progress)
        return path
    part = path.with_name(f".{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(_ATTEMPTS):
        before = _file_size(part)
        try:
            if not before or before != file.size:
                _receive_rest(file, part, progress)
            break
        except urllib.error.HTTPError as error:
            raise RunError(f"{file.url}: the host answered {error.code} {error.reason}.") from None
        except (OSError, http.client.HTTPException) as error:
            if attempt + 1 == _ATTEMPTS or (attempt and _file_size(part) <= before):
                received = f"Run again to resume after {_file_size(part)} bytes."
                raise RunError(f"{file.url}: {_describe_failure(error)}. {received}") from None
            time.sleep(attempt)
    _check_download(file, part, progress)
    part.replace(path)
    _tag_path(part).unlink(missing_ok=True)
    return path


def _receive_rest(file: File, part: Path, progress: Progress) -> None:
    """Receive the missing part of a file. Raises ConnectionError if less arrives than was announced."""
    if (response := _request(file, part)) is None:
        return
    with response as answer:
        start = _file_size(part) if answer.status == http.client.PARTIAL_CONTENT else 0
        length = answer.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        if file.size and total and total != file.size:
            raise RunError(f"{file.url}: expected {file.size} bytes, but the host offers {total}.")
        write_text(_tag_path(part), _version_tag(answer))
        with (
            progress.task(file.name, total or 0, start=start, unit="bytes") as step,
            part.open("ab" if start else "wb") as out,
        ):
            _copy(answer, out, step)
    if total is not None and _file_size(part) != total:
        raise ConnectionError(f"the connection broke after {_file_size(part)} of {total} bytes")


def _request(file: File, part: Path) -> Any:
    """Request the rest of the file, or all of it if the host cannot resume; return None if nothing is left."""
    headers = {"User-Agent": "weakloc", "Accept-Encoding": "identity"}
    try:
        request = urllib.request.Request(file.url, headers={**headers, **_resume_headers(file, part)})
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if error.headers.get("Content-Range") == f"bytes */{_file_size(part)}":
            return None
        return urllib.request.urlopen(urllib.request.Request(file.url, headers=headers), timeout=_TIMEOUT)


def _resume_headers(file: File, part: Path) -> dict[str, str]:
    """Return headers that request the rest of the file, if the host or a checksum can confirm that it is the same."""
    validator, length = _tag_path(part), _file_size(part)
    tag = validator.read_text() if validator.is_file() else ""
    if not length or not (tag or file.md5):
        return {}
    return {"Range": f"bytes={length}-"} | ({"If-Range": tag} if tag else {})


def _version_tag(answer: Any) -> str:
    """Return the host's identifier of this version of the file, or an empty text if it gives no exact one."""
    tag = str(answer.headers.get("ETag") or "W/")
    return str(answer.headers.get("Last-Modified") or "") if tag.startswith("W/") else tag


def _copy(answer: Any, out: Any, step: Step) -> None:
    while block := answer.read(_BLOCK):
        out.write(block)
        step(len(block))


def _check_download(file: File, path: Path, progress: Progress) -> None:
    """Raise RunError, and remove the file, if its length or checksum is wrong."""
    if file.size not in (None, _file_size(path)):
        _remove_and_raise(path, f"has {_file_size(path)} bytes, expected {file.size}")
    if file.md5 is None:
        progress.say(f"{file.name}: no checksum is publicly known; only its length could be checked")
        return
    with path.open("rb") as content:
        checksum = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if checksum != file.md5:
        _remove_and_raise(path, f"has the MD5 checksum {checksum}, expected {file.md5}")


def _remove_and_raise(path: Path, reason: str) -> None:
    path.unlink()
    _tag_path(path).unlink(missing_ok=True)
    raise RunError(f"{path}: {reason}. It was removed; run again to download it.")


def _tag_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _describe_failure(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__
