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
    assert block("<!-- run -->").strip().endswith("-m bench run --method melm --protocol voc07-det --data shapes")
    assert block("<!-- test -->").strip().endswith("-m pytest -q")
    assert [block(f"<!-- {mark} -->").count("\n") for mark in ("run", "test")] == [1, 1]


@pytest.mark.parametrize(("command", "code"), [("echo one $CI", 0), ("false\necho two", 1)])
def test_ci_runs_the_test_command_as_it_stands_with_a_slurm_and_fails_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, code: int
) -> None:
    cluster = tmp_path / "tests" / "slurm" / "cluster.sh"
    cluster.parent.mkdir(parents=True)
    cluster.write_text('#!/bin/sh\necho "$1 ${SLURM_CONF:-}" >> verbs\n')
    cluster.chmod(0o755)
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text((registry.ROOT / ".ci" / "run").read_text())
    (tmp_path / "README.md").write_text(
        f"```bash\nexit 7\n```\n<!-- test -->\n\n```bash\n{command}\n```\n```\nexit 8\n```\n"
    )
    for program in ("pdflatex", "chromium", "pg_ctlcluster"):  # so that nothing is installed
        (tmp_path / program).touch(mode=0o755)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    run = ["env", f"PATH={path}", "bash", str(tmp_path / ".ci" / "run")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.removeprefix(f"{command}\n") == ("one true\n" if code == 0 else "")
    up, down = (tmp_path / "verbs").read_text().splitlines()
    assert (up, down.startswith("down /")) == ("up ", True)


def test_the_table_it_shows_is_that_of_the_published_results(bench: Callable[..., Answer]) -> None:
    assert block("<!-- measured -->").strip() == bench("table", "--protocol", "voc07-corloc").out.strip()
