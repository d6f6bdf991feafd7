"""Selective Search (Uijlings et al., IJCV 2013) in OpenCV's fast mode: repeatable, in parallel, kept by content.

One small file an image under `cache/proposals`, named by the digest of the image's content: each appears whole, a
killed run loses the images in flight, and processes at work on the same images write the same bytes.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from bench.data.pixels import read_pixels
from bench.errors import BadFileError, RunError
from bench.files import atomic, digest, file_digest
from bench.progress import Progress

VERSION = 1
BASE_K, INC_K, SIGMA = 150, 150, 0.8

Boxes = NDArray[np.int32]


def selective_search(path: Path) -> Boxes:
    """Proposals (n, 4) of an image, best first, each once: half-open corners in its pixels.

    Raises BadFileError for an image that cannot be read.
    """
    import cv2

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(read_pixels(path)[:, :, ::-1]))
    search.switchToSelectiveSearchFast(BASE_K, INC_K, SIGMA)
    ctypes.CDLL(None).srand(0)  # it ranks by C's rand(), which OpenCV's own seed does not reach
    found = np.asarray(search.process(), dtype=np.int32).reshape(-1, 4)
    boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
    return boxes[np.sort(np.unique(boxes, axis=0, return_index=True)[1])]


def search_all(images: Sequence[Path], cache: Path, progress: Progress, workers: int) -> list[Boxes]:
    """Proposals of every image, those already in the cache read from it, the others computed by `workers` processes.

    Raises BadFileError for an image that cannot be read, RunError if a worker dies; what was done stays done.
    """
    folder = cache_folder(cache)
    entries = [_entry(folder, image) for image in images]
    found = {entry: boxes for entry in set(entries) if (boxes := _read(entry)) is not None}
    todo = {entry: image for entry, image in zip(entries, images, strict=True) if entry not in found}
    if todo:
        with progress.task("Selective Search", len(found) + len(todo), start=len(found)) as step:
            for entry, boxes in _compute(todo, min(max(workers, 1), len(todo))):
                found[entry] = boxes
                step()
    return [found[entry] for entry in entries]


def cache_folder(cache: Path) -> Path:
    """Where proposals of this algorithm, these parameters and this OpenCV are kept."""
    import cv2

    return cache / "proposals" / f"selective-search-{digest([VERSION, BASE_K, INC_K, SIGMA, cv2.__version__])}"


def _entry(folder: Path, image: Path) -> Path:
    name = file_digest(image)
    return folder / name[:2] / f"{name}.npy"


def _read(entry: Path) -> Boxes | None:
    try:
        boxes: Boxes = np.load(entry, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return boxes if boxes.dtype == np.int32 and boxes.ndim == 2 and boxes.shape[1] == 4 else None


def _compute(todo: dict[Path, Path], workers: int) -> Iterator[tuple[Path, Boxes]]:
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare_worker)
    try:
        jobs = {pool.submit(_search_one, image, entry): entry for entry, image in todo.items()}
        for job in as_completed(jobs):
            entry = jobs[job]
            answer = job.result()
            if isinstance(answer, str):
                raise BadFileError(todo[entry], answer)
            yield entry, answer
    except BrokenProcessPool:
        raise RunError("A Selective Search process died (out of memory?). Run again: what is done is kept.") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _search_one(image: Path, entry: Path) -> Boxes | str:
    """Proposals of one image, written to the cache; the broken rule if it cannot be read."""
    try:
        boxes = selective_search(image)
    except BadFileError as error:
        return error.rule
    with atomic(entry) as part, part.open("wb") as file:
        np.save(file, boxes)
    return boxes


def _prepare_worker() -> None:
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends us in order
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for it for ever."""
    if parent := parent_process():
        connection.wait([parent.sentinel])
        os._exit(1)
