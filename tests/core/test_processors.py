"""Threads by default: those that limits allow, and that have a processor to themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core import processors
from bench.core.processors import count_free_processors, measure_idle_processors, read_cpu_quota


@pytest.mark.parametrize(
    ("limits", "idle", "free", "says"),
    [
        ([8], 8.0, 8, ""),
        ([8], None, 8, ""),
        ([8], 7.6, 8, ""),
        ([8], 2.9, 3, "5 of 8 processors are busy"),
        ([8], 0.1, 1, "7 of 8 processors are busy"),
        ([8, 2], 7.9, 2, "this process may use 2 of 8 processors"),
        ([8, 0], 7.9, 1, "this process may use 1 of 8 processors"),
        ([1], 0.0, 1, "this process may use 1 of 8 processors"),
        ([8, 4], 1.0, 1, "3 of 4 processors are busy"),
    ],
)
def test_as_many_threads_as_are_free(
    monkeypatch: pytest.MonkeyPatch, limits: list[int], idle: float | None, free: int, says: str
) -> None:
    monkeypatch.setattr(processors, "_list_limits", lambda: limits)
    monkeypatch.setattr(processors, "measure_idle_processors", lambda: idle)
    assert count_free_processors(8) == (free, says)


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),
        ("0::/a", {"cpu.max": "100000 100000\n", "a/cpu.max": "400000 100000\n"}, 1.0),
        ("3:cpu,cpuacct:/x\n2:pids:/", {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"}, 0.5),
        ("3:cpu,cpuacct:/gone", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("nonsense", {}, None),
    ],
)
def test_control_groups_of_both_versions_limit(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert read_cpu_quota(tmp_path / "fs", tmp_path / "own") == quota


def test_idle_time_is_that_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([[(100, 200), (50, 60)], [(125, 250), (59, 70)]])
    monkeypatch.setattr(processors, "SAMPLE_S", 0)
    monkeypatch.setattr(processors, "_read_times", lambda: next(looks))
    assert measure_idle_processors() == pytest.approx(0.5 + 0.9)
    monkeypatch.setattr(processors, "_read_times", list)
    assert measure_idle_processors() is None


def test_the_kernel_tells_the_times_of_processors_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stat").write_text(
        "cpu  1 2 3 4 5 6 7 8 0 0\ncpu0 1 0 1 10 2 0 0 1 0 0\ncpu3 1 1 1 1 1 1 1 1 9 9\nintr 5\n"
    )
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0}, raising=False)
    assert processors._read_times(tmp_path / "stat") == [(12, 15)]
    assert processors._read_times(tmp_path / "none") == []
