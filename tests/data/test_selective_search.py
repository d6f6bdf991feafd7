from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.core.progress import SILENT, Progress, Step
from bench.data.computed import SearchBoxes, search_all
from bench.data.pixels import read_pixels
from bench.data.scenes import SHAPE_CLASSES, STYLES, draw_scene
from bench.data.selective_search import build_selective_search, selective_search
from bench.errors import BadFileError


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Four small pictures with something in them."""
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for index, path in enumerate(paths):
        Image.fromarray(draw_scene(np.random.default_rng(index), SHAPE_CLASSES, index, 64, STYLES[3]).pixels).save(path)
    return paths


class Recorder:
    """A progress that remembers each task's total and what was done before it started."""

    def __init__(self) -> None:
        self.tasks: list[tuple[int, int]] = []
        self.done = 0

    @contextmanager
    def task(self, title: str, total: int, *, start: int = 0, unit: str = "images") -> Iterator[Step]:
        self.tasks.append((total, start))
        yield self.step

    def step(self, done: int = 1, **figures: float) -> None:
        self.done += done

    def say(self, text: str) -> None:
        pass


def entries(cache: Path) -> list[Path]:
    return sorted(path for path in build_selective_search(cache).folder.rglob("*.npy"))


def searched(images: list[Path], cache: Path, progress: Progress = SILENT, workers: int = 1) -> list[SearchBoxes]:
    return search_all(build_selective_search(cache), images, progress, workers)


def test_it_repeats_whatever_was_drawn_from_the_random_generator_before(images: list[Path]) -> None:
    first = selective_search(read_pixels(images[0]))
    ctypes.CDLL(None).srand(7)
    ctypes.CDLL(None).rand()
    assert (selective_search(read_pixels(images[0])) == first).all()


def test_its_boxes_are_different_and_inside_and_one_is_the_whole_image(images: list[Path]) -> None:
    boxes = selective_search(read_pixels(images[0]))
    assert len(np.unique(boxes, axis=0)) == len(boxes)
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert boxes.min() == 0
    assert boxes.max() == 64
    assert [0, 0, 64, 64] in boxes.tolist()


def test_every_number_of_workers_finds_the_same_as_this_process(images: list[Path], tmp_path: Path) -> None:
    here = [selective_search(read_pixels(image)) for image in images]
    for workers in (1, 2):
        there = searched(images, tmp_path / f"cache{workers}", SILENT, workers)
        assert all((a == b).all() for a, b in zip(here, there, strict=True))


def test_only_what_is_not_there_whole_is_computed(images: list[Path], tmp_path: Path) -> None:
    before = searched(images, tmp_path)
    gone, half, *_ = entries(tmp_path)
    gone.rename(gone.with_name(f".{gone.name}.1.part"))
    half.write_bytes(half.read_bytes()[:-7])
    progress = Recorder()
    after = searched(images, tmp_path, progress)
    assert progress.tasks == [(4, 2)]
    assert progress.done == 2
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_the_same_picture_under_two_names_is_searched_once(images: list[Path], tmp_path: Path) -> None:
    twin = tmp_path / "twin.png"
    twin.write_bytes(images[0].read_bytes())
    one, two = searched([images[0], twin], tmp_path)
    assert (one == two).all()
    assert len(entries(tmp_path)) == 1


def test_a_changed_picture_is_searched_again(images: list[Path], tmp_path: Path) -> None:
    before = searched(images[:1], tmp_path)
    images[0].write_bytes(images[1].read_bytes())
    after = searched(images[:1], tmp_path)
    assert not np.array_equal(before[0], after[0])


def test_an_unreadable_picture_is_named_and_the_others_are_kept(images: list[Path], tmp_path: Path) -> None:
    images[3].write_bytes(b"no picture")
    with pytest.raises(BadFileError, match=r"3\.png: not a JPEG or PNG image"):
        searched(images, tmp_path)
    assert len(entries(tmp_path)) == 3


SEARCH = """
import sys
from pathlib import Path
from bench.data.computed import search_all
from bench.data.selective_search import build_selective_search
from bench.core.progress import SILENT
if __name__ == "__main__":
    cache, *images = map(Path, sys.argv[1:])
    print(sum(int(boxes.sum()) for boxes in search_all(build_selective_search(cache), images, SILENT, 2)))
"""


def start(folder: Path, cache: Path, images: list[Path]) -> subprocess.Popen[str]:
    script = folder / "search.py"
    script.write_text(SEARCH)
    command = [sys.executable, str(script), str(cache), *map(str, images)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def session_of(leader: int) -> list[int]:
    """Living processes of a session, from the process table."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the process table in /proc")
def test_killed_it_leaves_no_worker_and_nothing_half_written(tmp_path: Path) -> None:
    images = [tmp_path / f"{index}.png" for index in range(12)]
    for index, path in enumerate(images):
        Image.fromarray(draw_scene(np.random.default_rng(index), SHAPE_CLASSES, index, 160, STYLES[3]).pixels).save(
            path
        )
    process = start(tmp_path, tmp_path / "cache", images)
    wait_until(lambda: entries(tmp_path / "cache"))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not session_of(process.pid))
    kept = entries(tmp_path / "cache")
    assert all(np.load(entry).shape[1] == 4 for entry in kept)
    progress = Recorder()
    searched(images, tmp_path / "cache", progress)
    assert progress.tasks == [(12, len(kept))] or len(kept) == 12


def test_two_processes_at_once_find_the_same(images: list[Path], tmp_path: Path) -> None:
    both = [start(tmp_path, tmp_path / "cache", images) for _ in range(2)]
    answers = {process.communicate(timeout=120)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(answers) == 1
    assert len(entries(tmp_path / "cache")) == 4
