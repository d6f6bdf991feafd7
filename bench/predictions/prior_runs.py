"""Prior runs that a method builds on, named in its config: locating their predictions, and reading them on a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from bench.core.files import file_digest, read_object
from bench.data.ground_truth import GroundTruth
from bench.errors import BadFileError, RequestError
from bench.predictions.formats import read_any
from bench.predictions.table import KINDS, Predictions, ResolvedPredictions, locate_predictions, resolve
from bench.records.store import Store

Config = TypeVar("Config", bound=BaseModel)
FIELDS = ("runs", "pseudo")
"""Config fields that name one or several prior runs, each by address or as a file."""


def resolve_prior_runs(method: str, config: Config, store: Store) -> Config:
    """Replace the runs that a config names by paths: folders of our own predictions, or files from elsewhere.

    Raises RequestError if no run is named, UnknownNameError for an unknown address, MissingDataError if the
    predictions are not kept.
    """
    named = {key: getattr(config, key) for key in FIELDS if key in type(config).model_fields}
    for key, runs in named.items():
        if not runs:
            example = "ADDRESS" if isinstance(runs, str) else "ADDRESS+ADDRESS"
            raise RequestError(
                f"{method} builds on other runs: give --set {key}={example} (python -m bench list runs)."
            )
    paths = _map_runs(lambda run: run if Path(run).is_file() else str(store.find_predictions(run)), named)
    return config.model_copy(update=paths) if paths else config


def digest_prior_runs(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies a config's runs in an address: the address of their predictions, or a file's digest."""
    return _map_runs(lambda run: file_digest(Path(run)) if Path(run).is_file() else Path(run).name, config)


def name_prior_runs(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names of a config's runs, without the folders of this machine."""
    return _map_runs(lambda run: Path(run).name, config)


def list_steps(store: Store, address: str, kinds: Sequence[str] = ()) -> Iterator[Path]:
    """List the files with the cost and provenance of a run's steps, including those of the runs that it builds on.

    kinds: of predictions; empty: all.
    """
    folder = store.predictions_folder(address)
    key = read_object(folder / "config.json", "config", "training")
    config = dict(key["config"])
    yield from [folder / f"{kind}.json" for kind in kinds] or sorted(
        {*folder.glob("*.json")} - {folder / "config.json", folder / "code.json"}
    )
    if key["training"]:
        training = store.training_folder(key["training"])
        yield training / "done.json"
        known = training / "config.json"
        config |= read_object(known, "config")["config"] if known.exists() else {}
    for field in FIELDS:
        runs = config.get(field, ())
        for run in [runs] if isinstance(runs, str) else runs:
            if (store.predictions_folder(run) / "config.json").exists():
                yield from list_steps(store, run)


def read_prior_predictions(run: str, kind: str, truth: GroundTruth) -> ResolvedPredictions | None:
    """Read a run's predictions of a kind on the images of `truth`; None if the run made none of that kind.

    Raises BadFileError, and RequestError if the run lacks some of the images.
    """
    path = Path(run)
    file = locate_predictions(path, kind) if path.is_dir() else path
    if path.is_dir() and not file.exists():
        return None
    predictions = read_any(file, truth, list(dict.fromkeys([kind, *KINDS])))
    return resolve(_select_images(truth, predictions, path.name), truth) if predictions.kind == kind else None


def _select_images(truth: GroundTruth, predictions: Predictions, run: str) -> Predictions:
    """Return the predictions on the images of `truth`. Raises RequestError if some images are not covered."""
    about, image = predictions.about, predictions.table["image"]
    ids = set(_image_ids(image, run)) if about.ids is None else set(about.ids)
    if missing := [name for name in truth.ids if name not in ids]:
        origin = " ".join(filter(None, [about.dataset, about.split])) or "other images"
        raise RequestError(
            f"{run} ({about.made_by}) is on {origin}, without {len(missing)} of the {len(truth.ids)} images of "
            f"{truth.dataset} {truth.split} (first: {missing[0]}). "
            "Run it on these images (--split, --train-split) and name that run."
        )
    selected = predictions.table.filter(pc.is_in(image, pa.array(truth.ids, pa.string())))
    return replace(predictions, table=selected, about=replace(about, ids=truth.ids))


def _image_ids(image: pa.ChunkedArray, run: str) -> list[str]:
    try:
        return list(image.unique().to_pylist())
    except UnicodeDecodeError:
        raise BadFileError(Path(run), "an image is not UTF-8 text") from None


def _map_runs(convert: Callable[[str], str], config: Mapping[str, Any]) -> dict[str, Any]:
    """Convert each name in the fields that name runs; several names stay a tuple, or a list if read from JSON."""
    given = {key: config[key] for key in FIELDS if key in config}
    return {
        key: convert(runs) if isinstance(runs, str) else type(runs)(map(convert, runs)) for key, runs in given.items()
    }
