"""Protocol records: the shipped files, what a file may say, and what moves a digest."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

import protocols
from bench.errors import BadFileError, RequestError, UnknownNameError
from bench.scoring.protocol import BoundProtocol, Record, read_record

FILES = sorted(Path(protocols.__path__[0]).glob("*.toml"))


def bind(record: Record) -> BoundProtocol:
    family: Any = importlib.import_module(f"protocols.scoring.{record.family.replace('-', '_')}")
    return BoundProtocol(record, family)


@pytest.fixture
def record() -> Record:
    return read_record(Path(protocols.__path__[0]) / "voc07-det.toml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_protocol_spells_out_every_switch_with_its_source(path: Path) -> None:
    record = read_record(path)
    bound = bind(record)
    assert bound.conventions.model_dump() == record.conventions
    assert all(source.strip() for source in record.sources.values())
    assert bound.metrics == record.metrics


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_checking_a_shipped_protocol_does_not_move_its_digest(path: Path) -> None:
    bound = bind(read_record(path))
    assert bound.digest(("cat",)) == bound.record.digest(bound.family.VERSION, ("cat",))


def test_a_moved_switch_moves_the_digest_and_prose_does_not(record: Record) -> None:
    before = bind(record).digest(("cat",))
    assert bind(record.with_conventions({"iou_compare": ">"})).digest(("cat",)) != before
    assert bind(record.model_copy(update={"summary": "other words", "sources": {}})).digest(("cat",)) == before
    assert bind(record).digest(("cat", "dog")) != before


def test_a_whole_number_is_the_same_tolerance_as_its_float() -> None:
    record = read_record(Path(protocols.__path__[0]) / "voc07-point.toml")
    whole = bind(record.with_conventions({"tolerance": 15}))
    assert whole.digest(("cat",)) == bind(record).digest(("cat",))


def test_an_unknown_switch_is_asked_about(record: Record) -> None:
    with pytest.raises(UnknownNameError, match=r"'iou_treshold'\. Did you mean: iou_threshold"):
        record.with_conventions({"iou_treshold": 0.5})
    misspelt = record.model_copy(update={"conventions": {**record.conventions, "dificult": "ignore"}})
    with pytest.raises(UnknownNameError, match=r"'dificult'\. Did you mean: difficult"):
        _ = bind(misspelt).conventions


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("difficult", "skip"),
        ("iou_threshold", 1.5),
        ("iou_threshold", "0.5"),
        ("plus_one", 1),
        ("iou_threshold", float("nan")),
    ],
)
def test_a_value_that_a_switch_does_not_take_is_named(record: Record, switch: str, value: Any) -> None:
    with pytest.raises(RequestError, match=rf"voc07-det: convention '{switch}': .*, but got {value!r}"):
        _ = bind(record.with_conventions({switch: value})).conventions


def test_a_switch_left_out_is_named(record: Record) -> None:
    short = record.model_copy(update={"conventions": {}})
    with pytest.raises(RequestError, match="convention 'iou_threshold': Field required"):
        _ = bind(short).conventions


def test_an_unknown_metric_is_asked_about(record: Record) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: mAP_area"):
        _ = bind(record.model_copy(update={"metrics": ("mAP_aera",)})).metrics


def test_corloc_says_that_it_evaluates_the_training_split(record: Record) -> None:
    assert read_record(Path(protocols.__path__[0]) / "voc07-corloc.toml").evaluates_training_split
    assert not record.evaluates_training_split


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("summary = ", "not valid TOML"),
        ("summary = 'x'", "mine.toml: family: Field required"),
        ("colour = 'red'", r"Unknown key 'colour'\. Available: also"),
        ("sources = { a = 'b' }", "Unknown key 'sources': the sources of conventions"),
        ("name = 'other'", "the protocol's name is the file's"),
        ("conventions = 3", "the protocol's name is the file's"),
        ("[conventions]\nties = 'stable'", "conventions.ties: a convention must be a table"),
        ("[conventions]\nties = { value = 'stable' }", "conventions.ties: a convention must be a table"),
    ],
)
def test_a_file_that_is_no_protocol_is_refused(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(BadFileError, match=rule):
        read_record(tmp_path / "mine.toml")


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="No such file"):
        read_record(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadFileError, match="not valid TOML"):
        read_record(tmp_path / "binary.toml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_protocol_begins_with_what_it_is(path: Path) -> None:
    assert path.read_text().startswith("# ")
    assert tomllib.loads(path.read_text())["summary"]
