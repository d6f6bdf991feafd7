"""Simulated populations: images with ground truth and predictions, scored once by the project's own code.

A pool of 20,000 images is the whole population, so its value of a metric is known exactly. A data set is drawn from it
with replacement, and is the pool's outcomes of these images. Easy: 20 classes of equal frequency (8 %), hits that are
independent; boxes differ in skill, else the recall of every class would end at the same of the eleven. Hard:
frequencies from 30 % down to 2 % (VOC's rarest), skills that differ between classes, and an effect of the image (a
standard deviation of 1 in logits) on all its hits, scores and numbers of objects and false detections.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scoring_cases import bound

from bench.core.bootstrap import Metrics, bootstrap, class_mean, interval
from bench.core.boxes import FloatArray
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.predictions.table import ResolvedPredictions
from bench.scoring.protocol import BoundProtocol
from bench.scoring.score import summarise_outcomes
from protocols.scoring import maxbox

Integers = NDArray[np.integer]
Generator = np.random.Generator

IMAGES, CLASSES, SIDE = 20_000, 20, 200
NAMES = tuple(f"class{number}" for number in range(CLASSES))


@dataclass(frozen=True, eq=False)
class Pool:
    """The outcomes of a population of `images` images under a protocol."""

    protocol: BoundProtocol
    outcomes: pa.Table
    classes: tuple[str, ...]
    images: int = IMAGES

    def values(self) -> dict[str, float]:
        """Compute each metric of the population."""
        values = summarise_outcomes(self.protocol, self.outcomes, self.classes, np.ones((1, self.images)))
        return {name: float(class_mean(value)[0]) for name, value in values.items()}

    @cached_property
    def _rows(self) -> tuple[Integers, Integers]:
        """The rows of outcomes by image, and where each image's begin."""
        image = self.outcomes["image"].to_numpy()
        return np.argsort(image, kind="stable"), np.cumsum([0, *np.bincount(image, minlength=self.images)])

    def draw(self, images: int, generator: Generator) -> Pool:
        """Draw a data set of so many images, with replacement."""
        order, starts = self._rows
        drawn = generator.integers(0, self.images, images)
        count = starts[drawn + 1] - starts[drawn]
        at = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        rows = order[np.repeat(starts[drawn], count) + at]
        ranked = np.argsort(rows, kind="stable")  # rows stay in the order of the ranking
        owner = np.repeat(np.arange(images, dtype=np.int32), count)[ranked]
        outcomes = self.outcomes.take(rows[ranked])
        outcomes = outcomes.set_column(outcomes.column_names.index("image"), "image", pa.array(owner))
        return Pool(self.protocol, outcomes, self.classes, images)

    def resample(self, replicates: int) -> Metrics:
        """Compute the replicates (B,) of each metric, as `score` does."""
        summarise = partial(summarise_outcomes, self.protocol, self.outcomes, self.classes)
        drawn = bootstrap(summarise, self.images, replicates=replicates, seed=0)
        return {name: class_mean(values) for name, values in drawn.items()}


def simulate_pools(*, hard: bool, seed: int = 0, images: int = IMAGES) -> Iterator[tuple[str, Pool]]:
    """Yield a pool of each family, by the name of its protocol."""
    generator = np.random.default_rng(seed)
    world = _MultiLabel(generator, images, hard=hard)
    boxes = world.detections()
    kinds = {"boxes": boxes, "points": world.points(), "scores": world.scores()}
    for name, kind in (
        ("voc07-det", "boxes"),
        ("voc07-corloc", "boxes"),
        ("voc07-energy", "boxes"),
        ("voc07-randomness", "proposals"),
        ("voc07-point", "points"),
        ("voc12-point-pred", "points"),
        ("voc07-cls", "scores"),
        ("coco14-cls", "scores"),
    ):
        found = world.proposals(kinds["boxes"]) if kind == "proposals" else kinds[kind]
        yield name, _scored(name, world.truth, {kind: found})
    single = _SingleLabel(generator, images, hard=hard)
    kinds = {"boxes": single.boxes(), "scores": single.scores()}
    yield "cub-loc", _scored("cub-loc", single.truth, kinds)
    yield "mit67-cls", _scored("mit67-cls", single.truth, {"scores": kinds["scores"]})
    yield "cub-maxbox", Pool(bound("cub-maxbox"), _contours(generator, images, hard=hard), NAMES, images)
    yield "openimages-pxap", Pool(bound("openimages-pxap"), _pixels(generator, images, hard=hard), NAMES, images)
    names = ("background", *NAMES)
    yield "voc12-seg", Pool(bound("voc12-seg"), world.overlaps(), names, images)
    yield "coco14-det", _scored("coco14-det", world.truth, {"boxes": boxes})


def simulate_detectors(seed: int = 0, images: int = IMAGES) -> tuple[Pool, Pool]:
    """Simulate two detectors of the same skill on the same hard images."""
    world = _MultiLabel(np.random.default_rng(seed), images, hard=True)
    one, other = (_scored("voc07-det", world.truth, {"boxes": world.detections()}) for _ in range(2))
    return one, other


class Coverage(NamedTuple):
    """Shares of data sets whose interval holds the population's value, and how high the data sets' values are.

    percentile: of the plain percentile interval, centred at the value. bias: the mean of the values, minus the
    population's.
    """

    covered: float
    percentile: float
    bias: float


def measure_coverage(pool: Pool, images: int, *, sets: int, replicates: int, seed: int = 1) -> dict[str, Coverage]:
    """Draw data sets of so many images and compute the coverage of each metric's intervals."""
    generator, population = np.random.default_rng(seed), pool.values()
    held: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in population}
    for _ in range(sets):
        drawn = pool.draw(images, generator)
        resampled = drawn.resample(replicates)
        for name, value in drawn.values().items():
            low, high = interval(resampled[name], value) or (np.nan, np.nan)
            centre = resampled[name].mean() - value
            ends = np.quantile(resampled[name], [0.025, 0.975]) - centre
            true = population[name]
            held[name].append((low <= true <= high, ends[0] <= true <= ends[1], value - true))
    return {name: Coverage(*np.mean(rows, axis=0).tolist()) for name, rows in held.items()}


class _MultiLabel:
    """Images of several classes, as of VOC."""

    def __init__(self, generator: Generator, images: int, *, hard: bool) -> None:
        self.generator, self.images, self.hard = generator, images, hard
        self.effect = generator.normal(0, 1, images) * hard
        self.skill = np.linspace(-1.5, 1.5, CLASSES)[generator.permutation(CLASSES)] * hard
        self.box_skill = self.skill if hard else np.linspace(-0.75, 0.75, CLASSES)
        frequency = np.geomspace(0.3, 0.02, CLASSES) if hard else np.full(CLASSES, 0.08)
        shown = generator.random((images, CLASSES)) < frequency
        empty = np.flatnonzero(~shown.any(axis=1))
        shown[empty, generator.choice(CLASSES, len(empty), p=frequency / frequency.sum())] = True
        image, label = np.nonzero(shown)
        count = 1 + generator.poisson(0.4 * np.exp(0.5 * self.effect[image]))
        owner, shows = (np.repeat(column, count).astype(np.int32) for column in (image, label))
        box = _draw_boxes(generator, len(owner))
        objects = Objects(owner, shows, box, generator.random(len(owner)) < 0.1)
        ids = tuple(map(str, range(images)))
        labels = derive_labels(images, CLASSES, objects)
        sizes = np.full((images, 2), SIDE, dtype=np.int32)
        self.truth = GroundTruth("simulated", "test", NAMES, ids, sizes, labels, objects)

    def detections(self) -> ResolvedPredictions:
        """A box near each object, often a second one, and false ones anywhere."""
        generator, objects = self.generator, self.truth.objects
        rows = np.concatenate([np.arange(len(objects)), np.flatnonzero(generator.random(len(objects)) < 0.5)])
        image, label = objects.image[rows], objects.label[rows]
        logit = self.effect[image] + self.box_skill[label] + generator.normal(0, 1, len(rows))
        box = _shift(objects.box[rows], 0.25 + 0.7 * _logistic(logit), generator)
        score = 1 + logit + generator.normal(0, 1, len(rows))
        extra = np.repeat(np.arange(self.images), generator.poisson(4 * np.exp(0.5 * self.effect)))
        false_label = generator.integers(0, CLASSES, len(extra))
        false_score = generator.normal(-0.5, 1.2, len(extra)) + 0.5 * self.effect[extra]
        return _predict(
            "boxes",
            self.images,
            np.concatenate([image, extra]),
            np.concatenate([label, false_label]),
            _logistic(np.concatenate([score, false_score])),
            np.concatenate([box, _draw_boxes(generator, len(extra))]),
        )

    def proposals(self, boxes: ResolvedPredictions) -> ResolvedPredictions:
        """The detections with probabilities."""
        columns = {**boxes.columns, "probability": boxes.score}
        return ResolvedPredictions("proposals", boxes.image, boxes.label, columns, boxes.covered, {})

    def scores(self) -> ResolvedPredictions:
        """A probability of each image and class."""
        image, label = (axis.ravel() for axis in np.indices((self.images, CLASSES)))
        present = (self.truth.labels >= 0).ravel()
        logit = np.where(present, 0.5 + self.skill[label], -2.5) + self.generator.normal(0, 1.2, len(image))
        return _predict("scores", self.images, image, label, _logistic(logit + 0.7 * self.effect[image]))

    def points(self) -> ResolvedPredictions:
        """A point for each image and class, on an object if it hits, ranked by the score of the class."""
        scores, objects, generator = self.scores(), self.truth.objects, self.generator
        point = generator.uniform(0, SIDE, (len(scores.image), 2))
        pair = self.truth.pair(objects.image, objects.label)
        hit = generator.random(len(pair)) < _logistic(0.5 + self.effect[objects.image] + self.skill[objects.label])
        centre = (objects.box[:, :2] + objects.box[:, 2:]) / 2
        point[pair[hit]] = centre[hit]
        columns = {**scores.columns, "x": point[:, 0], "y": point[:, 1]}
        return ResolvedPredictions("points", scores.image, scores.label, columns, scores.covered, {})

    def overlaps(self) -> pa.Table:
        """Pixels of each image and class as `protocols.scoring.segmentation` counts them, background first."""
        generator, shown = self.generator, self.truth.labels >= 0
        true, shared, extra = (np.zeros((self.images, 1 + CLASSES)) for _ in range(3))
        image, label = np.nonzero(shown)
        area = SIDE**2 * generator.beta(1, 4, len(image))
        logit = 0.5 + self.effect[image] + self.skill[label] + generator.normal(0, 1, len(image))
        true[image, 1 + label], shared[image, 1 + label] = area, area * _logistic(logit)
        true[:, 0] = SIDE**2
        shared[:, 0] = SIDE**2 * generator.beta(8, 2, self.images)
        wrong = (generator.random((self.images, CLASSES)) < 0.05) | shown
        extra[:, 1:] = wrong * SIDE**2 * 0.1 * generator.beta(1, 4, wrong.shape) * np.exp(-0.5 * self.effect)[:, None]
        rows = np.nonzero(true + extra)
        columns = {"image": rows[0].astype(np.int32), "label": rows[1].astype(np.int32)}
        counts = {"true": true, "predicted": shared + extra, "shared": shared}
        return pa.table({**columns, **{name: np.rint(count[rows]).astype(np.int64) for name, count in counts.items()}})


class _SingleLabel:
    """Images of one class and one object, as of CUB."""

    def __init__(self, generator: Generator, images: int, *, hard: bool) -> None:
        self.generator, self.images = generator, images
        frequency = np.geomspace(0.1, 0.02, CLASSES) if hard else np.ones(CLASSES)
        self.effect = generator.normal(0, 1, images) * hard
        self.skill = np.linspace(-1.5, 1.5, CLASSES)[generator.permutation(CLASSES)] * hard
        self.label = generator.choice(CLASSES, images, p=frequency / frequency.sum()).astype(np.int32)
        image = np.arange(images, dtype=np.int32)
        objects = Objects(image, self.label, _draw_boxes(generator, images), np.zeros(images, dtype=np.bool_))
        labels = derive_labels(images, CLASSES, objects)
        sizes = np.full((images, 2), SIDE, dtype=np.int32)
        self.truth = GroundTruth("simulated", "test", NAMES, tuple(map(str, image)), sizes, labels, objects)

    def boxes(self) -> ResolvedPredictions:
        """One box an image, of every class."""
        logit = 0.5 + self.effect + self.skill[self.label] + self.generator.normal(0, 1, self.images)
        box = _shift(self.truth.objects.box, _logistic(logit), self.generator)
        image, label = (axis.ravel() for axis in np.indices((self.images, CLASSES)))
        return _predict("boxes", self.images, image, label, np.zeros(len(image)), box[image])

    def scores(self) -> ResolvedPredictions:
        """A score of each image and class."""
        score = self.generator.normal(0, 1, (self.images, CLASSES))
        score[np.arange(self.images), self.label] += 2 + self.effect + self.skill[self.label]
        image, label = (axis.ravel() for axis in np.indices((self.images, CLASSES)))
        return _predict("scores", self.images, image, label, score.ravel())


def _contours(generator: Generator, images: int, *, hard: bool) -> pa.Table:
    """Hits of each curve and threshold: where a threshold is near the image's best one, the nearer the stricter."""
    best = generator.beta(2, 3, images) if hard else generator.normal(0.3, 0.05, images)
    width = generator.gamma(1.5, 0.1 if hard else 0.15, images)
    apart = np.abs(maxbox.TAUS - best[:, None])
    hits = np.stack([apart < width[:, None] * scale for scale in (0.9, 1.5, 1.0, 0.5)], axis=1)
    packed = np.packbits(hits.reshape(images, -1), axis=1)
    return pa.table({"image": np.arange(images), "hits": pa.array([row.tobytes() for row in packed], pa.binary())})


def _pixels(generator: Generator, images: int, *, hard: bool) -> pa.Table:
    """Pixels of objects and of the rest at each threshold, for images whose maps differ in how good they are."""
    effect = generator.normal(0, 1, images)[:, None] * (1 if hard else 0.3)
    area = maxbox.SIDE**2 * generator.beta(1, 4 if hard else 9, images)[:, None]
    bins = len(maxbox.TAUS) + 1
    grid = (np.arange(bins) + 0.5) / bins
    columns = {"image": pa.array(np.arange(images, dtype=np.int32))}
    for name, pixels, centre in (
        ("object", area, 0.5 + 0.12 * effect),
        ("other", maxbox.SIDE**2 - area, 0.3 + 0 * effect),
    ):
        density = np.exp(-0.5 * ((grid - centre) / 0.15) ** 2)
        counts = np.rint(pixels * density / density.sum(axis=1, keepdims=True)).astype(np.int32)
        columns[name] = pa.FixedSizeListArray.from_arrays(counts.ravel(), bins)
    return pa.table(columns)


def _scored(name: str, truth: GroundTruth, kinds: dict[str, ResolvedPredictions]) -> Pool:
    protocol = bound(name)
    outcomes = protocol.family.score(truth, kinds, protocol.conventions).outcomes
    return Pool(protocol, outcomes, truth.classes, len(truth.ids))


def _predict(
    kind: str, images: int, image: Integers, label: Integers, score: FloatArray, box: FloatArray | None = None
) -> ResolvedPredictions:
    corners = {} if box is None else dict(zip(("x1", "y1", "x2", "y2"), box.T, strict=True))
    covered = np.ones(images, dtype=np.bool_)
    whole = image.astype(np.int32), label.astype(np.int32)
    return ResolvedPredictions(kind, *whole, {"score": score, **corners}, covered, {})


def _draw_boxes(generator: Generator, count: int) -> FloatArray:
    """Draw boxes (n, 4) of the three sizes that COCO tells apart."""
    size = np.rint(
        np.exp(generator.uniform(np.log(12), np.log(160), (count, 1)) + generator.normal(0, 0.1, (count, 2)))
    )
    size = np.minimum(size, SIDE - 1)
    start = np.floor(generator.uniform(0, SIDE - size))
    return np.concatenate([start, start + size], axis=1)


def _shift(box: FloatArray, overlap: FloatArray, generator: Generator) -> FloatArray:
    """Move boxes (n, 4) along x until their IoU with where they were is `overlap` (n,)."""
    side = generator.choice([-1.0, 1.0], len(box))
    step = side * (box[:, 2] - box[:, 0]) * (1 - overlap) / (1 + overlap)
    return np.asarray(box + step[:, None] * np.array([1.0, 0.0, 1.0, 0.0]))


def _logistic(logit: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-logit)))
