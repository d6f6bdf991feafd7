"""What is recorded of the code: its revision, whether code was edited, and where."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.core.provenance import MOST_CHANGED, add_edits, read_revision


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with a file of code and one of results, committed."""
    for name in ("bench/run.py", "results/measured/one.json", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, "-c", "user.name=n", "-c", "user.email=e", *arguments], check=True)


def test_a_clean_checkout_has_a_revision_and_no_changes(checkout: Path) -> None:
    found = read_revision(checkout / "bench")
    assert found.keys() == {"revision", "dirty"}
    assert (len(found["revision"]), found["dirty"]) == (40, False)


def test_edited_and_new_files_of_code_are_named(checkout: Path) -> None:
    (checkout / "bench" / "run.py").write_text("two")
    (checkout / "methods").mkdir()
    (checkout / "methods" / "new.py").write_text("new")
    found = read_revision(checkout / "bench")
    assert (found["dirty"], found["changed"]) == (True, ["bench/run.py", "methods/"])
    for number in range(MOST_CHANGED):
        (checkout / "bench" / f"{number}.py").write_text("new")
    assert len(read_revision(checkout / "bench")["changed"]) == MOST_CHANGED


def test_results_pages_tests_and_a_users_own_files_are_no_code(checkout: Path) -> None:
    for name in ("results/measured/two.json", "docs/new.md", "tests/new.py", "README.md", "mine.toml", "photos/a.txt"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("two")
    assert read_revision(checkout / "bench")["dirty"] is False


def test_without_git_nothing_is_known(tmp_path: Path) -> None:
    assert read_revision(tmp_path) == {"revision": None, "dirty": None}


def test_an_installed_package_has_not_the_revision_of_the_repository_around_it(checkout: Path) -> None:
    installed = checkout / ".venv" / "site-packages" / "bench"
    installed.mkdir(parents=True)
    (installed / "run.py").write_text("one")
    assert read_revision(installed) == {"revision": None, "dirty": None}


def test_edits_of_earlier_steps_count() -> None:
    clean: dict[str, Any] = {"revision": "r", "dirty": False}
    edited = {"revision": "q", "dirty": True, "changed": ["a.py"]}
    assert add_edits(clean, [{}, clean]) == clean
    assert add_edits(clean, [edited, {"dirty": True}]) == {"revision": "r", "dirty": True, "changed": ["a.py"]}
    assert add_edits({**edited, "changed": ["b.py"]}, [edited])["changed"] == ["b.py", "a.py"]
    assert add_edits(edited, [clean]) == edited
