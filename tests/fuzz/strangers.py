"""Records, proposals and run folders of strangers, through every verb that reads them.

    python tests/fuzz/strangers.py records|proposals|runs [COUNT [FIRST]]

breaks so many files, and prints what came of them as a JSON line. A failure is a traceback, a crash, more than ten
seconds, a file written outside, or a control character printed. The same seed makes the same file.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mutate import ODD, break_bytes, break_like_its_kind, replace_file

from bench import registry
from bench.cli.main import invoke
from bench.core import apart, files
from bench.core.redaction import CONTROL
from bench.data.proposal_files import read_here
from bench.errors import BadFileError

MOST_SECONDS = 10.0
BATCH = 40
MEASURED = registry.ROOT / "results" / "measured"
TEXTS = (
    *("../outside/p", "/outside", "a/../../b", "..", ".hidden", "", "\x1b[2J\x07", "a\nb", "\x9b31m", "\u202eabc"),
    *("=cmd|' /C calc'!A0", "@SUM(1)", "x" * 5000, "unknown-protocol", "\0", "CON", "é", "<script>", "%s{0}"),
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}
_outside: list[str] = []


def watch(*allowed: Path) -> None:
    """Note what is written outside of these folders from now on."""
    importlib.import_module("torchvision")  # which makes torch's cache folder where there is none
    places = ("/dev/", "/proc/", *map(str, allowed))

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
        path = str(arguments[0]) if arguments and isinstance(arguments[0], str | bytes | os.PathLike) else ""
        is_ours = not path.startswith("/") or "__pycache__" in path
        if (is_write or event in _CHANGES) and not is_ours and not path.startswith(places):
            _outside.append(f"{event} {path}")

    sys.addaudithook(hear)


def call(*arguments: object) -> tuple[int, str]:
    """Run the command line; return its exit code, and what was wrong with how it ended."""
    out, err, begin = io.StringIO(), io.StringIO(), time.process_time()
    _outside.clear()
    files._sweep.cache_clear()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = invoke([str(argument) for argument in arguments])
        except BaseException as error:
            return 3, f"raised {type(error).__name__}: {error}"
    seconds, said = time.process_time() - begin, out.getvalue() + err.getvalue()
    if "Traceback (most" in said:
        return code, said[-1500:]
    if seconds > MOST_SECONDS:
        return code, f"took {seconds:.0f} s"
    if found := CONTROL.search(said):
        return code, f"printed {found[0]!r}: {said[max(0, found.start() - 60) : found.end() + 20]!r}"
    return code, f"wrote outside: {_outside[0]}" if _outside else ""


def break_value(value: Any, draw: random.Random) -> Any:
    """Change one thing somewhere in a JSON value."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        what = draw.random()
        if what < 0.1:
            return {name: one for name, one in value.items() if name != key}
        if what < 0.2:
            return {**value, draw.choice(TEXTS): draw.choice(ODD)}
        return {**value, key: break_value(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.5:
        at = draw.randrange(len(value))
        return [*value[:at], break_value(value[at], draw), *value[at + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and draw.random() < 0.5:
        return draw.choice([value * 2, value + 0.1, -value, value / 3, 1e300, 0.99])
    return draw.choice([*TEXTS, *ODD])


def break_file(path: Path, draw: random.Random) -> None:
    """Break a file: a JSON value of it, or its bytes."""
    content = path.read_bytes()
    try:
        if path.suffix != ".json" or draw.random() < 0.15:
            raise ValueError
        text = json.dumps(break_value(json.loads(content), draw))
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        path.write_bytes(break_bytes(content, draw))


def records(count: int, first: int) -> Iterator[tuple[str, str]]:
    """Break published records, files beside them, and baselines, forty of as many at a time."""
    from bench.records.result import list_records

    known = list_records(MEASURED)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        watch(root)
        for start in range(first, first + count, BATCH):
            draw = random.Random(f"records {start}")
            for name in ("results", "runs", "site", "into"):
                shutil.rmtree(root / name, ignore_errors=True)
            for record in draw.sample(known, BATCH):
                place = draw.choice(["results/measured", "results/measured", "results/baselines", "runs/results"])
                own = record.stem.rpartition(".")[2] if place.startswith("runs") else record.stem
                copies = {
                    one: root / place / one.name.replace(record.stem, own) for one in MEASURED.glob(f"{record.stem}.*")
                }
                (root / place).mkdir(parents=True, exist_ok=True)
                for one, copy in copies.items():
                    shutil.copy(one, copy)
                target = draw.choice(sorted(copies.values())) if draw.random() < 0.3 else copies[record]
                break_file(target, draw)
            yield from _try_records(root, draw)


def _try_records(root: Path, draw: random.Random) -> Iterator[tuple[str, str]]:
    places = ("--runs", root / "runs", "--results", root / "results")
    there = sorted((root / "runs" / "results").glob("*.json"))
    shown = sorted(root.rglob("*.json"))
    calls: list[Sequence[object]] = [
        ("list", "runs"), ("list", "tables"), ("table",), ("table", "--format", "csv"), ("table", "melm-3"),
        ("table", "--track", "voc07-laptop"), ("trend",), ("gate",), ("gate", "--json"), ("list", "runs", "--json"),
        ("report", "--out", root / "site"), ("publish", "--track", "voc07-laptop", "--into", root / "into"),
        ("gate", "--accept", "why"), ("runs", "du"), ("runs", "prune", "--older", "9d", "--dry-run"),
        *(("publish", path.stem, "--into", root / "into", "--allow-dirty") for path in there),
        *(("show", "run", path) for path in draw.sample(shown, 8)),
        *(("compare", *draw.sample(shown, 2)) for _ in range(4)),
        *(("gate", path) for path in draw.sample(shown, 4)),
    ]  # fmt: skip
    for one in calls:
        own = () if one[0] in ("none",) else places[:2] if one[0] == "runs" and one[1] == "du" else places
        code, wrong = call(*one, *own)
        yield f"{one[0]} {code}", wrong and f"{' '.join(map(str, one))}: {wrong}"


def proposals(count: int, first: int) -> Iterator[tuple[str, str]]:
    """Break proposals files; each is read as the process of `read_apart` does, in a fork of this one."""
    ids = [f"{number:06d}" for number in range(1, 7)]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        seeds = _write_proposals(root, ids)
        for seed in range(first, first + count):
            draw = random.Random(f"proposals {seed}")
            good = draw.choice(seeds)
            path = root / f"broken{good.suffix}"
            content = break_bytes(good.read_bytes(), draw)
            path.write_bytes(break_bytes(content, draw) if draw.random() < 0.3 else content)
            yield _try_proposals(path, ids, root / "out.npz")


def _write_proposals(root: Path, ids: Sequence[str]) -> list[Path]:
    import pickle

    from scipy.io import savemat

    draw = np.random.default_rng(0)
    corners = [np.sort(draw.integers(1, 99, (5, 2, 2)), axis=1).reshape(5, 4).astype(np.float64) for _ in ids]
    cells = np.empty((1, len(ids)), dtype=object)
    names, scores = cells.copy(), cells.copy()
    for at, (name, one) in enumerate(zip(ids, corners, strict=True)):
        cells[0, at], names[0, at], scores[0, at] = one, name, draw.random((5, 1))
    content = {"images": names, "boxes": cells, "boxScores": scores}
    savemat(root / "a.mat", content)
    savemat(root / "b.mat", content, do_compression=True)
    for protocol in (0, 2, 4, 5):
        value = {"boxes": corners, "indexes": list(ids), "scores": [one.ravel() for one in scores[0]]}
        (root / f"{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))
        (root / f"{protocol}d.pkl").write_bytes(pickle.dumps(dict(zip(ids, corners, strict=True)), protocol))
    offsets = np.arange(len(ids) + 1) * 5
    np.savez(root / "a.npz", ids=np.array(ids), offsets=offsets, boxes=np.concatenate(corners))
    np.savez_compressed(root / "b.npz", ids=np.array(ids), offsets=offsets, boxes=np.concatenate(corners))
    return sorted(root.iterdir())


def _try_proposals(path: Path, ids: Sequence[str], out: Path) -> tuple[str, str]:
    begin = time.monotonic()
    try:
        if path.suffix == ".npz":
            read_here(path, ids)
        else:
            _read_in_fork(path, ids, out)
        said = ("read", "")
    except BadFileError as error:
        text = str(error)
        said = ("message: crash" if "crashes" in text else "message", "" if text.isprintable() else repr(text))
    except BaseException as error:
        said = ("failure", f"{type(error).__name__}: {error} ({path.suffix})")
    return said if time.monotonic() - begin < 3 * MOST_SECONDS else (said[0], f"took {time.monotonic() - begin:.0f} s")


def _read_in_fork(path: Path, ids: Sequence[str], out: Path) -> None:
    import subprocess

    asked = {"reader": "bench.data.proposal_files:read_flat", "path": str(path), "arguments": [list(ids)]}
    child = os.fork()
    if not child:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        code = 1
        try:
            code = apart.serve(asked | {"out": str(out), "seconds": 6, "memory": 2 << 30})
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        told = out.read_text() if code == apart._REFUSED else ""
        done = subprocess.CompletedProcess[str]([], code, "", "")
        raise apart._explain(path, done, told, 6, 2 << 30)


DATA = ("--data", "shapes", "--data-option", "train=8,val=2,test=4,size=64,classes=3")
MEANS = ("--device", "cpu", "--workers", "0", "--threads", "1")


def runs(count: int, first: int) -> Iterator[tuple[str, str]]:
    """Break a file of a runs folder, with a training, a search and a submission; use the folder, each in a fork."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        good = root / "good"
        ask = _fill_runs(root, good)
        for record in sorted(MEASURED.glob("voc07-point.cam.*")):
            (root / "results" / "measured").mkdir(parents=True, exist_ok=True)
            shutil.copy(record, root / "results" / "measured")
        code, wrong = call("gate", "--accept", "first", "--allow-dirty", "--runs", good, "--results", root / "results")
        assert code == 0, wrong
        for seed in range(first, first + count):
            yield from _try_in_fork(root, lambda seed=seed: _try_runs(root, good, ask, seed), f"seed {seed}")


def _fill_runs(root: Path, good: Path) -> Sequence[object]:
    """Make a runs folder; return the request that made its training."""
    import torch
    from tune_cases import write_tunable

    from methods.nets import build

    torch.save(build("tiny", "none").state_dict(), root / "tiny.pth")
    settings = f"net=tiny,weights={root / 'tiny.pth'},epochs=1,batch_size=4,input_size=64,freeze_backbone=true"
    ask = ("run", "--method", "cam", "--protocol", "voc07-point", *DATA, "--set", settings, *MEANS)
    tune = ("tune", "--track", write_tunable(root), "--method", "cam", "--trials", "2", *MEANS[:4], "--dry-run")
    jobs = ("submit", "--cluster", "local", "--method", "center", "--protocol", "voc07-point", *DATA)
    for each in (ask, tune, jobs):
        code, wrong = call(*each, "--runs", good)
        assert code == 0, wrong
    while not list(good.glob("submissions/*/jobs/0/outcome.json")):
        time.sleep(0.2)
    code, wrong = call("sync", "--runs", good)
    assert code == 0, wrong
    return ask


def _try_in_fork(root: Path, act: Callable[[], Iterator[tuple[str, str]]], name: str) -> Iterator[tuple[str, str]]:
    """Yield what a child process yields, and what was wrong with how it ended."""
    out = root / "said.jsonl"
    out.write_text("")
    child = os.fork()
    if not child:
        signal.alarm(120)
        os.killpg = lambda group, _signal: _outside.append(f"killed {group}")  # all of its processes have ended
        tempfile.tempdir = str(root)
        code = 1
        try:
            with out.open("w", buffering=1) as stream:
                watch(root)
                stream.writelines(json.dumps(each) + "\n" for each in act())
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = [json.loads(line) for line in out.read_text().splitlines()]
    yield from ((outcome, wrong) for outcome, wrong in said)
    if code:
        yield "crash", f"{name}: ended with {code} after {len(said)} verbs"


def _try_runs(root: Path, good: Path, ask: Sequence[object], seed: int) -> Iterator[tuple[str, str]]:
    draw, broken = random.Random(f"runs {seed}"), root / "runs"
    shutil.rmtree(broken, ignore_errors=True)
    shutil.copytree(good, broken, symlinks=True)
    room = draw.choice([path for path in sorted(broken.iterdir()) if path.is_dir()])
    part = draw.choice([path for path in sorted(room.rglob("*")) if path.is_file()])
    broken_how = draw.random()
    if broken_how < 0.1:
        replace_file(part, draw)
    elif broken_how < 0.5:
        break_like_its_kind(part, draw)
    else:
        break_file(part, draw)
    if draw.random() < 0.5 and room.name != "results":  # a run that goes on from what is stored
        for record in (broken / "results").glob("*.json"):
            if json.loads(record.read_text())["method"] == "cam":
                record.unlink()
    address = next((path.stem for path in sorted((broken / "results").glob("*.json"))), "none")
    results = ("--results", root / "results")
    verbs: list[Sequence[object]] = [
        ("list", "runs", *results), ("list", "submissions"), ("table", *results), ("show", "run", address, *results),
        ("trend", *results), ("gate", *results), ("gate", address, *results), ("runs", "du"), ("status",), ("logs",),
        ("collect",), ("runs", "prune", "--older", "9d", "--dry-run"), ("compare", address, "measured", *results),
        ("publish", address, "--into", root / "into", "--allow-dirty"), ("report", "--out", root / "site", *results),
        ("run", "--dry-run", *ask[1:]), ("predict", address, broken / "cache", "--out", root / "predicted"),
        ("logs", "--job", "0"), ("resubmit",), ("cancel",), ("runs", "prune", "--older", "0d"), ("sync",),
        ("tune", "--track", root / "tunable.toml", "--method", "cam", "--trials", "2", *MEANS[:4], "--dry-run"),
    ]  # fmt: skip
    for one in [*draw.sample(verbs, 4), ask]:
        code, wrong = call(*one, "--runs", broken)
        what = f"seed {seed}, {part.relative_to(broken)}: {' '.join(map(str, one[:3]))}"
        yield f"{one[0]} {code}", wrong and f"{what}: {wrong}"


KINDS: dict[str, Callable[[int, int], Iterator[tuple[str, str]]]] = {
    "records": records,
    "proposals": proposals,
    "runs": runs,
}


def fuzz(kind: str, count: int, first: int = 0) -> dict[str, Any]:
    """Return what so many broken files come to: how often each outcome, and the failures."""
    begin, outcomes, failures = time.monotonic(), Counter[str](), []
    for outcome, wrong in KINDS[kind](count, first):
        outcomes[outcome] += 1
        if wrong:
            failures.append(wrong)
    seconds = round(time.monotonic() - begin)
    return {"kind": kind, "files": count, **dict(sorted(outcomes.items())), "seconds": seconds, "failures": failures}


if __name__ == "__main__":
    print(json.dumps(fuzz(sys.argv[1], *map(int, sys.argv[2:])), indent=1))
