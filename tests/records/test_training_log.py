"""The log of a training: where it is found, in the runs folder and published, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from test_store import record

from bench.core.files import Places, write_text
from bench.errors import BadFileError
from bench.records.collection import StoredResult
from bench.records.store import Store
from bench.records.training_log import log_path, read_training_log

pytestmark = pytest.mark.usefixtures("made_up_addresses")

OUTCOMES = pa.table({"image": [0]})


def test_the_log_of_its_training_is_published_with_a_result(places: Places, tmp_path: Path) -> None:
    store = Store(places)
    kept = store.record(record("aa").model_copy(update={"training": "7"}), OUTCOMES)
    epochs = [{"epoch": 1.0, "loss": 3.5}, {"epoch": 2.0, "loss": 2.5}]
    write_text(store.training_folder("7") / "log.jsonl", "".join(f"{json.dumps(one)}\n" for one in epochs))
    published = store.publish(StoredResult(kept, store.result_path("aa")), tmp_path / "measured")[0]
    assert (
        read_training_log(StoredResult(kept, published))
        == read_training_log(StoredResult(kept, store.result_path("aa")))
        == epochs
    )


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"loss": "x"}', '{"loss": null}', "\xff", '{"loss": 1}', '{"epoch": NaN, "loss": 1}']
)
def test_without_a_log_there_is_no_history_and_another_file_in_its_place_is_refused(places: Places, text: str) -> None:
    store = Store(places)
    kept = StoredResult(store.record(record("aa"), OUTCOMES), store.result_path("aa"))
    assert read_training_log(kept) == []
    log_path(kept.record).write_bytes(text.encode("latin-1"))
    with pytest.raises(BadFileError, match="not a training log"):
        read_training_log(kept)
