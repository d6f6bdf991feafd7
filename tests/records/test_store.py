"""Where runs live: addresses move with what determines them and with nothing else; records appear whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from proposal_files import save_npz

from bench import registry
from bench.core.files import Places, file_digest
from bench.data.proposals import Proposals
from bench.errors import BadFileError, MissingDataError, RequestError, UnknownNameError
from bench.execution.resolve import DatasetCache, Request, ResolvedRun, resolve_request
from bench.records.collection import StoredResult
from bench.records.result import Result, read_result
from bench.records.store import SMALL, Store
from bench.scoring.score import compute_result_address

pytestmark = pytest.mark.usefixtures("made_up_addresses")

ROOT = Path(__file__).resolve().parents[2]
TINY = {"train": 8, "val": 4, "test": 6, "size": 64, "classes": 4}
CPU = torch.device("cpu")


class Addresses(NamedTuple):
    training: str | None
    predictions: str
    result: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """One runs folder, so that the pictures are drawn once."""
    return Places(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def job(runs: Places) -> Callable[..., ResolvedRun]:
    """`job("cam", seed=1, box_threshold=0.3)`: a request looked up; what is no part of a request is a setting."""

    def look(method: str = "cam", protocol: str = "voc07-point", *, threads: int = 1, **more: Any) -> ResolvedRun:
        conventions = more.pop("conventions", {})
        given = {key: more.pop(key) for key in ("seed", "split", "train_split") if key in more}
        options = TINY | more.pop("data_options", {})
        record = registry.protocol(protocol).with_conventions(conventions)
        request = Request(method, record, settings=more, data="shapes", data_options=options, **given)
        return resolve_request(request, DatasetCache(runs), device=CPU, threads=threads)

    return look


def keep(store: Store, result: Result) -> StoredResult:
    """Record a result and return it as `publish` wants it."""
    return store.add_keys(StoredResult(store.record(result, OUTCOMES), store.result_path(result.address)))


def addresses(job: ResolvedRun) -> Addresses:
    training = None if job.training is None else job.training.address
    return Addresses(
        training, job.predictions.address, compute_result_address(job.bound, job.test, job.predictions.address)
    )


def differing(one: Addresses, other: Addresses) -> set[str]:
    return {name for name in Addresses._fields if getattr(one, name) != getattr(other, name)}


def moved(job: ResolvedRun, other: ResolvedRun) -> set[str]:
    """Which of the addresses differ."""
    return differing(addresses(job), addresses(other))


def saved_proposals(path: Path, *jobs: ResolvedRun, shift: float = 0.0, only: str | None = None) -> str:
    """A proposals file for the images of all lists; those of `only` are shifted."""
    ids = [image for job in jobs for truth in (job.train, job.test) for image in truth.ids]
    boxes = [np.array([[0, 0, 20, 20 + (shift if only in (None, image) else 0)]]) for image in ids]
    save_npz(path, Proposals.from_arrays(ids, boxes))
    return str(path)


def test_scores_that_box_scores_needs_are_in_the_proposals_or_it_is_refused(job: Any, tmp_path: Path) -> None:
    ids = [image for truth in (job().train, job().test) for image in truth.ids]
    for name, scores in (("bare.npz", None), ("scored.npz", [np.array([0.5])] * len(ids))):
        save_npz(tmp_path / name, Proposals.from_arrays(ids, [np.array([[0, 0, 20, 20]])] * len(ids), scores))
    scored = job("wsddn", "voc07-det", proposals=str(tmp_path / "scored.npz"), box_scores=10)
    assert scored.predictions.address
    assert moved(scored, job("wsddn", "voc07-det", proposals=str(tmp_path / "scored.npz"))) == ALL
    with pytest.raises(BadFileError, match=r"bare\.npz: its proposals have no scores, which box_scores"):
        job("wsddn", "voc07-det", proposals=str(tmp_path / "bare.npz"), box_scores=10).predictions  # noqa: B018
    with pytest.raises(RequestError, match="box_scores needs proposals=FILE with scores"):
        job("wsddn", "voc07-det", box_scores=10)


ALL = {"training", "predictions", "result"}
AFTER_TRAINING = {"predictions", "result"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"protocol": "voc07-cls"}, {"result"}),
        ({"conventions": {"tolerance": 20.0}}, {"result"}),
        ({"conventions": {"tolerance": 15}}, set()),
        ({"box_threshold": "0.3"}, AFTER_TRAINING),
        ({"box_threshold": "0.2"}, set()),
        ({"flip_test": "true"}, AFTER_TRAINING),
        ({"split": "val"}, AFTER_TRAINING),
        ({"train_split": "train"}, ALL),
        ({"seed": 1}, ALL),
        ({"threads": 2}, ALL),
        ({"epochs": "3"}, ALL),
        ({"lr": "0.2"}, ALL),
        ({"batch_size": "4"}, ALL),
        ({"precision": "bfloat16"}, ALL),
        ({"difficult_labels": "negative"}, ALL),
        ({"data_options": {"seed": 1}}, ALL),
        ({"data_options": {"train": 9}}, ALL),
    ],
)
def test_a_change_moves_what_it_determines_and_nothing_else(
    job: Any, changes: dict[str, Any], expected: set[str]
) -> None:
    assert moved(job(precision="float32"), job(**{"precision": "float32", **changes})) == expected


def test_a_field_that_came_later_moves_addresses_only_when_it_is_set(job: Any, tmp_path: Path) -> None:
    proposals = saved_proposals(tmp_path / "p.npz", job())
    before = job("melm", "voc07-det", proposals=proposals)
    assert before.training is not None
    assert "linkage" not in before.training.config
    assert "linkage" in before.public_config()
    assert not moved(before, job("melm", "voc07-det", proposals=proposals, linkage="single"))
    assert moved(before, job("melm", "voc07-det", proposals=proposals, linkage="complete")) == ALL


def test_precision_is_settled_before_it_is_addressed(job: Any) -> None:
    settled = job(precision="auto").config.precision
    assert settled in ("float32", "bfloat16")
    assert not moved(job(precision="auto"), job(precision=settled))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("methods.cam.Cam.version", ALL),
        ("bench.training.loop.VERSION", ALL),
        ("bench.training.predict.VERSION", AFTER_TRAINING),
        ("protocols.scoring.pointing.VERSION", {"result"}),
    ],
)
def test_versions_bumped_by_hand_move_what_they_are_of(
    job: Any, monkeypatch: pytest.MonkeyPatch, where: str, expected: set[str]
) -> None:
    before = addresses(job())
    monkeypatch.setattr(where, 99)
    assert differing(before, addresses(job())) == expected


def test_readouts_of_one_network_share_its_training(job: Any, tmp_path: Path) -> None:
    proposals = saved_proposals(tmp_path / "p.npz", job())
    found = [job(f"melm:{name}", "voc07-det", proposals=proposals) for name in ("d+arl", "l1+arl", "l2+arl", "l")]
    assert moved(found[0], found[1]) == moved(found[1], found[2]) == AFTER_TRAINING
    assert moved(found[0], found[3]) == ALL


def test_weights_are_their_content_wherever_they_lie(job: Any, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"weights")
    (tmp_path / "b.npz").write_bytes(b"weights")
    (tmp_path / "c.npz").write_bytes(b"others")
    a, b, c = (job(weights=str(tmp_path / f"{name}.npz")) for name in "abc")
    assert not moved(a, b)
    assert moved(a, c) == ALL
    assert moved(a, job(weights="none")) == ALL
    with pytest.raises(MissingDataError, match=r"d\.npz.*--weights none"):
        _ = job(weights=str(tmp_path / "d.npz")).training


def test_proposals_are_their_boxes_wherever_they_lie(job: Any, tmp_path: Path) -> None:
    both = job()
    a = saved_proposals(tmp_path / "a.npz", both)
    b = saved_proposals(tmp_path / "b.npz", both)
    other = saved_proposals(tmp_path / "c.npz", both, shift=1)
    other_test = saved_proposals(tmp_path / "d.npz", both, shift=1, only=both.test.ids[0])
    for method, first in (("wsddn", {"training"}), ("largest-proposal", set())):
        known = job(method, "voc07-det", proposals=a)
        assert not moved(known, job(method, "voc07-det", proposals=b))
        assert moved(known, job(method, "voc07-det", proposals=other)) == AFTER_TRAINING | first
        assert moved(known, job(method, "voc07-det", proposals=other_test)) == AFTER_TRAINING


def test_labels_and_photographs_are_part_of_what_is_learned(job: Any, runs: Places) -> None:
    known = job()
    assert moved(known, replace(known, train=replace(known.train, labels=-known.train.labels))) == ALL
    for truth, expected in ((known.train, ALL), (known.test, AFTER_TRAINING)):
        photograph = known.dataset.image_path(truth.ids[0])
        content = photograph.read_bytes()
        try:
            photograph.write_bytes(content + b"\0")
            assert moved(known, job()) == expected
        finally:
            photograph.write_bytes(content)


def test_what_learns_nothing_has_no_training_and_needs_no_photograph(job: Any, tmp_path: Path, runs: Places) -> None:
    known = job("center")
    assert addresses(known).training is None
    assert not moved(known, job("center", threads=2, seed=1, train_split="train"))
    photograph = known.dataset.image_path(known.test.ids[0])
    content = photograph.read_bytes()
    try:
        photograph.unlink()
        assert not moved(known, job("center"))
        with pytest.raises(MissingDataError, match=r"1 of 6 images of shapes test .*Complete on this disk: .*trainval"):
            _ = job("cam").predictions
    finally:
        photograph.write_bytes(content)


def test_a_method_and_a_protocol_that_do_not_go_together_are_refused(job: Any) -> None:
    with pytest.raises(RequestError, match="center makes points, and voc07-det accepts boxes"):
        job("center", "voc07-det")


ADDRESSES_IN_A_CHECKOUT = """
import subprocess, sys
from pathlib import Path
import torch, bench
from bench import registry
from bench.core.files import Places
from bench.execution.resolve import Request, DatasetCache, resolve_request
from bench.core.provenance import read_revision

def address():
    record = registry.protocol("voc07-point")
    request = Request("cam", record, data="shapes", data_options={"train": 8, "val": 4, "test": 6, "size": 64})
    cache = DatasetCache(Places(Path(sys.argv[1])))
    return resolve_request(request, cache, device=torch.device("cpu"), threads=1).predictions.address

def git(*arguments):
    subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *arguments], check=True, capture_output=True)

here = Path(bench.__file__).parent.parent
assert here == Path.cwd(), here
git("init"), git("add", "README.md"), git("commit", "-m", "one")
before = read_revision(here)["revision"], address()
(here / "README.md").write_text("edited")
git("commit", "-a", "-m", "two")
after = read_revision(here)["revision"], address()
print(before[0] != after[0], before[1] == after[1])
"""


@pytest.mark.slow
def test_editing_the_readme_makes_another_revision_and_no_other_address(tmp_path: Path, runs: Places) -> None:
    checkout = tmp_path / "checkout"
    for name in ("bench", "methods", "protocols"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", checkout)
    command = [sys.executable, "-c", ADDRESSES_IN_A_CHECKOUT, str(runs.runs)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True True\n", "")


def record(address: str, **changes: Any) -> Result:
    given: dict[str, Any] = {
        "address": address, "protocol": "voc07-det", "family": "detection", "digest": "d1", "conventions": {},
        "truth_digest": "t1", "ids_digest": "i1", "dataset": "voc2007", "split": "test", "images": 2, "partial": False,
        "method": "melm", "predictions": "p1", "metrics": {"mAP_11pt": 0.5}, "higher_is_better": {"mAP_11pt": True},
    }  # fmt: skip
    return Result(**{**given, **changes})


OUTCOMES = pa.table({"image": [0, 1], "hit": [True, False]})


def test_results_come_back_oldest_first(places: Places) -> None:
    store = Store(places)
    assert store.list_results() == []
    store.record(record("aa", created="2026-02-01"), OUTCOMES)
    store.record(record("bb", created="2026-01-01"), OUTCOMES)
    assert [result.address for result in store.list_results()] == ["bb", "aa"]
    assert pq.read_table(store.outcomes_path("aa")).equals(OUTCOMES)


def test_a_record_is_there_only_with_its_outcomes(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        Store(places).record(record("aa"), OUTCOMES)
    assert Store(places).list_results() == []
    assert not list((places.runs / "results").iterdir())


def test_a_folder_holds_the_key_of_its_address(places: Places, job: Any) -> None:
    store, key = Store(places), job().training
    folder = store.prepare_folder(store.training_folder(key.address), key)
    written = json.loads((folder / "config.json").read_text())
    assert written["config"]["net"] == "tiny"
    assert written["seed"] == 0
    before = (folder / "config.json").stat().st_mtime_ns
    store.prepare_folder(folder, key)
    assert (folder / "config.json").stat().st_mtime_ns == before


def test_predictions_are_here_once_their_folder_is(places: Places) -> None:
    store, result = Store(places), record("aa")
    assert not store.has_predictions(result)
    store.predictions_folder(result.predictions).mkdir(parents=True)
    assert store.has_predictions(result)


def test_an_address_that_is_long_enough_names_a_result(places: Places) -> None:
    store = Store(places)
    for address in ("ab12", "ab34"):
        store.record(record(address), OUTCOMES)
    assert store.complete_address("ab1") == "ab12"
    for wrong in ("ab", "cd"):
        with pytest.raises(UnknownNameError, match=f"Unknown result '{wrong}'.*ab12, ab34"):
            store.complete_address(wrong)


def test_a_result_is_published_with_its_outcomes(places: Places, tmp_path: Path) -> None:
    store = Store(places)
    written = store.publish(keep(store, record("ab12")), tmp_path / "measured")
    assert [path.name for path in written] == ["voc07-det.melm.ab12.json", "voc07-det.melm.ab12.parquet"]
    assert all(path.exists() for path in written)


def test_a_record_under_another_address_is_not_published(places: Places) -> None:
    store, stored = Store(places), keep(Store(places), record("aa"))
    moved = stored.record.rename(stored.record.with_stem("bb"))
    with pytest.raises(BadFileError, match="the record of result aa, not of bb"):
        store.add_keys(StoredResult(stored.result, moved))


def test_a_result_from_an_edited_checkout_is_published_only_if_asked_for(places: Places, tmp_path: Path) -> None:
    store, into = Store(places), tmp_path / "measured"
    for address, provenance, files in (
        ("aa", {"changed": ["bench/api.py", "methods/cam.py"]}, r"\(bench/api.py, methods/cam.py\)"),
        ("bb", {}, r"\(its record does not say which files\)"),
    ):
        stored = keep(store, record(address, provenance={"dirty": True, **provenance}))
        with pytest.raises(RequestError, match=rf"Result {address} .* edited checkout {files}.*--allow-dirty"):
            store.publish(stored, into)
        assert not into.exists()
    written, *_ = store.publish(stored, into, allow_dirty=True)
    assert read_result(written).is_edited
    for address, dirty in (("cc", False), ("dd", None)):
        assert store.publish(keep(store, record(address, provenance={"dirty": dirty})), into)


def test_outcomes_that_are_too_large_stay_where_they_are_and_replicates_do_not(places: Places, tmp_path: Path) -> None:
    store = Store(places)
    noise = np.random.default_rng(0).integers(0, 1 << 60, SMALL // 8)
    kept = store.record(record("aa"), pa.table({"image": noise}), pa.table({"mAP_11pt": [0.4, 0.6]}))
    assert store.list_results() == [kept]
    assert kept.outcomes_digest == file_digest(store.outcomes_path("aa"))
    written = ["voc07-det.melm.aa.json", "voc07-det.melm.aa.replicates.parquet"]
    assert [path.name for path in store.publish(StoredResult(kept, store.result_path("aa")), tmp_path)] == written
    assert pq.read_table(tmp_path / written[1]).num_rows == 2
