"""Resolve a request: its method, config, dataset, ground truth and proposals, and the addresses they determine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.core.files import array_digest, file_digest
from bench.core.setting_names import use_former_names
from bench.data.dataset import Dataset
from bench.data.ground_truth import GroundTruth
from bench.data.proposals import Proposals
from bench.errors import BadFileError, MissingDataError, RequestError
from bench.execution.dataset_cache import DatasetCache as DatasetCache
from bench.execution.request import Request as Request
from bench.method import Attribution, Predictor
from bench.predictions import prior_runs
from bench.records.store import PredictionsKey, Store, TrainingKey
from bench.scoring.protocol import BoundProtocol, Record

if TYPE_CHECKING:
    import torch

    from bench.method import BaseConfig
    from bench.recipe import MethodClass


@dataclass(frozen=True, eq=False)
class ResolvedRun:
    """A request with everything that it names resolved. threads: the number that compute on a CPU; 0 on a GPU."""

    request: Request
    cls: MethodClass
    variant: str | None
    config: BaseConfig
    bound: BoundProtocol
    dataset: Dataset
    train: GroundTruth
    test: GroundTruth
    kinds: tuple[str, ...]
    """Prediction kinds that the protocol scores, the required one first."""
    withheld: MissingDataError | None
    """Why this split cannot be scored here: its ground truth is on an evaluation server, to which predictions go."""
    threads: int
    datasets: DatasetCache

    def prepare(self) -> ResolvedRun:
        """Compute everything that addresses depend on: digests, and proposals, which may take hours on a large split.

        Raises MissingDataError for photographs or weights that are not on disk, and as `proposals`.
        """
        _ = self.training, self.predictions
        return self

    @property
    def learns(self) -> bool:
        """Whether the method is trained."""
        return not issubclass(self.cls, Predictor)

    @property
    def uses_truth(self) -> bool:
        """Whether the method predicts from the ground truth itself."""
        return issubclass(self.cls, Predictor) and self.cls.uses_truth

    @property
    def learner(self) -> MethodClass:
        """The method that is trained: this one, or the base of an attribution."""
        return self.cls.Base if issubclass(self.cls, Attribution) else self.cls

    def proposals(self, truth: GroundTruth) -> Proposals | None:
        """Return the region proposals of a split; None for a method that does not use any.

        Raises BadFileError for a file without the scores that `box_scores` needs.
        """
        spec = getattr(self.config, "proposals", None)
        if spec is None:
            return None
        proposals = self.datasets.proposals(spec, self.dataset, truth)
        if proposals.scores is None and getattr(self.config, "box_scores", False):
            raise BadFileError(Path(spec), "its proposals have no scores, which box_scores weighs them by")
        return proposals

    @cached_property
    def training(self) -> TrainingKey | None:
        """Everything that determines the trained weights; None if nothing is trained."""
        if not self.learns:
            return None
        learner = self.learner
        settings = self.config.select_addressed("training").items()
        config = {key: value for key, value in settings if key in learner.Config.model_fields}
        weights, data = weights_digest(config["weights"]), self.datasets.data_digest(self.dataset, self.train)
        proposals = self.proposals(self.train)  # last: they take longest, and the checks above can fail
        return TrainingKey(
            method=learner.name,
            method_version=learner.version,
            trainer_version=_trainer_version(),
            config=self._address_config(config) | {"weights": weights},
            data=data,
            labels=array_digest(self.train.classes, self.train.ids, self.train.labels),
            proposals=None if proposals is None else proposals.digest,
            threads=self.threads,
            seed=self.request.seed,
            code=registry.read_method_code(learner.name).own,
            net=registry.read_net_code(config["net"]).own if "net" in config else None,
        )

    @cached_property
    def predictions(self) -> PredictionsKey:
        """Everything that determines the predictions."""
        from bench.training.predict import VERSION

        is_told = getattr(self.config, "map_classes", None) == "present"
        images = array_digest(
            self.test.classes, self.test.ids, self.test.size, *([self.test.labels] if is_told else [])
        )
        if self.learns:
            images = f"{images}-{self.datasets.data_digest(self.dataset, self.test)}"
        if self.uses_truth:
            images = f"{images}-{self.test.digest}"
        training, proposals = self.training, self.proposals(self.test)
        return PredictionsKey(
            method=self.cls.name,
            method_version=self.cls.version,
            predictor_version=VERSION,
            training=None if training is None else training.address,
            config=self._address_config(self.config.select_addressed("prediction")),
            dataset=self.dataset.name,
            images=images,
            proposals=None if proposals is None else proposals.digest,
            code=registry.read_method_code(self.cls.name).own,
        )

    @cached_property
    def training_code(self) -> dict[str, str]:
        """The digest of each of our modules that is used in training."""
        if not self.learns:
            return {}
        net = getattr(self.config, "net", None)
        shipped = {} if net is None else registry.read_net_code(net).shipped
        return {**registry.read_method_code(self.learner.name).shipped, **shipped}

    @cached_property
    def code(self) -> dict[str, str]:
        """The digest of each of our modules that is used in training or prediction."""
        return {**self.training_code, **registry.read_method_code(self.cls.name).shipped}

    def _address_config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a config as used in addresses: former names, digests of files and prior runs, no proposals."""
        paths = {key: Path(config[key]) for key in self.config.files() - {"weights", "proposals"} if key in config}
        contents = {key: file_digest(path) for key, path in paths.items() if path.is_file()}
        settings = {key: value for key, value in config.items() if key != "proposals"}
        return use_former_names(settings | contents | prior_runs.digest_prior_runs(config))

    def public_config(self) -> dict[str, Any]:
        """Return the config for a record: files by name only, without the folders of this machine."""
        config = self.config.model_dump(mode="json")
        names = {key: Path(config[key]).name for key in self.config.files() if config[key]}
        return config | names | prior_runs.name_prior_runs(config)


def resolve_request(request: Request, datasets: DatasetCache, *, device: torch.device, threads: int) -> ResolvedRun:
    """Resolve everything that a request names; proposals and digests wait for `ResolvedRun.prepare`.

    Raises a subclass of RequestError for parts that do not exist or are incompatible, and for a split without the
    ground truth that the protocol needs.
    """
    recipe, protocol = datasets.recipe(request), request.protocol
    cls, dataset = recipe.cls, recipe.dataset
    train_split = request.train_split or protocol.train_split
    test_split = train_split if protocol.evaluates_training_split else request.split or protocol.eval_split
    learns = not issubclass(cls, Predictor)
    kinds = choose_kinds(cls, protocol)
    test, withheld = _read_test_split(datasets, dataset, test_split)
    bound = registry.bind(protocol)
    if withheld is not None and issubclass(cls, Predictor) and cls.uses_truth:
        raise withheld
    if withheld is None and (lacking := bound.find_missing_truth(dataset, test)) is not None:
        raise _suggest_labels(lacking, learns=learns)
    config = _settle_net(_settle_precision(recipe.config, device))
    config = _settle_map_classes(config, bound, is_withheld=withheld is not None)
    return ResolvedRun(
        request=request,
        cls=cls,
        variant=recipe.variant,
        config=prior_runs.resolve_prior_runs(cls.name, config, Store(datasets.places)),
        bound=bound,
        dataset=dataset,
        train=datasets.ground_truth(dataset, train_split) if learns else test,
        test=test,
        kinds=kinds,
        withheld=withheld,
        threads=threads,
        datasets=datasets,
    )


def _suggest_labels(lacking: RequestError, *, learns: bool) -> RequestError:
    """Return the error, extended by how to train on image labels alone if the method learns."""
    how = " To train on image labels alone: --protocol cls, and python -m bench predict RUN for maps and boxes."
    return RequestError(f"{lacking}{how}") if learns else lacking


def weights_digest(weights: str) -> str:
    """Return the identifier of initial weights in addresses: a file's digest, or `imagenet` or `none` unchanged.

    Raises MissingDataError for a file that is not there.
    """
    if weights in ("none", "imagenet"):
        return weights
    if not Path(weights).is_file():
        raise MissingDataError("Weights", Path(weights), "Give --weights none, imagenet, or a file (.npz, .pth).")
    return file_digest(Path(weights))


def _settle_precision(config: BaseConfig, device: torch.device) -> BaseConfig:
    """Replace `precision=auto` by the device's precision, since addresses contain the value that is used."""
    if getattr(config, "precision", None) != "auto":
        return config
    from bench.training.device import resolve_precision

    return config.model_copy(update={"precision": resolve_precision("auto", device)})


def _settle_net(config: BaseConfig) -> BaseConfig:
    """Drop a library net's `@STRIDE` suffix, in pixels per cell, if it is the default. Raises RequestError."""
    name, at, stride = str(getattr(config, "net", "")).partition("@")
    if not at or not stride.isdecimal() or name.partition(":")[0] not in registry.LIBRARIES:
        return config
    return config.model_copy(update={"net": name}) if registry.find_net(name).stride == int(stride) else config


def _settle_map_classes(config: BaseConfig, bound: BoundProtocol, *, is_withheld: bool) -> BaseConfig:
    """Replace `map_classes=auto` by the classes that the protocol uses, since addresses contain the value that is used.

    If the ground truth is withheld, the present classes are not known here, and all are mapped.
    Raises RequestError for `present` under a protocol that uses all classes: it would reveal which ones are present.
    """
    chosen = getattr(config, "map_classes", None)
    if chosen == "present" and not bound.looks_at_present_only:
        raise RequestError(
            f"map_classes=present tells which classes an image shows, but {bound.record.name} looks at all: use auto."
        )
    if chosen != "auto":
        return config
    knows = bound.looks_at_present_only and not is_withheld
    return config.model_copy(update={"map_classes": "present" if knows else "all"})


def _read_test_split(
    datasets: DatasetCache, dataset: Dataset, split: str
) -> tuple[GroundTruth, MissingDataError | None]:
    """Read the ground truth of the split to predict; if it is withheld, its images alone, and the error.

    Raises MissingDataError if the images are missing too.
    """
    try:
        return datasets.ground_truth(dataset, split), None
    except MissingDataError as error:
        images = dataset.unscored_ground_truth(split)
        if dataset.list_missing_images(images.ids):
            raise
        return images, error


def choose_kinds(cls: MethodClass, record: Record) -> tuple[str, ...]:
    """Choose the first kind that the protocol accepts and the method makes, and the optional kinds that both have.

    Raises RequestError if they share none.
    """
    for kind in record.predicts:
        if kind in cls.kinds:
            return (kind, *(extra for extra in record.also if extra in cls.kinds))
    raise RequestError(
        f"{cls.name} makes {', '.join(cls.kinds)}, and {record.name} accepts {' or '.join(record.predicts)}."
    )


def _trainer_version() -> int:
    from bench.training.loop import VERSION

    return VERSION
