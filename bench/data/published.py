"""The published splits of datasets: their counts, which distinguish them from data that only has the same layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.data.ground_truth import GroundTruth


@dataclass(frozen=True)
class Counts:
    """Counts of one split's ground truth.

    pairs: (image, class) pairs with an object. difficult_only: pairs whose objects are all difficult.
    """

    images: int
    objects: int
    not_difficult: int
    pairs: int
    difficult_only: int


PUBLISHED: dict[str, dict[str, dict[str, int]]] = {
    "voc2007": {
        "trainval": asdict(Counts(5011, 15662, 12608, 7913, 607)),
        "test": asdict(Counts(4952, 14976, 12032, 7632, 619)),
        "train": {"images": 2501},
        "val": {"images": 2510},
        "Segmentation/train": {"images": 209},
        "Segmentation/val": {"images": 213},
        "Segmentation/trainval": {"images": 422},
        "Segmentation/test": {"images": 210},
    },
    "voc2010": {"train": {"images": 4998}, "val": {"images": 5105}, "trainval": {"images": 10103}},
    "voc2012": {
        "train": {"images": 5717},
        "val": {"images": 5823},
        "trainval": {"images": 11540},
        "Segmentation/train": {"images": 1464},
        "Segmentation/val": {"images": 1449},
        "train_aug": {"images": 10582},
    },
    "voc2012-actions": {"images/train": {"images": 2296}, "images/val": {"images": 2292}},
    "coco2014": {"train": {"images": 82783, "objects": 604907}, "val": {"images": 40504, "objects": 291875}},
    "coco2017": {"train": {"images": 118287, "objects": 860001}, "val": {"images": 5000, "objects": 36781}},
    "ilsvrc2012": {
        "train": {"images": 1281167},
        "val": {"images": 50000, "pairs": 50000},
        "wsolevaluation/val": {"images": 10000},
        "wsolevaluation/test": {"images": 50000},
    },
    "ilsvrc2013-det": {"val": {"images": 20121, "objects": 55502}},
    "cub": {
        "train": {"images": 5994, "objects": 5994},
        "test": {"images": 5794, "objects": 5794},
        "wsolevaluation/train": {"images": 5994},
        "wsolevaluation/val": {"images": 1000},
        "wsolevaluation/test": {"images": 5794},
    },
    "openimages": {"train": {"images": 29819}, "val": {"images": 2500}, "test": {"images": 5000}},
    "mit67": {"train": {"images": 5360}, "test": {"images": 1340}},
}
"""The published counts of each split: some fields of `Counts`."""

CLASSES = {"ilsvrc2012": 1000, "ilsvrc2013-det": 200, "cub": 200, "openimages": 100, "mit67": 67}
"""The published number of classes of the datasets that list them in a file."""

IDS: dict[str, dict[str, str]] = {
    "voc2007": {
        "train": "6b5ddf42aabe0dd5f291",
        "val": "aa25210bd401e5a94697",
        "trainval": "8e1881437b0996d68435",
        "test": "0c02b6aa7a438ba10b97",
        "Segmentation/train": "ee6c72c60332fe905a2e",
        "Segmentation/val": "72b5958a87eea5323537",
        "Segmentation/trainval": "3ef6fbfff579510d0de0",
        "Segmentation/test": "e2e1652ea0c6fd2cf5f4",
    },
}
"""The digest of the ids of each split."""


def describe_departure(truth: GroundTruth) -> str:
    """Describe how a split differs from the published one of its name; empty if it does not, or none is published."""
    name = f"{truth.dataset} {truth.split}"
    published = PUBLISHED.get(truth.dataset, {}).get(truth.split, {})
    found = [compare_counts(count_truth(truth), published)]
    if (classes := CLASSES.get(truth.dataset, len(truth.classes))) != len(truth.classes):
        found.append(f"{len(truth.classes)} classes, published {classes}")
    if IDS.get(truth.dataset, {}).get(truth.split, truth.ids_digest) != truth.ids_digest:
        found.append("other images")
    text = "; ".join(filter(None, found))
    return f"not the published {name}: {text}" if text else ""


def count_truth(truth: GroundTruth) -> Counts:
    """Count the ground truth of a split."""
    from bench.data.ground_truth import ABSENT, ONLY_DIFFICULT  # imports numpy, which the published counts do not need

    objects, labels = truth.objects, truth.labels
    return Counts(
        images=len(truth.ids),
        objects=len(objects),
        not_difficult=int((~objects.difficult).sum()),
        pairs=int((labels != ABSENT).sum()),
        difficult_only=int((labels == ONLY_DIFFICULT).sum()),
    )


def compare_counts(counts: Counts, published: Mapping[str, int]) -> str:
    """List the counts that differ from the published ones."""
    actual = asdict(counts)
    differing = {key: value for key, value in published.items() if actual[key] != value}
    return "; ".join(f"{actual[key]} {key}, published {value}" for key, value in differing.items())
