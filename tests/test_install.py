"""What is installed beside the code, and where an installed weakloc writes; `tools.check_install` installs it."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from record_cases import RECORD

from bench import registry
from bench.errors import RequestError
from bench.records.result import Result, write_result

if TYPE_CHECKING:
    from conftest import Answer

PYPROJECT = tomllib.loads((registry.ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_file_beside_the_code_is_in_the_wheel() -> None:
    data = PYPROJECT["tool"]["setuptools"]["package-data"]
    folders = {name: registry.ROOT / name.replace(".", "/") for name in data}
    shipped = {path for name, patterns in data.items() for pattern in patterns for path in folders[name].glob(pattern)}
    packages = [registry.ROOT / name for name in ("bench", "methods", "protocols", "slurm", "results")]
    files = {path for folder in packages for path in folder.rglob("*") if path.is_file()}
    left_out = {path for path in files - shipped if path.suffix not in (".py", ".pyc") and path.name != "py.typed"}
    assert left_out == set()


def test_lower_bounds_and_versions_of_python_are_said() -> None:
    project = PYPROJECT["project"]
    assert [line for line in project["dependencies"] if ">=" not in line] == []
    versions = [line.rpartition(" ")[2] for line in project["classifiers"] if line.startswith("Programming Language")]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert project["requires-python"] == f">={versions[0]}"


@pytest.fixture
def result(tmp_path: Path) -> Result:
    """A result in the runs folder."""
    metrics = {"metrics": {"mAP_area": 0.5}, "higher_is_better": {"mAP_area": True}}
    made = Result(**RECORD, **metrics, address="ab12", method="mine", provenance={"dirty": False})
    write_result(tmp_path / "runs" / "results" / f"{made.address}.json", made)
    return made


@pytest.mark.usefixtures("made_up_addresses")
def test_published_results_and_baselines_lie_where_results_says(
    here: Callable[..., Answer], result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ("--results", "own")
    answer = here("gate", result.address, "--accept", "first", *own)
    assert answer.out.splitlines()[-1] == "Wrote 1 baseline to own/baselines."
    assert "no baseline" in here("gate", result.address).out
    assert "unchanged" in here("gate", result.address, *own).out
    write_result(tmp_path / "own" / "measured" / result.file_name, result)
    for verb in (("list", "runs"), ("trend",), ("table", "--protocol", "voc07-det")):
        assert "mine" in here(*verb, "--runs", "none", *own).out
        assert "mine" not in here(*verb, "--runs", "none").out
    assert here("show", "run", "ab", "--runs", "none", *own).code == 0
    monkeypatch.setenv("BENCH_RESULTS", "own")
    assert "published" in here("list", "runs", "--runs", "none").out


@pytest.mark.usefixtures("made_up_addresses")
def test_an_installed_weakloc_is_not_written_into(
    here: Callable[..., Answer], result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-packages" / "weakloc-1.0.dist-info").mkdir(parents=True)
    monkeypatch.setattr(registry, "ROOT", tmp_path / "site-packages")
    monkeypatch.setattr("bench.verbs.results.RESULTS", tmp_path / "site-packages" / "results")
    for verb in (("gate", result.address, "--accept", "first"), ("publish", result.address)):
        answer = here(*verb)
        assert answer.code == 2
        assert "is part of the installed weakloc" in answer.err
        assert "Give --results DIR" in answer.err
    with pytest.raises(RequestError, match=r"a.toml is part of the installed weakloc.* Copy it\."):
        registry.refuse_installed(tmp_path / "site-packages" / "bench" / "tracks" / "a.toml", "Copy it.")
    registry.refuse_installed(tmp_path / "a.toml", "Copy it.")
    assert len(list((tmp_path / "site-packages").iterdir())) == 1


def test_messages_name_the_command_that_was_called(
    here: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "(python -m bench list runs)" in here("compare", "a", "b").err
    monkeypatch.setattr(sys, "argv", ["/usr/bin/weakloc"])
    assert "(weakloc list runs)" in here("compare", "a", "b").err
    assert "(weakloc table --help)" in here("table", "--x").err
