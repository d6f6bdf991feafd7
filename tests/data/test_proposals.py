from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from proposal_files import save_npz

from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.data.proposal_files import read_proposals
from bench.data.proposals import Proposals, drop_small_boxes, load_proposals
from bench.errors import BadFileError, MissingDataError, UnknownNameError

IDS = ("000005", "000007")
HALF_OPEN = {"000005": [[0, 0, 10, 20], [4, 5, 6, 7]], "000007": [[1, 2, 3, 4]]}
INCLUSIVE = [np.array([[0, 0, 9, 19], [4, 5, 5, 6]]), np.array([[1, 2, 2, 3]], np.float32)]
MATLAB = [np.array([[1, 1, 20, 10], [6, 5, 7, 6]], np.uint16), np.array([[3, 2, 4, 3]], np.uint16)]
SCORES = [np.array([0.5, 0.25]), np.array([1.0])]


def cell(values: list[Any]) -> np.ndarray:
    array = np.empty((len(values), 1), dtype=object)
    for row, value in enumerate(values):
        array[row, 0] = value
    return array


def mat(path: Path, **more: Any) -> str:
    scipy.io.savemat(path, {"images": cell(list(IDS)), "boxes": cell(MATLAB).T, **more})
    return str(path)


def pkl(path: Path, value: Any) -> str:
    path.write_bytes(pickle.dumps(value))
    return str(path)


def load(spec: str, ids: tuple[str, ...] = IDS) -> Proposals:
    """No dataset and no places are needed for a file."""
    return load_proposals(spec, None, ids, Places(Path("nowhere")), workers=1)  # type: ignore[arg-type]


def check(found: Proposals, ids: tuple[str, ...] = IDS) -> None:
    assert found.ids == ids
    assert found.boxes.dtype == np.float32
    assert found.offsets.dtype == np.int64
    for image in ids:
        assert found.of(image).tolist() == HALF_OPEN[image]


def test_matlab_cells_of_ymin_xmin_ymax_xmax_become_half_open_corners(tmp_path: Path) -> None:
    found = load(mat(tmp_path / "SelectiveSearchVOC2007trainval.mat"))
    check(found)
    assert found.scores is None


def test_scores_of_a_matlab_file_come_along(tmp_path: Path) -> None:
    found = load(mat(tmp_path / "a.mat", boxScores=cell([score[:, None] for score in SCORES])))
    assert found.scores is not None
    assert found.scores.tolist() == [0.5, 0.25, 1]


@pytest.mark.parametrize(
    "content",
    [
        {"boxes": INCLUSIVE, "indexes": list(IDS)},
        {"boxes": INCLUSIVE, "ids": np.array(IDS)},
        {"boxes": INCLUSIVE, "indexes": [5, 7]},
        {"boxes": INCLUSIVE, "indexes": np.array([5, 7])},
        {"boxes": cell(INCLUSIVE).ravel(), "indexes": np.array([5.0, 7.0])},
        {"boxes": INCLUSIVE, "indexes": [b"000005", b"000007"], "scores": SCORES},
        dict(zip(IDS, INCLUSIVE, strict=True)),
        INCLUSIVE,
        [one.tolist() for one in INCLUSIVE],
    ],
    ids=["text", "ids", "numbers", "array", "object array", "scored", "by name", "list", "nested lists"],
)
def test_pickles_of_every_layout_give_the_same_boxes(tmp_path: Path, content: Any) -> None:
    check(load(pkl(tmp_path / "a.pkl", content)))


def test_our_own_file_comes_back_equal(tmp_path: Path) -> None:
    mine = Proposals.from_arrays(IDS, [np.array(HALF_OPEN[image], float) + 0.25 for image in IDS], SCORES)
    save_npz(tmp_path / "a.npz", mine)
    found = load(str(tmp_path / "a.npz"))
    assert found.digest == mine.digest
    assert found.scores_of("000005") is not None
    assert found.scores_of("000005").tolist() == [0.5, 0.25]  # type: ignore[union-attr]


def test_the_images_asked_for_come_in_the_order_asked_for(tmp_path: Path) -> None:
    check(load(mat(tmp_path / "a.mat"), ("000007", "000005")), ("000007", "000005"))
    check(load(mat(tmp_path / "a.mat"), ("000007",)), ("000007",))


def test_ids_of_later_years_match_their_numbers(tmp_path: Path) -> None:
    content = {"boxes": INCLUSIVE, "indexes": [2008000002, 2008000003]}
    found = load(pkl(tmp_path / "a.pkl", content), ("2008_000003",))
    assert found.of("2008_000003").tolist() == HALF_OPEN["000007"]


def test_an_image_without_proposals_is_fine(tmp_path: Path) -> None:
    found = load(pkl(tmp_path / "a.pkl", {"boxes": [np.zeros((0, 4)), INCLUSIVE[1]], "ids": list(IDS)}))
    assert found.of("000005").shape == (0, 4)
    assert found.of("000007").tolist() == HALF_OPEN["000007"]


def test_images_that_a_file_lacks_are_counted_and_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match=r"no proposals for 2 of 3 images \(first: 000008\)"):
        load(mat(tmp_path / "a.mat"), ("000005", "000008", "000009"))


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (7, "expected a dict or a list"),
        (INCLUSIVE[:1], "must have an entry for each of 2 images, but has 1"),
        ({"boxes": INCLUSIVE}, "neither `indexes` nor `ids`"),
        ({"boxes": INCLUSIVE, "ids": ["000005"]}, "as many different ids as arrays"),
        ({"boxes": INCLUSIVE, "ids": ["000005", "000005"]}, "as many different ids as arrays"),
        ({"boxes": INCLUSIVE, "ids": [None, "000005"]}, "must be text or a whole number"),
        ({"boxes": INCLUSIVE, "ids": 5}, "expected a list with one entry per image"),
        ({"boxes": [INCLUSIVE[0], np.ones((2, 5))], "ids": list(IDS)}, "row 000007: expected finite boxes"),
        ({"boxes": [INCLUSIVE[0], ["x"]], "ids": list(IDS)}, "row 000007: expected finite boxes"),
        ({"boxes": [INCLUSIVE[0], [[1, 2, 3], [4]]], "ids": list(IDS)}, "row 000007: expected finite boxes"),
        ({"boxes": [INCLUSIVE[0], np.full((1, 4), np.nan)], "ids": list(IDS)}, "row 000007: expected finite boxes"),
        ({"boxes": [INCLUSIVE[0], np.array([[5, 1, 2, 3]])], "ids": list(IDS)}, "row 000007: inverted box"),
        ({"boxes": INCLUSIVE, "ids": list(IDS), "scores": [SCORES[1]] * 2}, "row 000005: expected 2 finite scores"),
    ],
)
def test_pickles_that_break_their_layout_are_named(tmp_path: Path, content: Any, rule: str) -> None:
    with pytest.raises(BadFileError, match=rule):
        load(pkl(tmp_path / "a.pkl", content))


@pytest.mark.parametrize("suffix", [".mat", ".pkl", ".npz"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 99, b"MATLAB 5.0" + bytes(200), b"PK\x03\x04" + bytes(60)])
def test_files_that_are_something_else_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(BadFileError, match=f"a{suffix}: not a"):
        load(str(path))


def test_a_truncated_matlab_file_is_refused(tmp_path: Path) -> None:
    path = Path(mat(tmp_path / "a.mat"))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadFileError, match=r"not a \.mat file"):
        load(str(path))


@pytest.mark.parametrize(
    ("offsets", "boxes"), [([0, 2], [[0, 0, 1, 1]] * 2), ([0, 2, 1], [[0, 0, 1, 1]]), ([1, 1, 2], [[0, 0, 1, 1]] * 2)]
)
def test_offsets_that_do_not_fit_are_refused(tmp_path: Path, offsets: list[int], boxes: list[list[int]]) -> None:
    np.savez(tmp_path / "a.npz", ids=np.array(IDS), offsets=offsets, boxes=boxes)
    with pytest.raises(BadFileError, match="`offsets` must rise from 0"):
        load(str(tmp_path / "a.npz"))


def test_an_npz_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ids=np.array(IDS, dtype=object), offsets=[0, 0, 0], boxes=np.zeros((0, 4)))
    with pytest.raises(BadFileError, match=r"not a \.npz file"):
        load(str(tmp_path / "a.npz"))


def test_other_words_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean: selective-search"):
        load("selective-serach")
    with pytest.raises(MissingDataError, match=r"a\.npz"):
        load(str(tmp_path / "a.npz"))


def test_boxes_with_a_small_side_are_filtered_and_the_order_kept() -> None:
    boxes = np.array([[0, 0, 8, 8], [0, 0, 7.9, 90], [5, 5, 20, 13], [0, 0, 90, 2]], np.float32)
    assert drop_small_boxes(boxes, 8).tolist() == [[0, 0, 8, 8], [5, 5, 20, 13]]
    assert len(drop_small_boxes(boxes, 0)) == 4


def test_selective_search_of_a_dataset_is_repeatable_and_covers_its_images(places: Places) -> None:
    shapes = open_dataset("shapes", places, {"train": 2, "val": 1, "test": 1, "size": 64})
    ids = shapes.ground_truth("trainval").ids
    first, again = (load_proposals("selective-search", shapes, ids, places, workers=2) for _ in range(2))
    assert first.ids == ids
    assert first.digest == again.digest
    assert all([0, 0, 64, 64] in first.of(image).tolist() for image in ids)


def test_a_small_pickle_that_nests_without_end_is_refused_soon(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    nested: list[Any] = [1.0]
    for _ in range(60):
        nested = [nested, nested]
    path.write_bytes(pickle.dumps({"000005": nested}))
    assert path.stat().st_size < 500
    with pytest.raises(BadFileError, match=r"expected finite boxes|takes more than|not a readable"):
        read_proposals(path, ["000005"])


def test_an_archive_that_unpacks_to_far_more_than_numbers_do_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, ids=np.zeros(100 << 20, dtype=np.uint8))
    with pytest.raises(BadFileError, match="unpacks to 100 MiB, too much for its size"):
        read_proposals(path, ["000005"])


def test_files_of_splits_are_joined(tmp_path: Path) -> None:
    for name, rows in (("a.mat", slice(0, 1)), ("b.mat", slice(1, None))):
        content = {"images": cell(list(IDS[rows])), "boxes": cell(MATLAB[rows]).T}
        scipy.io.savemat(tmp_path / name, content)
    both = f"{tmp_path / 'a.mat'}+{tmp_path / 'b.mat'}"
    check(load(both))
    with pytest.raises(BadFileError, match=r"have no proposals for 1 of 1 images \(first: nowhere\)"):
        load(both, ("nowhere",))
    with pytest.raises(BadFileError, match=r"which .*a.mat has too: give one of them"):
        load(f"{both}+{tmp_path / 'a.mat'}")
    with pytest.raises(MissingDataError, match=r"looked in .*c\.mat"):
        load(f"{tmp_path / 'a.mat'}+{tmp_path / 'c.mat'}")
