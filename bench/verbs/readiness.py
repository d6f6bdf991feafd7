"""Which protocols can be trained for and evaluated here: those whose ground truth and photographs are on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench import registry
from bench.core.files import Places
from bench.data.datasets import Dataset
from bench.errors import BenchError, MissingDataError, format_count
from bench.execution.dataset_cache import DatasetCache
from bench.records.result import SYNTHETIC
from bench.scoring.protocol import Record


@dataclass(frozen=True)
class Readiness:
    """What can be done under a protocol on a dataset. reason: why it cannot be run."""

    protocol: str
    dataset: str
    run: bool
    """Whether methods can be trained and evaluated."""
    score: bool
    """Whether files of predictions can be scored, which takes no photographs."""
    reason: str = ""


def examine_protocols(names: Iterable[str], places: Places) -> list[Readiness]:
    """Examine the protocols of these datasets; a dataset without its own is examined under those for any dataset."""
    records = [registry.protocol(name) for name in registry.protocols()]
    datasets = DatasetCache(places)
    return [found for name in names for found in _examine_dataset(name, records, datasets)]


def _examine_dataset(name: str, records: Sequence[Record], datasets: DatasetCache) -> list[Readiness]:
    own = [record for record in records if record.dataset == name]
    general = [record for record in records if record.dataset is None]
    try:
        dataset = datasets.dataset(name, {})
        dataset.splits()
    except MissingDataError:
        return [_refuse(record, name, "the dataset is not on disk") for record in own]
    except (BenchError, OSError) as error:
        return [_refuse(record, name, str(error)) for record in own or general]
    return [_examine_protocol(record, dataset, datasets) for record in own or general]


def _refuse(record: Record, name: str, reason: str) -> Readiness:
    return Readiness(record.name, name, run=False, score=False, reason=reason)


def _examine_protocol(record: Record, dataset: Dataset, datasets: DatasetCache) -> Readiness:
    lacking = _find_lacking_truth(record, dataset, datasets)
    reason = lacking or _find_missing_images(record, dataset, datasets)
    return Readiness(record.name, dataset.name, run=not reason, score=not lacking, reason=reason)


def _find_lacking_truth(record: Record, dataset: Dataset, datasets: DatasetCache) -> str:
    """Describe the ground truth that a protocol lacks; empty if it has all."""
    try:
        truth = datasets.ground_truth(dataset, record.eval_split)
        error = registry.bind(record).find_missing_truth(dataset, truth)
    except (BenchError, OSError) as missing:
        return str(missing)
    return "" if error is None else str(error)


def _find_missing_images(record: Record, dataset: Dataset, datasets: DatasetCache) -> str:
    """Describe the missing photographs; empty if there are none. Synthetic images are generated when needed."""
    found = []
    for split in dict.fromkeys((record.train_split, record.eval_split)):
        try:
            ids = datasets.ground_truth(dataset, split).ids
        except (BenchError, OSError) as error:
            return str(error)
        if dataset.name not in SYNTHETIC and (missing := dataset.list_missing_images(ids)):
            found.append(f"{len(missing)} of {format_count(len(ids), 'photograph')} of {split}")
    return f"not on disk: {' and '.join(found)}" if found else ""


def format_readiness(found: Sequence[Readiness]) -> list[str]:
    """Format what can be done here as lines, with protocols of the same reason together."""
    able = [one.protocol for one in found if one.run]
    groups: dict[tuple[str, bool], list[str]] = {}
    for one in found:
        if not one.run:
            groups.setdefault((one.reason, one.score), []).append(one.protocol)
    none = "none of published datasets; --data shapes, or a dataset of your own, needs no download"
    lines = [f"Protocols that can be run here: {', '.join(able) or none}"]
    for (reason, score), names in groups.items():
        what = "Only scored, from files of predictions" if score else "Neither run nor scored"
        lines.append(f"{what}: {', '.join(names)} ({reason.rstrip('.')})")
    return lines
