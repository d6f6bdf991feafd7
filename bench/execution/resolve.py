"""A request with everything looked up: method, config, dataset, truths, proposals, and the addresses they determine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.core.files import Places, array_digest, file_digest
from bench.core.progress import SILENT, Progress
from bench.core.setting_names import use_former_names
from bench.data.datasets import Dataset, data_digest, open_dataset
from bench.data.ground_truth import GroundTruth
from bench.data.proposals import Proposals, load_proposals
from bench.errors import BadFileError, MissingDataError, RequestError
from bench.method import Attribution, Predictor
from bench.predictions import prior_runs
from bench.records.result import Supervision
from bench.records.store import PredictionsKey, Store, TrainingKey
from bench.scoring.protocol import BoundProtocol, Record

if TYPE_CHECKING:
    import torch

    from bench.method import BaseConfig
    from bench.recipe import MethodClass

CACHE = 2048
"""MiB of decoded images that a training keeps in memory, unless told otherwise."""


@dataclass(frozen=True)
class Request:
    """One run as a person asks for it: `method` may be `name:variant`; None means what protocol and recipe say."""

    method: str
    protocol: Record
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    train_split: str | None = None
    tuned_on: Supervision = "none"
    """What more than image labels chose a setting; it changes no address."""

    def __str__(self) -> str:
        return f"{self.method} under {self.protocol.name}, seed {self.seed}"


@dataclass
class DatasetCache:
    """What jobs share while a product of requests is run: datasets, truths and proposals are read once."""

    places: Places
    progress: Progress = SILENT
    workers: int = 2
    _datasets: dict[Any, Dataset] = field(default_factory=dict)
    _truths: dict[Any, GroundTruth] = field(default_factory=dict)
    _proposals: dict[Any, Proposals] = field(default_factory=dict)
    _data: dict[Any, str] = field(default_factory=dict)

    def dataset(self, name: str, options: Mapping[str, Any]) -> Dataset:
        """A dataset, opened."""
        key = (name, tuple(sorted(options.items())))
        if key not in self._datasets:
            self._datasets[key] = open_dataset(name, self.places, options)
        return self._datasets[key]

    def truth(self, dataset: Dataset, split: str) -> GroundTruth:
        """The truth of a split."""
        key = (id(dataset), split)
        if key not in self._truths:
            self._truths[key] = dataset.truth(split)
        return self._truths[key]

    def proposals(self, spec: str, dataset: Dataset, truth: GroundTruth) -> Proposals:
        """Region proposals of a split, computed where they are not there yet."""
        key = (spec, id(dataset), truth.split)
        if key not in self._proposals:
            found = load_proposals(spec, dataset, truth.ids, self.places, self.progress, workers=self.workers)
            self._proposals[key] = found
        return self._proposals[key]

    def data(self, dataset: Dataset, truth: GroundTruth) -> str:
        """The data digest of a split; its photographs have to be there."""
        key = (id(dataset), truth.split)
        if key not in self._data:
            need_images(dataset, truth)
            self._data[key] = data_digest(dataset, truth.ids)
        return self._data[key]


@dataclass(frozen=True, eq=False)
class ResolvedRun:
    """A request, looked up. `threads`: what computes on a CPU, 0 on a GPU."""

    request: Request
    cls: MethodClass
    variant: str | None
    config: BaseConfig
    bound: BoundProtocol
    dataset: Dataset
    train: GroundTruth
    test: GroundTruth
    kinds: tuple[str, ...]
    """Kinds that the protocol is given, the one that it needs first."""
    missing: MissingDataError | None
    """Why nobody here can judge: the truth of the split is kept by others."""
    threads: int
    shelf: DatasetCache

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        return not issubclass(self.cls, Predictor)

    @property
    def learner(self) -> MethodClass:
        """The method whose training it is: this one, or the base of an attribution."""
        return self.cls.Base if issubclass(self.cls, Attribution) else self.cls

    def proposals(self, truth: GroundTruth) -> Proposals | None:
        """Region proposals of a split; None for a method that does not look at any.

        Raises BadFileError for a file without the scores that `box_scores` needs.
        """
        spec = getattr(self.config, "proposals", None)
        if spec is None:
            return None
        found = self.shelf.proposals(spec, self.dataset, truth)
        if found.scores is None and getattr(self.config, "box_scores", False):
            raise BadFileError(Path(spec), "its proposals have no scores, which box_scores weighs them by")
        return found

    @cached_property
    def training(self) -> TrainingKey | None:
        """What determines the trained weights; None if nothing is learned."""
        if not self.learns:
            return None
        learner = self.learner
        its = self.config.addressed().items()
        config = {key: value for key, value in its if key in learner.Config.model_fields}
        weights, data = weights_digest(config["weights"]), self.shelf.data(self.dataset, self.train)
        proposals = self.proposals(self.train)  # last: they take long
        return TrainingKey(
            method=learner.name,
            method_version=learner.version,
            trainer_version=_trainer_version(),
            config=self._addressed(config) | {"weights": weights},
            data=data,
            labels=array_digest(self.train.classes, self.train.ids, self.train.labels),
            proposals=None if proposals is None else proposals.digest,
            threads=self.threads,
            seed=self.request.seed,
        )

    @cached_property
    def predictions(self) -> PredictionsKey:
        """What determines the predictions."""
        from bench.training.predict import VERSION

        images = array_digest(self.test.classes, self.test.ids, self.test.size)
        if self.learns:
            images = f"{images}-{self.shelf.data(self.dataset, self.test)}"
        training, proposals = self.training, self.proposals(self.test)
        return PredictionsKey(
            method=self.cls.name,
            method_version=self.cls.version,
            predictor_version=VERSION,
            training=None if training is None else training.address,
            config=self._addressed(self.config.stage("prediction")),
            dataset=self.dataset.name,
            images=images,
            proposals=None if proposals is None else proposals.digest,
        )

    def _addressed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a config as addresses hold it: former names, digests of files and prior runs, no proposals."""
        named = {key: Path(config[key]) for key in self.config.files() - {"weights", "proposals"} if key in config}
        contents = {key: file_digest(path) for key, path in named.items() if path.is_file()}
        kept = {key: value for key, value in config.items() if key != "proposals"}
        return use_former_names(kept | contents | prior_runs.digest_prior_runs(config))

    def public_config(self) -> dict[str, Any]:
        """The config for a record that others read: of this machine's files it gives the names alone."""
        config = self.config.model_dump(mode="json")
        names = {key: Path(config[key]).name for key in self.config.files() if config[key]}
        return config | names | prior_runs.name_prior_runs(config)


def resolve_request(request: Request, shelf: DatasetCache, *, device: torch.device, threads: int) -> ResolvedRun:
    """Everything a request names.

    Raises RequestError of some kind for whatever is not there or does not go together.
    """
    cls, variant = registry.parse(request.method, request.settings)
    record = request.protocol
    dataset = shelf.dataset(request.data or record.dataset, request.data_options)
    config = registry.configure(
        cls, variant, dataset=dataset.name, recipe=dataset.recipe, settings=dict(request.settings)
    )
    train_split = request.train_split or record.train_split
    test_split = train_split if record.evaluates_training_split else request.split or record.eval_split
    learns = not issubclass(cls, Predictor)
    kinds = _kinds(cls, record)
    test, missing = _test(shelf, dataset, test_split)
    return ResolvedRun(
        request=request,
        cls=cls,
        variant=variant,
        config=prior_runs.resolve_prior_runs(cls.name, _settled(config, device), Store(shelf.places)),
        bound=registry.bind(record),
        dataset=dataset,
        train=shelf.truth(dataset, train_split) if learns else test,
        test=test,
        kinds=kinds,
        missing=missing,
        threads=threads,
        shelf=shelf,
    )


def need_images(dataset: Dataset, truth: GroundTruth) -> None:
    """Raise MissingDataError for photographs that are not on disk, naming the lists that are complete."""
    if not (missing := dataset.missing_images(truth.ids)):
        return
    whole = [name for name in dataset.splits() if not dataset.missing_images(dataset.truth(name).ids)]
    hint = f" Complete on this disk: {', '.join(whole)} (--split, --train-split)." if whole else ""
    raise MissingDataError(
        f"{len(missing)} of {len(truth.ids)} images of {dataset.name} {truth.split} (first: {', '.join(missing[:3])})",
        dataset.image_path(missing[0]).parent,
        dataset.how_to_get + hint,
    )


def weights_digest(weights: str) -> str:
    """What stands for initial weights in an address: a file's content; torchvision's `imagenet` never changes.

    Raises MissingDataError for a file that is not there.
    """
    if weights in ("none", "imagenet"):
        return weights
    if not Path(weights).is_file():
        raise MissingDataError("Weights", Path(weights), "Give --weights none, imagenet, or a file (.npz, .pth).")
    return file_digest(Path(weights))


def _settled(config: BaseConfig, device: torch.device) -> BaseConfig:
    """The config with `precision=auto` decided for the device: addresses hold what is computed."""
    if getattr(config, "precision", None) != "auto":
        return config
    from bench.training.device import settled_precision

    return config.model_copy(update={"precision": settled_precision("auto", device)})


def _test(shelf: DatasetCache, dataset: Dataset, split: str) -> tuple[GroundTruth, MissingDataError | None]:
    """The truth of what is predicted; or only its images, and what is missing.

    Raises MissingDataError where the images are missing too.
    """
    try:
        return shelf.truth(dataset, split), None
    except MissingDataError as error:
        images = dataset.unjudged(split)
        if dataset.missing_images(images.ids):
            raise
        return images, error


def _kinds(cls: MethodClass, record: Record) -> tuple[str, ...]:
    """What the protocol is given: the first kind it accepts that the method makes, and what it takes beside that."""
    for kind in record.predicts:
        if kind in cls.kinds:
            return (kind, *(one for one in record.also if one in cls.kinds))
    raise RequestError(
        f"{cls.name} makes {', '.join(cls.kinds)}, and {record.name} takes {' or '.join(record.predicts)}."
    )


def _trainer_version() -> int:
    from bench.training.loop import VERSION

    return VERSION
