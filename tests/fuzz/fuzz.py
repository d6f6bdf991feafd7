"""Broken prediction files, one after the other: a message or a right number, soon and in little memory, and no more.

    python tests/fuzz/fuzz.py FORMAT|all [COUNT [FIRST]]
    python tests/fuzz/fuzz.py bombs [slow]

reads so many files of a format or of each, or the crafted ones, and prints what came out: a JSON line a format, or a
file. The same seed makes the same file, so a failure can be made again.
"""

from __future__ import annotations

import faulthandler
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib import import_module
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from mutate import broken
from naive import rows_in, rows_read
from seeds import FORMATS, truth_in

from bench import registry
from bench.core.provenance import peak_memory_mib
from bench.data.ground_truth import GroundTruth
from bench.errors import BenchError
from bench.predictions.formats import read_all
from bench.predictions.table import resolve
from bench.scoring.protocol import BoundProtocol
from bench.scoring.score import score

MOST_SECONDS, MOST_MIB, PATIENCE = 20.0, 2048, 300
ADDRESS_SPACE = 4 << 30
NEVER = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.mkdir", "subprocess.Popen"}
"""Python's names of what no reader does, told to its audit hooks."""


class Asked(NamedTuple):
    """What is to be read, for which protocol with which switches, and whether it is held against a naive reading."""

    path: Path
    protocol: str
    switches: dict[str, str]
    held: bool = True


class Said(NamedTuple):
    """`number`, `message` or `failure` with a text, after so many seconds; the most memory so far."""

    outcome: str
    text: str = ""
    seconds: float = 0.0
    mib: float = 0.0


Make = Callable[[GroundTruth, Path], Asked]
"""Writes predictions of a truth into an empty folder."""

for _slow in ("cv2", "hotcoco", "scipy.sparse"):
    import_module(_slow)  # here, and not once more in each child

_done: list[str] = []


def mutant(name: str, seed: int, truth: GroundTruth, folder: Path) -> Asked:
    """A broken file of a format."""
    draw = random.Random(f"{name} {seed}")
    path = FORMATS[name].make(folder, truth, draw)
    protocol, switches = draw.choice(FORMATS[name].protocols)
    broken(path, draw)
    return Asked(path, protocol, switches)


def judged(asked: Asked, truth: GroundTruth) -> Said:
    """What a file comes to: a number, of the rows that it holds, or a message that can be shown."""
    bound = _bound(asked.protocol, **asked.switches)
    try:
        found = [resolve(one, truth) for one in read_all(asked.path, truth, bound.record.predicts)]
        result = score(bound, truth, {one.kind: one for one in found}, allow_missing=True, replicates=2)
    except BenchError as error:
        return _shown(error)
    with warnings.catch_warnings(action="ignore"):
        plain = [one for one in found if not one.notes]  # what was read otherwise than written says so
        held = plain if asked.held else ()
        assert all(rows_read(one, truth) == rows_in(asked.path, one.kind) for one in held), "rows of its own"
    values = [*result.metrics.values(), *(value for each in result.per_class.values() for value in each.values())]
    assert all(value is None or 0 <= value <= 1 for value in values), result.metrics
    return Said("number", str(result.metrics))


def _shown(error: BenchError) -> Said:
    text = str(error)
    assert error.exit_code == 2, error.exit_code
    assert 0 < len(text) < 2000, text[:3000]
    assert text.encode().decode().isprintable(), repr(text)
    return Said("message", text)


@cache
def _bound(protocol: str, **switches: str) -> BoundProtocol:
    return registry.bind(registry.protocol(protocol).with_conventions(switches))


def outcomes(makes: Sequence[Make]) -> Iterator[Said]:
    """What each file comes to, read in a child; a new one follows where it died or waits for ever."""
    left = list(makes)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        truth = truth_in(Path(folder) / "truth")
        while left:
            here, there = Pipe(duplex=False)
            child = get_context("fork").Process(target=_reader, args=(left, truth, Path(folder), there))
            child.start()
            there.close()
            while left and (said := _heard(here)):
                left.pop(0)
                yield said
            child.kill()
            child.join()
            if left:
                left.pop(0)
                yield Said("failure", f"ended its process ({child.exitcode}), or made it wait {PATIENCE} s (-9)")


def _heard(child: Connection) -> Said | None:
    try:
        return child.recv() if child.poll(PATIENCE) else None
    except EOFError:
        return None


def _reader(makes: Sequence[Make], truth: GroundTruth, folder: Path, parent: Connection) -> None:
    faulthandler.enable()
    sys.addaudithook(lambda event, _: _done.append(event) if event in NEVER else None)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    warnings.simplefilter("error")
    for make in makes:
        shutil.rmtree(folder / "one", ignore_errors=True)
        (folder / "one").mkdir()
        asked = make(truth, folder / "one")
        parent.send(_attempt(asked, truth))


def _attempt(asked: Asked, truth: GroundTruth) -> Said:
    _done.clear()
    begin = time.process_time()
    try:
        said = judged(asked, truth)
        assert not _done, f"did {_done}"
    except BaseException:
        said = Said("failure", traceback.format_exc())
    seconds, mib = time.process_time() - begin, peak_memory_mib()
    if seconds > MOST_SECONDS or mib > MOST_MIB:
        said = Said("failure", f"took {seconds:.1f} s, {mib:.0f} MiB")
    return said._replace(seconds=seconds, mib=mib)


def many(name: str, count: int, first: int = 0) -> dict[str, Any]:
    """What so many broken files of a format come to: how often each outcome, and the failures by seed."""
    seeds, begin = range(first, first + count), time.monotonic()
    said = list(outcomes([partial(mutant, name, seed) for seed in seeds]))
    failures = {seed: one.text for seed, one in zip(seeds, said, strict=True) if one.outcome == "failure"}
    peak, seconds = max(one.mib for one in said), time.monotonic() - begin
    counts = Counter(one.outcome for one in said)
    return {"format": name, **counts, "seconds": round(seconds), "peak_mib": round(peak), "failures": failures}


def crafted(slow: str = "") -> None:
    """Print what each of the crafted files comes to; `slow`: of those that take long."""
    from bombs import BOMBS  # which needs this file

    chosen = [bomb for bomb in BOMBS if bomb.slow == bool(slow)]
    together = [[bomb] for bomb in chosen] if slow else [chosen]  # making them takes memory too
    said = (one for bombs in together for one in outcomes([bomb.asked for bomb in bombs]))
    for bomb, one in zip(chosen, said, strict=True):
        print(json.dumps({"name": bomb.name, "expected": bomb.outcome, **one._asdict()}), flush=True)


def main(what: str, count: str = "10000", first: str = "0") -> None:
    """Print what so many broken files of a format, or of each, come to."""
    for name in FORMATS if what == "all" else [what]:
        print(json.dumps(many(name, int(count), int(first))), flush=True)


if __name__ == "__main__":
    crafted(*sys.argv[2:]) if sys.argv[1] == "bombs" else main(*sys.argv[1:])
