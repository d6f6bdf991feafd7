"""The papers' tables: all there, what they name known, their means right, and values read off the papers by hand."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from bench import registry
from bench.errors import BadFileError, UnknownNameError
from bench.tables.papers import PAPERS, read_yaml, reported_tables
from bench.tables.reported import ReportedTable, load_table

NOT_IMPLEMENTED: dict[str, dict[str, str]] = read_yaml(PAPERS / "not-implemented.yaml")
"""Kind (methods, nets, protocols) to names that the tables use and this project lacks, to the reason."""

CITATIONS = {
    "acol": "Zhang et al., CVPR 2018",
    "danet": "Xue et al., ICCV 2019",
    "melm": "Wan et al., TPAMI 2019",
    "spn": "Zhu et al., ICCV 2017",
    "weldon": "Durand et al., TPAMI 2019",
}
NUMBERED = {"acol": range(1, 8), "danet": range(1, 5), "melm": range(1, 8), "spn": range(1, 7), "weldon": range(4, 12)}
NAMES = [f"{paper}-{number}" for paper, numbers in NUMBERED.items() for number in numbers]
TABLES = {name: load_table(name) for name in reported_tables()}
NUMBERS = [(name, number) for name, table in TABLES.items() for number in table.numbers()]

LOCALIZATION = "top1_loc_error top5_loc_error gt_known_loc_error top1_cls_error top5_cls_error"
METRICS = {
    "coco14-cls": "mAP P_C R_C F1_C P_O R_O F1_O",
    "coco14-det": "AP AP50 AP75 AP_small AP_medium AP_large AR_1 AR_10 AR_100 AR_small AR_medium AR_large",
    "coco14-point-pred": "mAP",
    "cub-cls": "accuracy",
    "cub-corloc": "CorLoc",
    "cub-loc": LOCALIZATION,
    "ilsvrc-cls": "top1_cls_error top5_cls_error",
    "ilsvrc-loc": LOCALIZATION,
    "ilsvrc13-det": "mAP_area",
    "mit67-cls": "accuracy",
    "voc07-cls": "mAP P_C R_C F1_C P_O R_O F1_O",
    "voc07-corloc": "CorLoc",
    "voc07-corloc-any": "CorLoc",
    "voc07-det": "mAP_11pt mAP_area",
    "voc07-det-val": "mAP_11pt mAP_area",
    "voc07-energy": "object_energy",
    "voc07-point": "accuracy accuracy_difficult",
    "voc10-det": "mAP_area",
    "voc10-det-val": "mAP_area",
    "voc12-cls": "mAP",
    "voc12-det": "mAP_area",
    "voc12-det-val": "mAP_area",
    "voc12-point-pred": "mAP",
    "voc12-seg": "mIoU",
    "vocaction-cls": "mAP",
}
"""The metrics of every protocol that the papers use, as this project names them."""

MELM_3_VGG16 = "55.6 66.9 34.2 29.1 16.4 68.8 68.1 43.0 25.0 65.6 45.3 53.2 49.6 68.6 2.0 25.4 52.5 56.8 62.1 57.1 47.3"


def _value(name: str, row: int, column: str) -> str:
    """A cell's printed digits; empty where nothing is printed."""
    return {number.column: str(number.value) for number in TABLES[name].numbers() if number.row == row}.get(column, "")


def _named(kind: str) -> set[str]:
    """What the tables name: methods, nets or protocols."""
    return {str(name) for _, number in NUMBERS if (name := getattr(number, kind)) is not None}


def _exists(method: str) -> bool:
    try:
        registry.parse(method)
    except UnknownNameError:
        return False
    return True


def _existing(kind: str) -> set[str]:
    """Of what the tables name or the list has, what exists."""
    from methods.nets import NETS

    candidates = _named(kind) | set(NOT_IMPLEMENTED[f"{kind}s"])
    known = {"method": {name for name in candidates if _exists(name)}, "net": NETS, "protocol": registry.protocols()}
    return candidates & set(known[kind])


def test_every_result_table_of_the_five_papers_is_there() -> None:
    assert list(TABLES) == NAMES
    assert len(TABLES) == 32


def test_no_number_went_missing() -> None:
    assert len(NUMBERS) == 1020


@pytest.mark.parametrize("name", NAMES)
def test_a_table_says_where_it_is_from(name: str) -> None:
    table = TABLES[name]
    assert table.title
    assert table.notes
    assert table.citation == CITATIONS[table.paper]


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_in_their_range_and_have_a_known_metric(name: str) -> None:
    for number in TABLES[name].numbers():
        assert number.value > 0, number
        assert number.unit != "percent" or number.fraction < 1, number
        assert number.metric is None or number.metric in METRICS[str(number.protocol)].split(), number


@pytest.mark.parametrize("name", sorted(name for name in METRICS if name in registry.protocols()))
def test_a_metric_is_one_of_its_protocols_scoring(name: str) -> None:
    used = {number.metric for _, number in NUMBERS if number.protocol == name}
    assert used <= set(registry.family(registry.protocol(name).family).METRICS)


@pytest.mark.parametrize("kind", ["method", "net", "protocol"])
def test_what_a_table_names_exists_or_is_listed_as_not_implemented(kind: str) -> None:
    listed = NOT_IMPLEMENTED[f"{kind}s"]
    assert _named(kind) - _existing(kind) <= set(listed), f"neither there nor in {PAPERS / 'not-implemented.yaml'}"
    assert set(listed) <= _named(kind), f"{PAPERS / 'not-implemented.yaml'} has what no table names"
    assert all(listed.values())


@pytest.mark.parametrize("kind", ["method", "net", "protocol"])
def test_what_is_listed_as_not_implemented_is_not(kind: str) -> None:
    by_now = _existing(kind) & set(NOT_IMPLEMENTED[f"{kind}s"])
    assert not by_now, f"implemented by now: take it off {PAPERS / 'not-implemented.yaml'}"


def _means() -> list[tuple[str, int]]:
    return [(name, number.row) for name, number in NUMBERS if TABLES[name].columns[-1].mean and number.column == "mean"]


@pytest.mark.parametrize(("name", "index"), _means())
def test_a_printed_mean_is_the_mean_of_its_row_or_says_what_is(name: str, index: int) -> None:
    classes = [number.value for number in TABLES[name].numbers() if number.row == index and number.class_ is not None]
    assert len(classes) == 20
    mean, printed = sum(classes) / 20, Decimal(_value(name, index, "mean"))
    recomputed = TABLES[name].rows[index].recomputed.get("mean")
    reproduces = abs(mean - printed) <= Decimal("0.05")
    assert reproduces == (recomputed is None)
    assert recomputed is None or abs(mean - recomputed) <= Decimal("0.005")


def test_three_printed_means_are_wrong_and_say_so() -> None:
    found = {
        (name, row.label): str(row.recomputed["mean"])
        for name, table in TABLES.items()
        for row in table.rows
        if row.recomputed
    }
    assert found == {
        ("melm-3", "MILinear [25]"): "25.46",
        ("melm-3", "MELM"): "37.06",
        ("spn-4", "Wang et al. [31]"): "47.68",
    }


@pytest.mark.parametrize(
    ("name", "row", "column", "printed"),
    [
        ("acol-1", 2, "top5_cls", "11.8"),
        ("acol-2", 8, "top1_cls", "28.1"),
        ("acol-3", 2, "top5_loc", ""),
        ("acol-3", 8, "top5_loc", "36.66"),
        ("acol-4", 0, "top1_loc", "59.00"),
        ("acol-5", 7, "top5_loc", "30.03"),
        ("acol-6", 1, "top5_loc", "42.79"),
        ("acol-7", 6, "gt_known_loc", "41.6"),
        ("acol-7", 9, "gt_known_loc", "37.04"),
        ("danet-1", 3, "top1_loc", "47.48"),
        ("danet-1", 2, "top5_cls", "6.96"),
        ("danet-2", 4, "top5_cls", ""),
        ("danet-3", 9, "top5_loc", "40.00"),
        ("danet-4", 2, "corloc", "67.03"),
        ("melm-1", 13, "map", "47.3"),
        ("melm-2", 0, "tau_0_7", "35.3"),
        ("melm-3", 18, "mean", "47.8"),
        ("melm-4", 11, "corloc", "61.4"),
        ("melm-5", 22, "map", "42.4"),
        ("melm-6", 3, "r_o", "71.9"),
        ("melm-6", 11, "ap", "7.8"),
        ("melm-7", 8, "map", "93.1"),
        ("spn-1", 3, "ms", "0.9"),
        ("spn-2", 0, "vgg16_diff", "42.6"),
        ("spn-2", 3, "vgg16_all", ""),
        ("spn-2", 6, "googlenet_all", "85.1"),
        ("spn-3", 3, "coco14", "55.3"),
        ("spn-4", 5, "mean", "60.6"),
        ("spn-5", 1, "error", "57.0"),
        ("spn-6", 1, "voc", "84.2"),
        ("weldon-4", 13, "voc07", "95.0"),
        ("weldon-5", 13, "cub200", "76.6"),
        ("weldon-6", 1, "top1", ""),
        ("weldon-6", 11, "top5", "4.23"),
        ("weldon-7", 2, "mit67", "72.2"),
        ("weldon-8", 3, "voc07", "91.2"),
        ("weldon-9", 0, "size_747", "1302"),
        ("weldon-10", 4, "voc12", "81.5"),
        ("weldon-11", 5, "miou", "42.1"),
    ],
)
def test_a_number_is_as_printed(name: str, row: int, column: str, printed: str) -> None:
    assert _value(name, row, column) == printed


def test_melms_best_row_is_as_printed() -> None:
    assert " ".join(str(value) for value in TABLES["melm-3"].rows[16].values) == MELM_3_VGG16


def test_a_row_speaks_before_its_column() -> None:
    named = {number.row: number.protocol for number in TABLES["spn-4"].numbers()}
    assert named == dict.fromkeys(range(5), "voc07-corloc") | {5: "voc07-corloc-any"}
    nets = {number.column: number.net for number in TABLES["spn-2"].numbers() if number.row == 7}
    assert nets["cnn_s_all"] == "cnn-s"
    tau = [number.setting["tau"] for number in TABLES["melm-2"].numbers()]
    assert tau == ["0.1", "0.3", "0.5", "0.7", "0.9", "1"]


def test_a_number_knows_its_fraction_class_and_certainty() -> None:
    person = next(n for n in TABLES["melm-3"].numbers() if (n.row, n.column) == (16, "person"))
    assert (person.fraction, person.class_, person.method, person.uncertain) == (0.02, "person", "melm:l2+arl", False)
    guessed = next(n for n in TABLES["weldon-5"].numbers() if (n.row, n.column) == (2, "cub200"))
    assert guessed.uncertain
    seconds = TABLES["weldon-9"].numbers()[0]
    with pytest.raises(ValueError, match="not in per cent"):
        _ = seconds.fraction


def test_listing_reads_titles_and_imports_no_models() -> None:
    code = (
        "import sys; from bench.tables.papers import reported_tables as t;"
        "print(t()['acol-7'].summary, {'pydantic', 'numpy', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "Localization error on ILSVRC validation data with ground-truth labels. set()\n"


def test_a_table_that_is_not_there_has_a_near_name() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown table 'melm-33'\. Did you mean: melm-3"):
        load_table("melm-33")


GOOD = """\
paper: x
table: 1
title: A table
citation: X et al., 2020
columns:
  - {key: a, head: A, protocol: voc07-det, metric: mAP_11pt, class: cat}
  - {key: mean, head: mAP, protocol: voc07-det, metric: mAP_11pt, mean: true}
  - {key: net, head: Net, unit: text}
rows:
  - {label: One, method: melm, values: [1.50, 1.5, VGG]}
"""


def _written(folder: Path, text: str) -> ReportedTable:
    path = folder / "x" / "table-1.yaml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return load_table("x-1", folder)


@pytest.mark.parametrize(
    ("was", "is_", "message"),
    [
        ("key: net", "key: mean", r"table-1\.yaml: column mean: the key is taken"),
        ("1.5, VGG", "1.5", r", row 0: expected 3 values, one for each column, but got 2"),
        ("1.50", "l.5", r", row 0: a: expected a number, but got l\.5"),
        ("VGG]", "16]", r", row 0: net_: expected words, but got 16"),
        ("1.50", "150", r", row 0: a: 150 is more than 100 per cent"),
        ("1.50", "-1.5", r", row 0: a: expected a number, but got -1\.5"),
        ("VGG]", "VGG], uncertain: [b]", r", row 0: uncertain: nothing is called b"),
        ("VGG]", "VGG], recomputed: {a: 2}", r", row 0: recomputed: nothing is called a"),
        ("VGG]", 'VGG], marks: ["*"]', r", row 0: marks: nothing is called \*"),
        ("VGG]", "VGG], reason: none", r", row 0: expected a method, or the reason why it is none, but got both"),
        ("VGG]", "VGG], nett: vgg16", r", row 0: nett: Extra inputs are not permitted"),
        ("A, protocol: voc07-det", "A", r", row 0: a: neither row nor column names the protocol"),
        ("metric: mAP_11pt, class", "class", r": column a: expected a metric, or the reason why it has none"),
        ("head: A, ", "", r": columns\.0\.head: Field required"),
        ("table: 1", "table: 2", r": says that it is x-2"),
        ("method: melm, ", "label: Two, ", r": not valid YAML: label is given twice \(line 10\)"),
        ("[1.50", "[[1.50", r": not valid YAML: .* \(line 10\)"),
        ("A table", "\x00", r": not valid YAML"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(tmp_path: Path, was: str, is_: str, message: str) -> None:
    good = GOOD.replace("key: net", "key: net_")
    was = was.replace("key: net", "key: net_")
    assert was in good
    with pytest.raises(BadFileError, match=message):
        _written(tmp_path, good.replace(was, is_))


def test_a_key_that_means_the_whole_row_is_taken(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="column net: the key is taken"):
        _written(tmp_path, GOOD)


def test_printed_digits_and_missing_cells_survive(tmp_path: Path) -> None:
    table = _written(tmp_path, GOOD.replace("key: net", "key: net_").replace("1.5, VGG", "~, VGG"))
    assert [str(value) for value in table.rows[0].values] == ["1.50", "None", "VGG"]
    assert [str(number.value) for number in table.numbers()] == ["1.50"]


def test_a_damaged_file_is_listed_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x" / "table-1.yaml"
    path.parent.mkdir()
    path.write_bytes(b"title: \xff")
    assert reported_tables(tmp_path)["x-1"].summary == "(no title: the file is damaged)"
    with pytest.raises(BadFileError, match="cannot be read"):
        read_yaml(path)
