"""Which results stand beneath which printed number, and why some cannot be compared with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from measured import found, result

from bench.core.bootstrap import average_over_seeds, interval
from bench.records.replicates import Replicates
from bench.tables.matching import Measured

VGG16 = {"config": {"net": "vgg16"}}
MAP = {"mAP_11pt": 0.473}


def cells(name: str, *results: Any) -> dict[tuple[int, str], tuple[float, tuple[str, ...]]]:
    return {(row, key): (one.value, one.reasons) for row, key, one in found(name, results).cells()}


def test_a_result_stands_beneath_its_method_and_variant_only() -> None:
    assert cells("melm-1", result("voc07-det", "melm:l2+arl", MAP, **VGG16)) == {(13, "map"): (0.473, ())}
    assert cells("melm-1", result("voc07-det", "melm:l3", MAP, **VGG16)) == {}
    assert cells("melm-1", result("voc07-det", "wsddn", MAP, **VGG16)) == {}


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"config": {"net": "squeezenet"}}, "net squeezenet, not vgg16"),
        (
            {"split": "few", "images": 5, "partial": True},
            "not the protocol's images: evaluated on few, 5 images (test: 4952)",
        ),
        ({"train_split": "few"}, "trained on few"),
        ({"tuned_on": "val-boxes"}, "tuned on: val-boxes"),
        (
            {"digest": "x", "conventions": {**result("voc07-det", "melm", MAP).conventions, "iou_threshold": 0.7}},
            "other conventions: iou_threshold 0.7, not 0.5",
        ),
        (
            {"digest": "x", "per_class": {"mAP_11pt": {"cat": 0.5}}},
            "other conventions: another version of the scoring, or other classes",
        ),
    ],
)
def test_what_cannot_be_compared_says_why(odd: dict[str, Any], reason: str) -> None:
    assert cells("melm-1", result("voc07-det", "melm:l2+arl", MAP, **{**VGG16, **odd})) == {
        (13, "map"): (0.473, (reason,))
    }


@pytest.mark.parametrize("dataset", ["shapes", "voc2012"])
def test_other_data_never_enter_synthetic_ones_least(dataset: str) -> None:
    assert cells("melm-1", result("voc07-det", "melm:l2+arl", MAP, dataset=dataset, **VGG16)) == {}


def test_a_class_has_the_number_and_the_interval_of_its_class() -> None:
    per_class = {"mAP_11pt": {"person": 0.02, "cat": None}}
    sure = {"intervals": {"mAP_11pt": (0.4, 0.5)}, "class_intervals": {"mAP_11pt": {"person": (0.01, 0.05)}}}
    made = [result("voc07-det", "melm:l2+arl", MAP, per_class=per_class, seed=seed, **sure, **VGG16) for seed in (0, 1)]
    one = {key: (one.value, one.interval) for _, key, one in found("melm-3", made[:1]).cells()}
    assert one == {"person": (0.02, (0.01, 0.05)), "mean": (0.473, (0.4, 0.5))}
    two = {key: one.interval for _, key, one in found("melm-3", made).cells()}
    assert two == {"person": None, "mean": None}  # whose replicates are not kept


def test_where_a_paper_names_no_variant_another_than_the_papers_is_marked() -> None:
    made = [
        result("voc07-corloc", f"wsddn:{variant}", {"CorLoc": value}, **VGG16)
        for variant, value in (("paper", 0.5), ("released", 0.6))
    ]
    names = {one.value: one.reasons for _, key, one in found("melm-4", made[1:]).cells() if key == "corloc"}
    assert set(names[0.6]) >= {"variant released: the paper names none"}
    both = {one.value for row, _, one in found("melm-4", made).cells() if not one.reasons}
    assert both == {0.5}


def test_where_one_can_be_compared_those_that_cannot_are_left_out_and_counted() -> None:
    good = result("voc07-det", "melm:l2+arl", MAP, **VGG16)
    other = result("voc07-det", "melm:l2+arl", {"mAP_11pt": 0.1}, config={"net": "squeezenet"})
    both = found("melm-1", [good, other])
    assert [one.value for _, _, one in both.cells()] == [0.473]
    assert both.left_out == 1


def test_every_configuration_has_a_line_where_none_can_be_compared() -> None:
    nets = [result("voc07-det", "melm:l2+arl", {"mAP_11pt": 0.1}, config={"net": net}) for net in ("a", "b")]
    assert len(found("melm-1", nets).lines[13]) == 2


def test_a_column_of_a_net_or_a_setting_takes_no_other() -> None:
    made = result("voc07-point", "spn", {"accuracy": 0.8, "accuracy_difficult": 0.7}, **VGG16)
    assert set(cells("spn-2", made)) == {(7, "vgg16_all"), (7, "vgg16_diff")}
    tau = result("voc07-det-val", "melm", {"mAP_11pt": 0.3}, config={"tau": 0.7})
    assert set(cells("melm-2", tau)) == {(0, "tau_0_7")}


def test_who_has_no_net_stands_in_the_column_of_each() -> None:
    made = result("voc07-point", "center", {"accuracy": 0.7, "accuracy_difficult": 0.4})
    assert len(cells("spn-2", made)) == 6


def test_of_several_judgements_the_one_that_can_be_compared_counts_then_the_latest() -> None:
    part = {"split": "few", "partial": True, "truth_digest": "few", "created": "2025-03"}
    made = [
        result("voc07-det", "melm:l2+arl", {"mAP_11pt": value}, **VGG16, **more)
        for value, more in ((0.1, part), (0.2, {"created": "2025-02"}), (0.3, {"created": "2025-01"}))
    ]
    assert cells("melm-1", *made) == {(13, "map"): (0.2, ())}


def test_seeds_are_one_number_with_an_interval_over_images_and_seeds() -> None:
    generator = np.random.default_rng(0)
    values = (0.40, 0.44, 0.48)
    made = [
        result("voc07-det", "melm:l2+arl", {"mAP_11pt": value}, seed=seed, **VGG16) for seed, value in enumerate(values)
    ]
    draws = {one.address: generator.normal(value, 0.01, 50) for one, value in zip(made, values, strict=True)}

    def mean(name_of_draws: Callable[[str], str]) -> Measured:
        def read(address: str) -> Replicates:
            return Replicates(name_of_draws(address), {"mAP_11pt": draws[address]})

        ((_, _, one),) = found("melm-1", made, read).cells()
        return one

    of_same_draws = mean(lambda _: "d")
    assert of_same_draws.value == pytest.approx(0.44)
    assert of_same_draws.interval == interval(average_over_seeds(np.stack(list(draws.values()))), of_same_draws.value)
    assert mean(lambda address: address).interval is None
