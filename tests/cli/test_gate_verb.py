"""`gate`, `trend` and the papers' tables as their users meet them: exit codes, one JSON document, messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from record_cases import RECORD

from bench import registry
from bench.core.bootstrap import interval
from bench.records.replicates import build_table, replicates_path
from bench.records.result import Result, write_result

pytestmark = pytest.mark.usefixtures("made_up_addresses")

DRAWS = np.random.default_rng(0).normal(0, 0.02, 200)

Write = Callable[..., Result]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write("runs", 69.5, ...)`: a result of `center` on voc07-point, as a run would have left it."""

    def record(folder: str, points: float, protocol: str = "voc07-point", **more: Any) -> Result:
        bound = registry.bind(registry.protocol(protocol))
        metric = bound.metrics[0]
        made: dict[str, Any] = {
            **RECORD,
            "created": "2025-01-01",
            "address": f"{folder}{points}".replace(".", ""),
            "protocol": protocol,
            "family": bound.record.family,
            "conventions": bound.conventions.model_dump(mode="json"),
            "dataset": bound.record.dataset,
            "split": bound.record.eval_split,
            "method": "center",
            "metrics": {metric: points / 100},
            "higher_is_better": {metric: bound.family.METRICS[metric]},
            "intervals": {metric: interval(points / 100 + DRAWS, points / 100)},
            "provenance": {"revision": "a" * 40, "dirty": False},
        }
        result = Result(**{**made, **more})
        place = {"runs": tmp_path / "runs" / "results", "old": tmp_path / "old"}[folder]
        path = place / f"{result.address}.json"
        write_result(path, result)
        pq.write_table(build_table({metric: points / 100 + DRAWS}, 100, 0), replicates_path(path))
        return result

    return record


def test_the_latest_results_are_selected_once(here, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.analysis import baselines

    calls, select = [], baselines.select_latest

    def count(kept: list[Any]) -> Any:
        calls.append([one.result.address for one in kept])
        return select(kept)

    for module in ("baselines", "gate"):
        monkeypatch.setattr(f"bench.analysis.{module}.select_latest", count)
    old, new = write("old", 69.5), write("runs", 69.4)
    assert here("gate", "--baseline", "old").code == 0
    assert calls == [[old.address], [new.address]]


@pytest.mark.parametrize(
    ("protocol", "points", "code", "says"),
    [
        ("voc07-point", 67.5, 1, "regressed"),
        ("voc07-point", 69.4, 0, "unchanged"),
        ("voc07-point", 71.5, 0, "improved"),
        ("cub-loc", 71.5, 1, "regressed"),  # an error
        ("cub-loc", 67.5, 0, "improved"),
    ],
)
def test_the_exit_code_is_whether_a_result_regressed(
    here, write: Write, protocol: str, points: float, code: int, says: str
) -> None:
    write("old", 69.5, protocol)
    write("runs", points, protocol)
    answer = here("gate", "--baseline", "old")
    assert answer.code == code
    assert answer.out.startswith(f"Gate: 1 {says}\n")


def test_a_result_without_a_baseline_does_not_fail_unless_none_has_one(here, write: Write) -> None:
    write("runs", 69.5)
    answer = here("gate", "--baseline", "old")
    assert (answer.code, answer.out.startswith("Gate: 1 no baseline\n")) == (2, True)
    assert not json.loads(here("gate", "--baseline", "old", "--json").out)["passed"]
    assert "Error: No baselines in old, so nothing can regress: --accept REASON makes" in answer.err
    write("old", 69.5, "cub-loc")
    answer = here("gate", "--baseline", "old")
    assert answer.code == 0
    assert answer.out.startswith("Gate: 1 no baseline\n")


@pytest.mark.parametrize("verb", [("gate",), ("sync",), ("runs", "du"), ("runs", "prune", "--older", "1d")])
def test_a_runs_folder_that_is_not_there_is_not_an_empty_one(here, write: Write, verb: tuple[str, ...]) -> None:
    write("old", 69.5)
    answer = here(*verb, "--runs", "nope")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "Error: Runs folder not found: looked in nope. Give the one that the runs were made in.\n"
    assert not Path("nope").exists()


@pytest.mark.parametrize("verb", [("table",), ("trend",), ("list", "runs"), ("list", "submissions")])
def test_who_shows_nothing_says_where_it_looked(here, verb: tuple[str, ...]) -> None:
    answer = here(*verb, "--runs", "nope")
    assert (answer.code, answer.out.strip()) == (0, "")
    assert answer.err.startswith("Note: there is no runs folder nope, so none of its results is shown.\nNo")
    assert here(*verb, "--results", "gone").err.startswith("Note: there is no folder of results gone.\nNo")


def test_a_data_root_that_is_not_there_is_not_an_empty_one(here) -> None:
    answer = here("data", "check", "--data-root", "nope")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "Error: Data root not found: looked in nope. Give the folder that the datasets are in.\n"


def test_a_gate_without_results_is_a_wrong_request(here) -> None:
    answer = here("gate")
    assert answer.code == 2
    assert answer.err.startswith("Error: No results in runs/results or ")


def test_the_tolerance_is_in_points(here, write: Write) -> None:
    write("old", 69.5)
    write("runs", 67.5)
    assert here("gate", "--baseline", "old", "--tolerance", 2.5).code == 0


def test_only_the_named_results_are_checked(here, write: Write) -> None:
    write("old", 69.5)
    write("runs", 67.5)
    good = write("runs", 69.4, created="2024")
    assert here("gate", good.address, "--baseline", "old").code == 0
    assert here("gate", "--baseline", "old").code == 1


def test_a_pull_request_gets_markdown_and_a_program_one_document(here, write: Write) -> None:
    write("old", 69.5)
    fallen = write("runs", 67.5)
    page = here("gate", "--baseline", "old", "--format", "md")
    assert page.code == 1
    assert page.out.startswith("**Gate: 1 regressed**\n\n| method")
    answer = here("gate", "--baseline", "old", "--json")
    assert answer.code == 1
    document = answer._replace(code=0).json()
    (check,) = document["checks"]
    assert not document["passed"]
    assert (check["status"], check["noise"], check["address"]) == ("regressed", "paired", fallen.address)
    assert check["difference"] == pytest.approx(-0.02)


def test_accepting_moves_the_baseline_and_keeps_the_reason(here, write: Write, tmp_path: Path) -> None:
    write("old", 69.5)
    write("runs", 67.5)
    answer = here("gate", "--baseline", "old", "--accept", "ties are broken by id now")
    assert answer.code == 0
    moved = "Accepted center · voc07-point on voc2007 test: accuracy 67.5, was accuracy 69.5"
    assert answer.out == f"{moved}\nWrote 1 baseline to old.\n"
    assert "ties are broken by id now" in (tmp_path / "old" / "accepted.jsonl").read_text()
    assert here("gate", "--baseline", "old").code == 0
    assert "These results are already the baselines" in here("gate", "--baseline", "old", "--accept", "again").out


def test_a_baseline_from_an_edited_checkout_is_refused(here, write: Write, tmp_path: Path) -> None:
    write("old", 69.5)
    write("runs", 60.0, split="few")
    edited = write("runs", 67.5, provenance={"revision": "a" * 40, "dirty": True, "changed": ["bench/api.py"]})
    answer = here("gate", "--baseline", "old", "--accept", "why")
    assert answer.code == 2
    assert f"Result {edited.address} was made in an edited checkout (bench/api.py)" in answer.err
    assert not (tmp_path / "old" / "accepted.jsonl").exists()
    assert here("gate", "--baseline", "old", "--accept", "why", "--allow-dirty").code == 0
    assert here("gate", "--baseline", "old", "--accept", "why").code == 0  # it has been accepted
    page = here("gate", "--baseline", "old").out
    assert "center §" in page
    assert "§ from an edited checkout" in page


def test_a_reason_must_say_something(here, write: Write) -> None:
    write("runs", 67.5)
    answer = here("gate", "--baseline", "old", "--accept", " ")
    assert answer.code == 2
    assert "--accept" in answer.err


def test_a_trend_is_text_and_one_document(here, write: Write) -> None:
    write("runs", 67.5)
    write("runs", 69.5, created="2025-01-02", provenance={"revision": "b" * 40, "dirty": False})
    assert "aaaaaaaaa" in here("trend", "--method", "center", "--protocol", "voc07-point").out
    (trend,) = here("trend", "--json").json()["trends"]
    assert [point["revision"][0] for point in trend["points"]] == ["a", "b"]
    assert trend["points"][1]["change"] == pytest.approx(0.02)
    wrong = here("trend", "--method", "centre")
    assert (wrong.code, wrong.err.partition(" Av")[0]) == (
        2,
        "Error: Unknown method with results 'centre'. Did you mean: center?",
    )


def test_a_papers_table_has_what_was_measured_beneath(here, write: Write) -> None:
    write("runs", 69.6)
    lines = here("table", "spn-2").out.splitlines()
    at = lines.index(next(line for line in lines if line.startswith("Center")))
    assert lines[at + 1].split() == ["measured:", "center", *["69.6"] * 3]
    assert lines[at + 2].split() == ["difference", *["+0.1", "="] * 3]
    (table,) = here("table", "spn-2", "--json").json()["tables"]
    assert table["rows"][1]["values"]["VGG16: All"] == 0.696
    assert table["rows"][2]["more"]["VGG16: All_verdict"] == "reproduced"


@pytest.mark.parametrize("format_", ["text", "md", "latex", "csv", "html"])
def test_a_papers_table_comes_in_every_format(here, format_: str) -> None:
    answer = here("table", "melm-1", "--format", format_)
    assert answer.code == 0
    assert "47.3" in answer.out or "0.473" in answer.out


def test_the_tables_are_listed_with_how_much_of_them_was_measured(here, write: Write) -> None:
    write("runs", 69.6)
    tables = {one["name"]: one for one in here("list", "tables", "--json").json()["tables"]}
    assert len(tables) == 32
    assert {name: one["measured"] for name, one in tables.items() if one["measured"]} == {"spn-2": 3}
    assert tables["spn-2"]["cells"] == 42
    assert "spn-2      42 numbers, 3 measured" in here("list", "tables").out


def test_results_on_generated_data_enter_no_papers_table(here, write: Write) -> None:
    write("runs", 69.6, dataset="shapes")
    assert "measured:" not in here("table", "spn-2").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("table melm-33", "Error: Unknown table, protocol or track 'melm-33'. Did you mean: melm-3"),
        ("table melm-3 --protocol voc07-det", "--protocol applies to the leaderboard"),
        ("gate --tolerance nan", "Error: --tolerance: expected a finite number of points, but got nan."),
        ("gate abc", "Error: Unknown result 'abc'."),
        ("list table", "Error: Unknown list 'table'. Did you mean: tables?"),
    ],
)
def test_a_wrong_request_says_so(here, arguments: str, says: str) -> None:
    answer = here(*arguments.split())
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err


def test_a_leaderboard_says_what_made_each_row(here, write: Write) -> None:
    write("runs", 69.6, config={"net": "vgg16"}, seed=3, images_per_second={"prediction": 12.34})
    write("runs", 60.0, config={"net": "resnet50"}, seed=3, images_per_second={"prediction": 1234.5})
    _, _, head, _, *rows = [line.split() for line in here("table").out.splitlines()]
    assert head[-5:] == ["seeds", "net", "tuned", "on", "images/s"]  # neither split and images nor proposals
    assert [row[-4:] for row in rows if row[0] == "center"] == [
        ["3", "vgg16", "none", "12.3"],
        ["3", "resnet50", "none", "1234"],
    ]
