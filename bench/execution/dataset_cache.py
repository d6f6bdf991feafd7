"""A cache shared by the runs of a command: datasets, ground truths, proposals, methods and recipes, each read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.core.files import Places
from bench.core.progress import SILENT, Progress
from bench.data.dataset import read_split, suggest_renaming
from bench.data.datasets import Dataset, data_digest, open_dataset
from bench.data.ground_truth import GroundTruth
from bench.data.proposals import Proposals, load_proposals
from bench.errors import BenchError, MissingDataError, RequestError
from bench.recipe import PAPER, USER

if TYPE_CHECKING:
    from bench.config import BaseConfig
    from bench.execution.request import Request
    from bench.recipe import MethodClass, ResolvedSetting


@dataclass(frozen=True, eq=False)
class ResolvedRecipe:
    """The method, dataset and checked settings of a request. `settings`: every config field with its origin."""

    cls: MethodClass
    variant: str | None
    dataset: Dataset
    settings: Mapping[str, ResolvedSetting]
    config: BaseConfig

    def list_given(self) -> tuple[str, ...]:
        """List the settings in which this recipe differs from that of the method and its variant on the dataset."""
        name, recipe = self.dataset.name, self.dataset.recipe
        usual = registry.settle(self.cls, self.variant, dataset=name, recipe=recipe, settings={})
        try:
            config = registry.make_config(self.cls, usual)
        except RequestError:  # the method requires a setting from the user
            return tuple(key for key, setting in self.settings.items() if setting.origin in (PAPER, USER))
        return tuple(key for key in self.settings if getattr(self.config, key) != getattr(config, key))


@dataclass
class DatasetCache:
    """Opens each dataset, ground truth, proposal set, method and recipe once.

    `progress` and `workers` apply where proposals are computed.
    """

    places: Places
    progress: Progress = SILENT
    workers: int = 2
    obstacles: dict[Any, BenchError | None] = field(default_factory=dict)
    """The errors that runs would end in, as `bench.execution.rehearsal` finds them."""
    _datasets: dict[Any, Dataset] = field(default_factory=dict)
    _truths: dict[Any, GroundTruth] = field(default_factory=dict)
    _proposals: dict[Any, Proposals] = field(default_factory=dict)
    _digests: dict[Any, str] = field(default_factory=dict)
    _methods: dict[Any, tuple[MethodClass, str | None]] = field(default_factory=dict)
    _recipes: dict[Any, ResolvedRecipe] = field(default_factory=dict)

    def dataset(self, name: str | None, options: Mapping[str, Any]) -> Dataset:
        """Open a dataset. Raises as `open_dataset`."""
        key = (name, _freeze(options))
        if key not in self._datasets:
            self._datasets[key] = open_dataset(name, self.places, options)
        return self._datasets[key]

    def ground_truth(self, dataset: Dataset, split: str) -> GroundTruth:
        """Read the ground truth of a split. Raises as `read_split`."""
        key = (id(dataset), split)
        if key not in self._truths:
            self._truths[key] = read_split(dataset, split)
        return self._truths[key]

    def proposals(self, spec: str, dataset: Dataset, truth: GroundTruth) -> Proposals:
        """Read the region proposals of a split, or compute them if they are not stored yet."""
        key = (spec, id(dataset), truth.split)
        if key not in self._proposals:
            self._proposals[key] = load_proposals(
                spec, dataset, truth.ids, self.places, self.progress, workers=self.workers
            )
        return self._proposals[key]

    def data_digest(self, dataset: Dataset, truth: GroundTruth) -> str:
        """Compute the data digest of a split.

        Raises MissingDataError for photographs that are not on disk, naming the splits that are complete.
        """
        key = (id(dataset), truth.split)
        if key not in self._digests:
            try:
                self._digests[key] = data_digest(dataset, truth.ids)
            except MissingDataError:
                raise _missing_images_error(dataset, truth) from None
        return self._digests[key]

    def method(self, text: str, settings: Mapping[str, Any]) -> tuple[MethodClass, str | None]:
        """Return a method and its variant from `name` or `name:variant`. Raises as `registry.parse`."""
        key = (text, settings.get("base"))
        if key not in self._methods:
            self._methods[key] = registry.parse(text, settings)
        return self._methods[key]

    def recipe(self, request: Request) -> ResolvedRecipe:
        """Resolve the method, dataset and settings of a request. Raises RequestError of some kind."""
        name = request.data or request.protocol.dataset
        key = (request.method, name, _freeze(request.data_options), _freeze(request.settings), request.recipe)
        if key not in self._recipes:
            cls, variant = self.method(request.method, request.settings)
            dataset = self.dataset(name, request.data_options)
            registry.check_settings(f"the recipe of {dataset.name}", dataset.recipe, cls)
            settings = registry.settle(
                cls,
                variant,
                dataset=dataset.name,
                recipe=dataset.recipe,
                settings=request.settings,
                paper=request.recipe == "paper",
            )
            config = registry.make_config(cls, settings)
            registry.refuse_idle(cls, config, settings)
            self._recipes[key] = ResolvedRecipe(cls, variant, dataset, settings, config)
        return self._recipes[key]


def _freeze(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, repr(value)) for key, value in options.items()))


def _missing_images_error(dataset: Dataset, truth: GroundTruth) -> MissingDataError:
    """Describe which photographs of a split are missing, and which splits are complete on this disk."""
    missing = dataset.list_missing_images(truth.ids)
    complete = [name for name in dataset.splits() if not dataset.list_missing_images(dataset.ground_truth(name).ids)]
    hint = f" Complete on this disk: {', '.join(complete)} (--split, --train-split)." if complete else ""
    path = dataset.image_path(missing[0])
    return MissingDataError(
        f"{len(missing)} of {len(truth.ids)} images of {dataset.name} {truth.split} (first: {', '.join(missing[:3])})",
        path,
        (suggest_renaming(path) or dataset.how_to_get) + hint,
    )
