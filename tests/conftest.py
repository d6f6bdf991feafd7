"""What tests share. In CI (`CI=true`) a skip fails; tests of data or an extra that is not there are deselected."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, here and in every process that a test starts

from bench.core.files import Places

collect_ignore_glob = [
    "*conftest.py",
    "*make_attribution_reference.py",
]  # all called the same; it needs what no test needs
VOC2007 = Path(os.environ.get("BENCH_DATA", "")).absolute() / "VOCdevkit" / "VOC2007"


class Answer(NamedTuple):
    """What a command said: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its stdout as one JSON document; fails with what it said if it did not end well."""
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """An empty runs folder, and no data root."""
    return Places(tmp_path / "runs")


@pytest.fixture
def made_up_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let records have addresses that tests can name; they are not held against predictions and protocol."""
    monkeypatch.setattr("bench.records.result.check_address", lambda result: None)


@pytest.fixture
def data_root() -> Path:
    """The folder that holds VOCdevkit; for tests marked `voc2007`."""
    return VOC2007.parent.parent


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether benchmarks run at the size that their targets are set for (`--benchmark-enable`), or at a small one."""
    return bool(pytestconfig.getoption("benchmark_enable"))


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Answer]:
    """`bench("run", "--method", "melm", ...)`: a real process, in an empty folder; keywords are its environment."""

    def run(*arguments: object, timeout: float = 300, **environment: str) -> Answer:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("BENCH_", "MLFLOW_"))}
        command = [sys.executable, "-m", "bench", *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**inherited, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`bench`, but in this process: quicker, and as good where nothing is trained."""
    from bench import registry
    from bench.cli.main import invoke

    monkeypatch.chdir(tmp_path)
    for name in ("BENCH_DATA", "BENCH_RUNS", "BENCH_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registry, "_PLUGINS", {"method": {}, "protocol": {}, "net": {}})
    monkeypatch.setattr("bench.data.datasets.DESCRIPTIONS", {})
    monkeypatch.setattr("bench.verbs.results.RESULTS", tmp_path)  # what is published moves no test
    committed = {"revision": "c" * 40, "dirty": False}
    monkeypatch.setattr("bench.core.provenance.read_revision", lambda _: committed)  # nor what is edited

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        code = invoke([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return run


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)  # long ones first
    there = {"voc2007": (VOC2007 / "Annotations").is_dir(), "crf": find_spec("pydensecrf") is not None}
    lines = config.stash.setdefault(_ABSENT, [])
    for mark, why in _WHY.items():
        absent = [item for item in items if item.get_closest_marker(mark) and not there[mark]]
        if absent:
            lines.append(f"{len(absent)} tests of {why}")
            config.hook.pytest_deselected(items=absent)
            items[:] = [item for item in items if item not in absent]


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return config.stash.get(_ABSENT, [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _skips(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if skips := _skips(config):
        terminalreporter.write_line(f"FAILED: {skips} skipped, and CI=true allows no skip", red=True)


def _skips(config: pytest.Config) -> int:
    """Skipped tests, where none may be."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter and os.environ.get("CI") == "true" else 0


_ABSENT = pytest.StashKey[list[str]]()
_WHY = {
    "voc2007": "VOC 2007 deselected: BENCH_DATA holds no VOCdevkit/VOC2007/Annotations",
    "crf": "the dense CRF deselected: pydensecrf2 is not installed (pip install 'weakloc[crf]')",
}
