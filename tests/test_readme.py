"""What the README says is so."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench import registry

if TYPE_CHECKING:
    from conftest import Answer

README = (registry.ROOT / "README.md").read_text()


def block(mark: str) -> str:
    """The fenced block after a line."""
    found = re.search(rf"^{re.escape(mark)}\n+```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found, f"no fenced block after {mark}"
    return found[1]


def test_the_two_commands_stand_under_their_marks_in_one_line_each() -> None:
    run, report = block("<!-- run -->").strip().split(" && ")[-2:]
    assert run.endswith("-m bench run --track shapes-quick --method all")
    assert report.endswith("-m bench report --out site --images 8")
    assert block("<!-- test -->").strip().endswith("-m pytest -q")
    assert [block(f"<!-- {mark} -->").count("\n") for mark in ("run", "test")] == [1, 1]


@pytest.mark.parametrize(
    ("command", "broken", "code"),
    [("echo one $CI", "", 0), ("false\necho two", "", 1), ("echo one $CI", "mypy", 1), ("echo one $CI", "python", 1)],
)
def test_ci_runs_the_test_command_as_it_stands_then_each_step_and_fails_with_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, broken: str, code: int
) -> None:
    fakes = {
        "tests/slurm/cluster.sh": 'echo "cluster $1 ${SLURM_CONF:-}" >> log',
        "tests/slurm/test_many.py": "pytestmark = pytest.mark.slow",
        "tests/test_some.py": "@pytest.mark.slow",
        "tests/test_others.py": "",
        **{f"{package}/__init__.py": "" for package in ("bench", "methods", "protocols", "slurm")},
    }
    for tool in ("pip", "ruff", "mypy", "mkdocs", "python"):
        fakes[f".venv/bin/{tool}"] = f'echo "{tool} $*" >> log' + ("; exit 1" if tool == broken else "")
    for program in ("pdflatex", "chromium", "pg_ctlcluster"):  # so that nothing is installed
        fakes[program] = ""
    for name, text in fakes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text((registry.ROOT / ".ci" / "run").read_text())
    (tmp_path / "README.md").write_text(
        f"```bash\nexit 7\n```\n<!-- test -->\n\n```bash\n{command}\n```\n```\nexit 8\n```\n"
    )
    monkeypatch.delenv("SLURM_CONF", raising=False)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    run = ["env", f"PATH={path}", "bash", str(tmp_path / ".ci" / "run")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.startswith(f"{command}\n" + ("" if command.startswith("false") else "one true\n"))
    log = (tmp_path / "log").read_text().splitlines() if (tmp_path / "log").exists() else []
    words = [" ".join(line.split()[:2]) for line in log]
    steps = [
        "pip install",
        "ruff check",
        "ruff format",
        "mypy",
        "mkdocs build",
        "cluster up",
        "python -m",
        "python -m",
    ]
    if not code:
        assert sorted(words) == sorted([*steps, "cluster down"])  # types are checked beside others
        assert [word for word in words if word != "mypy"] == [step for step in steps if step != "mypy"] + [
            "cluster down"
        ]
        assert [line for line in log if line.startswith("python")] == [
            "python -m pytest -q -m slow --durations=20 tests/test_some.py",
            "python -m pytest -q -m slow -n 0 --durations=20 tests/slurm",
        ]
    assert "\ntwo\n" not in done.stdout
    assert ("step slow tests" in done.stdout) == (code == 0)


TABLE = ("table", "--track", "voc07-laptop", "--protocol", "voc07-point-val,voc07-corloc")


def test_the_table_it_shows_is_that_of_the_published_results(bench: Callable[..., Answer]) -> None:
    assert block("<!-- measured -->").strip() == bench(*TABLE).out.strip()
