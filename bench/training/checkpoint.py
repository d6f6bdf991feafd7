"""The files of a training: its last checkpoint while it runs, then its weights; never a half-written file."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import nn, optim

from bench.core.files import (
    DIGEST_LENGTH,
    atomic_file,
    file_digest,
    read_object,
    require_regular_file,
    write_json,
    write_text,
)
from bench.errors import BadFileError, RunError, first_line

Epoch = dict[str, float]
"""The figures of an epoch: `epoch`, `loss`, `loss/<term>`, `lr`, `seconds`, `images_per_second`.

For parameter groups whose gradients a method watches, also `gradient/<name>`. The last epoch of a history may be
unfinished: it then has the number of steps done, `step`, and the sums over them, `sum/<term>` and `norm/<name>`; the
log omits it.
"""

_NOT_OURS = (OSError, EOFError, pickle.PickleError, RuntimeError, LookupError, TypeError, ValueError, AttributeError)
"""The errors that torch raises for a file that is missing, damaged, or does not match the module it is loaded into."""


def save(
    folder: Path, model: nn.Module, optimiser: optim.Optimizer, history: list[Epoch], average: nn.Module | None = None
) -> None:
    """Write the log and the checkpoint after, or in the middle of, epoch `len(history)`; delete older checkpoints."""
    path = folder / f"checkpoint-{len(history):05d}.pt"
    weights = model.state_dict()
    state = {"model": weights, "optimiser": optimiser.state_dict(), "history": history, "digest": _digest(weights)}
    _save(path, state if average is None else state | {"average": average.state_dict()})
    _write_log(folder, history)
    for old in _checkpoints(folder):
        if old != path:
            old.unlink()


def resume(folder: Path, model: nn.Module, optimiser: optim.Optimizer, average: nn.Module | None = None) -> list[Epoch]:
    """Restore model, optimiser and average from the last checkpoint; return its history, empty without a checkpoint.

    Raises BadFileError.
    """
    for left in folder.glob(".*.part"):  # left by a process that was killed while writing
        left.unlink()
    found = _checkpoints(folder)
    if not found:
        return []
    with _open_state(found[-1]) as state:
        _check_weights(state)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        if average is not None:
            average.load_state_dict(state["average"])
        history: list[Epoch] = list(state["history"])
    _write_log(folder, history)
    return history


def keep(folder: Path, model: nn.Module, epoch: int) -> None:
    """Write the weights after an epoch to a file that later epochs do not replace."""
    _save(_weights(folder, epoch), model.state_dict())


def finish(folder: Path, model: nn.Module, history: list[Epoch], **more: Any) -> None:
    """Write the weights, then the marker of a finished training; delete the checkpoint."""
    _save(_weights(folder), model.state_dict())
    _write_log(folder, history)
    write_json(done_path(folder), {"epochs": len(history), "weights": file_digest(_weights(folder)), **more})
    remove_left(folder)


def remove_left(folder: Path) -> None:
    """Delete the checkpoints of a finished training, including any left by a kill before `finish` deleted them."""
    if done_path(folder).exists():
        for old in _checkpoints(folder):
            old.unlink(missing_ok=True)


def done_path(folder: Path) -> Path:
    """Return the path of the file that marks a training as complete."""
    return folder / "done.json"


def summary(folder: Path) -> dict[str, Any]:
    """Read what `finish` wrote."""
    return read_object(done_path(folder))


def load_weights(folder: Path, model: nn.Module, epoch: int = 0) -> None:
    """Load a training's final weights, or those kept after an epoch. Raises BadFileError."""
    if not epoch and done_path(folder).exists():
        recorded = summary(folder).get("weights")  # older trainings did not write it
        if recorded is not None and recorded != file_digest(_weights(folder)):
            rule = f"not the weights that this training ended with. Delete {folder} to train again"
            raise BadFileError(_weights(folder), rule)
    with _open_state(_weights(folder, epoch)) as state:
        model.load_state_dict(state)


def _check_weights(state: Mapping[str, Any]) -> None:
    """Raise ValueError for weights that differ from those saved, or are not finite."""
    weights = state["model"]
    if state.get("digest", _digest(weights)) != _digest(weights):
        raise ValueError("its weights were changed")
    if broken := [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ValueError(f"{broken[0]} is not a number")


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Compute the digest of weights, whatever device they are on."""
    hasher = hashlib.sha256()
    for name, value in weights.items():
        hasher.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        hasher.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return hasher.hexdigest()[:DIGEST_LENGTH]


def _weights(folder: Path, epoch: int = 0) -> Path:
    return folder / (f"weights-{epoch:05d}.pt" if epoch else "weights.pt")


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.pt"))


def _write_log(folder: Path, history: list[Epoch]) -> None:
    finished = [epoch for epoch in history if "step" not in epoch]
    write_text(folder / "log.jsonl", "".join(json.dumps(epoch) + "\n" for epoch in finished))


def _save(path: Path, value: Any) -> None:
    with atomic_file(path) as part, part.open("wb", buffering=0) as file:
        stream = _Stream(file)
        try:
            torch.save(value, cast("IO[bytes]", stream))
        except RuntimeError:  # torch raises this even for a full disk, hiding the OSError
            raise stream.error or RunError(f"{path} could not be written") from None


class _Stream:
    """A file that remembers why it could not be written."""

    error: OSError | None = None

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def write(self, content: bytes) -> int:
        """Write all of it."""
        view = memoryview(content)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.error = error
            raise
        return len(content)

    def flush(self) -> None:
        """Do nothing: the file has no buffer."""


@contextmanager
def _open_state(path: Path) -> Iterator[Any]:
    """Yield the content of a checkpoint to the block that restores it. Raises BadFileError if restoring fails."""
    try:
        yield torch.load(require_regular_file(path), map_location="cpu", weights_only=True)
    except _NOT_OURS as error:
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise BadFileError(path, f"not a checkpoint of ours ({reason}). Delete {path.parent} to train again") from None
