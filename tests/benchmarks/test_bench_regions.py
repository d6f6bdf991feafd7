"""Regions in tensors against the same algorithms one proposal after the other, in plain Python, on the same processor.

Each test times both in one run, so that a slow or a busy machine slows both.
"""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
import torch
from timing import times_faster

from bench.method import Task
from bench.registry import ROOT
from methods.layers.boxes import canonical_order
from methods.layers.cliques import partition
from methods.layers.pseudo import select_distinct_best
from methods.layers.refinement import assign_targets
from methods.melm import Melm

pytestmark = pytest.mark.slow

PROPOSALS, CLASSES, TOP = 2000, 20, 200
Box = tuple[float, float, float, float]


def picture() -> tuple[list[Box], list[list[float]]]:
    """Proposals around ten objects of a 500 x 375 image, and a score for each class that is higher near an object."""
    rng = random.Random(0)
    centres = [(rng.uniform(50, 450), rng.uniform(50, 325), rng.uniform(20, 45)) for _ in range(10)]
    boxes, scores = list[Box](), list[list[float]]()
    for _ in range(PROPOSALS):
        x, y, half = rng.choice(centres)
        far = rng.uniform(0, 1)
        x, y, half = x + rng.gauss(0, 30) * far, y + rng.gauss(0, 30) * far, half * rng.uniform(1 - far / 2, 1 + far)
        boxes.append((x - half, y - half, x + half, y + half))
        scores.append([rng.random() * (2 - far) for _ in range(CLASSES)])
    return boxes, scores


def iou(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_cliques(boxes: list[Box], scores: list[float], tau: float = 0.7) -> list[list[int]]:
    """The two steps of MELM, Sec. 3.2.1."""
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])[:TOP]
    cliques = []
    while left:
        clique, joining = list[int](), [left.pop(0)]
        while joining:
            clique += joining
            joining = [i for i in left if any(iou(boxes[i], boxes[j]) > tau for j in clique)]
            left = [i for i in left if i not in joining]
        cliques.append(sorted(clique))
    return sorted(cliques)


def plain_labels(boxes: list[Box], scores: list[list[float]]) -> list[tuple[int, float]]:
    """OICR's labels and weights with every class present, the background being the class after the last."""
    rows, seeds = [list(row) for row in scores], list[int]()
    for label in range(CLASSES):
        seeds.append(max(range(len(rows)), key=lambda r: rows[r][label]))
        rows[seeds[-1]] = [0.0] * CLASSES
    found = []
    for box in boxes:
        overlaps = [iou(box, boxes[seed]) for seed in seeds]
        mine = max(range(CLASSES), key=overlaps.__getitem__)
        found.append((mine if overlaps[mine] >= 0.5 else CLASSES, scores[seeds[mine]][mine]))
    return found


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_cliques_of_200_of_2000_proposals_take_a_small_part_of_the_plain_algorithm(full: bool) -> None:
    boxes, scores = picture()
    box, score = torch.tensor(boxes), torch.tensor(scores).T[: CLASSES if full else 5].contiguous()

    def plainly() -> list[list[list[int]]]:
        return [plain_cliques(boxes, row) for row in score.tolist()]

    members, clique = partition(box, score, tau=0.7, top=TOP)
    for row, expected in enumerate(plainly()):
        found = [sorted(members[row][clique[row] == name].tolist()) for name in clique[row].unique()]
        assert sorted(found) == expected
    faster = times_faster(lambda: partition(box, score, tau=0.7, top=TOP), plainly)
    assert faster > (50 if full else 20)


def test_labels_of_2000_proposals_and_20_classes_take_a_small_part_of_the_plain_algorithm(full: bool) -> None:
    boxes, scores = picture()
    classes = torch.arange(CLASSES)

    def labels(box: torch.Tensor, score: torch.Tensor) -> list[torch.Tensor]:
        seeds = select_distinct_best(score, classes)
        return list(assign_targets(box, seeds, score[seeds.proposal, classes], background=CLASSES)[1:])

    exact = labels(torch.tensor(boxes, dtype=torch.float64), torch.tensor(scores, dtype=torch.float64))
    assert list(zip(*(each.tolist() for each in exact), strict=True)) == plain_labels(boxes, scores)
    box, score = torch.tensor(boxes), torch.tensor(scores)
    faster = times_faster(lambda: labels(box, score), lambda: plain_labels(boxes, scores), rounds=10)
    assert faster > (50 if full else 20)


def melm(net: str, variant: str) -> Melm:
    torch.manual_seed(0)
    config = Melm.Config(net=net, weights="none", **Melm.variants[variant])
    return Melm(config, Task("made-up", tuple("abcdefghijklmnopqrst")))


def some_labels() -> torch.Tensor:
    labels = -torch.ones(CLASSES)
    labels[[3, 8, 14]] = 1
    return labels


@pytest.mark.parametrize("variant", ["l2+arl", "released"])
def test_what_melm_does_after_the_fully_connected_layers_is_a_small_part_of_a_step(full: bool, variant: str) -> None:
    net, side, count = ("vgg16", 688, PROPOSALS) if full else ("vgg-f", 224, 300)
    method, labels, image = melm(net, variant), some_labels(), torch.rand(1, 3, side * 3 // 4, side)
    boxes = torch.tensor(picture()[0][:count]) * side / 500
    boxes = boxes[canonical_order(boxes)]
    with torch.no_grad():
        features = method.features(image, boxes)

    def after() -> None:
        sum(method.terms(features.requires_grad_(), boxes, labels).values(), torch.zeros(())).backward()

    def step() -> None:
        sum(method.loss(image, boxes, labels).values(), torch.zeros(())).backward()

    assert times_faster(after, step, rounds=1 if full else 3) > (1 / 0.15 if full else 10)


MEMORY = """
import resource
import torch
from bench.method import Task
from methods.melm import Melm
from methods.oicr import Oicr
from methods.pcl import Pcl
from methods.wsddn import Wsddn

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

def teach(method, count):
    sum(method.terms(features[:count], boxes[:count], labels).values()).backward()

torch.manual_seed(0)
corners = torch.rand(4000, 2) * 900
boxes = torch.cat([corners, corners + 20 + torch.rand(4000, 2) * 250], dim=1)
features, labels = torch.rand(4000, 256), -torch.ones(20)
labels[[3, 8, 14]] = 1
task = Task("made-up", tuple("abcdefghijklmnopqrst"))
kinds = [(Wsddn, {}), (Oicr, {}), (Melm, {}), (Melm, Melm.variants["released"]), (Pcl, {})]
methods = [cls(cls.Config(net="tiny", weights="none", **settings), task) for cls, settings in kinds]
for method in methods:
    teach(method, 50)
before = most()
for method in methods:
    teach(method, 4000)
print(most() - before)
"""


def test_what_4000_proposals_teach_takes_a_bounded_amount_of_memory() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300  # MiB; a matrix of all pairs in single precision has 61
