"""The leaderboard: seeds together, ranks shared within noise, and whatever cannot be compared marked and explained."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from record_cases import RECORD

from bench.records.replicates import Replicates
from bench.records.result import Result
from bench.tables.leaderboard import leaderboard, leaderboards, make_distinct_labels
from bench.tables.model import Cell, Table
from bench.tables.render import FORMATS, csv, markdown, text

COMMON: dict[str, Any] = {
    **RECORD,
    "conventions": {"iou_threshold": 0.5, "ap": "11pt"},
    "images": 4952,
    "higher_is_better": {"mAP": True, "error": False},
}


def result(method: str, mean: float | None, **more: Any) -> Result:
    address = f"{method}{mean}{more}"
    fields = {"metrics": {"mAP": mean}, "address": address, "predictions": address, "seed": 0, **more}
    return Result(**{**COMMON, "method": method, **fields})


def table(*results: Result, **more: Any) -> Table:
    return leaderboard("voc07-det", "voc2007", results, **more)


def rows(made: Table) -> dict[str, list[str]]:
    """Name and marks of each row to the texts of its other cells."""
    return {" ".join([row[0].text, *row[0].marks]): [cell.text for cell in row[1:]] for row in made.rows}


def test_a_number_is_per_cent_with_its_interval() -> None:
    made = table(result("cam", 0.5432, intervals={"mAP": (0.5, 0.6)}))
    assert rows(made) == {"cam": ["54.3 [50.0, 60.0]"]}


def test_seeds_are_a_mean_with_its_sample_deviation_and_number() -> None:
    made = table(*(result("melm", value, variant="l2+arl", seed=seed) for seed, value in enumerate((0.1, 0.2, 0.3))))
    assert rows(made) == {"melm:l2+arl": ["20.0 ± 10.0 (3)"]}


def test_of_the_same_seed_the_latest_record_counts_and_the_others_are_counted() -> None:
    made = table(result("cam", 0.2, created="2025-02-01"), result("cam", 0.9, created="2025-01-01"))
    assert rows(made) == {"cam": ["20.0"]}
    assert made.remarks == ("Not shown: 1 older of the same settings and seed (python -m bench list runs).",)


def test_seeds_without_the_number_are_not_counted() -> None:
    made = table(*(result("melm", value, seed=seed) for seed, value in enumerate((0.1, None, 0.3))))
    assert rows(made) == {"melm": ["20.0 ± 14.1 (2)"]}
    more = {"mAP_low": None, "mAP_high": None, "mAP_sd": pytest.approx(0.02**0.5), "mAP_n": 2}
    assert made.rows[0][1].extra == more


def test_what_nobody_measured_is_empty_and_never_zero() -> None:
    made = table(result("cam", 0.5, metrics={"mAP": 0.5, "error": 0.25}), result("melm", None), result("wsddn", 0.0))
    assert rows(made) == {"cam": ["50.0", "25.0"], "melm": ["", ""], "wsddn": ["0.0", ""]}


def test_namesakes_are_told_apart_by_the_settings_in_which_they_differ() -> None:
    made = table(
        result("cam", 0.1, config={"epochs": 1, "net": "tiny", "weights": "a/one.npz"}),
        result("cam", 0.2, config={"epochs": 9, "net": "tiny", "weights": "b/one.npz"}),
    )
    assert list(rows(made)) == ["cam [epochs=9, weights=one.npz]", "cam [epochs=1, weights=one.npz]"]


def test_what_was_never_trained_is_named_so_and_not_by_its_settings() -> None:
    made = table(
        result("cam", 0.3, config={"epochs": 20, "lr": 0.1}),
        result("cam", 0.1, config={"epochs": 0, "lr": 0.2}),
        result("cam-untrained", 0.2, config={"epochs": 0}),
    )
    assert list(rows(made)) == ["cam", "cam-untrained", "cam [untrained]"]


def test_costs_are_means_over_seeds() -> None:
    runs = [
        result("cam", 0.1, seed=seed, images_per_second={"prediction": rate}, seconds={"training": 10 * rate})
        for seed, rate in enumerate((10.0, 40.0))
    ]
    extra = table(*runs, result("cam", 0.1, seed=2)).rows[0][0].extra
    assert extra["images/s"] == 16.0  # a tenth and a fortieth of a second an image
    assert extra["training s"] == 250.0
    assert extra["GFLOPs"] is None


def test_rows_that_nothing_else_tells_apart_are_followed_by_their_addresses() -> None:
    first, second = (result("mine", value, seed=None, address=end * 20) for value, end in ((0.2, "a"), (0.1, "b")))
    partial = result("mine", 0.3, seed=None, truth_digest="other", partial=True, split="some", images=5)
    made = [name.removeprefix("mine ") for name in rows(table(first, second, partial))]
    assert made == ["[some] a", f"[{first.split}] [aaaaaaaa]", f"[{first.split}] [bbbbbbbb]"]


def test_namesakes_on_several_splits_are_told_apart_by_these_and_not_by_settings_that_older_records_lack() -> None:
    old = result("cam", 0.3, config={"epochs": 20})
    new = result("cam", 0.2, config={"epochs": 20, "beta2": 0.9}, split="whole", truth_digest="other")
    assert [name[:12] for name in rows(table(old, new))] == [f"cam [{old.split}]"[:12], "cam [whole] "]


def test_a_setting_that_older_records_lack_is_named_only_where_no_other_tells_them_apart() -> None:
    old, new = {"epochs": 1}, {"epochs": 9, "crf": False}
    assert list(rows(table(result("cam", 0.1, config=old), result("cam", 0.2, config=new)))) == [
        "cam [epochs=9]",
        "cam [epochs=1]",
    ]
    made = table(result("cam", 0.1, config={"epochs": 9}), result("cam", 0.2, config=new))
    assert list(rows(made)) == ["cam [crf=false]", "cam [crf=null]"]


@pytest.mark.parametrize(
    ("odd", "note"),
    [
        (
            {"digest": "other", "conventions": {"iou_threshold": 0.5, "ap": "area"}},
            "other conventions: ap area, not 11pt",
        ),
        ({"digest": "other"}, "other conventions: another version of the scoring, or other classes"),
        ({"truth_digest": "other", "images": 5}, "evaluated on other images or annotations: test, 5 images"),
        (
            {"truth_digest": "other", "split": "some", "images": 50, "partial": True},
            "not the protocol's images: evaluated on some, 50 images (test: 4952)",
        ),
        ({"train_split": "train"}, "trained on train"),
        ({"tuned_on": "test-oracle"}, "tuned on: test-oracle"),
        (
            {"tuned_on": "unknown"},
            "tuned on: unknown (nobody declared with --tuned-on what its settings were chosen on)",
        ),
    ],
)
def test_a_row_that_cannot_be_compared_is_marked_and_explained(odd: dict[str, Any], note: str) -> None:
    usual = [result(name, 0.1, train_split="trainval") for name in ("cam", "melm")]
    made = table(*usual, result("zebra", 0.9, **{"train_split": "trainval", **odd}))
    assert list(rows(made)) == ["zebra a", "cam", "melm"]
    assert made.notes == {"a": note}


def test_what_the_protocol_says_is_usual_even_where_most_did_otherwise() -> None:
    strict = {"digest": "other", "conventions": {"iou_threshold": 0.7, "ap": "11pt"}}
    made = table(
        result("a", 0.1, **strict), result("b", 0.1, **strict), result("c", 0.1), conventions=COMMON["conventions"]
    )
    assert list(rows(made)) == ["a a", "b a", "c"]
    assert made.notes == {"a": "other conventions: iou_threshold 0.7, not 0.5"}


def test_partial_rows_stay_marked_where_all_are_partial() -> None:
    partial = {"truth_digest": "s", "split": "some", "images": 50, "partial": True}
    made = table(result("cam", 0.1, **partial), result("melm", 0.2, **partial))
    assert list(rows(made)) == ["melm a", "cam a"]
    assert [row[1].best for row in made.rows] == [True, False]


def test_the_best_is_the_best_of_what_can_be_compared() -> None:
    made = table(result("cam", 0.1), result("melm", 0.2), result("zebra", 0.9, digest="other"))
    assert [row[1].best for row in made.rows] == [False, True, False]


def test_the_best_comes_first_and_what_has_no_number_last() -> None:
    made = table(result("cam", 0.1), result("acol", None), result("melm", 0.2), result("gmp", 0.1))
    assert list(rows(made)) == ["melm", "cam", "gmp", "acol"]


def test_where_lower_is_better_the_lowest_is_best() -> None:
    made = table(result("cam", 0.5, metrics={"error": 0.5}), result("melm", 0.5, metrics={"error": 0.25}))
    assert [(row[0].text, row[1].best) for row in made.rows] == [("melm", True), ("cam", False)]


def test_alone_nobody_is_best() -> None:
    assert not table(result("cam", 0.1)).rows[0][1].best


def ranked(*results: Result, noise: float = 0.01, without: str = "") -> Table:
    """A table with normal replicates of every result but one."""
    generator = np.random.default_rng(0)
    draws = {
        one.address: Replicates(
            "same", {name: (value or 0) + generator.normal(0, noise, 1000) for name, value in one.metrics.items()}
        )
        for one in results
        if one.method != without
    }
    return table(*results, draws=draws)


def ranks(made: Table) -> dict[str, Any]:
    assert made.columns[1] == "rank"
    return {str(row[0].value): row[1].value for row in made.rows}


def test_rows_within_noise_share_a_rank() -> None:
    made = ranked(result("a", 0.50), result("b", 0.45), result("c", 0.51), result("d", 0.20))
    assert ranks(made) == {"a": 1, "b": 3, "c": 1, "d": 4}
    assert made.remarks == (
        "rank: by mAP on test, 1 + how many are significantly better (paired bootstrap over images, p < .05).",
    )


def test_where_lower_is_better_the_lowest_is_first() -> None:
    assert ranks(
        ranked(*(result(name, 0.5, metrics={"error": value}) for name, value in (("a", 0.5), ("b", 0.2))))
    ) == {
        "a": 2,
        "b": 1,
    }


def test_only_what_was_judged_alike_is_ranked() -> None:
    other = result("zebra", 0.9, digest="other")
    part = result("yak", 0.9, truth_digest="s", split="some", partial=True)
    assert ranks(ranked(result("a", 0.5), result("b", 0.2), other, part)) == {
        "a": 1,
        "b": 2,
        "zebra": None,
        "yak": None,
    }


def test_where_only_one_was_judged_as_usual_those_are_ranked_that_most_have_in_common() -> None:
    part = {"truth_digest": "s", "split": "some", "images": 50, "partial": True}
    made = ranked(result("a", 0.9), result("b", 0.2, **part), result("c", 0.3, **part))
    assert ranks(made) == {"a": None, "b": 2, "c": 1}
    assert [row[2].best for row in made.rows] == [False, True, False]
    assert made.remarks[0].startswith("rank: by mAP on some, 1 + how many")


def test_seeds_are_ranked_by_their_mean_and_spread() -> None:
    # Means .30 and .33; the images alone would set them apart, the seeds' deviation of .1 does not.
    wide = [result("a", value, seed=seed) for seed, value in enumerate((0.2, 0.3, 0.4))]
    narrow = [result("a", value, seed=seed) for seed, value in enumerate((0.299, 0.300, 0.301))]
    other = [result("b", 0.33 + seed / 1000, seed=seed) for seed in range(3)]
    assert ranks(ranked(*wide, *other, noise=0.001)) == {"a": 1, "b": 1}
    assert ranks(ranked(*narrow, *other, noise=0.001)) == {"a": 2, "b": 1}


def test_a_mean_over_seeds_has_an_interval_beside_its_spread() -> None:
    seeds = [result("a", value, seed=seed) for seed, value in enumerate((0.2, 0.3, 0.4))]
    made = ranked(*seeds, result("b", 0.9, intervals={"mAP": (0.8, 1.0)}))
    (_, _, single), (_, _, mean) = made.rows
    assert (single.text, mean.text) == ("90.0 [80.0, 100.0]", mean.text)
    low, high, *_ = mean.extra.values()
    assert mean.text == f"30.0 [{100 * float(str(low)):.1f}, {100 * float(str(high)):.1f}] ± 10.0 (3)"
    assert 0.15 < float(str(low)) < 0.22  # two standard errors, .1 / sqrt(3) each
    assert [remark[:6] for remark in made.remarks] == ["[low, ", "± s (n", "rank: "]


def test_rows_are_in_the_order_of_their_ranks() -> None:
    unsure = [result("c", value, seed=seed) for seed, value in enumerate((0.29, 0.69))]
    made = ranked(result("a", 0.6), result("b", 0.5), *unsure, noise=0.001)
    assert list(ranks(made).items()) == [("a", 1), ("c", 1), ("b", 2)]  # by the mean, c would be last


def test_rows_without_replicates_are_named_and_not_ranked() -> None:
    made = ranked(result("a", 0.5), result("b", 0.2), result("c", 0.9), without="c")
    assert ranks(made) == {"a": 1, "b": 2, "c": None}
    assert made.remarks[-1].endswith("Not ranked, without replicates of the same draws: c.")


def test_what_was_tuned_on_the_evaluated_images_is_listed_and_neither_ranked_nor_best() -> None:
    ceiling = result("ceiling", 0.9, tuned_on="test-oracle")
    made = ranked(ceiling, result("a", 0.5), result("b", 0.2))
    assert ranks(made) == {"ceiling": None, "a": 1, "b": 2}
    assert [row[2].best for row in made.rows] == [False, True, False]
    assert made.remarks[-1] == "Not ranked: what was tuned on the evaluated images (test-oracle)."
    assert "rank" not in ranked(ceiling, result("a", 0.5)).columns


def test_rows_on_other_images_are_not_ranked_and_that_is_said() -> None:
    made = ranked(result("a", 0.5), result("b", 0.2), result("c", 0.9, truth_digest="other"))
    assert ranks(made) == {"a": 1, "b": 2, "c": None}
    assert made.remarks[-1] == "Not ranked: what was evaluated on other images or under other conventions."


def test_where_the_protocol_tunes_on_the_evaluated_images_all_are_ranked() -> None:
    made = ranked(*(result(name, value, tuned_on="test-oracle") for name, value in (("a", 0.5), ("b", 0.2))))
    assert ranks(made) == {"a": 1, "b": 2}
    assert len(made.remarks) == 1


def test_alone_nobody_is_ranked() -> None:
    for made in (ranked(result("a", 0.5)), ranked(result("a", 0.5), result("b", None)), table(result("a", 0.5))):
        assert "rank" not in made.columns


def test_synthetic_results_are_named_so_and_stand_apart() -> None:
    real, synthetic = leaderboards([result("cam", 0.1), result("cam", 0.9, dataset="shapes")])
    assert "synthetic" not in text(real)
    assert "voc07-det on shapes (synthetic)" in text(synthetic)
    assert synthetic.remarks == ("shapes is generated: its numbers say nothing about photographs.",)


def test_text_is_aligned_and_followed_by_its_notes() -> None:
    made = table(result("cam", 0.1), result("melm", 0.25), result("zebra", 0.9, tuned_on="val-boxes"))
    assert text(made).splitlines() == [
        "voc07-det on voc2007, per cent",
        "",
        "method       mAP",
        "---------  -----",
        "zebra (a)   90.0",
        "melm        25.0",
        "cam         10.0",
        "(a) tuned on: val-boxes",
    ]


def test_markdown_makes_the_best_bold_and_takes_no_name_for_markup() -> None:
    lines = markdown(table(result("a|b*", 0.1), result("cam\nx", 0.2))).splitlines()
    assert [line.replace(" ", "") for line in lines[4:]] == ["|camx|**20.0**|", r"|a\|b\*|10.0|"]


def test_csv_keeps_full_precision_and_is_read_by_pandas() -> None:
    made = table(
        result("a,b", 1 / 3, intervals={"mAP": (0.1, 2 / 3)}),
        result('q"', None),
        *(result("melm", value, seed=seed) for seed, value in enumerate((0.1, 0.3))),
        result("zebra", 0.9, tuned_on="val-boxes", seed=None),
    )
    frame = pd.read_csv(io.StringIO(csv(made)), dtype=str).set_index("method")
    assert list(map(float, frame.loc["a,b", ["mAP", "mAP_low", "mAP_high"]])) == [1 / 3, 0.1, 2 / 3]
    assert pd.isna(frame.loc['q"', "mAP"])
    assert float(frame.loc["melm", "mAP"]) == (0.1 + 0.3) / 2
    assert frame.loc["melm", "seeds"] == "0 1"
    assert frame.loc["zebra", "notes"] == "tuned on: val-boxes"


@pytest.mark.parametrize("name", FORMATS)
def test_a_table_without_rows_is_still_a_table(name: str) -> None:
    assert "method" in FORMATS[name](Table("empty", ("method",), ()))
    assert "x" in FORMATS[name](Table("one", ("method",), ((Cell("x", "x"),),)))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (("s.npz", "r.npz"), "cam [net=s]"),
        (("s.npz", "s.npz"), "cam [net=s]"),
        (("s.npz", "r.npz", "other.npz"), "cam [net=s, weights=s.npz]"),
    ],
)
def test_weights_that_follow_from_the_net_are_not_named_beside_it(weights: tuple[str, ...], expected: str) -> None:
    configs = [{"net": net, "weights": file} for net, file in zip("srr", weights, strict=False)]
    assert make_distinct_labels([result("cam", 0.5, config=config) for config in configs])[0] == expected


def test_namesakes_are_told_apart_by_the_fields_in_which_any_two_differ() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        configs = [
            {key: int(random.integers(2)) for key in "abc" if random.random() < 0.8} | {"layers": [1, 2]}
            for _ in range(int(random.integers(1, 5)))
        ]
        results = [result("cam", 0.5, config=config) for config in configs]
        fields = sorted({key for config in configs for key in config})
        differing = [key for key in fields if any(one.get(key) != configs[0].get(key) for one in configs)]
        everywhere = [key for key in differing if all(key in one for one in configs)] or differing
        for config, label in zip(configs, make_distinct_labels(results), strict=True):
            shown = ", ".join(f"{key}={json.dumps(config.get(key))}" for key in everywhere)
            assert label == (f"cam [{shown}]" if shown else "cam")
