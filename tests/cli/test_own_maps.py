"""`score` with maps of one's own, as (C, h, w) arrays: the numbers of the run whose maps they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import bench as weakloc
from bench import registry
from bench.core.files import Places
from bench.data.datasets import open_dataset
from bench.execution.pipeline import Request, run
from bench.predictions.formats import read_any
from bench.predictions.table import resolve
from bench.records.result import Result
from bench.records.store import Store

if TYPE_CHECKING:
    from conftest import Answer

SMALL: dict[str, Any] = {"train": 4, "val": 4, "test": 6, "size": 64, "classes": 3}
OPTIONS = ["--data", "shapes", "--data-option", ",".join(f"{key}={value}" for key, value in SMALL.items())]
SPLITS = {"voc07-corloc": "trainval", "voc07-point": "test", "voc07-seg": "Segmentation/test"}
STRICT = {"tolerance": 1.0}
"""Of pointing, so that not all hit in such small images."""
RULES = {"box_rule": "all-foreground", "box_threshold": 0.4, "mask_rule": "common-maximum", "mask_threshold": 0.2}


class Made:
    """A run under each protocol, and its maps as one array an image, (C, h, w)."""

    def __init__(self, folder: Path) -> None:
        self.places, self.folder = Places(folder / "runs"), folder
        settings = {"epochs": 0, "input_size": 64, "precision": "float32", "map_alignment": "resize"}
        settings |= RULES | {"mask_score": 0.52}
        requests = [
            Request(
                "cam",
                registry.protocol(name).with_conventions(STRICT if name == "voc07-point" else {}),
                settings=settings,
                data="shapes",
                data_options=SMALL,
                split=split,
                train_split="trainval",
            )
            for protocol, split in SPLITS.items()
            for name in (protocol, "maxbox", "cls")
        ]
        report = run(requests, self.places, device="cpu", workers=0)
        assert not report.failed
        self.results = {one.protocol: one for one in report.results if one.protocol in SPLITS}
        dataset = open_dataset("shapes", self.places, SMALL)
        for protocol, split in SPLITS.items():
            truth, kept = dataset.ground_truth(split), self.kept(protocol)
            found = resolve(read_any(kept / "maps", truth, ["maps"]), truth)
            every = np.stack([*found.arrays()])
            arrays = every.reshape(len(truth.ids), len(truth.classes), *every.shape[1:])
            (folder / protocol).mkdir()
            for name, array in zip(truth.ids, arrays, strict=True):
                np.save(folder / protocol / f"{name}.npy", array)

    def kept(self, protocol: str) -> Path:
        """The predictions of the run."""
        return Store(self.places).predictions_folder(self.results[protocol].predictions)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("own"))


@pytest.mark.parametrize("source", ["arrays", "shards"])
@pytest.mark.parametrize("protocol", SPLITS)
def test_they_give_the_numbers_of_the_run_that_made_them(
    protocol: str, source: str, made: Made, here: Callable[..., Answer], tmp_path: Path
) -> None:
    file = made.folder / protocol if source == "arrays" else made.kept(protocol) / "maps"
    more: list[object] = []
    if protocol == "voc07-corloc":
        more = ["--box-rule", "all-foreground", "--box-threshold", 0.4]
    if protocol == "voc07-point":
        more = ["--convention", "tolerance=1"]
    if protocol == "voc07-seg":
        more = ["--mask-rule", "common-maximum", "--mask-threshold", 0.2, "--mask-score", 0.52]
        more += ["--scores", made.kept(protocol) / "scores.parquet"]
    answer = here("score", "--protocol", protocol, "--predictions", file, *more, *OPTIONS, "--json")
    (record,) = answer.json()["results"]
    result = made.results[protocol]
    assert 0 < (result.metrics[next(iter(result.metrics))] or 0) < 1
    for field in ("metrics", "per_class", "intervals", "outcomes_digest"):
        same = Result.model_validate(record)
        assert getattr(same, field) == getattr(result, field), field
    given = [key for key in (*RULES, "mask_score") if f"--{key}".replace("_", "-") in more]
    assert record["config"] == {key: result.config[key] for key in given}


def test_other_rules_are_another_prediction(made: Made, here: Callable[..., Answer]) -> None:
    asked = ("score", "--protocol", "voc07-corloc", "--predictions", made.folder / "voc07-corloc", *OPTIONS, "--json")
    plain, low, again = (
        here(*asked, *more).json()["results"][0]
        for more in ([], ["--box-threshold", "0.05"], ["--box-threshold", "0.2"])
    )
    assert plain["config"] == {"box_rule": "largest-component", "box_threshold": 0.2}
    assert low["config"]["box_threshold"] == 0.05
    assert plain["address"] == again["address"] != low["address"]
    assert {*plain["predictions_digest"]} == {"maps"}
    assert plain["predictions_digest"] == low["predictions_digest"]
    assert plain["predictions"] != low["predictions"]


def test_python_has_the_same_options_and_hands_maps_over_in_memory(made: Made, tmp_path: Path) -> None:
    def loop() -> Any:
        for file in sorted((made.folder / "voc07-corloc").glob("*.npy")):
            yield file.stem, {"maps": np.load(file)}

    options: dict[str, Any] = {"data": "shapes", "data_option": SMALL, "runs": tmp_path, "allow_missing": True}
    rules: Any = {key: RULES[key] for key in ("box_rule", "box_threshold")}
    result = weakloc.score("voc07-corloc", loop(), **rules, **options)
    assert result.metrics == made.results["voc07-corloc"].metrics
    assert result.config == rules
    report = weakloc.audit("voc07-corloc", loop(), **rules, **options)
    assert report.audit.own.metrics["CorLoc"] == result.metrics["CorLoc"]


@pytest.mark.parametrize(
    ("protocol", "more", "message"),
    [
        ("voc07-corloc", ["--mask-rule", "own-maximum"], "--mask-rule has no effect here: maps become boxes."),
        (
            "voc07-point",
            ["--box-rule", "mean"],
            "--box-rule has no effect here: voc07-point evaluates these",
        ),
        ("voc07-seg", ["--mask-score", "0.5"], "--mask-score has no effect here: it is a score of --scores, which is"),
        ("voc07-corloc", ["--box-rule", "boxes"], "box_rule=boxes is not allowed: Input should be 'largest-component'"),
        ("voc07-corloc", ["--box-threshold", "2"], "box_threshold=2 is not allowed: Input should be less than 1"),
    ],
)
def test_a_setting_without_effect_or_meaning_is_refused(
    protocol: str, more: list[str], message: str, made: Made, here: Callable[..., Answer]
) -> None:
    answer = here("score", "--protocol", protocol, "--predictions", made.folder / protocol, *more, *OPTIONS)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err
