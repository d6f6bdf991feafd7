"""What holds for every scoring family: no order and no unit of the scores moves a number, a false answer never helps, a
split that was scored in parts has the number that it has as a whole, and nothing at all is no trouble.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from scoring_cases import CLASSES, arrays, bound, judge, predicted, truth_of

from bench.data.ground_truth import GroundTruth, Masks
from bench.predictions.table import KINDS, ResolvedPredictions
from bench.scoring.protocol import BoundProtocol

Generator = np.random.Generator
IDS = ("7", "31", "102", "5", "40", "33")
"""As numbers and as text in other orders, and in neither of them: ties go by id."""
SIDE = 40


class Case(NamedTuple):
    """A protocol of a family, and what is drawn for it: rows of a kind, or (image, class, array)."""

    protocol: str
    kind: str
    rows: Callable[[Generator, GroundTruth], list[Any]]
    shows_one_class: bool = False
    masks: str = ""
    ranks: bool = False
    """Whether it is judged by the order of scores; else by the boxes or maps themselves."""


def drawn_truth(generator: Generator, case: Case, folder: Path) -> GroundTruth:
    """Objects near each other, some difficult, none in the last image; masks in files if the family asks for them."""
    shown = {image: CLASSES[generator.integers(3)] for image in IDS}
    objects = []
    for _ in range(14):
        image = IDS[generator.integers(len(IDS) - 1)]
        label = shown[image] if case.shows_one_class else CLASSES[generator.integers(3)]
        x, y = generator.integers(0, SIDE - 20, 2)
        width, height = generator.integers(4, 20, 2)
        difficult = not case.shows_one_class and generator.random() < 0.2
        objects.append((image, label, (x, y, x + width, y + height), bool(difficult)))
    truth = truth_of(objects, ids=IDS, size=(SIDE, SIDE))
    return replace(truth, masks=drawn_masks(generator, case.masks, folder)) if case.masks else truth


def drawn_masks(generator: Generator, form: str, folder: Path) -> Masks:
    files = []
    for image in IDS:
        pixels = generator.integers(0, 4, (8, 9)) if form == "indexed" else generator.random((8, 9)) < 0.4
        Image.fromarray(pixels.astype(np.uint8) * (1 if form == "indexed" else 255)).save(folder / f"{image}.png")
        files.append((folder / f"{image}.png",))
    return Masks(indexed=form == "indexed", files=tuple(files), ignore=(None,) * len(IDS))


def some_boxes(generator: Generator, truth: GroundTruth) -> list[Any]:
    """Boxes, most near an object; the scores are all different and none is 0."""
    o, rows = truth.objects, []
    for value in generator.permutation(40) + 1:
        at = generator.integers(len(o))
        image, label = truth.ids[o.image[at]], truth.classes[o.label[at]]
        if generator.random() < 0.3:
            image, label = IDS[generator.integers(len(IDS))], CLASSES[generator.integers(3)]
        box = o.box[at] + generator.integers(-3, 4, 4)
        rows.append((image, label, value / 64, *map(float, (box[0], box[1], box[0] + 9, max(box[3], box[1] + 2)))))
    return rows


def some_scores(generator: Generator, truth: GroundTruth) -> list[Any]:
    pairs = [(image, label) for image in truth.ids for label in truth.classes if generator.random() < 0.8]
    return [(*pair, value / 64) for pair, value in zip(pairs, generator.permutation(len(pairs)) + 1, strict=True)]


def some_points(generator: Generator, truth: GroundTruth) -> list[Any]:
    return [(*row, *map(float, generator.integers(0, SIDE, 2))) for row in some_scores(generator, truth)]


def some_proposals(generator: Generator, truth: GroundTruth) -> list[Any]:
    return [(image, label, *box, value) for image, label, value, *box in some_boxes(generator, truth)]


def some_maps(generator: Generator, truth: GroundTruth) -> list[Any]:
    return [
        (image, truth.classes[truth.labels[row].argmax()], generator.random((5, 6)).astype(np.float32))
        for row, image in enumerate(truth.ids)
    ]


def some_objectness(generator: Generator, truth: GroundTruth) -> list[Any]:
    return [(image, None, generator.random((5, 6)).astype(np.float32)) for image in truth.ids]


def some_masks(generator: Generator, truth: GroundTruth) -> list[Any]:
    return [(image, None, generator.integers(0, 4, (4, 5)).astype(np.uint8)) for image in truth.ids]


CASES = {
    "detection": Case("voc07-det", "boxes", some_boxes, ranks=True),
    "coco": Case("coco14-det", "boxes", some_boxes, ranks=True),
    "corloc": Case("voc07-corloc", "boxes", some_boxes),
    "corloc-any": Case("voc07-corloc-any", "boxes", some_boxes),
    "pointing": Case("voc07-point", "points", some_points),
    "pointing-maps": Case("voc07-point", "maps", some_maps),
    "pointing-ap": Case("voc12-point-pred", "points", some_points, ranks=True),
    "localization": Case("ilsvrc-loc", "boxes", some_boxes, shows_one_class=True),
    "maxbox": Case("cub-maxbox", "maps", some_maps, shows_one_class=True),
    "pxap": Case("openimages-pxap", "maps", some_maps, shows_one_class=True, masks="of-objects"),
    "classification": Case("voc07-cls", "scores", some_scores, ranks=True),
    "single-label": Case("cub-cls", "scores", some_scores, shows_one_class=True),
    "segmentation": Case("voc07-seg", "masks", some_masks, masks="indexed"),
    "energy": Case("voc07-energy", "objectness", some_objectness),
    "energy-boxes": Case("voc07-energy", "boxes", some_boxes),
    "randomness": Case("voc07-randomness", "proposals", some_proposals),
}
SEEDS = range(3)


class Drawn(NamedTuple):
    """A case with its truth and its rows."""

    protocol: BoundProtocol
    kind: str
    truth: GroundTruth
    rows: list[Any]

    def found(self, truth: GroundTruth, rows: list[Any]) -> dict[str, ResolvedPredictions]:
        """Those of the rows that are of the truth, as predictions."""
        mine = [row for row in rows if row[0] in truth.index]
        return predicted(truth, self.kind, mine) if self.kind in KINDS else arrays(truth, self.kind, mine)

    def numbers(self, truth: GroundTruth, rows: list[Any]) -> dict[str, float | None]:
        evaluation = judge(self.protocol, truth, self.found(truth, rows))
        by_class = {f"{metric} {c}": v for metric, values in evaluation.per_class.items() for c, v in values.items()}
        return {**evaluation.metrics, **by_class}


@pytest.fixture(params=[(name, seed) for name in CASES for seed in SEEDS], ids=lambda param: f"{param[0]}-{param[1]}")
def drawn(request: pytest.FixtureRequest, tmp_path: Path) -> Drawn:
    case, generator = CASES[request.param[0]], np.random.default_rng(request.param[1])
    truth = drawn_truth(generator, case, tmp_path)
    return Drawn(bound(case.protocol), case.kind, truth, case.rows(generator, truth))


def close(numbers: dict[str, float | None]) -> Any:
    return {name: value if value is None else pytest.approx(value, abs=1e-12) for name, value in numbers.items()}


def test_every_family_has_a_case() -> None:
    families = {path.stem for path in (Path(__file__).parents[2] / "protocols" / "scoring").glob("*.py")}
    assert {bound(case.protocol).family.__name__.rpartition(".")[2] for case in CASES.values()} == families - {
        "__init__",
        "coco_accumulation",
        "coco_matching",
        "level_contours",
    }


def test_no_order_of_rows_or_images_moves_a_number(drawn: Drawn) -> None:
    generator = np.random.default_rng(0)
    moved = drawn.truth.subset(generator.permutation(IDS).tolist(), split="test")
    rows = [drawn.rows[at] for at in generator.permutation(len(drawn.rows))]
    assert drawn.numbers(moved, rows) == close(drawn.numbers(drawn.truth, drawn.rows))


@pytest.mark.parametrize("factor", [0.25, 8.0])
def test_no_unit_of_the_scores_moves_a_number(drawn: Drawn, factor: float) -> None:
    at = {"proposals": 6}.get(drawn.kind, 2)
    if drawn.kind == "masks":  # they have no scores
        return
    scaled = [(*row[:at], row[at] * np.float32(factor), *row[at + 1 :]) for row in drawn.rows]
    decided = {} if "P_C" not in drawn.protocol.metrics else {"threshold": 0.5 * factor}
    protocol = BoundProtocol(drawn.protocol.record.with_conventions(decided), drawn.protocol.family)
    assert drawn._replace(protocol=protocol).numbers(drawn.truth, scaled) == close(
        drawn.numbers(drawn.truth, drawn.rows)
    )


RANKED = [name for name, case in CASES.items() if case.ranks and case.kind != "scores"]


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_false_answer_of_score_zero_never_raises_average_precision(name: str, seed: int, tmp_path: Path) -> None:
    case, generator = CASES[name], np.random.default_rng(seed)
    truth = drawn_truth(generator, case, tmp_path)
    rows = [row for row in case.rows(generator, truth) if row[0] != IDS[-1]]
    drawn = Drawn(bound(case.protocol), case.kind, truth, rows)
    assert not (truth.objects.image == len(IDS) - 1).any()
    false = [(IDS[-1], label, 0.0, *[1.0, 2.0, 30.0, 33.0][: len(rows[0]) - 3]) for label in CLASSES]
    before, after = drawn.numbers(truth, rows), drawn.numbers(truth, [*rows, *false])
    assert all((after[metric] or 0) <= (before[metric] or 0) + 1e-12 for metric in before)


def test_every_number_has_an_interval_that_holds_it_and_is_of_fractions(drawn: Drawn) -> None:
    few = [row for row in drawn.rows if row[0] in IDS[:2]]
    for rows in (drawn.rows, few):
        evaluation = judge(drawn.protocol, drawn.truth, drawn.found(drawn.truth, rows), replicates=40)
        assert evaluation.intervals.keys() == {name for name, value in evaluation.metrics.items() if value is not None}
        for name, (low, high) in evaluation.intervals.items():
            value = evaluation.metrics[name]
            assert value is not None
            assert 0 <= low <= value <= high <= 1


def test_a_split_without_images_has_no_numbers(drawn: Drawn) -> None:
    empty = drawn.truth.subset((), split="none")
    evaluation = judge(drawn.protocol, empty, drawn.found(empty, []), replicates=5)
    assert set(evaluation.metrics.values()) == {None}
    assert evaluation.intervals == {}


def test_a_split_without_objects_or_without_answers_is_no_trouble(drawn: Drawn) -> None:
    bare = drawn.truth.subset(IDS[-1:], split="bare")  # its only image shows nothing
    for truth, rows in ((drawn.truth, []), (bare, drawn.rows), (bare, [])):
        evaluation = judge(drawn.protocol, truth, drawn.found(truth, rows), replicates=5)
        assert all(value is None or 0 <= value <= 1 for value in evaluation.metrics.values())
