"""Checks of what works on this machine, each with what to do if it does not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.core.files import Places
from bench.core.lease import has_links
from bench.core.redaction import remove_secrets
from bench.data.datasets import DATASETS, open_dataset
from bench.data.opencv import REINSTALL, load_ximgproc
from bench.errors import MissingDataError, RunError, format_bytes, format_count
from bench.predictions.dense_crf import HOW_TO_INSTALL
from bench.records.result import SYNTHETIC


@dataclass(frozen=True)
class MachineCheck:
    """One check: whether it works, what was found, and what to do. needed: whether nothing works without it."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    needed: bool = False


def examine(places: Places) -> Iterator[MachineCheck]:
    """Make and yield every check."""
    yield MachineCheck("python", True, platform.python_version(), needed=True)
    yield from _torch()
    yield _selective_search()
    yield _runs(places.runs)
    yield _feature_cache(places)
    for name in DATASETS:
        if name not in SYNTHETIC:  # generated on first use, so always available
            yield _dataset(name, places)
    yield from _scheduler()
    yield _tracking()
    yield _check_optional("pydensecrf2", HOW_TO_INSTALL)


def _torch() -> Iterator[MachineCheck]:
    try:
        import torch
        import torchvision
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises RuntimeError
        yield MachineCheck("torch", False, str(error), "pip install -U torch torchvision", needed=True)
        return
    yield MachineCheck("torch", True, f"{torch.__version__}, torchvision {torchvision.__version__}", needed=True)
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield MachineCheck("gpu", bool(devices), ", ".join(devices) or "none", "" if devices else "Runs use the CPU.")
    yield MachineCheck("threads", True, f"{torch.get_num_threads()} of {os.cpu_count()} processors")


def _selective_search() -> MachineCheck:
    try:
        return MachineCheck("selective search", True, f"cv2 {load_ximgproc().__version__}")
    except RunError as error:
        return MachineCheck("selective search", False, str(error), REINSTALL)


def _runs(folder: Path) -> MachineCheck:
    above = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    advice = "Give --runs DIR, or set BENCH_RUNS, to a folder "
    if not (above.is_dir() and os.access(above, os.W_OK)):
        return MachineCheck("runs folder", False, str(folder), f"{advice}that can be written.", needed=True)
    if not has_links(above):
        found = f"{folder}: its file system has no hard links"
        return MachineCheck("runs folder", False, found, f"{advice}on another one.", needed=True)
    return MachineCheck("runs folder", True, str(folder), needed=True)


def _feature_cache(places: Places) -> MachineCheck:
    """Check how much disk the features of frozen nets take."""
    files = [path for path in (places.cache / "features").glob("*/*.npy") if path.is_file()]
    size = format_bytes(sum(path.stat().st_size for path in files))
    found = f"{size} in {places.cache / 'features'}; may be deleted" if files else "none yet"
    return MachineCheck("feature cache", True, found)


def _dataset(name: str, places: Places) -> MachineCheck:
    try:
        splits = open_dataset(name, places).splits()
    except MissingDataError as error:
        looked = "no data root is set" if places.data_root is None else f"looked in {error.looked_in}"
        return MachineCheck(name, False, looked, error.how)
    return MachineCheck(
        name, True, f"{format_count(len(splits), 'split')}; python -m bench data check {name} counts them"
    )


def _scheduler() -> Iterator[MachineCheck]:
    """Check SLURM, and whether its accounting records how jobs ended."""
    if shutil.which("sbatch") is None:
        yield MachineCheck("slurm", False, "no sbatch", "Submit where SLURM's commands are, or with --cluster local.")
        return
    there, output = _run_command("sinfo", "--noheader", "--format=%R %D")
    found = ", ".join(f"{line.replace(' ', ' of ')} nodes" for line in output.splitlines()) if there else output
    yield MachineCheck(
        "slurm", there, found, "" if there else "Is its controller up? SLURM_CONF may name its configuration."
    )
    if there:
        kept, output = _run_command("sacct", "--noheader", "--allocations", "--format=JobID")
        advice = "" if kept else "Without it `status` cannot say why a job died: ask for slurmdbd."
        yield MachineCheck("accounting", kept, "sacct answers" if kept else output, advice)


def _run_command(*command: str) -> tuple[bool, str]:
    """Return whether a command succeeds, and its output, or the first line of its error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return (True, done.stdout.strip()) if done.returncode == 0 else (False, done.stderr.strip().partition("\n")[0])


def _tracking() -> MachineCheck:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    found = f"mlflow {_check_package('mlflow')}, {remove_secrets(uri) or 'SQLite beside the runs'}"
    if uri.startswith("http") and not _answers(uri):
        return MachineCheck(
            "tracking", False, found, "Nothing answers there: start the server, or unset MLFLOW_TRACKING_URI."
        )
    return MachineCheck("tracking", True, found)


def _answers(uri: str) -> bool:
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=3).close()
    except urllib.error.HTTPError:
        return True  # any answer will do
    except (OSError, ValueError):
        return False
    return True


def _check_optional(package: str, advice: str) -> MachineCheck:
    found = _check_package(package)
    return MachineCheck(package, found is not None, found or "not installed (optional)", "" if found else advice)


def _check_package(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
