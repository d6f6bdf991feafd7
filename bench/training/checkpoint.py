"""What a training leaves on disk: the last checkpoint while it runs, then the weights; never a half-written file."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim

from bench.core.files import atomic_file, read_json, write_json, write_text
from bench.errors import BadFileError

Epoch = dict[str, float]
"""What an epoch is remembered by: `epoch`, `loss`, `loss/<term>`, `lr`, `seconds`, `images_per_second`.

Of what a method watches, also `gradient/<name>`. The last one of a history may be unfinished: it has `step`, how many
steps are done, and the sums over these, `sum/<term>` and `norm/<name>`; the log leaves it out.
"""

_NOT_OURS = (OSError, EOFError, pickle.PickleError, RuntimeError, LookupError, TypeError, ValueError, AttributeError)
"""What torch raises for a file that is missing or damaged, or holds something else than what it is loaded into."""


def save(
    folder: Path, model: nn.Module, optimiser: optim.Optimizer, history: list[Epoch], average: nn.Module | None = None
) -> None:
    """Write the checkpoint after, or in, epoch `len(history)`, and the log; older checkpoints go."""
    path = folder / f"checkpoint-{len(history):05d}.pt"
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "history": history}
    _save(path, state if average is None else state | {"average": average.state_dict()})
    _write_log(folder, history)
    for old in _checkpoints(folder):
        if old != path:
            old.unlink()


def resume(folder: Path, model: nn.Module, optimiser: optim.Optimizer, average: nn.Module | None = None) -> list[Epoch]:
    """Bring model, optimiser and average to where the last checkpoint left them; its history, empty without one.

    Raises BadFileError.
    """
    for left in folder.glob(".*.part"):  # by a process that was killed while it wrote
        left.unlink()
    found = _checkpoints(folder)
    if not found:
        return []
    with _open_state(found[-1]) as state:
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        if average is not None:
            average.load_state_dict(state["average"])
        history: list[Epoch] = list(state["history"])
    _write_log(folder, history)
    return history


def keep(folder: Path, model: nn.Module, epoch: int) -> None:
    """Write the weights after an epoch, which stay whatever follows."""
    _save(_weights(folder, epoch), model.state_dict())


def finish(folder: Path, model: nn.Module, history: list[Epoch], **more: Any) -> None:
    """Write the weights, then the mark that the training is done; the checkpoint goes."""
    _save(_weights(folder), model.state_dict())
    _write_log(folder, history)
    write_json(done_path(folder), {"epochs": len(history), **more})
    for old in _checkpoints(folder):
        old.unlink()


def done_path(folder: Path) -> Path:
    """Return the path of the file that marks a training as complete."""
    return folder / "done.json"


def summary(folder: Path) -> dict[str, Any]:
    """Read what `finish` wrote."""
    return dict(read_json(done_path(folder)))


def load_weights(folder: Path, model: nn.Module, epoch: int = 0) -> None:
    """Load a finished training's weights, or those that it kept after an epoch. Raises BadFileError."""
    with _open_state(_weights(folder, epoch)) as state:
        model.load_state_dict(state)


def _weights(folder: Path, epoch: int = 0) -> Path:
    return folder / (f"weights-{epoch:05d}.pt" if epoch else "weights.pt")


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.pt"))


def _write_log(folder: Path, history: list[Epoch]) -> None:
    finished = [epoch for epoch in history if "step" not in epoch]
    write_text(folder / "log.jsonl", "".join(json.dumps(epoch) + "\n" for epoch in finished))


def _save(path: Path, value: Any) -> None:
    with atomic_file(path) as part:
        torch.save(value, part)


@contextmanager
def _open_state(path: Path) -> Iterator[Any]:
    """Yield the content of a checkpoint for a block that restores it. Raises BadFileError if it does not fit."""
    try:
        yield torch.load(path, map_location="cpu", weights_only=True)
    except _NOT_OURS as error:
        rule = f"not a checkpoint of ours ({type(error).__name__}); delete its folder to train again"
        raise BadFileError(path, rule) from None
