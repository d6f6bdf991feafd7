"""A trained method from the runs folder, found by the address of a run and applied to any photographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MethodType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bench import registry
from bench.core.files import Places, read_object
from bench.core.progress import SILENT, Progress
from bench.core.setting_names import use_current_names
from bench.data.photographs import (
    SPLIT,
    PathLike,
    Photographs,
    describe_left_out,
    find_photographs,
    list_given,
    name_unreadable,
)
from bench.data.proposals import SEARCHES, load_proposals
from bench.errors import RequestError, format_names
from bench.execution.code_changes import list_edited
from bench.gallery.predicted_images import PredictedImages
from bench.method import Attribution, MapMethod, ProposalMethod, Task
from bench.predictions.formats import read_any
from bench.predictions.map_files import BACKGROUND
from bench.predictions.table import resolve
from bench.records.outcomes import read_outcomes
from bench.records.result import Result
from bench.records.store import Store, read_own_key

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from bench.config import BaseConfig
    from bench.data.ground_truth import GroundTruth
    from bench.data.proposals import Proposals


@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel:
    """A trained method, ready to predict.

    run: the address of the run's predictions. method: the PyTorch module, in evaluation mode. classes: the names of its
    classes, in order. proposals: for a proposal method, the search or file that gives them. notes: whether its code was
    edited since.
    """

    run: str
    method: MapMethod | ProposalMethod
    dataset: str
    classes: tuple[str, ...]
    proposals: str | None
    places: Places
    device: torch.device
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{self.method.name} of run {self.run}, on {len(self.classes)} classes of {self.dataset}>"

    def predict(
        self, images: PathLike | Sequence[PathLike], *, workers: int = 2, progress: Progress = SILENT
    ) -> PredictedImages:
        """Predict on photographs (JPEG or PNG), given by their paths, or by a folder that is searched recursively.

        The notes list images in the folder that are not read. Raises MissingDataError, RequestError for photographs
        with the same name, BadFileError for a file that is not a photograph.
        """
        given = list_given(images)
        files, notes = find_photographs(given), describe_left_out(given)
        with name_unreadable(files):
            return self.predict_files(files, notes, workers=workers, progress=progress)

    def predict_files(
        self, files: Mapping[str, Path], notes: Sequence[str] = (), *, workers: int = 2, progress: Progress = SILENT
    ) -> PredictedImages:
        """Predict on photographs, given as paths by id. notes: about files left out. Raises as `predict`."""
        from bench.training.inputs import Images
        from bench.training.predict import Split, predict

        dataset = Photographs(self.dataset, self.classes, files)
        truth = dataset.ground_truth(SPLIT)
        split = Split(truth, Images(dataset, budget=0), self._find_proposals(dataset, truth, workers, progress))
        kinds = [kind for kind in ("scores", "points", "boxes", "maps") if kind in self.method.kinds]
        self.places.cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self.places.cache, prefix="predict-") as scratch:
            folder = Path(scratch)
            tables, _ = predict(
                self.method, split, kinds, folder, device=self.device, workers=workers, progress=progress
            )
            maps = _read_maps(folder / "parts" / "maps", truth) if "maps" in kinds else {}
        remarks = (*self.notes, *notes, *dataset.list_notes())
        return PredictedImages(self.method.name, self.classes, dataset.files, truth.size, tables, maps, remarks)

    def _find_proposals(
        self, dataset: Photographs, truth: GroundTruth, workers: int, progress: Progress
    ) -> Proposals | None:
        if self.proposals is None:
            return None
        found = load_proposals(self.proposals, dataset, truth.ids, self.places, progress, workers=workers)
        if found.scores is None and getattr(self.method.config, "box_scores", False):
            raise RequestError(
                "This run weighs proposals by their scores: give --proposals FILE, a file that has them."
            )
        return found


def _read_maps(folder: Path, truth: GroundTruth) -> dict[tuple[str, str], NDArray[np.floating]]:
    """Read maps by image and class."""
    found = resolve(read_any(folder, truth, ["maps"]), truth)
    named = zip(found.image.tolist(), found.label.tolist(), found.arrays(), strict=True)
    return {(truth.ids[image], truth.classes[label]): map_ for image, label, map_ in named}


def load_model(
    run: str,
    places: Places,
    *,
    proposals: str | None = None,
    find_classes: Callable[[str], tuple[str, ...]],
    device: str = "auto",
) -> TrainedModel:
    """Load the model of a run, by the address of its result or predictions or a unique prefix.

    proposals: the search or file of region proposals; None: that of the run. find_classes: returns the classes of a
    dataset by its name, if no result in the runs folder lists them.
    Raises UnknownNameError for the address, RequestError for a run without a model, or whose files are gone.
    """
    from bench.training.device import pick_device

    store = Store(places)
    folder = store.find_predictions(run)
    read_own_key(folder)
    key = read_object(folder / "config.json", "training", "method", "config", "dataset")
    if key["training"] is None:
        raise RequestError(f"Run {run} is of {key['method']}, which learns nothing: there is no model to load.")
    results = [one for one in store.list_results() if one.training == key["training"]]
    classes = _read_classes(results, store) or find_classes(key["dataset"])
    prediction = key["config"]
    if prediction.get("map_classes") == "present":  # a photograph without labels has no known classes
        prediction = {**prediction, "map_classes": "all"}
    task = Task(key["dataset"], classes)
    method = load_method(store, key["training"], key["method"], prediction, task)
    spec = _choose_proposals(method, proposals, [one for one in results if one.predictions == folder.name])
    notes = _describe_edits(store, folder, key, method)
    return TrainedModel(folder.name, method, task.dataset, classes, spec, places, pick_device(device), notes)


def load_method(
    store: Store, training: str, name: str, prediction: Mapping[str, Any], task: Task
) -> MapMethod | ProposalMethod:
    """Load a method with the weights of a training, in evaluation mode.

    prediction: its settings of prediction, in the form used in addresses.
    Weights are read without unpickling anything but numbers. Raises RequestError if weights or settings are not kept,
    or if settings name files of which only digests are known.
    """
    from bench.training import checkpoint
    from bench.training.loop import build

    learned = store.training_folder(training)
    if not checkpoint.done_path(learned).is_file():
        raise RequestError(f"The weights of training {training} are not kept in {store.places.runs}.")
    read_own_key(learned)
    key = read_object(learned / "config.json", "method", "config", "seed")
    cls, _ = registry.parse(name, {"base": key["method"]} if name != key["method"] else {})
    if not issubclass(cls, MapMethod | ProposalMethod):
        raise RequestError(f"{name} is no method that learns.")
    try:
        config = cls.Config.model_validate(_list_settings(key["config"], prediction, cls.Config))
    except ValidationError as error:
        raise RequestError(f"The settings of training {training} do not fit ({error.errors()[0]['msg']}).") from None
    method = build(cls, config, task, key["seed"])
    learner = method.base if isinstance(method, Attribution) else method
    if key["config"].get("weights") != "none":
        for module in list(learner.modules()):  # the side effects of loading the initial weights
            if isinstance(assume := getattr(module, "assume_pretrained", None), MethodType):
                assume()
    checkpoint.load_weights(learned, learner, method.config.checkpoint_epoch)
    method.eval()  # only now: an attribution may fold the loaded weights
    return method


def _describe_edits(
    store: Store, predictions: Path, key: Mapping[str, Any], method: MapMethod | ProposalMethod
) -> tuple[str, ...]:
    """Return a note on the code that was edited after a run was made; empty if none was."""
    folder = store.training_folder(key["training"])
    trained = read_object(folder / "config.json", "method")
    codes = [registry.read_method_code(name) for name in (trained["method"], key["method"])]
    net = registry.read_net_code(method.config.net)
    shipped = {**codes[0].shipped, **codes[1].shipped, **net.shipped}
    edited = {*list_edited(folder, shipped), *list_edited(predictions, shipped)}
    of_others = (
        (trained["method"], trained.get("code"), codes[0].own),
        (key["method"], key.get("code"), codes[1].own),
        (method.config.net, trained.get("net"), net.own),
    )
    edited |= {name for name, before, now in of_others if before not in (None, now)}
    note = f"the code of this run was edited since, so predictions may differ: {format_names(sorted(edited))}"
    return (note,) if edited else ()


def _list_settings(
    training: Mapping[str, Any], prediction: Mapping[str, Any], config: type[BaseConfig]
) -> dict[str, Any]:
    """Return the settings of a run without its initial weights, since the learned ones are loaded."""
    chosen = {**training, **prediction, "weights": "none"}
    current = config.list_implied() | use_current_names(chosen, config.model_fields)
    return {key: value for key, value in current.items() if key in config.model_fields}


def _read_classes(results: Sequence[Result], store: Store) -> tuple[str, ...]:
    """Read the classes that outcomes of a training's results name; empty if there are none. Raises BadFileError."""
    for one in results:
        if outcomes := read_outcomes(store.result_path(one.address), one):
            return tuple(name for name in outcomes.classes if name != BACKGROUND)
    return ()


def _choose_proposals(method: MapMethod | ProposalMethod, given: str | None, results: Sequence[Result]) -> str | None:
    """Return the source of proposals for photographs: the given one, or the search that the run used."""
    if isinstance(method, MapMethod):
        if given is not None:
            raise RequestError(f"--proposals: {method.name} scores no region proposals. Leave it out.")
        return None
    used = next(
        (str(one.config["proposals"]) for one in results if "proposals" in one.config), "proposals unknown here"
    )
    if given is None and used not in SEARCHES:
        raise RequestError(f"This run used {used}: give --proposals, {' or '.join(SEARCHES)}, or a file.")
    return given or used
