"""Annotations damaged anywhere: the truth that they still hold, or a message with the file's name. Nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.data.coco import CATEGORY_IDS, CLASSES, parse_instances
from bench.data.wsol import read_ground_truth
from bench.errors import BadFileError

COCO: dict[str, Any] = {
    "categories": [{"id": number, "name": name} for number, name in zip(CATEGORY_IDS, CLASSES, strict=True)],
    "images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 7}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 3, 3], "area": 9, "iscrowd": 0}
        | {"segmentation": [[0, 0, 3, 0, 3, 3, 0, 3]]},
        {"id": 2, "image_id": 1, "category_id": 90, "bbox": [0, 0, 9, 7], "area": 63, "iscrowd": 1}
        | {"segmentation": {"size": [7, 9], "counts": [0, 60, 3]}},
        {"id": 3, "image_id": 1, "category_id": 18, "bbox": [0, 0, 9, 7], "area": 63, "iscrowd": 1}
        | {"segmentation": {"size": [7, 9], "counts": "0o1"}},
    ],
}
ODD = (
    None, True, -1, 0, 1, 2, 7, 10**30, 1.5, -0.0, 1e308, float("nan"), float("inf"),
    "", "1", "\x00", "é", "o" * 99, [], [[]], [[[]]], [1] * 7, [1e300] * 6, [float("nan")] * 6, {}, {"size": [7, 9]},
)  # fmt: skip


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if key != "categories":
            yield from places_in(inner, (*path, key))


PLACES = [path for path in places_in(COCO) if path]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD)), min_size=1, max_size=2))
def test_coco_with_any_value_replaced_is_read_or_refused(
    tmp_path: Path, damage: list[tuple[tuple[Any, ...], Any]]
) -> None:
    document = copy.deepcopy(COCO)
    for path, value in damage:
        replace(document, path, value)
    file = tmp_path / "instances_val2014.json"
    file.write_text(json.dumps(document))
    found = outcome(lambda: parse_instances(file))
    assert (found.startswith(str(file)) and "\n" not in found) if isinstance(found, str) else found.num_rows >= 0


def outcome(read: Callable[[], Any]) -> Any:
    """What it reads, or the message of its refusal."""
    try:
        return read()
    except BadFileError as error:
        return str(error)


def replace(document: Any, path: tuple[Any, ...], value: Any) -> None:
    """Put a value somewhere, if an earlier one left that place."""
    with suppress(KeyError, IndexError, TypeError):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = copy.deepcopy(value)


LISTS = {
    "image_ids.txt": "a/1.jpg\nb/2.jpg\n",
    "class_labels.txt": "a/1.jpg,0\nb/2.jpg,1\n",
    "image_sizes.txt": "a/1.jpg,5,6\nb/2.jpg,7,8\n",
    "localization.txt": "a/1.jpg,0,0,3,3\nb/2.jpg,1,1,5,5\n",
}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(LISTS)), at=st.integers(0, 40), new=st.binary(max_size=6), cut=st.integers(0, 12))
def test_lists_with_any_bytes_replaced_are_read_or_refused(
    tmp_path: Path, name: str, at: int, new: bytes, cut: int
) -> None:
    for other, text in LISTS.items():
        (tmp_path / other).write_text(text)
    content = LISTS[name].encode()
    (tmp_path / name).write_bytes(content[:at] + new + content[at + cut :])
    found = outcome(lambda: read_ground_truth("cub", "test", tmp_path, ("a", "b"), tmp_path))
    if isinstance(found, str):
        assert found.startswith(str(tmp_path))
        assert "\n" not in found
    else:
        assert len(found.ids) == len(found.labels) == len(found.size)


@pytest.mark.parametrize("length", range(0, 3000, 97))
def test_coco_cut_off_anywhere_is_refused(tmp_path: Path, length: int) -> None:
    file = tmp_path / "instances_val2014.json"
    file.write_text(json.dumps(COCO)[:length])
    with pytest.raises(BadFileError, match="not valid JSON"):
        parse_instances(file)
