"""Tables of methods by metrics: results of one protocol on one dataset, one row for all seeds, exceptions marked."""

from __future__ import annotations

import json
import math
import statistics
import string
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any

from bench import registry
from bench.core.bootstrap import interval
from bench.data.published import PUBLISHED
from bench.errors import format_count
from bench.records.result import OTHER_IMAGES, SYNTHETIC, TRAINED_ON, Result
from bench.tables.caveats import FIELDS, caveat_fields, explain_caveats, find_tier, list_caveats
from bench.tables.model import Cell, Row, Table, Value
from bench.tables.numbers import spread, with_interval
from bench.tables.ranked import (
    ReplicatesByAddress,
    SeedGroup,
    average_replicates,
    explain_ranks,
    list_values,
    rank_results,
)


def leaderboards(results: Iterable[Result]) -> list[Table]:
    """Build one table for each protocol and dataset, in the order of appearance."""
    groups: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.protocol, result.dataset].append(result)
    return [
        leaderboard(protocol, dataset, group, _read_conventions(protocol))
        for (protocol, dataset), group in groups.items()
    ]


def _read_conventions(protocol: str) -> dict[str, Any] | None:
    """Return a protocol's own conventions; None if there is no such protocol here."""
    from bench.scoring.protocol import dump_conventions

    if protocol not in registry.protocols():
        return None
    return dump_conventions(registry.bind(registry.protocol(protocol)).conventions)


def leaderboard(
    protocol: str,
    dataset: str,
    results: Sequence[Result],
    conventions: Mapping[str, Any] | None = None,
    draws: ReplicatesByAddress | None = None,
) -> Table:
    """Build the table of results of one protocol on one dataset; `conventions`: the protocol's, if known.

    The best comes first, by rank if there are ranks. Rows evaluated differently than usual (the protocol's own
    conventions, the whole split, as most rows) are marked and explained. The other rows are ranked if `draws` are
    given; if there is only one, the largest group that was evaluated alike under its conventions is ranked instead.
    """
    rows = best_first(group_rows(results))
    metrics = list(dict.fromkeys(name for row in rows for name in row[0].metrics))
    synthetic = " (synthetic)" if dataset in SYNTHETIC else ""
    title = f"{protocol} on {dataset}{synthetic}, per cent"
    remarks = _remarks_of_all(dataset, older=len(results) - sum(map(len, rows)))
    if not rows:
        return Table(title, ("method",), (), remarks=remarks)
    usual = _find_usual_row(rows, conventions)
    alike = _leave_out_oracles(_select_comparable(rows, usual))
    best = {name: {row[0].address for row in _select_best(name, alike)} for name in metrics}
    places = rank_results(alike, metrics[0], draws or {})
    rows = _sort_by_rank(rows, places)
    row_remarks = [remarks_on(row[0], _as_protocol_says(usual[0], conventions)) for row in rows]
    marks = dict(zip(dict.fromkeys(remark for own in row_remarks for remark in own), letters(), strict=False))
    cells = []
    for row, label, own in zip(rows, _labels(rows, row_remarks), row_remarks, strict=True):
        head = _name(row, label, sorted(marks[remark] for remark in own))
        rank = [_rank_cell(places.get(row[0].address))] if places else []
        cells.append((head, *rank, *(_cell(row, name, row[0].address in best[name], draws or {}) for name in metrics)))
    columns = ("method", *(["rank"] if places else []), *metrics)
    remarks = (*remarks, *_explain_numbers(cells))
    if places:
        remarks = (*remarks, explain_ranks(metrics[0], alike, places), *_explain_unranked(rows, alike))
    notes = {mark: remark for remark, mark in marks.items()} | explain_caveats(cells)
    return Table(title, columns, tuple(cells), notes, remarks)


def add_columns(table: Table, *, costs: bool = False) -> Table:
    """Add columns for seeds, net, proposals, supervision and speed to a leaderboard; costs: those of costs instead."""
    known = [row[0].extra for row in table.rows]
    names = [
        name
        for name in dict.fromkeys(name for extra in known for name in extra)
        if any(values := {extra.get(name) for extra in known})
        and name not in (*FIELDS, "results")
        and (name not in _WHERE or len(values) > 1)
        and (name in COSTS) <= costs
        and (not costs or name in (*COSTS, "images/s"))
    ]
    rows = tuple(
        (replace(row[0], extra={}), *row[1:], *(_format_extra(row[0].extra.get(name)) for name in names))
        for row in table.rows
    )
    return replace(table, columns=(*table.columns, *names), rows=rows)


_WHERE = ("split", "images", "by")
"""Fields that need no column if all rows have the same value."""


def _format_extra(value: Value) -> Cell:
    if not isinstance(value, float):
        return Cell(value, str(value or ""))
    return Cell(value, f"{value:.0f}" if value >= 100 else f"{value:.3g}")


def _remarks_of_all(dataset: str, *, older: int) -> tuple[str, ...]:
    """Return the remarks that apply to a whole table."""
    remarks = []
    if dataset in SYNTHETIC:
        remarks.append(f"{dataset} is generated: its numbers say nothing about photographs.")
    if older:
        remarks.append(f"Not shown: {older} older of the same settings and seed (python -m bench list runs).")
    return tuple(remarks)


_TUNED_ON = {"unknown": "unknown (nobody declared with --tuned-on what its settings were chosen on)"}
"""Values that remarks spell out."""


def group_rows(results: Sequence[Result]) -> list[SeedGroup]:
    """Group results that differ in their seed only into rows, sorted by label; the latest record of a seed counts."""
    groups: defaultdict[str, dict[int | str, Result]] = defaultdict(dict)
    for result in sorted(results, key=lambda result: result.created):
        one = result.predictions if result.seed is None else result.seed
        what = [result.config, result.weights, result.train_split, result.split, *get_evaluation((result,))]
        key = json.dumps([result.label, what, one if result.seed is None else None], sort_keys=True)
        groups[key][one] = result
    rows = [tuple(group[seed] for seed in sorted(group, key=str)) for group in groups.values()]
    return sorted(rows, key=lambda row: row[0].label)


def best_first(rows: Sequence[SeedGroup]) -> list[SeedGroup]:
    """Sort rows by their mean of the first metric, those without one last."""
    metric = next((name for row in rows for name in row[0].metrics), "")

    def sort_key(row: SeedGroup) -> float:
        values = list_values(row, metric)
        sign = -1 if row[0].higher_is_better.get(metric, True) else 1
        return sign * statistics.fmean(values) if values else math.inf

    return sorted(rows, key=sort_key)


def _sort_by_rank(rows: Sequence[SeedGroup], places: Mapping[str, int]) -> list[SeedGroup]:
    """Sort rows, given best first, by rank; those without a rank stay in their place."""
    ranked = iter(sorted((row for row in rows if row[0].address in places), key=lambda row: places[row[0].address]))
    return [next(ranked) if row[0].address in places else row for row in rows]


def _explain_numbers(rows: Iterable[Row]) -> Iterator[str]:
    """Explain intervals and spreads, as far as a table has them."""
    texts = [cell.text for row in rows for cell in row[1:]]
    if any("[" in text for text in texts):
        yield "[low, high]: 95 % interval over images, and over seeds where there are several (docs/intervals.md)."
    if any("±" in text for text in texts):
        yield "± s (n): standard deviation of n seeds, each another training; the number before it is their mean."


def get_evaluation(row: SeedGroup) -> tuple[str, str]:
    """Return the digests of the conventions and the ground truth that a row was evaluated with."""
    return row[0].digest, row[0].truth_digest


def _find_usual_row(rows: Sequence[SeedGroup], conventions: Mapping[str, Any] | None) -> SeedGroup:
    """Return a row with the usual conventions and split, preferring the protocol's own and the whole split.

    Of these rows, it is one with the most common training split.
    """
    rows = [row for row in rows if row[0].conventions == conventions] or rows
    rows = [row for row in rows if not row[0].partial] or rows
    (evaluated, _), *_ = Counter(map(get_evaluation, rows)).most_common(1)
    rows = [row for row in rows if get_evaluation(row) == evaluated]
    splits = Counter(row[0].train_split for row in rows)
    return max(rows, key=lambda row: (row[0].train_split is not None, splits[row[0].train_split]))


def _as_protocol_says(usual: Result, conventions: Mapping[str, Any] | None) -> Result:
    """Return the usual result as if evaluated with the protocol's own conventions, if these are known and differ."""
    if conventions in (None, usual.conventions):
        return usual
    return usual.model_copy(update={"conventions": dict(conventions or {}), "digest": ""})


def _select_comparable(rows: Sequence[SeedGroup], usual: SeedGroup) -> list[SeedGroup]:
    """Select the rows evaluated as the usual one; if it is alone, the largest group alike under its conventions."""
    counts = Counter(get_evaluation(row) for row in rows if row[0].digest == usual[0].digest)
    evaluated = get_evaluation(usual) if counts[get_evaluation(usual)] > 1 else max(counts, key=lambda one: counts[one])
    return [row for row in rows if get_evaluation(row) == evaluated]


def _leave_out_oracles(rows: Sequence[SeedGroup]) -> list[SeedGroup]:
    """Return the rows that may be ranked: without those tuned on the evaluated images, unless all are."""
    return [row for row in rows if row[0].tuned_on != "test-oracle"] or list(rows)


def _explain_unranked(rows: Sequence[SeedGroup], ranked: Sequence[SeedGroup]) -> Iterator[str]:
    others = {get_evaluation(row) for row in rows} - {get_evaluation(row) for row in ranked}
    if others:
        yield "Not ranked: what was evaluated on other images or under other conventions."
    if any(row[0].tuned_on == "test-oracle" and row not in ranked for row in rows):
        yield "Not ranked: what was tuned on the evaluated images (test-oracle)."


def remarks_on(result: Result, usual: Result) -> list[str]:
    """List the reasons to mark a result beside the usual one."""
    remarks = []
    if result.digest != usual.digest:
        remarks.append(other_conventions(result, usual))
    if result.truth_digest != usual.truth_digest and not result.partial:
        remarks.append(
            f"evaluated on other images or annotations: {result.split}, {format_count(result.images, 'image')}"
        )
    if result.partial:
        wanted = PUBLISHED.get(usual.dataset, {}).get(usual.split, {}).get("images")
        whole = f" ({usual.split}: {wanted})" if wanted and usual.split != result.split else ""
        remarks.append(f"{OTHER_IMAGES}: evaluated on {result.split}, {format_count(result.images, 'image')}{whole}")
    if result.train_split is not None and usual.train_split not in (None, result.train_split):
        remarks.append(f"trained on {result.train_split}")
    if trained_on := result.counts.get(TRAINED_ON):
        remarks.append(f"{trained_on} of {format_count(result.images, 'evaluated image')} are also trained on")
    if result.tuned_on != "none":
        remarks.append(f"tuned on: {_TUNED_ON.get(result.tuned_on, result.tuned_on)}")
    return remarks


def other_conventions(result: Result, usual: Result) -> str:
    """List the conventions in which a result differs from the usual one."""
    moved = [
        key for key in sorted({*result.conventions, *usual.conventions}) if _switch(result, key) != _switch(usual, key)
    ]
    if not moved:
        return "other conventions: another version of the scoring, or other classes"
    return "other conventions: " + ", ".join(
        f"{key} {_switch(result, key)}, not {_switch(usual, key)}" for key in moved
    )


def _switch(result: Result, key: str) -> str:
    return json.dumps(result.conventions.get(key)).strip('"')


def _labels(rows: Sequence[SeedGroup], remarks: Sequence[Sequence[str]]) -> list[str]:
    """Name the rows; to equal names, the config fields in which they differ are added, and then the split.

    If the remarks are equal too, as for two files scored under one name, the address is added.
    """
    labels = make_distinct_labels([row[0] for row in rows], lambda result: result.split)
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for row, label in zip(rows, labels, strict=True):
        splits[label].add(row[0].split)
    labels = [
        f"{label} [{row[0].split}]" if len(splits[label]) > 1 else label
        for row, label in zip(rows, labels, strict=True)
    ]
    shown = [(label, tuple(own)) for label, own in zip(labels, remarks, strict=True)]
    counts = Counter(shown)
    return [
        label if counts[one] == 1 else f"{label} [{row[0].address[:8]}]"
        for row, label, one in zip(rows, labels, shown, strict=True)
    ]


def make_distinct_labels(results: Sequence[Result], place: Callable[[Result], object] = lambda _: None) -> list[str]:
    """Name each result; results of the same name and place also get the settings in which they differ.

    A field that some results lack, as records older than the field do, is named only if no other distinguishes them.
    A floor is labelled `[untrained]` instead of with all the settings of its training.
    """
    keys = [(_name_untrained(result), place(result)) for result in results]
    namesakes: defaultdict[tuple[str, object], list[Result]] = defaultdict(list)
    for key, result in zip(keys, results, strict=True):
        namesakes[key].append(result)
    differing = {key: _find_differing([result.config for result in same]) for key, same in namesakes.items()}
    return [_format_label(result, differing[key]) for key, result in zip(keys, results, strict=True)]


def _find_differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Find the fields that differ: if possible only those that all configs have. Linear in the number of configs.

    Weights are left out where they follow from the net.
    """
    values: defaultdict[str, set[Hashable]] = defaultdict(set)
    counts = Counter(key for config in configs for key in config)
    for config in configs:
        for key, value in config.items():
            values[key].add(value if isinstance(value, Hashable) else json.dumps(value, sort_keys=True))
    lacking = {key for key, count in counts.items() if count < len(configs)}
    differing = sorted(key for key, found in values.items() if len(found | ({None} if key in lacking else set())) > 1)
    if "net" in differing and len({(config.get("net"), config.get("weights")) for config in configs}) == len(
        values["net"]
    ):
        differing = [key for key in differing if key != "weights"]
    return [key for key in differing if key not in lacking] or differing


def _format_label(result: Result, fields: Sequence[str]) -> str:
    shown = ", ".join(f"{key}={_shorten(result.config.get(key))}" for key in fields)
    return f"{_name_untrained(result)} [{shown}]" if shown else _name_untrained(result)


def _name_untrained(result: Result) -> str:
    is_clear = result.config.get("epochs") != 0 or result.label.endswith("untrained")  # like a track's entry
    return result.label if is_clear else f"{result.label} [untrained]"


def _shorten(value: object) -> str:
    return Path(value).name if isinstance(value, str) else json.dumps(value)


def _select_best(metric: str, rows: Sequence[SeedGroup]) -> list[SeedGroup]:
    """Return the rows with the best mean, if there is more than one row to compare."""
    means = [(statistics.fmean(values), row) for row in rows if (values := list_values(row, metric))]
    if len(means) < 2:
        return []
    best = (max if rows[0][0].higher_is_better.get(metric, True) else min)(mean for mean, _ in means)
    return [row for mean, row in means if mean == best]


def _name(row: SeedGroup, label: str, marks: Sequence[str]) -> Cell:
    first = row[0]
    extra: dict[str, Value] = {
        "split": first.split,
        "images": first.images,
        "seeds": " ".join(str(r.seed) for r in row if r.seed is not None),
        "net": first.config.get("net"),
        "proposals": first.config.get("proposals"),
        "tuned on": first.tuned_on,
        "used": ", ".join(first.used),
        "by": find_tier(first) or "",
        "images/s": average_rate(row, "prediction"),
        **{name: average(row) for name, average in COSTS.items()},
        "results": " ".join(result.address for result in row),
        **caveat_fields(caveats := list_caveats(row)),
    }
    return Cell(label, label, (*marks, *caveats), extra=extra)


def average_cost(row: SeedGroup, find: Callable[[Result], float | None]) -> float | None:
    """Return the mean cost over those results of a row whose cost is known; None if none is."""
    costs = [cost for result in row if (cost := find(result)) is not None]
    return statistics.fmean(costs) if costs else None


def average_rate(row: SeedGroup, step: str) -> float | None:
    """Return the images per second of a step, from the mean time per image over the results of a row."""
    seconds = average_cost(row, lambda result: 1 / rate if (rate := result.images_per_second.get(step)) else None)
    return 1 / seconds if seconds else None


def _average_cost(find: Callable[[Result], float | None]) -> Callable[[SeedGroup], float | None]:
    return partial(average_cost, find=find)


COSTS: Mapping[str, Callable[[SeedGroup], float | None]] = {
    "M parameters": _average_cost(lambda result: None if result.parameters is None else result.parameters / 1e6),
    "GFLOPs": _average_cost(lambda result: None if result.flops is None else result.flops / 1e9),
    "training s": _average_cost(lambda result: result.seconds.get("training")),
    "training images/s": partial(average_rate, step="training"),
    "peak MiB": _average_cost(lambda result: result.peak_memory_mib),
}
"""Columns of a leaderboard on request, beside `images/s`: model size, and what the run took on its machine."""


def _rank_cell(rank: int | None) -> Cell:
    return Cell() if rank is None else Cell(rank, str(rank))


def _cell(row: SeedGroup, metric: str, best: bool, draws: ReplicatesByAddress) -> Cell:
    values = list_values(row, metric)
    if not values:
        return Cell()
    mean = statistics.fmean(values)
    bounds = find_interval(row, metric, mean, draws)
    low, high = bounds or (None, None)
    extra: dict[str, Value] = {f"{metric}_low": low, f"{metric}_high": high}
    text = with_interval(mean, bounds)
    if len(values) > 1:
        deviation = statistics.stdev(values)
        extra |= {f"{metric}_sd": deviation, f"{metric}_n": len(values)}
        text = f"{text} {spread(deviation, len(values))}"
    return Cell(mean, text, best=best, extra=extra)


def find_interval(row: SeedGroup, metric: str, mean: float, draws: ReplicatesByAddress) -> tuple[float, float] | None:
    """Find the interval of a row's number: the recorded one, or that of the mean over its seeds."""
    if len(known := [result for result in row if result.metrics.get(metric) is not None]) == 1:
        return known[0].intervals.get(metric)
    averaged = average_replicates(row, metric, draws)
    return averaged and interval(averaged[1], mean)


def letters() -> Iterator[str]:
    """Generate the marks a ... z, aa ... zz, aaa ..."""
    for length in count(1):
        yield from map("".join, product(string.ascii_lowercase, repeat=length))
