"""Proposals computed here: in parallel, cached by image content, and the same in whichever process.

There is one small file per image under `cache/proposals`, named by the digest of the image's content. Each appears
whole; a killed run loses only the images in flight, and processes working on the same images write the same bytes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from bench.core.files import atomic_file, file_digest, require_regular_file
from bench.core.progress import Progress
from bench.data.pixels import read_pixels
from bench.errors import BadFileError, RunError

SearchBoxes = NDArray[np.int32]


@dataclass(frozen=True)
class Search:
    """A proposal search. `find` maps RGB pixels (H, W, 3), uint8, to boxes (R, 4), best first; `folder` is its cache.

    `find` must be importable by other processes, and `folder` must identify everything that determines its result.
    """

    title: str
    find: Callable[[NDArray[np.uint8]], SearchBoxes]
    folder: Path


def to_corners(boxes_xywh: object) -> SearchBoxes:
    """Convert OpenCV's x, y, width, height (R, 4) to half-open corners, in the same order, without duplicates."""
    rows = np.asarray(boxes_xywh, dtype=np.int32).reshape(-1, 4)
    boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)
    return boxes[np.sort(np.unique(boxes, axis=0, return_index=True)[1])]


def search_all(search: Search, images: Sequence[Path], progress: Progress, workers: int) -> list[SearchBoxes]:
    """Return the proposals of every image, from the cache or else computed by `workers` processes.

    Raises BadFileError for an unreadable image, RunError if a worker dies; what was computed stays in the cache.
    """
    entries = [_cache_path(search.folder, image) for image in images]
    proposals = {entry: boxes for entry in set(entries) if (boxes := _read_cached(entry)) is not None}
    todo = {entry: image for entry, image in zip(entries, images, strict=True) if entry not in proposals}
    if todo:
        with progress.task(search.title, len(proposals) + len(todo), start=len(proposals)) as step:
            for entry, boxes in _compute(search, todo, min(max(workers, 1), len(todo))):
                proposals[entry] = boxes
                step()
    return [proposals[entry] for entry in entries]


def is_cached(search: Search, image: Path) -> bool:
    """Return whether an image's proposals are in the cache."""
    return _cache_path(search.folder, image).is_file()


def _cache_path(folder: Path, image: Path) -> Path:
    name = file_digest(image)
    return folder / name[:2] / f"{name}.npy"


def _read_cached(entry: Path) -> SearchBoxes | None:
    try:
        boxes: SearchBoxes = np.load(require_regular_file(entry), allow_pickle=False)
    except (OSError, ValueError, EOFError, BadFileError):
        return None
    return boxes if boxes.dtype == np.int32 and boxes.ndim == 2 and boxes.shape[1] == 4 else None


def _compute(search: Search, todo: dict[Path, Path], workers: int) -> Iterator[tuple[Path, SearchBoxes]]:
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare_worker)
    try:
        jobs = {pool.submit(_search_one, search, image, entry): entry for entry, image in todo.items()}
        for job in as_completed(jobs):
            entry = jobs[job]
            answer = job.result()
            if isinstance(answer, str):
                raise BadFileError(todo[entry], answer)
            yield entry, answer
    except BrokenProcessPool:
        raise RunError(
            f"A process of {search.title} died (out of memory?). Run again: finished images are cached."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _search_one(search: Search, image: Path, entry: Path) -> SearchBoxes | str:
    """Compute and cache one image's proposals; return the broken rule instead if the image cannot be read."""
    try:
        boxes = search.find(read_pixels(image))
    except BadFileError as error:
        return error.rule
    with atomic_file(entry) as part, part.open("wb") as file:
        np.save(file, boxes)
    return boxes


def _prepare_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and shuts its workers down
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent process ends: a killed parent cannot stop its workers, which would wait for ever."""
    if parent := parent_process():
        connection.wait([parent.sentinel])
        os._exit(1)
