"""A method under examination, with the images, proposals and trainings that the clauses check it on."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bench import registry
from bench.core.files import array_digest
from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth, Objects, derive_labels
from bench.data.proposals import Proposals
from bench.errors import BenchError
from bench.method import BaseConfig, MapMethod, Predictor, ProposalMethod, Task, TrainedConfig
from bench.predictions.formats import read_any
from bench.predictions.table import FOLDERS, KINDS, About, Predictions, locate_predictions, write
from bench.training import loop
from bench.training.batches import make_batch_source, plan
from bench.training.device import STEP, seed_torch, to_input
from bench.training.inputs import Images
from bench.training.map_inference import OF_MAPS
from bench.training.predict import Split, predict

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.recipe import MethodClass

SIDE = 64
"""Pixels of the generated images, and of the input."""

ODD = {"tall": (20, 160), "wide": (160, 20), "tiny": (3, 3), "bare": (48, 32)}
"""Width and height of images such as occur in real datasets; `wide` has one proposal, `bare` none."""


class Caught:
    """Keeps the exception of a block: a method's own code may raise anything, and all of it is reported."""

    error: Exception | None = None

    def __enter__(self) -> Caught:
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        self.error = error if isinstance(error, Exception) else None
        return self.error is not None


@dataclass(frozen=True, eq=False)
class Subject:
    """A method, and what it is checked on. folder: its own. settings: those chosen by the user."""

    cls: MethodClass
    variant: str | None
    dataset: Dataset
    folder: Path
    device: torch.device
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def listing(self) -> registry.Listed:
        """Its name, summary line and file."""
        return registry.methods()[self.cls.name]

    @property
    def needs_proposals(self) -> bool:
        """Whether it uses proposals."""
        return "proposals" in self.cls.Config.model_fields

    def describe_error(self, error: Exception) -> str:
        """Describe an exception in one line, with the line of the method's own file."""
        if isinstance(error, BenchError):
            return str(error)
        own = [one for one in traceback.extract_tb(error.__traceback__) if one.filename == self.listing.origin]
        where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}{where}"

    def config(self, variant: str | None, **settings: Any) -> BaseConfig:
        """Return the recipe of `shapes`, made tiny. Raises as `registry.make_config`."""
        tiny = {
            "input_size": SIDE,
            "scales": (),
            "batch_size": 2,
            "precision": "float32",
            "flip": False,
            "min_proposal": 0,
        }
        given = {**tiny, **self.prior_run_settings(self.ground_truth(4)), **self.settings, **settings}
        mine = {key: value for key, value in given.items() if key in self.cls.Config.model_fields}
        settled = registry.settle(self.cls, variant, dataset="shapes", recipe=self.dataset.recipe, settings=mine)
        return registry.make_config(self.cls, settled)

    def build_method(self, *, seed: int = 0, **settings: Any) -> Any:
        """Build the method with its initial weights."""
        return self.build_variant(self.variant, seed=seed, **settings)

    def build_variant(self, variant: str | None, *, seed: int = 0, **settings: Any) -> Any:
        """Build a variant of the method with its initial weights."""
        config = self.config(variant, **settings)
        if issubclass(self.cls, Predictor):
            return self.cls(config)
        cls = cast("type[MapMethod | ProposalMethod]", self.cls)
        return loop.build(cls, cast("TrainedConfig", config), Task("shapes", self.dataset.classes), seed)

    def build_frozen(self) -> Any:
        """Build the method on a frozen net with random weights; None if it does not declare a frozen part."""
        if "freeze_backbone" not in self.cls.Config.model_fields:
            return None
        method = self.build_method(freeze_backbone=True)
        if (assume := getattr(method, "assume_pretrained", None)) is None:
            return None
        assume()
        return method if method.frozen_net() is not None else None

    def prior_run_settings(self, truth: GroundTruth) -> dict[str, Any]:
        """Return settings with a prior run, which predicted every class in the upper left quarter of each image."""
        folder = self.folder / f"earlier-{array_digest(truth.ids)}"
        if not folder.exists():
            image, label = (np.repeat(truth.ids, len(truth.classes)), np.tile(truth.classes, len(truth.ids)))
            x2, y2 = np.repeat(truth.size / 2, len(truth.classes), axis=0).T
            score = np.full(len(image), 0.5)
            columns = [image, label, score, x2 * 0, y2 * 0, x2, y2]
            about = About("earlier", truth.dataset, truth.split, truth.ids)
            for kind in ("boxes", "scores"):
                table = pa.table(columns[: len(KINDS[kind])], names=list(KINDS[kind]))
                write(locate_predictions(folder, kind), kind, table, about)
        return {"runs": (str(folder),), "pseudo": str(folder)}

    def ground_truth(self, images: int) -> GroundTruth:
        """Return the first images of the training list."""
        whole = self.dataset.ground_truth("train")
        return whole.subset(whole.ids[:images], split="train")

    def proposals(self, truth: GroundTruth) -> Proposals | None:
        """Return the boxes between the quarters of each image; None for a method that uses no proposals."""
        if not self.needs_proposals:
            return None
        return Proposals.from_arrays(truth.ids, [between_quarters(*size) for size in truth.size])

    def examples(self, method: Any, images: int) -> list[tuple[Tensor, ...]]:
        """Return the arguments of `loss` that the harness makes from the first images."""
        truth = self.ground_truth(images)
        source, _ = make_batch_source(method.config, Images(self.dataset), truth, self.proposals(truth))
        examples = [example.arguments for example in source.step(plan(method.config, images, seed=0, epoch=0), 0)]
        return [(to_input(pixels, self.device), *(each.to(self.device) for each in rest)) for pixels, *rest in examples]

    def loss(self, method: Any, *example: Tensor) -> dict[str, Tensor]:
        """Compute the terms of a loss, detached, with the same random draws each time."""
        seed_torch(STEP, 0)
        terms = method.train().loss(*example)
        if not isinstance(terms, dict):
            raise TypeError(f"loss: expected a dict of named terms, but got {type(terms).__name__}")
        return {name: value.detach() for name, value in terms.items()}

    def train_method(self, name: str, images: int, epochs: int) -> Any:
        """Train the method for some epochs in the folder `name`."""
        method, truth = self.build_method(epochs=epochs), self.ground_truth(images)
        source, _ = make_batch_source(method.config, Images(self.dataset), truth, self.proposals(truth))
        loop.fit(method, source, self.folder / name, seed=0, device=self.device)
        return method

    @cached_property
    def once(self) -> Any:
        """The method after a short training in the folder `once`."""
        return self.train_method("once", 4, 2)

    def predict_images(self, method: Any, truth: GroundTruth, **given: Any) -> dict[str, pa.Table]:
        """Predict the kinds that the method claims, as tables. given: `dataset` or `proposals` to use instead of ours.

        Kinds that are folders become tables of their index columns and the digest of each array.
        """
        proposals = given.get("proposals", self.proposals(truth))
        if isinstance(method, Predictor):
            there = {
                key: value
                for key, value in self.prior_run_settings(truth).items()
                if key in self.cls.Config.model_fields
            }
            return dict(type(method)(method.config.model_copy(update=there)).predict(truth, proposals))
        written = OF_MAPS if isinstance(method, MapMethod) else ProposalMethod.kinds
        kinds = [kind for kind in method.kinds if kind in written]
        split = Split(truth, Images(given.get("dataset", self.dataset)), proposals)
        with TemporaryDirectory(dir=self.folder) as folder:
            tables = dict(predict(method, split, kinds, Path(folder), device=self.device)[0])
            parts = {kind: Path(folder) / "parts" / kind for kind in kinds if kind in FOLDERS}
            return tables | {kind: _arrays(read_any(path, truth, [kind])) for kind, path in parts.items()}


def _arrays(found: Predictions) -> pa.Table:
    """Return the index columns of a folder's arrays, with their digests."""
    arrays = found.arrays() if found.arrays is not None else ()
    return found.table.append_column("digest", [[array_digest(one) for one in arrays]])


def between_quarters(width: int, height: int) -> NDArray[np.float32]:
    """Return the boxes (100, 4) whose sides all lie on quarters of an image."""
    spans = list(combinations(np.linspace(0, 1, 5), 2))
    boxes = [(x1, y1, x2, y2) for (x1, x2), (y1, y2) in product(spans, repeat=2)]
    return np.array(boxes, dtype=np.float32) * np.array([width, height] * 2, dtype=np.float32)


class OddImages(Dataset):
    """Noise of the sizes of `ODD`."""

    name = "shapes"

    def __init__(self, folder: Path, classes: tuple[str, ...]) -> None:
        from PIL import Image

        self.folder, self.classes = folder, classes
        folder.mkdir()
        for name, (width, height) in ODD.items():
            pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(self.image_path(name))

    def splits(self) -> tuple[str, ...]:
        """Return a single list of all images."""
        return ("odd",)

    def ground_truth(self, split: str) -> GroundTruth:
        """Return the images, each filled by an object of the first class."""
        size = np.array(list(ODD.values()), dtype=np.int32)
        image, label = np.arange(len(ODD), dtype=np.int32), np.zeros(len(ODD), dtype=np.int32)
        boxes = np.hstack([np.zeros(size.shape), size])
        objects = Objects(image, label, boxes, np.zeros(len(ODD), dtype=np.bool_))
        labels = derive_labels(len(ODD), len(self.classes), objects)
        return GroundTruth(self.name, split, self.classes, tuple(ODD), size, labels, objects)

    def image_path(self, image: str) -> Path:
        """Return the path of a PNG."""
        return self.folder / f"{image}.png"

    def proposals(self) -> Proposals:
        """Return the boxes between the quarters, but only one for `wide` and none for `bare`."""
        boxes = {name: between_quarters(*size) for name, size in ODD.items()}
        return Proposals.from_arrays(tuple(ODD), [boxes["tall"], boxes["wide"][:1], boxes["tiny"], boxes["bare"][:0]])
