"""Runs that a method builds on, named in its config: where their predictions are, and what they say of a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from bench.core.files import file_digest
from bench.data.ground_truth import Truth
from bench.errors import BadFileError, RequestError
from bench.predictions.formats import read_any
from bench.predictions.table import KINDS, Predictions, Resolved, resolve, stored
from bench.records.store import Store

Config = TypeVar("Config", bound=BaseModel)
FIELDS = ("runs", "pseudo")
"""Config fields that name other runs, several or one, by address or as a file."""


def found(method: str, config: Config, store: Store) -> Config:
    """The config with the runs that it names as paths: folders of predictions, or files of anybody's.

    Raises RequestError where none is named, UnknownNameError for an address, MissingDataError.
    """
    named = {key: getattr(config, key) for key in FIELDS if key in type(config).model_fields}
    for key, runs in named.items():
        if not runs:
            example = "ADDRESS" if isinstance(runs, str) else "ADDRESS+ADDRESS"
            raise RequestError(
                f"{method} builds on other runs: give --set {key}={example} (python -m bench list runs)."
            )
    paths = _each(lambda run: run if Path(run).is_file() else str(store.earlier(run)), named)
    return config.model_copy(update=paths) if paths else config


def digests(config: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for the runs of a config in an address: that of their predictions, or the digest of a file."""
    return _each(lambda run: file_digest(Path(run)) if Path(run).is_file() else Path(run).name, config)


def names(config: Mapping[str, Any]) -> dict[str, Any]:
    """The runs of a config for others to read: without the folders of this machine."""
    return _each(lambda run: Path(run).name, config)


def said(run: str, kind: str, truth: Truth) -> Resolved | None:
    """Predictions of a kind by a run, on the images of a truth; None where the run made none of that kind.

    Raises BadFileError, and RequestError for a run that lacks some of the images.
    """
    path = Path(run)
    file = stored(path, kind) if path.is_dir() else path
    if path.is_dir() and not file.exists():
        return None
    predictions = read_any(file, truth, list(dict.fromkeys([kind, *KINDS])))
    return resolve(_on(truth, predictions, path.name), truth) if predictions.kind == kind else None


def _on(truth: Truth, predictions: Predictions, run: str) -> Predictions:
    """Those on the images of a truth. Raises RequestError where some have none."""
    about, image = predictions.about, predictions.table["image"]
    ids = set(_names(image, run)) if about.ids is None else set(about.ids)
    if missing := [name for name in truth.ids if name not in ids]:
        on = " ".join(filter(None, [about.dataset, about.split])) or "other images"
        raise RequestError(
            f"{run} ({about.made_by}) is on {on}, without {len(missing)} of the {len(truth.ids)} images of "
            f"{truth.dataset} {truth.split} (first: {missing[0]}). Run it on these (--split, --train-split), name that."
        )
    mine = predictions.table.filter(pc.is_in(image, pa.array(truth.ids, pa.string())))
    return replace(predictions, table=mine, about=replace(about, ids=truth.ids))


def _names(image: pa.ChunkedArray, run: str) -> list[str]:
    try:
        return list(image.unique().to_pylist())
    except UnicodeDecodeError:
        raise BadFileError(Path(run), "an image is not UTF-8 text") from None


def _each(what: Callable[[str], str], config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that name runs, each name changed; several stay a tuple, or a list as JSON has it."""
    given = {key: config[key] for key in FIELDS if key in config}
    return {key: what(runs) if isinstance(runs, str) else type(runs)(map(what, runs)) for key, runs in given.items()}
