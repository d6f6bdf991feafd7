"""A search for settings: what it draws, what it sees, what it repeats and what it writes."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tune_cases import TUNABLE, write_tunable

from bench import registry
from bench.config import ADAMW_SEARCHES, Range
from bench.core.files import Places
from bench.data.ground_truth import empty_objects
from bench.errors import DivergedError, RequestError
from bench.execution import pipeline
from bench.execution.dataset_cache import DatasetCache
from bench.records.result import Result
from bench.tracks import tune
from bench.tracks.track import Track, read_track
from bench.tracks.tune import SearchPlan, Trial

OPTIONS: dict[str, Any] = {"device": "cpu", "workers": 0, "threads": 1}


@pytest.fixture
def track(tmp_path: Path) -> Track:
    return read_track(str(write_tunable(tmp_path)))


@pytest.fixture
def datasets(places: Places) -> DatasetCache:
    return DatasetCache(places)


@pytest.fixture
def plan(track: Track, datasets: DatasetCache) -> Callable[..., SearchPlan]:
    """`plan("cam", by="boxes")`."""

    def make(name: str, *, by: tune.Criterion = "labels", seed: int = 0, track: Track = track) -> SearchPlan:
        return tune.plan_search(track, name, by=by, seed=seed, datasets=datasets)

    return make


def run_trials(plan: SearchPlan, count: int, datasets: DatasetCache) -> list[Trial]:
    return list(tune.run_trials(plan, count, datasets=datasets, **OPTIONS))


def test_what_is_fixed_is_not_drawn_and_trainings_are_drawn_first(plan: Callable[..., SearchPlan]) -> None:
    assert list(plan("cam").spaces) == ["dropout", "lr", "weight_decay"]
    assert list(plan("cam", by="boxes").spaces) == ["dropout", "lr", "weight_decay", "box_rule", "box_threshold"]
    assert list(plan("weldon:a+b").spaces) == ["alpha", "lr", "weight_decay"]  # the variant fixes k_plus
    assert list(plan("gradient").spaces) == ["lr", "weight_decay"]
    assert list(plan("gradient", by="boxes").spaces) == ["lr", "weight_decay", "blur"]  # it is scored by its points


def test_adamw_has_ranges_of_its_own(plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    text = TUNABLE.replace('net = "tiny"', 'net = "tiny"\noptimizer = "adamw"')
    spaces = plan("cam", track=read_track(str(write_tunable(tmp_path, text)))).spaces
    assert list(spaces) == ["dropout", "lr", "weight_decay"]
    assert {key: spaces[key] for key in ("lr", "weight_decay")} == ADAMW_SEARCHES


def test_trial_0_has_the_defaults_and_what_was_set_by_hand_stays(plan: Callable[..., SearchPlan]) -> None:
    cam = plan("cam")
    assert cam.draw(0) == {"dropout": 0.0, "lr": 0.05, "weight_decay": 5e-4}  # of the recipe for shapes
    request = cam.make_request(0)
    assert (request.settings["neck"], request.settings["lr"]) == (8, 0.05)
    assert (request.train_split, request.split) == ("train:1-2of3", "train:3of3")


def test_a_trial_is_drawn_by_itself_and_by_its_seed(plan: Callable[..., SearchPlan]) -> None:
    cam = plan("cam")
    assert cam.draw(3) == plan("cam").draw(3)
    assert len({str(cam.draw(number)) for number in range(20)}) == 20
    assert cam.draw(3) != plan("cam", seed=1).draw(3)
    drawn = plan("cam", by="boxes").draw(3)
    assert cam.draw(3) == {key: drawn[key] for key in cam.spaces}  # so both train the same nets
    assert plan("gradient").draw(3) == plan("deconv").draw(3)


def test_numbers_of_a_range_have_two_digits_and_stay_in_it() -> None:
    generator = np.random.default_rng(0)
    for space in (Range(1e-4, 0.3, log=True), Range(0.05, 0.5)):
        drawn = [float(tune._draw_value(space, generator)) for _ in range(300)]
        assert space.low <= min(drawn) < max(drawn) <= space.high
        assert all(float(f"{value:.2g}") == value for value in drawn)
    low = sum(float(tune._draw_value(Range(1e-4, 1e-2, log=True), generator)) < 1e-3 for _ in range(300))
    assert 120 < low < 180  # a logarithm is even


@pytest.mark.parametrize(("name", "by"), [("center", "labels"), ("cam-untrained", "labels"), ("center", "boxes")])
def test_what_does_not_learn_has_nothing_to_tune(
    plan: Callable[..., SearchPlan], name: str, by: tune.Criterion
) -> None:
    with pytest.raises(RequestError, match=f"{name} of track tunable has nothing to tune by {by}"):
        plan(name, by=by)


def test_an_entry_that_is_like_another_has_no_search_of_its_own(
    plan: Callable[..., SearchPlan], track: Track, tmp_path: Path
) -> None:
    path = tmp_path / "like.toml"
    path.write_text(TUNABLE + '\n[methods.has]\ngroup = "maps"\nlike = "cam"\n')
    with pytest.raises(RequestError, match="has of track like has nothing to tune by labels: it is like another entry"):
        plan("has", track=read_track(str(path)))


def test_all_are_those_that_have_something_to_tune(track: Track, datasets: DatasetCache) -> None:
    assert tune.list_tunable(track, "labels", datasets) == ["cam", "weldon:a+b", "gradient", "deconv"]


def test_a_protocol_that_looks_at_boxes_is_no_criterion_of_labels(tmp_path: Path, datasets: DatasetCache) -> None:
    path = write_tunable(tmp_path, TUNABLE.replace('labels = "voc07-cls"', 'labels = "voc07-corloc"'))
    with pytest.raises(RequestError, match="voc07-corloc looks at more than image labels"):
        tune.plan_search(read_track(str(path)), "cam", by="labels", seed=0, datasets=datasets)


def test_corloc_of_a_search_is_on_the_part_that_was_held_out(
    plan: Callable[..., SearchPlan], datasets: DatasetCache
) -> None:
    (trial,) = run_trials(plan("cam", by="boxes"), 1, datasets)
    assert trial.result is not None
    assert (trial.result.split, trial.result.train_split) == ("train:3of3", "train:1-2of3")
    assert trial.result.partial  # so that it is told from results of the whole split
    assert trial.score == trial.result.metrics["CorLoc"]
    assert trial.seconds == sum(trial.result.seconds.values()) > 0


def test_a_killed_search_goes_on_and_a_longer_one_extends_it(
    plan: Callable[..., SearchPlan], datasets: DatasetCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = count_trainings(monkeypatch)
    search = tune.run_trials(plan("cam"), 4, datasets=datasets, **OPTIONS)
    first = [next(search), next(search)]  # and no more: it is killed
    assert len(trained) == 2
    again = run_trials(plan("cam"), 3, datasets)
    assert again[:2] == first
    assert len(trained) == 3
    longer = run_trials(plan("cam"), 4, datasets)
    assert longer[:3] == again
    assert len(trained) == 4
    repeated = run_trials(plan("cam"), 4, datasets)
    assert len(trained) == 4
    assert repeated == longer
    winner = tune.choose_winner(plan("cam"), longer)
    assert winner == tune.choose_winner(plan("cam"), repeated)
    assert winner is not None
    assert winner.score == max(trial.score for trial in longer if trial.score is not None)


def count_trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    trained: list[str] = []
    fit = pipeline._fit
    monkeypatch.setattr(pipeline, "_fit", lambda run, *rest: (trained.append(run.training.address), fit(run, *rest)))
    return trained


def test_attributions_of_a_base_share_the_trainings_of_their_trials(
    plan: Callable[..., SearchPlan], datasets: DatasetCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = count_trainings(monkeypatch)
    for name, by in (("gradient", "labels"), ("gradient", "boxes"), ("deconv", "labels")):
        run_trials(plan(name, by=by), 2, datasets)
    assert len(trained) == 2


def test_by_labels_no_box_of_the_held_out_part_is_read(
    plan: Callable[..., SearchPlan], places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [trial.score for trial in run_trials(plan("cam"), 2, DatasetCache(places))]
    read = DatasetCache.ground_truth

    def forget_boxes(cache: DatasetCache, dataset: Any, split: str) -> Any:
        truth = read(cache, dataset, split)
        return replace(truth, objects=empty_objects()) if split == "train:3of3" else truth

    monkeypatch.setattr(DatasetCache, "ground_truth", forget_boxes)
    elsewhere = DatasetCache(Places(places.runs.parent / "elsewhere"))
    without = [trial.score for trial in run_trials(plan("cam"), 2, elsewhere)]
    assert without == scores
    assert None not in scores


def scored(number: int, score: float | None) -> Trial:
    if score is None:
        return Trial(number, {}, error="The loss is not finite.")
    return Trial(number, {}, Result.model_construct(metrics={"mAP": score, "P_C": 1 - score}))


def test_the_best_wins_the_earlier_of_equals_and_none_that_failed(plan: Callable[..., SearchPlan]) -> None:
    trials = [scored(0, None), scored(1, 0.5), scored(2, 0.7), scored(3, 0.7)]
    assert tune.choose_winner(plan("cam"), trials) is trials[2]
    assert tune.choose_winner(plan("cam"), trials[:1]) is None


def test_where_less_is_better_the_least_wins(plan: Callable[..., SearchPlan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.family("classification").METRICS, "mAP", False)
    trials = [scored(0, 0.7), scored(1, 0.5), scored(2, 0.5)]
    assert tune.choose_winner(plan("cam"), trials) is trials[1]


def test_a_trial_that_fails_is_told_and_stops_no_other(
    plan: Callable[..., SearchPlan], datasets: DatasetCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(run: Any, *rest: Any) -> None:
        raise DivergedError(f"The loss is not finite at lr={run.config.lr}.")

    monkeypatch.setattr(pipeline, "_fit", fit)
    trials = run_trials(plan("cam"), 2, datasets)
    assert [trial.score for trial in trials] == [None, None]
    assert trials[0].error == "The loss is not finite at lr=0.05."


def test_a_request_that_is_wrong_is_an_error_at_once(plan: Callable[..., SearchPlan], datasets: DatasetCache) -> None:
    wrong = plan("cam")
    wrong = replace(wrong, template=replace(wrong.template, settings={**wrong.template.settings, "neck": -1}))
    with pytest.raises(RequestError, match="neck=-1"):
        run_trials(wrong, 2, datasets)


def test_what_is_written_is_read_back_and_all_else_stays(plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    path, cam = tmp_path / "tunable.toml", plan("cam")
    winner = replace(scored(2, 0.71234), settings=cam.draw(2))
    tune.write_winner(path, cam, winner, 3)
    track = read_track(str(path))
    entry = track.entry("cam")
    assert entry.settings == {"neck": 8, **cam.draw(2)}
    assert entry.search is not None
    assert entry.search.model_dump() == {
        "by": "labels",
        "trials": 3,
        "seed": 0,
        "protocol": "voc07-cls",
        "score": 0.7123,
        "trial": 2,
    }
    before, after = TUNABLE.splitlines(), path.read_text().splitlines()
    assert [line for line in after if line in before] == [line for line in before if line in after]
    assert [line for line in before if line not in after] == ["settings = { neck = 8, lr = 0.5 }  # by hand"]
    assert next(line for line in after if "neck" in line).endswith(" }  # by hand")
    assert track.make_requests("cam", 0)[0].tuned_on == "none"
    assert plan("cam", track=track).make_request(0) == cam.make_request(0)  # a winner moves no later search


def test_settings_in_a_table_of_their_own_stay_there(tmp_path: Path, plan: Callable[..., SearchPlan]) -> None:
    table = "[methods.cam.settings]\nlr = 0.5  # too much\nneck = 8  # by hand\n"
    path = write_tunable(tmp_path, TUNABLE.replace("settings = { neck = 8, lr = 0.5 }  # by hand\n", table))
    cam = plan("cam")
    tune.write_winner(path, cam, replace(scored(1, 0.5), settings={"lr": 0.25}), 2)
    entry = read_track(str(path)).entry("cam")
    assert (entry.settings, entry.search is None) == ({"neck": 8, "lr": 0.25}, False)
    assert "neck = 8  # by hand\n" in path.read_text()


def test_a_search_by_labels_takes_back_what_one_by_boxes_chose(plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    path, by_boxes = tmp_path / "tunable.toml", plan("gradient", by="boxes")
    blurred = {**by_boxes.draw(1), "blur": 0.04}
    tune.write_winner(path, by_boxes, replace(scored(1, 0.5), settings=blurred), 2)
    track = read_track(str(path))
    assert track.make_requests("gradient", 0)[0].tuned_on == "val-boxes"
    by_labels = plan("gradient", track=track)
    assert "blur" not in by_labels.make_request(1).settings
    tune.write_winner(path, by_labels, replace(scored(1, 0.5), settings=by_labels.draw(1)), 2)
    (request,) = read_track(str(path)).make_requests("gradient", 0)
    assert (request.tuned_on, request.settings["blur"]) == ("none", 0.0)


def test_of_a_track_that_extends_another_only_its_own_file_is_written(
    tmp_path: Path, plan: Callable[..., SearchPlan]
) -> None:
    base = write_tunable(tmp_path)
    child = tmp_path / "child.toml"
    child.write_text(f'extends = "{base}"  # all but the net\n[settings]\nnet = "vgg16"\n')
    wide = plan("cam", track=read_track(str(child)))
    tune.write_winner(child, wide, replace(scored(1, 0.5), settings=wide.draw(1)), 2)
    assert base.read_text() == TUNABLE
    assert tomllib.loads(child.read_text())["methods"].keys() == {"cam"}
    assert child.read_text().startswith(f'extends = "{base}"  # all but the net\n')
    assert read_track(str(child)).entry("cam").settings == {"neck": 8, **wide.draw(1)}


def test_a_file_that_cannot_be_written_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tunable(tmp_path)
    tune.require_writable(path)
    monkeypatch.setattr("os.access", lambda where, mode: Path(where) != path)
    with pytest.raises(RequestError, match=r"tunable.toml cannot be written. Copy it"):
        tune.require_writable(path)


@pytest.mark.parametrize("name", registry.methods())
def test_every_range_holds_values_that_its_setting_takes(name: str) -> None:
    config = registry.method(name).Config
    spaces = config.list_searches("training") | config.list_searches("prediction")
    for key, space in spaces.items():
        values = space if isinstance(space, tuple) else (space.low, space.high)
        for value in values:
            assert getattr(config(**{key: value}), key) == value
