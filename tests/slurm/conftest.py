"""A real SLURM, that of `cluster.sh`: without SLURM_CONF, which names it, these tests are deselected, but not in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import PROFILE, Checkout

from bench import registry
from bench.core.files import Places
from slurm import status
from slurm.submission import find


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    for item in ours:
        item.add_marker(pytest.mark.timeout(1800))
    if ours and "SLURM_CONF" not in os.environ and os.environ.get("CI") != "true":
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in ours]


@pytest.fixture(scope="session")
def cluster() -> Path:
    """The folder of a cluster that may be crashed: ours, and up."""
    told = subprocess.run("scontrol show config", shell=True, capture_output=True, text=True, check=False).stdout
    if not any(line.split() == ["ClusterName", "=", "weakloc"] for line in told.splitlines()):
        pytest.skip("no SLURM of these tests' own: tests/slurm/cluster.sh up DIR; SLURM_CONF=DIR/etc/slurm.conf")
    return Path(os.environ["SLURM_CONF"]).parent.parent


@pytest.fixture
def checkout(cluster: Path, tmp_path: Path, bench: Callable[..., Any]) -> Iterator[Checkout]:
    """A copy of the code, a profile `own.toml` beside it, and no runs; what it submitted ends with the test."""
    for folder in ("bench", "methods", "protocols", "slurm"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(registry.ROOT / folder, tmp_path / "checkout" / folder, ignore=ignored)
    (tmp_path / "own.toml").write_text(PROFILE)
    yield Checkout(tmp_path / "checkout", bench)
    for folder in (tmp_path / "runs" / "submissions").glob("*"):
        status.cancel(find(folder.name, Places(tmp_path / "runs")))
