"""The command line's verbs for Python: what `import bench` offers.

Keyword arguments have the names of the command line's options, and the same defaults: `--data-root DIR` is
`data_root=DIR`, an option that repeats takes a sequence, and one of KEY=VALUE pairs a mapping. Nothing prints. What
goes wrong is a `bench.errors.BenchError`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, Unpack, overload

from bench import registry
from bench.core.files import IMAGE_CACHE_MIB, Places
from bench.core.progress import SILENT, CallbackProgress, Progress, ProgressEvent
from bench.errors import IncompleteError, RequestError, UnknownNameError
from bench.verbs import results as result_verbs
from bench.verbs.arguments import check_arguments

if TYPE_CHECKING:
    from bench.analysis.compare import Comparison
    from bench.analysis.errors import ErrorAnalysis
    from bench.execution.trained import TrainedModel
    from bench.notebook import ForecastList, NotebookResult, ResultList, TableList
    from bench.predictions.decode import BoxRule, MaskRule
    from bench.predictions.handover import Source
    from bench.records.result import Extra, Result, Supervision, Tier
    from bench.verbs.plan_cost import CostedPlan
    from bench.verbs.scoring import AuditReport

__all__ = [
    "analyse_errors",
    "audit",
    "compare",
    "datasets",
    "load_model",
    "methods",
    "plan",
    "protocols",
    "results",
    "run",
    "score",
    "table",
]

Folder = str | os.PathLike[str]
Names = str | Sequence[str]
OnProgress = Callable[[ProgressEvent], None]

NOTHING: Mapping[str, Any] = MappingProxyType({})

_Value = TypeVar("_Value")


class RunOptions(TypedDict, total=False):
    """The arguments of `run`, beside methods, protocols and `dry_run`."""

    track: str | None
    table: str | None
    rows: Names
    columns: Names
    seed: int | Iterable[int] | None
    set: Mapping[str, Any]
    recipe: Literal["paper"] | None
    weights: Folder | None
    convention: Mapping[str, Any]
    data: Folder | None
    data_option: Mapping[str, Any]
    split: str | None
    train_split: str | None
    tuned_on: Supervision
    device: str
    workers: int
    threads: int | None
    cache: int
    feature_cache: bool
    again: bool
    keep: bool
    data_root: Folder | None
    runs: Folder | None
    plugin: Folder | Sequence[Folder]
    progress: OnProgress | None


@overload
def run(
    method: Names = (), protocol: Names = (), *, dry_run: Literal[True], **options: Unpack[RunOptions]
) -> ForecastList: ...


@overload
def run(
    method: Names = (), protocol: Names = (), *, dry_run: Literal[False] = False, **options: Unpack[RunOptions]
) -> ResultList: ...


@check_arguments
def run(
    method: Names = (),
    protocol: Names = (),
    *,
    track: str | None = None,
    table: str | None = None,
    rows: Names = (),
    columns: Names = (),
    seed: int | Iterable[int] | None = None,
    set: Mapping[str, Any] = NOTHING,
    recipe: Literal["paper"] | None = None,
    weights: Folder | None = None,
    convention: Mapping[str, Any] = NOTHING,
    data: Folder | None = None,
    data_option: Mapping[str, Any] = NOTHING,
    split: str | None = None,
    train_split: str | None = None,
    tuned_on: Supervision = "none",
    device: str = "auto",
    workers: int = 2,
    threads: int | None = None,
    cache: int = IMAGE_CACHE_MIB,
    feature_cache: bool = True,
    again: bool = False,
    keep: bool = False,
    dry_run: bool = False,
    data_root: Folder | None = None,
    runs: Folder | None = None,
    plugin: Folder | Sequence[Folder] = (),
    progress: OnProgress | None = None,
) -> ResultList | ForecastList:
    """Train, predict, score and record the product of methods, protocols and seeds; what is stored is not repeated.

    Args:
        method: Methods, `name` or `name:variant`. With `track`, "all" is every method of it.
        protocol: Protocols to evaluate under; default: those of the track.
        track: A track, by name or as the path of its file.
        table: A paper's table, in place of methods and protocols: the runs that `plan` lists for it.
        rows: Only these rows of the table, by number from 1 or part of the label.
        columns: Only these columns of the table, by head or key.
        seed: Seeds of trainings; default: 0, or the track's.
        set: Config fields of the methods, each set for the methods that have it.
        recipe: "paper" to train as the method's paper does.
        weights: Initial weights of the net: a file, "none" or "imagenet".
        convention: Conventions of the protocol to override.
        data: Dataset in place of the protocol's: a name, or the path of a file that describes it.
        data_option: Options of the dataset.
        split: Id list to evaluate on in place of the protocol's.
        train_split: Id list to train on in place of the protocol's.
        tuned_on: Supervision beyond image labels that settings were tuned on.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        workers: Threads that load images ahead of need.
        threads: Threads that compute on a CPU; part of a training's address. Default: as many as are free, or those of
            the training that goes on.
        cache: MiB of decoded images that a training keeps in memory.
        feature_cache: Whether features of frozen nets are kept on disk.
        again: Delete what is stored of these runs first, and make it anew.
        keep: Take what is stored although its code was edited since; the record then says so.
        dry_run: Return what would be done, how long it may take, and what is wrong (`error`), and do nothing.
        data_root: Root folder of the datasets; default: the environment variable BENCH_DATA.
        runs: Folder of trainings, predictions and results; default: BENCH_RUNS, or "runs".
        plugin: Files with methods, protocols or datasets of your own.
        progress: Called as work advances.

    Returns:
        The results, in the order of methods, protocols and seeds; of a dry run, forecasts in that order.

    Raises:
        BenchError: The error of the run; of several runs, an IncompleteError once the others have ended.
    """
    from bench.execution.dataset_cache import DatasetCache
    from bench.execution.pipeline import run as run_all
    from bench.notebook import ForecastList, show_results
    from bench.records.collection import StoredResult
    from bench.records.store import Store
    from bench.verbs.plan import request_table
    from bench.verbs.product import Asked, choose_stored, forecast, make_requests

    _use_plugins(plugin)
    _require_choice("tuned_on", tuned_on, _list_supervision())
    _require_choice("recipe", recipe, (None, "paper"))
    for name, given in (("method", method), ("protocol", protocol or track)):
        if not given and table is None:
            raise RequestError(f"run needs {name}: give at least one.")
    places, reporter = _make_places(data_root, runs), _make_progress(progress)
    asked = Asked(
        track=track,
        methods=_split_names(method),
        protocols=_split_names(protocol),
        seeds=_list_seeds(seed),
        settings=dict(set),
        recipe=recipe,
        weights=None if weights is None else os.fspath(weights),
        conventions=dict(convention),
        data=_name_dataset(data),
        data_options=dict(data_option),
        split=split,
        train_split=train_split,
        tuned_on=tuned_on,
    )
    cached, stored = DatasetCache(places), choose_stored(again=again, keep=keep)
    if table is None:
        requests, threads = make_requests(asked, threads, cached, reporter.say)
    else:
        requests = request_table(table, asked, _split_names(rows), _split_names(columns)).list_requests()
    if dry_run:
        return ForecastList(forecast(requests, cached, stored, device=device, threads=threads))
    report = run_all(
        requests,
        places,
        progress=reporter,
        device=device,
        workers=workers,
        threads=threads,
        cache=cache,
        feature_cache=feature_cache,
        datasets=cached,
        stored=stored,
    )
    if report.failed and len(requests) == 1:
        raise next(iter(report.failed.values()))
    store = Store(places)
    made = [StoredResult(result, store.result_path(result.address)) for result in report.results]
    shown = show_results(made, places, requests[0].data_options if requests else {})  # a track has its own
    if report.failed:
        raise IncompleteError(shown, report.failed)
    return shown


@check_arguments
def plan(
    table: str | None = None,
    *,
    all: bool = False,
    rows: Names = (),
    columns: Names = (),
    seed: int | Iterable[int] | None = None,
    set: Mapping[str, Any] = NOTHING,
    weights: Folder | None = None,
    data: Folder | None = None,
    data_option: Mapping[str, Any] = NOTHING,
    split: str | None = None,
    train_split: str | None = None,
    measure: bool = False,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 2,
    data_root: Folder | None = None,
    runs: Folder | None = None,
    results: Folder | None = None,
    plugin: Folder | Sequence[Folder] = (),
    progress: OnProgress | None = None,
) -> CostedPlan:
    """Plan the runs that would fill a paper's table: of each number a run, or why there is none; and what they cost.

    Args:
        table: A paper's table, such as "melm-2".
        all: Plan the tables of all papers; what they share is counted once.
        rows: Only these rows, by number from 1 or part of the label.
        columns: Only these columns, by head or key.
        seed: Seeds of each run; default: 0.
        set: Settings that a try-out has otherwise, each for the methods that have it.
        weights: Initial weights that a try-out has otherwise.
        data: Dataset of a try-out in place of the table's: a name, or the path of a file that describes it.
        data_option: Options of that dataset.
        split: Id list that a try-out evaluates on.
        train_split: Id list that a try-out trains on.
        measure: Take a few steps of each configuration first, to know what it costs.
        device: Where these are taken: "auto", "cpu", "cuda", "cuda:1" ...
        threads: Threads that compute them on a CPU.
        workers: Threads that load images ahead of need.
        data_root: Root folder of the datasets; default: the environment variable BENCH_DATA.
        runs: Folder of trainings, predictions and results; default: BENCH_RUNS, or "runs".
        results: Folder of published results; default: BENCH_RESULTS, or those that came with weakloc.
        plugin: Files with methods, protocols or datasets of your own.
        progress: Called with a note on each configuration that is measured.

    Returns:
        The plan: `plan.cells`, `plan.runs` with their commands, and `seconds`, from low to high.
    """
    from bench.tables.plan import Changes
    from bench.verbs.plan import plan_with_costs

    _use_plugins(plugin)
    if (table is None) == (not all):
        raise RequestError("plan needs a paper's table, such as melm-2, or all=True.")
    given = {} if weights is None else {"weights": os.fspath(weights)}
    changes = Changes(dict(set) | given, _name_dataset(data), dict(data_option), split, train_split)
    return plan_with_costs(
        [] if table is None else [table],
        _make_places(data_root, runs),
        _find_measured(results),
        rows=_split_names(rows),
        columns=_split_names(columns),
        seeds=_list_seeds(seed),
        changes=changes,
        measure=measure,
        device=device,
        threads=threads,
        workers=workers,
        say=_make_progress(progress).say,
    )


@check_arguments
def score(
    protocol: str,
    predictions: Source,
    *,
    scores: Source | None = None,
    box_rule: BoxRule | None = None,
    box_threshold: float | None = None,
    mask_rule: MaskRule | None = None,
    mask_threshold: float | None = None,
    mask_score: float | None = None,
    name: str | None = None,
    tuned_on: Supervision = "unknown",
    tier: Tier | None = None,
    uses: Sequence[Extra] = (),
    allow_missing: bool = False,
    convention: Mapping[str, Any] = NOTHING,
    data: Folder | None = None,
    data_option: Mapping[str, Any] = NOTHING,
    split: str | None = None,
    data_root: Folder | None = None,
    runs: Folder | None = None,
    plugin: Folder | Sequence[Folder] = (),
    progress: OnProgress | None = None,
) -> NotebookResult:
    """Score predictions, whatever made them, and record the result.

    Args:
        protocol: Protocol to evaluate under.
        predictions: The path of a file or folder; a pandas DataFrame or a pyarrow table with the columns of its kind; a
            list of COCO results; or an iterable of `(image id, {name: array})`, which is written to the runs folder as
            it comes (`bench.predictions.handover` lists the names).
        scores: Class scores, if they are apart from `predictions`.
        box_rule: Where boxes are evaluated, and `predictions` are maps: the rule that makes boxes of them. Default of
            this and of the following: that of map methods.
        box_threshold: That rule's threshold.
        mask_rule: Where masks are evaluated, and `predictions` are maps: what pixels compete by.
        mask_threshold: A pixel above this share of the maximum is no background.
        mask_score: Classes that score at least this in `scores`, and the best one, take part in a mask.
        name: Name of the method; default: the one in the file, or "unnamed".
        tuned_on: Supervision beyond image labels that settings were tuned on.
        tier: Who made the predictions: "author", the method's; "here", this project's implementation; "others".
        uses: What was used beyond image labels, initial weights and one look at each image: "pseudo-boxes",
            "other-pretraining", "extra-data", "multi-scale-test".
        allow_missing: Treat images without predictions as images without detections.
        convention: Conventions of the protocol to override.
        data: Dataset in place of the protocol's: a name, or the path of a file that describes it.
        data_option: Options of the dataset.
        split: Split to evaluate on in place of the protocol's.
        data_root: Root folder of the datasets; default: the environment variable BENCH_DATA.
        runs: Folder in which the result is recorded; default: BENCH_RUNS, or "runs".
        plugin: Files with protocols or datasets of your own.
        progress: Called as work advances.

    Raises:
        BadFileError: Predictions break a rule; names the row and the rule. Nothing is recorded.
        RequestError: The request is wrong, or images have no predictions.
    """
    from bench.notebook import show_results
    from bench.records.collection import StoredResult
    from bench.records.result import EXTRAS, TIERS
    from bench.records.store import Store
    from bench.verbs.scoring import score as score_predictions

    _use_plugins(plugin)
    _require_choice("tuned_on", tuned_on, _list_supervision())
    _require_choice("tier", tier, (None, *TIERS))
    for extra in uses:
        _require_choice("uses", extra, EXTRAS)
    places = _make_places(data_root, runs)
    result = score_predictions(
        protocol,
        predictions,
        scores=scores,
        decoding=_list_given(
            box_rule=box_rule,
            box_threshold=box_threshold,
            mask_rule=mask_rule,
            mask_threshold=mask_threshold,
            mask_score=mask_score,
        ),
        name=name,
        tuned_on=tuned_on,
        tier=tier,
        uses=uses,
        allow_missing=allow_missing,
        conventions=convention,
        data=_name_dataset(data),
        data_options=data_option,
        split=split,
        places=places,
        progress=_make_progress(progress),
    )
    return show_results([StoredResult(result, Store(places).result_path(result.address))], places, data_option)[0]


@check_arguments
def audit(
    protocol: str,
    predictions: Source,
    *,
    scores: Source | None = None,
    box_rule: BoxRule | None = None,
    box_threshold: float | None = None,
    mask_rule: MaskRule | None = None,
    mask_threshold: float | None = None,
    mask_score: float | None = None,
    allow_missing: bool = False,
    convention: Mapping[str, Any] = NOTHING,
    data: Folder | None = None,
    data_option: Mapping[str, Any] = NOTHING,
    split: str | None = None,
    data_root: Folder | None = None,
    runs: Folder | None = None,
    plugin: Folder | Sequence[Folder] = (),
    progress: OnProgress | None = None,
) -> AuditReport:
    """Score the same predictions with each convention changed alone; nothing is recorded.

    Arguments are those of `score`, and so are the errors.
    """
    from bench.verbs.scoring import audit as audit_predictions

    _use_plugins(plugin)
    return audit_predictions(
        protocol,
        predictions,
        scores=scores,
        decoding=_list_given(
            box_rule=box_rule,
            box_threshold=box_threshold,
            mask_rule=mask_rule,
            mask_threshold=mask_threshold,
            mask_score=mask_score,
        ),
        allow_missing=allow_missing,
        conventions=convention,
        data=_name_dataset(data),
        data_options=data_option,
        split=split,
        places=_make_places(data_root, runs),
        progress=_make_progress(progress),
    )


@check_arguments
def load_model(
    run: str | Result,
    *,
    proposals: str | None = None,
    data: Folder | None = None,
    data_option: Mapping[str, Any] = NOTHING,
    device: str = "auto",
    data_root: Folder | None = None,
    runs: Folder | None = None,
    plugin: Folder | Sequence[Folder] = (),
) -> TrainedModel:
    """Load the model that a run trained, to predict on photographs or to use its PyTorch module.

    Weights are read without unpickling anything but numbers.

    Args:
        run: A result of a run, its address, that of its predictions, or a unique prefix.
        proposals: What finds the region proposals of photographs: "selective-search", "edge-boxes" or a file; default:
            the search that the run used.
        data: The dataset that names the classes, where no result in the runs folder does.
        data_option: Options of that dataset.
        device: "auto", "cpu", "cuda", "cuda:1" ...
        data_root: Root folder of the datasets; default: the environment variable BENCH_DATA.
        runs: Folder of trainings, predictions and results; default: BENCH_RUNS, or "runs".
        plugin: Files with methods, nets or datasets of your own.

    Returns:
        The model: `predict(paths)`, `classes`, and `method`, a `torch.nn.Module`.

    Raises:
        RequestError: Nothing, or no model, is kept under the address.
    """
    from bench.verbs.prediction import load_model as load

    _use_plugins(plugin)
    return load(
        run if isinstance(run, str) else run.address,
        places=_make_places(data_root, runs),
        proposals=proposals,
        data=_name_dataset(data),
        data_options=data_option,
        device=device,
    )


@check_arguments
def compare(
    a: str | Result,
    b: str | Result,
    *,
    protocol: str | None = None,
    data: Folder | None = None,
    per_class: bool = False,
    anyway: bool = False,
    data_root: Folder | None = None,
    runs: Folder | None = None,
    results: Folder | None = None,
    plugin: Folder | Sequence[Folder] = (),
) -> Comparison:
    """Compare two methods or results on the same images: `a - b`, its interval, and the p-value of no difference.

    Args:
        a: A result, its address, possibly abbreviated, the path of its record, or a method, which stands for all its
            seeds.
        b: The other.
        protocol: Results of this protocol, where methods have results of several.
        data: Results on this dataset, where methods have results on several.
        per_class: Also compare class by class.
        anyway: Compare results of different protocols or conventions; `unlike` lists what differs.
        data_root: Root folder of the datasets.
        runs: Folder of the results; default: the environment variable BENCH_RUNS, or "runs".
        results: Folder of published results; default: BENCH_RESULTS, or those that came with weakloc.
        plugin: Files with protocols of your own.
    """
    _use_plugins(plugin)
    places, measured = _make_places(data_root, runs), _find_measured(results)
    return result_verbs.compare(
        a,
        b,
        places=places,
        measured=measured,
        protocol=protocol,
        data=_name_dataset(data),
        per_class=per_class,
        anyway=anyway,
    )


@check_arguments
def analyse_errors(
    names: str | Result | Sequence[str | Result] = (),
    *,
    predictions: Source | None = None,
    protocol: str | None = None,
    track: str | None = None,
    data: Folder | None = None,
    data_option: Mapping[str, Any] = NOTHING,
    split: str | None = None,
    data_root: Folder | None = None,
    runs: Folder | None = None,
    results: Folder | None = None,
    plugin: Folder | Sequence[Folder] = (),
    progress: OnProgress | None = None,
) -> list[ErrorAnalysis]:
    """Sort the errors of results, or of predictions, by their kind: what each costs, or its share.

    Args:
        names: Results whose predictions the runs folder keeps: each as such, by its address, possibly abbreviated, by
            the path of its record, or by its method, of which the first seed is taken.
        predictions: Boxes from elsewhere, instead of results, as `score` takes them; they need a protocol.
        protocol: Results of this protocol, where methods have results of several.
        track: Results of this track, where methods have others too.
        data: With predictions: evaluate on this dataset.
        data_option: Options of the dataset.
        split: With predictions: evaluate on this split instead of the protocol's.
        data_root: Root folder of the datasets.
        runs: Folder of the results; default: the environment variable BENCH_RUNS, or "runs".
        results: Folder of published results; default: BENCH_RESULTS, or those that came with weakloc.
        plugin: Files with methods or protocols of your own.
        progress: Called with each event.
    """
    from bench.verbs.errors import analyse_file, analyse_results

    _use_plugins(plugin)
    places, measured = _make_places(data_root, runs), _find_measured(results)
    if predictions is not None and protocol is not None:
        where: dict[str, Any] = {"data": _name_dataset(data), "data_options": data_option, "split": split}
        return [analyse_file(predictions, protocol, places=places, **where)]
    if predictions is not None:
        raise RequestError("predictions need a protocol.")
    chosen = [names] if isinstance(names, str) or not isinstance(names, Sequence) else names
    how: dict[str, Any] = {"protocol": protocol, "track": track, "data_options": data_option}
    found = analyse_results(chosen, places=places, measured=measured, progress=_make_progress(progress), **how)
    return [one.analysis for one in found]


@check_arguments
def results(
    *,
    method: Names = (),
    protocol: Names = (),
    data: Folder | None = None,
    data_option: Mapping[str, Any] = NOTHING,
    data_root: Folder | None = None,
    runs: Folder | None = None,
    results: Folder | None = None,
) -> ResultList:
    """Return the results of the runs folder and the published ones, oldest first.

    Args:
        method: Only those of these methods, `name` or `name:variant`.
        protocol: Only those under these protocols.
        data: Only those on this dataset: a name, or the path of a file that describes it.
        data_option: Options of the dataset, which plots draw photographs of.
        data_root: Root folder of the datasets; plots read photographs from it.
        runs: Folder of the results; default: the environment variable BENCH_RUNS, or "runs".
        results: Folder of published results; default: BENCH_RESULTS, or those that came with weakloc.

    >>> results(protocol="voc07-det", runs="nowhere", results="nowhere")
    ()
    """
    from bench.notebook import show_results
    from bench.records.collection import list_results

    places, names, wanted = _make_places(data_root, runs), _split_names(method), _split_names(protocol)
    dataset = _name_dataset(data)
    chosen = [
        stored
        for stored in list_results(places, _find_measured(results))
        if (not names or {stored.result.method, stored.result.label} & {*names})
        and (not wanted or stored.result.protocol in wanted)
        and dataset in (None, stored.result.dataset)
    ]
    return show_results(sorted(chosen, key=lambda one: (one.result.created, one.result.address)), places, data_option)


@check_arguments
def table(
    name: str = result_verbs.LEADERBOARD,
    *,
    track: str | None = None,
    protocol: Names = (),
    data: Folder | None = None,
    trials: bool = False,
    data_root: Folder | None = None,
    runs: Folder | None = None,
    results: Folder | None = None,
    plugin: Folder | Sequence[Folder] = (),
    progress: OnProgress | None = None,
) -> TableList:
    """Make the leaderboards of the results, or a paper's table with measured results below the reported ones.

    Args:
        name: "leaderboard", or a paper's table, such as "melm-3".
        track: Only the results of this track.
        protocol: Only these protocols.
        data: Results on this dataset; default: each protocol's own.
        trials: With trials of `tune`: results on another part of the split trained on.
        data_root: Root folder of the datasets.
        runs: Folder of the results; default: the environment variable BENCH_RUNS, or "runs".
        results: Folder of published results; default: BENCH_RESULTS, or those that came with weakloc.
        plugin: Files with methods or protocols of your own.
        progress: Called with notes on missing results.
    """
    from bench.notebook import TableList

    _use_plugins(plugin)
    return TableList(
        result_verbs.make_tables(
            name,
            track=track,
            protocols=_split_names(protocol),
            data=_name_dataset(data),
            trials=trials,
            places=_make_places(data_root, runs),
            measured=_find_measured(results),
            say=_make_progress(progress).say,
        )
    )


def methods() -> dict[str, str]:
    """Return a line about each method, by name.

    >>> methods()["cam"].partition(":")[0]
    'CAM'
    """
    return {name: listed.summary for name, listed in registry.methods().items()}


def protocols() -> dict[str, str]:
    """Return a line about each protocol, by name.

    >>> "voc07-det" in protocols()
    True
    """
    return {name: listed.summary for name, listed in registry.protocols().items()}


def datasets() -> dict[str, str]:
    """Return a line about each dataset, by name.

    >>> datasets()["voc2010"]
    'PASCAL VOC 2010: 20 classes, train and val annotated.'
    """
    from bench.data.datasets import list_datasets

    return list_datasets()


def _make_places(data_root: Folder | None, runs: Folder | None) -> Places:
    root = data_root or os.environ.get("BENCH_DATA")
    return Places(Path(runs or os.environ.get("BENCH_RUNS") or "runs"), Path(root) if root else None)


def _find_measured(results: Folder | None) -> Path:
    return result_verbs.find_results(results) / result_verbs.MEASURED


def _list_seeds(seed: int | Iterable[int] | None) -> tuple[int, ...] | None:
    return None if seed is None else tuple(dict.fromkeys([seed] if isinstance(seed, int) else seed))


def _name_dataset(data: Folder | None) -> str | None:
    """Return the name of a dataset; the file that describes one is read first."""
    from bench.data.datasets import use_description

    name = None if data is None else os.fspath(data)
    return use_description(Path(name)) if name is not None and name.endswith(".toml") else name


def _list_given(**options: Any) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _make_progress(callback: OnProgress | None) -> Progress:
    return SILENT if callback is None else CallbackProgress(callback)


def _use_plugins(files: Folder | Sequence[Folder]) -> None:
    for file in [files] if isinstance(files, str | os.PathLike) else files:
        registry.use_plugin(Path(file))


def _split_names(names: Names) -> tuple[str, ...]:
    """Return distinct names; text may list them with commas, as on the command line."""
    parts = (part.strip() for name in ([names] if isinstance(names, str) else names) for part in name.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))


def _list_supervision() -> tuple[str, ...]:
    from bench.records.result import SUPERVISION

    return SUPERVISION


def _require_choice(option: str, value: str | None, choices: Sequence[str | None]) -> None:
    """Raise UnknownNameError for a value that an option does not have."""
    if value not in choices:
        raise UnknownNameError(f"value of {option}", str(value), [choice for choice in choices if choice is not None])
