"""Data of the page that compares runs: as exact as `compare`, but for the number of draws; nothing where nothing is."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from record_cases import RECORD

from bench import registry
from bench.analysis.compare import compare, draw_classes
from bench.analysis.errors import ErrorAnalysis, ErrorKind
from bench.core.bootstrap import average_over_seeds, difference_interval
from bench.core.boxes import FloatArray
from bench.core.files import file_digest
from bench.errors import LeftOutWarning
from bench.gallery.curves import read_curves
from bench.records.collection import StoredResult, read_each, read_or_leave_out
from bench.records.outcomes import read_outcomes
from bench.records.replicates import read_replicates
from bench.records.result import Result
from bench.scoring.detection_errors import ORACLES
from bench.site.compare_page import DRAWS, make_index_file, make_result_file
from bench.site.parts import make_board

MEASURED = registry.ROOT / "results" / "measured"
STEP = 1 / 65534


def load(content: str) -> Any:
    return json.loads(content.partition(" = ")[2].removesuffix(";\n"))


def unpack(text: str) -> FloatArray:
    steps = np.frombuffer(b64decode(text), "<u2")
    return np.where(steps == 65535, np.nan, steps / 65534)


@pytest.fixture(scope="module")
def known() -> list[StoredResult]:
    """Three seeds of each of two methods, as published."""
    found = read_each(
        sorted(MEASURED.glob("voc07-corloc.wsddn.*.json")) + sorted(MEASURED.glob("voc07-corloc.oicr.*.json"))
    )
    assert {len({one.result.seed for one in found if one.result.method == name}) for name in ("wsddn", "oicr")} == {3}
    return found


def test_a_page_gets_what_compare_computes_from(known: list[StoredResult]) -> None:
    a, b = known[0], known[-1]
    one, other = (load(make_result_file(each)) for each in (a, b))
    found = compare([a], [b], per_class=True)
    assert one["metrics"][0][1] - other["metrics"][0][1] == found.metrics["CorLoc"].difference
    assert one["replicates"]["draws"] == other["replicates"]["draws"]
    apart = unpack(one["replicates"]["of"][0][1]) - unpack(other["replicates"]["of"][0][1])
    whole = found.metrics["CorLoc"]
    assert whole.difference is not None
    assert whole.interval == pytest.approx(difference_interval(apart, whole.difference), abs=2 * STEP)
    exact = draw_classes(a)["CorLoc"], draw_classes(b)["CorLoc"]
    assert [name for name, _ in one["classes"]["values"]] == [*exact[0]]
    for at, name in enumerate(exact[0]):
        drawn = unpack(one["classes"]["draws"][at]) - unpack(other["classes"]["draws"][at])
        np.testing.assert_allclose(drawn, (exact[0][name] - exact[1][name])[:DRAWS], rtol=0, atol=STEP)
        line = found.per_class["CorLoc"][name]
        assert one["classes"]["values"][at][1] - other["classes"]["values"][at][1] == line.difference
        assert line.difference is not None
        few, many = difference_interval(drawn, line.difference), line.interval
        assert few is not None
        assert many is not None
        assert np.abs(np.subtract(few, many)).max() < 0.15 * (many[1] - many[0]) + STEP  # fewer draws


def test_a_mean_over_seeds_is_drawn_as_everywhere(known: list[StoredResult]) -> None:
    wanted = ("oicr", "train_subset", "squeezenet")
    seeds = [one for one in known if (one.result.method, one.result.split, one.result.config["net"]) == wanted]
    board = make_board("voc07-corloc", "voc2007", seeds)
    index = load(make_index_file([board], seeds))
    label, results = index["boards"][0]["rows"][0]
    assert (label, [seed for _, seed in results]) == (board.table.rows[0][0].text, [0, 1, 2])
    draws = [read_replicates(one.record) for one in seeds]
    values = np.stack([one.values["CorLoc"] for one in draws if one is not None])
    which = np.frombuffer(b64decode(index["seeds"][f"3,{values.shape[1]}"]), np.uint8).reshape(2, -1)
    mean = np.take_along_axis(values, which.astype(np.int64), axis=0).mean(axis=0)
    np.testing.assert_array_equal(mean, average_over_seeds(values))
    assert f"3,{DRAWS}" in index["seeds"]


def test_images_are_as_they_were_evaluated(known: list[StoredResult]) -> None:
    result = known[0].result
    images = load(make_result_file(known[0]))["images"]
    value, label = unpack(images["value"]), np.frombuffer(b64decode(images["label"]), "<u2")
    assert images["classes"] == [*result.per_class["CorLoc"]]
    shares = {name: value[label == at].mean() for at, name in enumerate(images["classes"])}
    assert shares == pytest.approx(result.per_class["CorLoc"])
    assert np.frombuffer(b64decode(images["image"]), "<u4").max() < result.images


def test_what_is_not_beside_a_record_is_not_in_its_data(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    fields: dict[str, Any] = {**RECORD, "address": evil, "method": evil, "config": {evil: evil}}
    metrics: dict[str, Any] = {
        "metrics": {"mAP": 0.5},
        "higher_is_better": {"mAP": True},
        "per_class": {"mAP": {evil: 0.5}},
    }
    content = make_result_file(StoredResult(Result(**fields, **metrics), tmp_path / "0.json"))
    assert "<" not in content
    data = load(content)
    assert (data["replicates"], data["images"], data["errors"], data["costs"]) == (None, None, None, [])
    assert data["classes"] == {"metric": "mAP", "values": [[evil, 0.5]], "draws": None}
    assert [evil, json.dumps(evil)] in data["settings"]


def test_kinds_of_errors_and_pages_of_images_are_named(known: list[StoredResult]) -> None:
    kinds = (ErrorKind("correct", 3, 0.75, (0.5, 0.9)), ErrorKind(next(iter(ORACLES)), None, 0.25))
    errors = ErrorAnalysis("oicr", "voc07-corloc", "voc2007 train", None, kinds)
    data = load(make_result_file(known[0], errors, "images/a.js"))
    assert data["errors"] == {"cost": None, "kinds": [["correct", 3, 0.75, [0.5, 0.9]]]}
    assert (data["pages"], data["split"]) == ("images/a.js", known[0].result.split)


def drop_images(table: pa.Table) -> pa.Table:
    return table.drop_columns("image")


def lose_an_image(table: pa.Table) -> pa.Table:
    images = [None, *table["image"].to_pylist()[1:]]
    return table.set_column(0, "image", pa.array(images, pa.int32()))


def label_beyond_the_classes(table: pa.Table) -> pa.Table:
    return table.set_column(1, "label", pa.array([99] * len(table), pa.int32()))


def rename_scores(table: pa.Table) -> pa.Table:
    return table.rename_columns({"score": "other"})


@pytest.mark.parametrize("damage", [drop_images, lose_an_image, label_beyond_the_classes, rename_scores])
def test_damaged_outcomes_are_left_out_of_the_pages(damage: Callable[[pa.Table], pa.Table], tmp_path: Path) -> None:
    (one,) = read_each(sorted(MEASURED.glob("voc07-cls-val.lse.*.json"))[:1])
    record = tmp_path / one.record.name
    pq.write_table(damage(pq.read_table(one.record.with_suffix(".parquet"))), path := record.with_suffix(".parquet"))
    for digest, rule in ((one.result.outcomes_digest, "not the outcomes that"), (file_digest(path), "outcomes")):
        damaged = StoredResult(one.result.model_copy(update={"outcomes_digest": digest}), record)
        with pytest.warns(LeftOutWarning, match=f"left out 1 file:\n.*{rule}"):
            data = load(make_result_file(damaged))
        with pytest.warns(LeftOutWarning, match=rule):
            read_or_leave_out(read_curves, damaged)
        assert data["images"] is None
        assert data["classes"]["draws"] is None


def test_an_image_that_is_ranked_counts_by_the_classes_it_shows() -> None:
    (one,) = read_each(sorted(MEASURED.glob("voc07-cls-val.lse.*.json"))[:1])
    images = load(make_result_file(one))["images"]
    outcomes = read_outcomes(one.record, one.result)
    assert outcomes is not None
    table = outcomes.table.filter(outcomes.table["positive"])
    for name, kind in (("image", "<u4"), ("label", "<u2")):
        np.testing.assert_array_equal(np.frombuffer(b64decode(images[name]), kind), table[name].to_numpy())
    values = unpack(images["value"])
    assert values.min() > 0
    assert values.max() == 1
    assert images["measure"].startswith("Each class that the image shows counts with the precision")
