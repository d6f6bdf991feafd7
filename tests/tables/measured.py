"""Made-up results that papers' tables are tested with, and a table with them beneath."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from record_cases import RECORD

from bench import registry
from bench.records.replicates import Replicates
from bench.records.result import Result
from bench.scoring.protocol import dump_conventions
from bench.tables.beside import table_beside
from bench.tables.matching import Matches, Read, matches
from bench.tables.model import Table
from bench.tables.reported import load_table


def result(protocol: str, label: str, metrics: dict[str, float | None], **more: Any) -> Result:
    """A result of a method on all of its protocol's split, evaluated as the protocol says."""
    bound = registry.bind(registry.protocol(protocol))
    record = bound.record
    method, _, variant = label.partition(":")
    per_class = more.pop("per_class", {})
    made = {
        **RECORD,
        "address": f"{protocol} {label} {more}",
        "protocol": protocol,
        "family": record.family,
        "digest": bound.digest(tuple(next(iter(per_class.values()), ()))),
        "conventions": dump_conventions(bound.conventions),
        "dataset": record.dataset,
        "split": record.eval_split,
        "method": method,
        "variant": variant or None,
        "seed": 0,
        "train_split": record.train_split,
        "metrics": metrics,
        "higher_is_better": {name: bound.family.METRICS[name] for name in metrics},
        "per_class": per_class,
    }
    return Result(**{**made, **more})


def none_kept(_address: str) -> Replicates | None:
    """No replicates."""
    return None


def found(name: str, results: Sequence[Result], read: Read = none_kept) -> Matches:
    """What results say of a paper's table."""
    table = load_table(name)
    bound = {protocol: registry.bind(registry.protocol(protocol)) for protocol in table.protocols()}
    return matches(table, results, bound, read)


def beside(name: str, results: Sequence[Result], read: Read = none_kept) -> Table:
    """A paper's table with results beneath."""
    table = load_table(name)
    higher = {
        (protocol, metric): better
        for protocol in table.protocols()
        for metric, better in registry.family(registry.protocol(protocol).family).METRICS.items()
    }
    return table_beside(table, found(name, results, read), higher)
