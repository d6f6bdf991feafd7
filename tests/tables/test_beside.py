"""A paper's table with the measured numbers beneath: its order, its best, differences, verdicts, and what is marked."""

from __future__ import annotations

import pytest
from measured import beside, result

from bench.tables.caveats import CAVEATS
from bench.tables.model import Table
from bench.tables.reported import load_table, reported_tables

VGG16 = {"config": {"net": "vgg16"}}


def row(table: Table, label: str, nth: int = 0) -> list[str]:
    """Texts of the nth row of a name, without the name."""
    return [[cell.text for cell in cells[1:]] for cells in table.rows if cells[0].text == label][nth]


@pytest.mark.parametrize("name", reported_tables())
def test_without_results_every_table_is_as_printed(name: str) -> None:
    made, printed = beside(name, []), load_table(name)
    texts = [[cell.text for cell in cells] for cells in made.rows]
    assert texts == [
        [one.label, *("" if value is None else str(value) for value in one.values)] for one in printed.rows
    ]
    assert made.columns[1:] == tuple(column.head for column in printed.columns)
    assert made.groups in ((), tuple(one.group or "" for one in printed.rows))
    assert made.heads in ((), ("", *(column.group or "" for column in printed.columns)))
    assert len(set(made.names)) == len(made.names)
    assert made.remarks[-1] == f"Measured: 0 of {sum(1 for _ in printed.numbers())} numbers."


def test_a_missing_cell_is_empty_for_people_and_for_programs() -> None:
    made = beside("spn-2", [])
    cells = next(cells for cells in made.rows if cells[0].text == "LRP [1]")
    assert (cells[3].text, cells[3].value) == ("", None)


def test_the_best_is_of_its_column_and_lower_where_that_is_better() -> None:
    errors = beside("danet-1", [])
    best = [[cell.best for cell in cells[1:]] for cells in errors.rows]
    assert best == [
        [True, False, False, False],
        [False, False, False, False],
        [False, True, False, False],
        [False, False, True, True],
    ]
    rates = beside("melm-1", [])
    assert [cells[0].text for cells in rates.rows if cells[1].best] == ["MELM-L2+ARL"]


def test_the_best_of_one_protocol_is_held_against_no_other() -> None:
    means = [(cells[-1].text, cells[-1].best) for cells in beside("spn-4", []).rows]
    assert means[-1] == ("60.6", False)  # another CorLoc than that of the rows above
    assert max(means[:-1]) == next(one for one in means if one[1])


def test_what_was_measured_stands_beneath_with_difference_and_verdict() -> None:
    metrics = {"accuracy": 0.6963, "accuracy_difficult": 0.4}
    intervals = {"accuracy": (0.68, 0.71), "accuracy_difficult": (0.39, 0.42)}
    made = beside("spn-2", [result("voc07-point", "center", metrics, intervals=intervals)])
    assert [cells[0].text for cells in made.rows][:4] == ["Center", "measured: center", "difference", "Grad [24]"]
    assert row(made, "measured: center") == ["69.6", "40.0"] * 3
    assert row(made, "difference") == ["+0.1 =", "-2.6 !"] * 3
    assert made.rows[2][2].value == 0.4 - 0.426
    assert "! off" in made.remarks[0]
    assert made.remarks[1] == "Measured: 6 of 42 numbers."


def test_a_measured_number_within_noise_says_so() -> None:
    metrics, intervals = {"accuracy": 0.72, "accuracy_difficult": 0.4}, {"accuracy": (0.69, 0.75)}
    made = beside("spn-2", [result("voc07-point", "center", metrics, intervals=intervals)])
    assert row(made, "difference")[:2] == ["+2.5 ~", "-2.6"]  # without an interval there is no verdict


def test_digits_are_those_that_are_printed() -> None:
    made = beside("danet-1", [result("cub-loc", "danet", {"top1_loc_error": 0.47654}, **VGG16)])
    assert row(made, "measured: danet") == ["", "", "47.65", ""]
    assert row(made, "difference") == ["", "", "+0.17", ""]


def test_a_measured_number_that_can_be_compared_may_be_the_best() -> None:
    good = result("voc07-det", "melm:l2+arl", {"mAP_11pt": 0.48}, **VGG16)
    assert [cells[0].text for cells in beside("melm-1", [good]).rows if cells[1].best] == ["measured: melm:l2+arl"]
    part = good.model_copy(update={"partial": True, "split": "few"})
    assert [cells[0].text for cells in beside("melm-1", [part]).rows if cells[1].best] == ["MELM-L2+ARL"]


def test_a_mark_of_all_cells_stands_at_the_name_and_is_explained() -> None:
    part = result("voc07-det", "melm:l2+arl", {"mAP_11pt": 0.4}, partial=True, split="few", images=5, **VGG16)
    made = beside("melm-1", [part])
    measured = made.rows[14]
    assert (measured[0].text, measured[0].marks, measured[1].marks) == ("not comparable: melm:l2+arl", ("a",), ())
    assert made.notes == {"a": "not the protocol's images: evaluated on few, 5 images (test: 4952)"}
    assert "difference" not in [cells[0].text for cells in made.rows]
    assert made.remarks[0].startswith("not comparable: measured under conditions that the marks name")
    assert made.remarks[-1] == "Measured: 0 of 14 numbers, and 1 that cannot be compared (see the marks)."


def test_an_untrained_net_is_not_comparable() -> None:
    made = result("voc07-det", "melm:l2+arl", {"mAP_11pt": 0.4}, training="t", config={"net": "vgg16", "epochs": 0})
    assert beside("melm-1", [made]).notes == {"a": "not trained: epochs=0", "‡": CAVEATS["‡"]}


def test_what_a_paper_leaves_open_is_marked() -> None:
    made = beside("melm-7", [])
    assert [cells[0].marks for cells in made.rows] == [(), ("a",), ("a",), (), ("a",), ("a",), (), (), ("a",)]
    assert made.notes["a"].endswith("see the notes of results/papers/melm/table-7.yaml")


def test_a_printed_mean_that_is_wrong_has_the_right_one_in_a_note() -> None:
    table = beside("melm-3", [])
    note = next(
        mark for mark, note in table.notes.items() if note == "as printed; the mean of the row's values is 37.06"
    )
    (cell,) = [cell for row in table.rows for cell in row if note in cell.marks]
    assert cell.text == "38.4"


def test_a_papers_own_marks_keep_their_meaning() -> None:
    assert beside("weldon-6", []).notes["†"].startswith("results of pretrained model")


def test_namesakes_and_seeds_are_told_apart() -> None:
    made = beside(
        "melm-1",
        [
            result("voc07-det", "melm:l2+arl", {"mAP_11pt": 0.4}, config={"net": "a"}),
            *(result("voc07-det", "melm:l2+arl", {"mAP_11pt": 0.4}, config={"net": "b"}, seed=seed) for seed in (0, 1)),
        ],
    )
    names = [cells[0].text for cells in made.rows if cells[0].text.startswith("not comparable")]
    assert names == ["not comparable: melm:l2+arl [net=a]", "not comparable: melm:l2+arl [net=b], 2 seeds"]
