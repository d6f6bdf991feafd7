"""The plans of the papers' tables: nothing printed is forgotten, and what text alone says of runs is what they are."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from bench import registry
from bench.core.setting_names import use_former_names
from bench.core.toml import read_toml
from bench.data.datasets import DATASETS
from bench.errors import RequestError
from bench.method import Attribution, Predictor
from bench.predictions import dense_crf
from bench.tables.method_settings import FILE
from bench.tables.operations import FILE as OPERATIONS
from bench.tables.operations import count_classes, count_prediction, name_configuration
from bench.tables.papers import PAPERS, read_yaml
from bench.tables.plan import (
    NO_METHOD,
    Changes,
    Plan,
    PlannedRun,
    change_runs,
    find_elsewhere,
    find_needed_files,
    plan_tables,
)
from bench.tables.reported import load_table, reported_tables
from tools.variants import make_variants

TABLES = [load_table(name) for name in reported_tables()]
ALL = plan_tables(TABLES)


def test_every_printed_number_is_planned_shared_or_only_reported_with_a_reason() -> None:
    printed = {(table.name, number.row, number.column) for table in TABLES for number in table.numbers()}
    assert len(TABLES) == 32
    assert {(cell.table, cell.row, cell.column) for cell in ALL.cells} == printed
    assert len(ALL.cells) == len(printed) == sum(map(ALL.count, ("planned", "shared", "reported only")))
    assert all((cell.run is None) == bool(cell.reason) == (cell.state == "reported only") for cell in ALL.cells)
    assert ALL.count("planned") == len(ALL.runs) < ALL.count("shared")


def test_a_table_alone_counts_as_many_numbers_as_it_prints() -> None:
    for table in TABLES:
        plan = plan_tables([table])
        printed = sum(1 for _ in table.numbers())
        assert sum(map(plan.count, ("planned", "shared", "reported only"))) == printed, table.name
        assert {cell.reason for cell in plan.cells} == {cell.reason for cell in ALL.cells if cell.table == table.name}


@cache
def _resolve(run: PlannedRun):
    """The method of a run, its config and that of its training, as the harness resolves them."""
    needs = {} if dense_crf.is_installed() else {"crf": "true"}
    settings = {key: value for key, value in run.settings if (key, value) not in needs.items()}
    cls, variant = registry.parse(run.method, settings)
    settled = registry.settle(
        cls, variant, dataset=run.dataset, recipe={}, settings=settings, paper=run.recipe == "paper"
    )
    config = registry.make_config(cls, settled)
    registry.refuse_idle(cls, config, settled)
    learner = cls.Base if issubclass(cls, Attribution) else cls
    trained = {key: value for key, value in config.stage("training").items() if key in learner.Config.model_fields}
    return cls, config, (learner.name, str(sorted(use_former_names(trained).items())))


def test_every_planned_run_can_be_made() -> None:
    for run in ALL.runs:
        cls, config, (learner, _) = _resolve(run)
        record = registry.protocol(run.protocol)
        assert {*cls.kinds} & {*record.predicts}, run.command
        assert (run.dataset, bool(run.trainings)) == (record.dataset, not issubclass(cls, Predictor))
        for training in run.trainings:
            images = training.count_images(1000)
            assert images == (config.iterations * config.batch_size or config.epochs * 1000), run.command
            assert (training.method, training.split) == (learner, record.train_split)


def test_planned_trainings_are_as_many_as_the_configurations_that_are_trained() -> None:
    exact = {run: (_resolve(run)[2], run.dataset, registry.protocol(run.protocol).train_split) for run in ALL.runs}
    trained = {run: run.trainings[0] for run in ALL.runs if run.trainings}
    pairs = {(exact[run], training) for run, training in trained.items()}
    assert len(pairs) == len({one for one, _ in pairs}) == len({training for _, training in pairs})


def test_a_result_of_a_planned_run_belongs_to_the_cells_that_it_is_planned_for() -> None:
    from bench.tables.matching import _belongs

    lost = []
    for table in TABLES:
        columns = {column.key: column for column in table.columns}
        numbers = {(number.row, number.column): number for number in table.numbers()}
        for run, cells in plan_tables([table]).runs.items():
            config = _resolve(run)[1].model_dump(mode="json") | dict(run.settings)
            lost += [
                (cell.table, cell.name)
                for cell in cells
                if not _belongs(numbers[cell.row, cell.column], columns[cell.column], config)
            ]
    assert not lost


def test_what_the_plan_reads_of_variants_is_what_they_set() -> None:
    assert FILE.read_text(encoding="utf-8") == make_variants(), "python -m tools.variants"


def test_a_training_of_several_tables_is_counted_once_and_named() -> None:
    plan = find_elsewhere(plan_tables([load_table("danet-4")]), TABLES)
    names = {(training.method, dict(training.settings)["net"]): tables for training, tables in plan.elsewhere.items()}
    assert names["cam", "vgg16"] == ("danet-1", "danet-2")
    assert names["acol", "vgg16"][0] == "acol-2"
    both = plan_tables([load_table("danet-2"), load_table("danet-4")])
    alone = plan_tables([load_table("danet-2")]).trainings, plan_tables([load_table("danet-4")]).trainings
    assert len(both.trainings) == len({*alone[0], *alone[1]}) < len(alone[0]) + len(alone[1])


def test_branches_that_are_read_out_of_one_training_share_it() -> None:
    runs = {run.method: run for run in plan_tables([load_table("melm-1")]).runs if not run.settings}
    assert runs["melm:d"].trainings == runs["melm:l"].trainings != runs["melm:d+rl"].trainings


def test_rows_and_columns_are_selected_by_what_is_printed() -> None:
    plan = plan_tables([load_table("melm-2")])
    assert [cell.column for cell in plan.select(columns=["0.1", "tau_1"]).cells] == ["tau_0_1", "tau_1"]
    assert len(plan.select(rows=["1"]).cells) == len(plan.select(rows=["map"]).cells) == 6
    with pytest.raises(RequestError, match=r"No row '2' has a number here: it has 1 mAP\."):
        plan.select(rows=["2"])
    shared = plan_tables([load_table("melm-3")]).select(columns=["bike", "mAP"])
    assert Counter(cell.state for cell in shared.cells if cell.label == "VGG16: MELM") == {"planned": 1, "shared": 1}


def test_other_systems_are_only_reported() -> None:
    plan: Plan = plan_tables([load_table("melm-4")])
    reasons = {cell.label: cell.reason for cell in plan.cells}
    assert reasons["VGGF/AlexNet: MILinear [25]"] == NO_METHOD
    assert "not planned so far" in reasons["VGGF/AlexNet: ContextNet [24]"]
    assert reasons["VGG16: MELM"] == ""


def test_a_plan_loads_no_torch() -> None:
    code = (
        "import sys; from bench.tables.plan import plan_tables; from bench.tables.reported import load_table;"
        "print(plan_tables([load_table('melm-2')]).count('planned'), {'numpy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "6 set()\n"


def test_operations_are_counted_of_every_planned_configuration() -> None:
    counts = read_toml(OPERATIONS)
    assert {*counts} == {name for run in ALL.runs if (name := name_configuration(run))}
    assert all(0 < look <= step for step, look in counts.values())
    published = {
        "vgg16": 15.47e9,
        "resnet101": 7.80e9,
        "googlenet": 1.50e9,
    }  # of torchvision, a product and a sum as one
    for net, operations in published.items():
        assert counts[f"classifier {net} 224"][1] == pytest.approx(2 * operations, rel=0.03)
        assert counts[f"classifier {net} 224"][0] == pytest.approx(6 * operations, rel=0.1)


def test_views_of_a_prediction_count_as_often_as_they_pass_the_net() -> None:
    runs = plan_tables([load_table("weldon-6"), load_table("acol-7"), load_table("melm-1")]).runs
    views = {(run.method, *run.settings): count_prediction(run, 1) for run in runs}
    counts = read_toml(OPERATIONS)
    forward = counts["classifier resnet101 224"][1]
    assert views[("classifier",)] == 2 * forward  # the whole image, for its maps, and the center
    assert views["classifier", ("test_crops", "10")] == 11 * forward
    assert views[("melm:d",)] == 10 * counts["melm vgg16 480+576+688+864+1200"][1]  # five scales, and mirrored
    assert views[("deconv",)] == (1 + 2 * 1000) * counts["classifier vgg16 224"][1]  # errors look at every class
    (shown,) = plan_tables([load_table("spn-2")]).select(["Deconv"], ["vgg16_all"]).runs
    assert count_prediction(shown, 1) == 4 * counts["classifier vgg16 224"][1]
    assert views[("has",)] == counts["has alexnet 224"][1]


def test_how_many_classes_a_dataset_has_is_known() -> None:
    for name in {run.dataset for run in ALL.runs} - {"ilsvrc2012", "ilsvrc2013-det", "cub", "mit67"}:
        assert f"{count_classes(name)} classes" in DATASETS[name]


def test_a_file_that_a_run_needs_is_missing_until_it_is_named() -> None:
    plan = plan_tables([load_table("danet-3")])
    (run,) = [run for run in plan.runs if run.method == "danet"]
    assert find_needed_files(run) == ["file: hierarchy=FILE, wordnet.is_a.txt of image-net.org"]
    (named,) = [run for run in change_runs(plan, Changes({"hierarchy": "a.txt"})).runs if run.method == "danet"]
    assert find_needed_files(named) == []


@pytest.mark.parametrize("kind", ["settings", "pairs"])
def test_what_no_run_can_have_is_listed_with_its_reason_and_nothing_else_is(kind: str) -> None:
    listed = read_yaml(PAPERS / "not-implemented.yaml")[kind]
    numbers = [number for table in TABLES for number in table.numbers() if number.method and number.metric]
    classes = {name: registry.method(name) for name in registry.methods()}
    lacking = set()
    for number in numbers:
        name = str(number.method).partition(":")[0]
        if name not in classes:
            continue
        if kind == "settings":
            lacking |= {key for key in number.setting if key not in classes[name].Config.model_fields}
        elif not {*classes[name].kinds} & {*registry.protocol(str(number.protocol)).predicts}:
            lacking.add(f"{name} under {number.protocol}")
    assert {*listed} == lacking
    assert all(listed.values())
