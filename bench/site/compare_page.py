"""The page that compares runs: data files of each result, and of all to choose from, for `assets/compare.js`.

All results on the same images share their bootstrap draws, so that differences are paired, as in
`bench.analysis.compare`. Numbers are base64 of little-endian integers: multiples of 1/65534, 65535 if undefined.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bench.analysis.compare import draw_classes
from bench.analysis.errors import ErrorAnalysis
from bench.core.boxes import FloatArray
from bench.core.columns import get_column
from bench.errors import BadFileError
from bench.gallery.image_card import explain_goodness, goodness
from bench.records.collection import StoredResult, read_or_leave_out
from bench.records.outcomes import OLD, UNREADABLE, read_outcomes
from bench.records.replicates import read_replicates
from bench.records.result import SYNTHETIC, Result
from bench.scoring.detection_errors import ORACLES
from bench.site.data import make_data_file
from bench.site.parts import Board
from bench.site.paths import data_file, run_page
from bench.tables.caveats import CAVEATS, ONE_SEED, list_caveats

PAGE, INDEX = "compare.html", "data/compare.js"

DRAWS = 300
"""Replicates of each class on a page; `compare --per-class` draws more."""

_STEPS, _UNDEFINED = 65534, 65535

Json = dict[str, Any]


def make_index_file(boards: Sequence[Board], known: Sequence[StoredResult]) -> str:
    """Make the data file of what can be chosen: the rows of each leaderboard, each with its results and their seeds."""
    listed = [
        {
            "protocol": board.protocol,
            "dataset": board.dataset,
            "rows": [
                [row[0].text, [[one.address, one.seed] for one in group]]
                for row, group in zip(board.table.rows, board.of, strict=True)
            ],
        }
        for board in boards
    ]
    return make_data_file(INDEX, {"boards": listed, "seeds": dict(_list_seed_draws(boards, known))})


def _list_seed_draws(boards: Sequence[Board], known: Sequence[StoredResult]) -> Iterator[tuple[str, str]]:
    """Yield the seeds drawn for each replicate of a mean over seeds, by `seeds,replicates`.

    They are those of `bench.core.bootstrap.average_over_seeds`, which browsers cannot draw.
    """
    records = {one.result.address: one.record for one in known}
    several = [group for board in boards for group in board.of if len(group) > 1]
    read = {len(group): read_replicates(records[group[0].address]) for group in several}
    for seeds in sorted(read):
        values = () if (found := read[seeds]) is None else found.values.values()
        for count in sorted({DRAWS, *map(len, values)}):
            drawn = np.random.default_rng(seeds).integers(0, seeds, (seeds - 1, count))
            yield f"{seeds},{count}", _encode(drawn, "u1")


def make_result_file(one: StoredResult, errors: ErrorAnalysis | None = None, pages: str | None = None) -> str:
    """Make the data file of a result; damaged files beside its record are left out, with a warning.

    pages: the data file of its split's image pages, if any.
    """
    result = one.result
    data = {
        **{name: getattr(result, name) for name in ("address", "label", "seed", "protocol", "dataset", "split")},
        "count": result.images,
        "page": run_page(result.address),
        "synthetic": result.dataset in SYNTHETIC,
        "digests": {"conventions": result.digest, "ids": result.ids_digest, "truth": result.truth_digest},
        "conventions": [[name, json.dumps(value)] for name, value in sorted(result.conventions.items())],
        "metrics": [[name, value, result.higher_is_better[name]] for name, value in result.metrics.items()],
        "replicates": _pack_replicates(one),
        "classes": _pack_classes(one),
        "images": read_or_leave_out(_pack_images, one),
        "pages": pages,
        "settings": _list_settings(result),
        "costs": [*_list_costs(result)],
        "caveats": [[mark == ONE_SEED, CAVEATS[mark]] for mark in list_caveats([result])],
        "errors": None if errors is None else _list_kinds(errors),
    }
    return make_data_file(data_file(result.address), data)


def _pack_replicates(one: StoredResult) -> Json | None:
    found = read_replicates(one.record)
    return found and {"draws": found.draws, "of": [[name, _pack(values)] for name, values in found.values.items()]}


def _pack_classes(one: StoredResult) -> Json | None:
    """Pack the first metric by class, with replicates of each class if outcomes are stored."""
    metric = next(iter(one.result.per_class), None)
    if metric is None:
        return None
    values = one.result.per_class[metric]
    drawn = read_or_leave_out(_draw_classes, one)
    draws = drawn and [_pack(drawn[metric][name]) for name in values]
    return {"metric": metric, "values": [*values.items()], "draws": draws}


def _draw_classes(one: StoredResult) -> Mapping[str, Mapping[str, FloatArray]] | None:
    return draw_classes(one, DRAWS) if one.record.with_suffix(".parquet").exists() else None


def _pack_images(one: StoredResult) -> Json | None:
    """Pack the rated outcomes: image, class if any, and value; None if none is rated."""
    if (outcomes := read_outcomes(one.record, one.result)) is None:
        return None
    try:
        values = goodness(outcomes.table)
    except UNREADABLE:
        raise BadFileError(one.record.with_suffix(".parquet"), OLD) from None
    if not (known := np.isfinite(values)).any():
        return None
    columns = {
        name: get_column(outcomes.table, name)[known]
        for name in ("image", "label")
        if name in outcomes.table.column_names
    }
    return {
        "image": _encode(columns["image"], "<u4"),
        "label": _encode(columns["label"], "<u2") if "label" in columns else None,
        "value": _pack(values[known]),
        "classes": outcomes.classes,
        "measure": explain_goodness(outcomes.table.column_names),
    }


def _list_settings(result: Result) -> list[tuple[str, str]]:
    """List the settings that `compare` compares."""
    settings = {**result.config, "weights": result.weights, "train split": result.train_split}
    return [(name, json.dumps(value, ensure_ascii=False)) for name, value in settings.items()]


def _list_costs(result: Result) -> Iterator[tuple[str, float]]:
    """Yield what a run cost in time and memory, and the size of its net."""
    for name in ("training", "prediction"):
        if name in result.seconds:
            yield f"seconds of {name}", result.seconds[name]
    if result.images_per_second.get("prediction"):
        yield "milliseconds an image, predicting", 1000 / result.images_per_second["prediction"]
    known = {
        "parameters": result.parameters,
        "operations an image": result.flops,
        "MiB of memory": result.peak_memory_mib,
    }
    yield from ((name, value) for name, value in known.items() if value is not None)


def _list_kinds(errors: ErrorAnalysis) -> Json:
    kinds = [kind for kind in errors.kinds if kind.name not in ORACLES]
    return {"cost": errors.cost, "kinds": [[kind.name, kind.count, kind.value, kind.interval] for kind in kinds]}


def _pack(values: FloatArray) -> str:
    """Pack fractions (n,), NaN where undefined."""
    steps = np.where(np.isfinite(values), np.round(np.nan_to_num(values) * _STEPS), _UNDEFINED)
    return _encode(steps, "<u2")


def _encode(values: Any, kind: str) -> str:
    return b64encode(np.asarray(values).astype(kind).tobytes()).decode()
