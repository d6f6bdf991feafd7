"""The way of a contribution: a good result passes, and each kind of bad one is refused in a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from bench import registry
from bench.analysis.origin import find_forgery
from bench.analysis.review import require_reviewed, review
from bench.cli.main import invoke
from bench.core.files import digest, file_digest
from bench.core.setting_names import use_former_names
from bench.errors import BadFileError
from bench.records.collection import StoredResult
from bench.records.result import read_result

GOOD = "voc07-corloc.cam.6335e8042b5c27534a1e"
RECORD = read_result(registry.ROOT / "results" / "measured" / f"{GOOD}.json")
CONVENTIONS = RECORD.conventions
FROM_FILE = {"training": None, "seconds": {}, "made_from": {}, "method": "mine", "tier": "author"}

Folder = Path
Damage = Callable[[Folder], object]


def edit(**fields: Any) -> Damage:
    def act(folder: Folder) -> None:
        path = folder / f"{GOOD}.json"
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields))

    return act


def edit_setting(name: str, value: Any) -> Damage:
    return edit(config={**RECORD.config, name: value})


def remove_setting(name: str) -> Damage:
    return edit(config={key: value for key, value in RECORD.config.items() if key != name})


def edit_key(key: str, name: str, value: Any) -> Damage:
    keys: dict[str, dict[str, Any]] = {**RECORD.made_from}
    return edit(seed=value, made_from={**keys, key: {**keys[key], name: value}})


def permute_replicates(folder: Folder) -> None:
    """Replicates that give the same interval, of images drawn otherwise."""
    path = folder / f"{GOOD}.replicates.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(pa.array([*range(1, len(table)), 0])), path)


def change_outcomes(folder: Folder) -> None:
    """Outcomes that say something else, with a digest to match."""
    path = folder / f"{GOOD}.parquet"
    table = pq.read_table(path)
    every = pa.array([True] * len(table))
    pq.write_table(table.set_column(table.column_names.index("hit"), "hit", every), path)
    edit(outcomes_digest=file_digest(path))(folder)


def change_name(folder: Folder) -> None:
    for path in sorted(folder.glob(f"{GOOD}.*")):
        path.rename(folder / path.name.replace("voc07-corloc.cam", "mine"))


def copy(folder: Folder) -> None:
    for path in sorted(folder.glob(f"{GOOD}.*")):
        shutil.copy(path, folder / path.name.replace("voc07-corloc.cam", "voc07-corloc.wsddn"))


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of published results with one that is good."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_RUNS", raising=False)
    folder = tmp_path / "results" / "measured"
    folder.mkdir(parents=True)
    for path in (registry.ROOT / "results" / "measured").glob(f"{GOOD}.*"):
        shutil.copy(path, folder)
    return folder


def run_review(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = invoke(["gate", "--report", "md", "--results", str(folder.parent)])
    return code, capsys.readouterr().out


def test_a_good_result_passes_and_the_comment_says_so(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = review(measured)
    assert [one.result.method for one in found.accepted] == ["cam"]
    code, said = run_review(measured, capsys)
    assert code == 0
    assert said.startswith("## weakloc: can be merged\n\n1 result without objections, 0 records with objections")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / f"{GOOD}.json").write_text("{"), "not a result record"),
        (edit(method="grad-cam"), "method is grad-cam, but it was made with cam"),
        (edit(method="largest-proposal"), "method is largest-proposal, but it was made with cam"),
        (edit(seed=1), "seed is 1, but it was made with 0"),
        (edit(weights="0" * 20), f"weights is {'0' * 20}, but it was made with 4cf7f2c912b0cc9ace85"),
        (edit(dataset="voc2012"), "dataset is voc2012, but it was made with voc2007"),
        (edit(proposals_digest="0" * 20), "proposals_digest is"),
        (edit(made_from={}), "does not hold what the address of its predictions was made of"),
        (edit_setting("epochs", 20), "epochs is 20, but it was made with 0"),
        (edit_setting("box_threshold", 0.3), "box_threshold is 0.3, but it was made with 0.2"),
        (edit_setting("nosuch", 1), "its settings are not those of cam"),
        (edit_key("training", "seed", 1), "the key of its training is that of"),
        (remove_setting("lr"), "it does not say lr, but it was made with 0.001"),
        (edit(variant="zzz"), "cam has no variant zzz"),
        (edit(tier="author"), "tier is author, but a run is of this project's implementation"),
        (edit(created="yesterday"), "created is 'yesterday': expected a date and time"),
        (edit(**FROM_FILE), "it has config, as runs have, but no predictions of a run"),
        (edit(**FROM_FILE, config={}, seed=3), "it has seed, as runs have, but no predictions of a run"),
        (permute_replicates, "its outcomes give other replicates of CorLoc"),
        (edit(address="0" * 20), "the address of its predictions, protocol and ground truth is"),
        (edit(method="cam\u001b[31m"), "control characters are not allowed"),
        (edit(metrics={"CorLoc": 0.9}), "outside of its interval"),
        (edit(metrics={"CorLoc": 0.3}, per_class={}, intervals={"CorLoc": [0.1, 0.5]}), "not those of its replicates"),
        (change_outcomes, "its outcomes give"),
        (lambda folder: (folder / f"{GOOD}.replicates.parquet").unlink(), "no bootstrap replicates beside it"),
        (edit(outcomes_digest=None), "not the outcomes that the record was made with"),
        (edit(provenance={"revision": "a" * 40, "dirty": True, "changed": ["methods/cam.py"]}), "edited checkout"),
        (edit(provenance={}), "neither a revision nor a version"),
        (edit(tuned_on="unknown"), "does not say what its settings were chosen on"),
        (edit(seed=None), "does not say with which seed"),
        (edit(created=""), "does not say when it was made"),
        (edit(family="detection"), "outcomes of another version of the scoring"),
        (edit(conventions={**CONVENTIONS, "iou_threshold": 0.3}), "its conventions are not those of voc07-corloc"),
        (edit(counts={"evaluated_images_trained_on": 3}, protocol="voc07-corloc"), ""),  # the protocol evaluates those
        (edit(higher_is_better={"CorLoc": False}), "higher_is_better of CorLoc is not that of corloc"),
        (edit(status="failed"), "Input should be 'done'"),
        (edit(seed=-1), "Input should be greater than or equal to 0"),
        (edit(seed="1"), "Input should be a valid integer"),
        (edit(partial=False), "evaluated on train_subset, but not marked partial"),
        (edit(split="trainval", images=5011, partial=False), "images is 5011, but counts.images 489"),
        (edit(split="trainval", partial=False), "489 images, but not marked partial: voc2007 trainval has 5011"),
        (edit(counts={"images": 489, "pairs": -5}), "counts.pairs is -5: expected a count"),
        (edit(provenance={"revision": "xyz", "dirty": False}), "its revision is none of git's"),
        (edit(provenance={"revision": "a" * 40}), "does not say whether the code differed"),
        (edit(undefined={"CorLoc": ["person"]}), "CorLoc of person has a value, but is among the undefined"),
        (change_name, "expected the name voc07-corloc.cam."),
        (copy, "once more: delete one of them"),
    ],
)
def test_each_kind_of_bad_result_is_refused_in_a_line(
    damage: Damage, says: str, measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(measured)
    code, said = run_review(measured, capsys)
    assert code == (1 if says else 0)
    assert (f"1 record{'' if says else 's'} with objections" in said) == bool(says)
    lines = [line for line in said.splitlines() if line.startswith("- ")]
    assert len(lines) == bool(says)
    assert all(says in line.replace("\\", "") for line in lines)
    assert "\u001b" not in said


def test_a_result_that_contradicts_a_published_one_is_refused(measured: Path) -> None:
    result = read_result(measured / f"{GOOD}.json")
    stored = StoredResult(result, measured / f"{GOOD}.json")
    require_reviewed(stored, result)
    other = result.model_copy(update={"metrics": {"CorLoc": 0.25}})
    with pytest.raises(BadFileError, match=r"CorLoc is .*, but 0\.25 is published of the same predictions"):
        require_reviewed(stored, other)


def test_another_variant_is_refused_unless_its_settings_were_given() -> None:
    path = next((registry.ROOT / "results" / "measured").glob("voc07-corloc.melm.*.json"))
    record = read_result(path)
    other = next(name for name in ("base", "d+arl") if name != record.variant)
    assert find_forgery(record) == ""
    said = find_forgery(record.model_copy(update={"variant": other, "given": ()}))
    assert said.endswith(f"is not that of variant {other}, and was not given")


@pytest.mark.parametrize("config", [None, "x", ["x"]])
def test_a_key_without_settings_is_refused(config: object, measured: Path) -> None:
    keys = {name: {**key, "config": config} for name, key in RECORD.made_from.items()}
    said = find_forgery(RECORD.model_copy(update={"made_from": keys, "predictions": digest(keys["predictions"])}))
    assert said == "the key of its predictions has no settings"


def test_a_record_older_than_a_setting_of_its_method_passes() -> None:
    older = {name: value for name, value in RECORD.config.items() if name not in ("dropout_of", "map_alignment")}
    keys = {
        name: {**key, "config": {k: v for k, v in key["config"].items() if k in use_former_names(older)}}
        for name, key in RECORD.made_from.items()
    }
    training = digest(keys["training"])
    keys["predictions"]["training"] = training
    update = {"config": older, "made_from": keys, "training": training, "predictions": digest(keys["predictions"])}
    assert find_forgery(RECORD.model_copy(update=update)) == ""


def test_an_edited_checkout_passes_where_that_is_allowed_and_is_named(
    measured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(provenance={"revision": "a" * 40, "dirty": True, "changed": ["methods/cam.py"]})(measured)
    assert not review(measured, allow_dirty=True).objections
    code = invoke(["gate", "--report", "md", "--allow-dirty", "--results", str(measured.parent), "--runs", "nowhere"])
    assert code == 0
    assert f"From edited checkouts, marked §: {GOOD}.json." in capsys.readouterr().out


def test_every_published_result_passes() -> None:
    found = review(registry.ROOT / "results" / "measured")
    assert not found.objections
    assert found.accepted


def test_the_report_is_of_all_published_results(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["gate", "--report", "md", "abc", "--results", str(measured.parent)]) == 2
    assert "--report reviews all published results" in capsys.readouterr().err


def list_commands(template: str) -> list[str]:
    """The shell lines of a template that call weakloc."""
    text = (registry.ROOT / "docs" / "templates" / template).read_text(encoding="utf-8")
    lines: list[str] = []
    document = yaml.safe_load(text)
    for job in document.get("jobs", document).values():
        if isinstance(job, dict):
            lines += job.get("script", ()) or [step["run"] for step in job.get("steps", ()) if "run" in step]
    return [line for line in lines if "pip install" not in line]


@pytest.mark.slow
@pytest.mark.parametrize("template", ["github.yml", "gitlab.yml"])
def test_a_repository_of_results_lets_a_good_one_pass_and_a_bad_one_not(template: str, measured: Path) -> None:
    bin_ = measured.parent / "bin"
    bin_.mkdir()
    (bin_ / "weakloc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m bench "$@"\n')
    (bin_ / "weakloc").chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
    path = {"PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(registry.ROOT)}
    environment = {**inherited, **path, "GITHUB_STEP_SUMMARY": "summary.md"}

    def run(line: str) -> int:
        return subprocess.run(["bash", "-eo", "pipefail", "-c", line], cwd=measured.parent, env=environment).returncode

    commands = list_commands(template)
    assert [run(line) for line in commands] == [0] * len(commands)
    assert "can be merged" in (measured.parent / "comment.md").read_text(encoding="utf-8")
    assert (measured.parent / "public" / "index.html").is_file()
    edit(tuned_on="unknown")(measured)
    assert 1 in [run(line) for line in commands[:-1]]
    assert "cannot be merged" in (measured.parent / "comment.md").read_text(encoding="utf-8")
