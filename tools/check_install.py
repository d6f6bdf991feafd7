"""Install what is built here into fresh environments and use it from another folder: `python -m tools.check_install`.

    python -m tools.check_install             the newest dependencies, on every Python of VERSIONS that is here
    python -m tools.check_install --lowest    the lower bounds of pyproject.toml, on the oldest Python
    python -m tools.check_install --python 3.12 --tests tests/scoring

Needs `uv` (`pip install uv`), which finds interpreters on PATH and takes the path of one too. An environment takes
several GB, most of it PyTorch. What failed is printed in full, and the exit code is 1.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from bench import registry
from bench.errors import RequestError

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions of Python that weakloc supports, the oldest first."""

SHAPES = ("--data", "shapes", "--data-option", "train=8,val=4,test=8")
RUN = ("--protocol", "voc07-point", *SHAPES, "--device", "cpu", "--threads", "1", "--workers", "0")
ELSEWHERE = Path("/")
"""A folder outside any checkout."""

PATIENCE_S = 300
"""How long a submitted job may take."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and the runs folder that its commands use."""

    folder: Path
    runs: Path

    def call(self, program: str, *arguments: str, cwd: Path = ELSEWHERE, code: int = 0) -> str:
        """Run a program of the environment and return its stdout. Raises RequestError for another exit code."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("BENCH_", "PYTHON"))}
        done = subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=cwd,
            env={**inherited, "BENCH_RUNS": str(self.runs)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != code:
            raise RequestError(
                f"{program} {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout + (done.stderr if code else "")

    def read(self, *arguments: str) -> dict[str, Any]:
        """Run weakloc and read the JSON document that it prints."""
        document: dict[str, Any] = json.loads(self.call("weakloc", *arguments, "--json"))
        return document


def run_and_score(here: Environment) -> None:
    """Train a method, and score its predictions as a file."""
    results = here.read("run", "--method", "center,cam", "--set", "epochs=1", *RUN)["results"]
    require({result["method"] for result in results} == {"center", "cam"}, "not every method has a result")
    (file, *_) = sorted(here.runs.glob("predictions/*/points.parquet"))
    scored = here.read("score", "--predictions", str(file), *RUN[:2], *SHAPES)["results"]
    require(scored[0]["metrics"] in [result["metrics"] for result in results], "a run and its file differ")


def read_results(here: Environment) -> None:
    """Print a paper's table and the leaderboards, and write the site."""
    require("MELM" in here.call("weakloc", "table", "melm-1"), "table melm-1 lacks the paper's rows")
    require("voc07-corloc" in here.call("weakloc", "table"), "no published results")
    here.call("weakloc", "report", "--out", str(here.runs / "site"))
    require((here.runs / "site" / "index.html").is_file(), "no site")
    here.call("python", "-c", "import bench; print(bench.table('melm-1').to_frame(), bench.results()[0])")


def submit(here: Environment) -> None:
    """Submit a job to this machine, and wait for its result."""
    here.call("weakloc", "submit", "--cluster", "local", "--method", "center", "--seed", "1", *RUN)
    deadline = time.monotonic() + PATIENCE_S
    while (counts := here.read("status")["counts"]).keys() != {"done"}:
        require("failed" not in counts and time.monotonic() < deadline, f"jobs: {counts}")
        time.sleep(1)
    require(bool(here.read("collect")["results"]), "the job has no result")


def publish(here: Environment) -> None:
    """Publish a result and accept a baseline, which are refused without a folder of the user's own."""
    own_runs = (run for run in here.read("list", "runs")["runs"] if "published" not in run)
    address = next(run["address"] for run in own_runs if run["tuned_on"] != "unknown")
    own = here.runs / "published"
    for verb in (("publish", address), ("gate", address, "--accept", "first")):
        require("--results DIR" in here.call("weakloc", *verb, code=2), f"{verb[0]} wrote into the environment")
        require(str(own) in here.call("weakloc", *verb, "--results", str(own)), f"{verb[0]} does not say where")
    require(here.read("gate", address, "--results", str(own))["passed"], "a baseline differs from itself")


def leave_nothing(here: Environment) -> None:
    """Check that nothing was written beside the runs folder."""
    left = [name for name in ("runs", "results", "mlruns", "mlflow.db") if (ELSEWHERE / name).exists()]
    require(not left, f"{ELSEWHERE} has {', '.join(left)}")


STEPS: tuple[Callable[[Environment], None], ...] = (run_and_score, read_results, submit, publish, leave_nothing)


def require(holds: bool, otherwise: str) -> None:
    """Raise RequestError unless something holds."""
    if not holds:
        raise RequestError(otherwise)


def build(folder: Path) -> Path:
    """Build the source distribution of the work tree, and from that the wheel. Raises RequestError without uv."""
    if shutil.which("uv") is None:
        raise RequestError("uv is not installed: pip install uv")
    shutil.rmtree(folder, ignore_errors=True)
    listed = _run_here("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (source := registry.ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / "source" / name)
    _run_here("uv", "build", "--quiet", str(folder / "source"), "--out-dir", str(folder / "dist"))
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def install(wheel: Path, here: Environment, python: str, *, lowest: bool, tests: bool) -> None:
    """Make an environment: dependencies as pyproject.toml asks for them, then the wheel. Raises RequestError."""
    _run_here("uv", "venv", "--quiet", "--no-python-downloads", "--python", python, str(here.folder))
    into = ("uv", "pip", "install", "--quiet", "--python", str(here.folder / "bin" / "python"))
    extra = ("--extra", "test") if tests else ()
    resolution = ("--resolution", "lowest-direct" if lowest else "highest")
    _run_here(*into, *resolution, "-r", str(registry.ROOT / "pyproject.toml"), *extra)
    _run_here(*into, "--no-deps", str(wheel))


def _run_here(*command: str) -> str:
    done = subprocess.run(command, cwd=registry.ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RequestError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def find_pythons(*, lowest: bool) -> list[str]:
    """List the versions whose interpreters are installed, or the oldest of them; report those that are not."""
    here = []
    for version in VERSIONS:
        found = subprocess.run(
            ["uv", "python", "find", "--no-python-downloads", version], capture_output=True, check=False
        )
        if found.returncode:
            click.echo(f"Python {version}: not on this machine")
        else:
            here.append(version)
    return here[:1] if lowest else here


def check_python(wheel: Path, place: Path, python: str, lowest: bool, tests: Sequence[str]) -> bool:
    """Install on a Python and take each step until one fails; return whether all succeed."""
    folder = place / f"{Path(python).name}-{'lowest' if lowest else 'newest'}"
    shutil.rmtree(folder, ignore_errors=True)
    here = Environment(folder / "venv", folder / "runs")
    steps: dict[str, Callable[[], object]] = {}
    steps["install"] = partial(install, wheel, here, python, lowest=lowest, tests=bool(tests))
    steps |= {step.__name__: partial(step, here) for step in STEPS}
    if tests:
        steps["tests"] = partial(here.call, "python", "-m", "pytest", "-q", "-n", "0", *tests, cwd=registry.ROOT)
    return all(_take(f"Python {python}, {name}", step) for name, step in steps.items())


def _take(name: str, step: Callable[[], object]) -> bool:
    """Take a step, and print how it ended."""
    begin, wrong = time.monotonic(), ""
    try:
        step()
    except RequestError as error:
        wrong = str(error)
    click.echo(f"{name}: {wrong or 'ok'} ({time.monotonic() - begin:.0f} s)")
    return not wrong


@click.command(help=__doc__)
@click.option("--python", "pythons", multiple=True, help="Version or path of an interpreter; can be repeated.")
@click.option("--lowest", is_flag=True, help="The oldest dependencies that pyproject.toml admits.")
@click.option("--tests", multiple=True, metavar="PATH", help="Also run these tests; can be repeated.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep environments here.  [default: a temporary one]")
def main(pythons: tuple[str, ...], lowest: bool, tests: tuple[str, ...], folder: Path | None) -> None:
    """Check every environment."""
    with TemporaryDirectory() as temporary:
        place = (folder or Path(temporary)).resolve()
        try:
            wheel = build(place / "build")
        except RequestError as error:
            raise click.ClickException(str(error)) from None
        click.echo(f"{wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB")
        chosen = pythons or find_pythons(lowest=lowest)
        went_well = [check_python(wheel, place, python, lowest, tests) for python in chosen]
    sys.exit(not went_well or not all(went_well))


if __name__ == "__main__":
    main()
