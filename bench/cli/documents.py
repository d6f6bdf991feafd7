"""The JSON documents that verbs print with --json, as typed records.

Results are printed as they are recorded (`bench.records.result.Result`). Fractions are not in per cent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

Interval = tuple[float, float]
Fractions = Mapping[str, float | None]


class AuditSettingDocument(TypedDict):
    """One changed convention: metrics, their differences from the protocol's own, and ranges over tie orders."""

    switch: str | None
    value: Any
    metrics: Fractions
    differences: Fractions
    ranges: Mapping[str, Interval]
    refused: str | None


class EvaluatedDocument(TypedDict):
    """What was evaluated, and on what."""

    method: str
    protocol: str
    dataset: str
    split: str


class AuditDocument(EvaluatedDocument):
    """`audit`."""

    conventions: dict[str, Any]
    metrics: Fractions
    settings: list[AuditSettingDocument]


class FindingDocument(TypedDict):
    """One clause of the method contract."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    detail: str


class MethodCheckDocument(TypedDict):
    """The contract findings of one method."""

    name: str
    passed: bool
    findings: list[FindingDocument]


class CheckDocument(TypedDict):
    """`check`."""

    methods: list[MethodCheckDocument]


class DoctorCheckDocument(TypedDict):
    """One check of this machine."""

    name: str
    ok: bool
    found: str
    advice: str
    needed: bool


class ReadinessDocument(TypedDict):
    """Whether a protocol can be run on a dataset, and whether files can be scored. reason: why it cannot be run."""

    protocol: str
    dataset: str
    run: bool
    score: bool
    reason: str


class DoctorDocument(TypedDict):
    """`doctor`."""

    checks: list[DoctorCheckDocument]
    protocols: list[ReadinessDocument]


class SyncDocument(TypedDict):
    """`sync`: result addresses; `failed` maps an address to the reason."""

    uri: str
    added: Sequence[str]
    already: Sequence[str]
    failed: dict[str, str]


class SubmissionDocument(TypedDict):
    """The name of a submission."""

    submission: str


class SubmitDocument(SubmissionDocument):
    """`submit`."""

    runs: int
    jobs: int


class PlannedJobDocument(TypedDict):
    """One job of a plan; `requests` are indices of runs."""

    method: str
    learns: bool
    requests: Sequence[int]


class PlannedArrayDocument(TypedDict):
    """One job array of a plan; `tasks` lists the indices of each task's jobs."""

    resources: dict[str, Any]
    tasks: Sequence[Sequence[int]]


class PlanDocument(TypedDict):
    """`submit --dry-run`."""

    jobs: list[PlannedJobDocument]
    arrays: list[PlannedArrayDocument]
    scripts: list[str]


class CostDocument(TypedDict):
    """The cost of a planned run. seconds: a range, `low`, `middle` and `high`. source: where the estimate comes from.

    not_measured: why `--measure` could not measure it; empty if it did, or was not given.
    """

    images: dict[str, int | None]
    seconds: dict[str, float] | None
    memory_mib: float | None
    disk_mib: float | None
    source: str
    not_measured: str


class PlannedRunDocument(TypedDict):
    """A run of `plan`; `trainings` are equal where they are shared, and `also_in` names other tables that need one."""

    command: str
    method: str
    protocol: str
    settings: dict[str, str]
    recipe: str | None
    dataset: str
    split: str
    seeds: list[int]
    trainings: list[int]
    also_in: list[str]
    cost: CostDocument
    missing: list[str]


class PlannedCellDocument(TypedDict):
    """A printed number of `plan`: planned, shared (with `run`, by index) or reported only, with the reason."""

    table: str
    row: int
    column: str
    label: str
    head: str
    reported: str
    state: str
    reason: str
    run: int | None
    notes: list[str]


class TablePlanDocument(TypedDict):
    """`plan`. seconds: the known total, each training counted once. unknown: the number of runs of unknown time.

    gpu_seconds: on a GPU, by counting operations; None if any count is unknown.
    """

    tables: list[str]
    counts: dict[str, int]
    trainings: int
    runs: list[PlannedRunDocument]
    cells: list[PlannedCellDocument]
    missing: dict[str, int]
    gpu: bool
    seconds: dict[str, float] | None
    unknown: int
    gpu_seconds: dict[str, float] | None


class TableCellDocument(TypedDict):
    """A cell of a paper's table that a submission measures, and its state."""

    row: int
    column: str
    label: str
    head: str
    state: str


class SubmittedTableDocument(TypedDict):
    """The paper's table that was submitted; `counts` counts its cells by state."""

    name: str
    cells: list[TableCellDocument]
    counts: Mapping[str, int]


class JobRunsDocument(TypedDict):
    """What one job runs, each value once."""

    methods: list[str]
    protocols: list[str]
    seeds: list[int]


class JobDocument(JobRunsDocument):
    """One job of a submission and its state."""

    number: int
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    reason: str
    progress: dict[str, Any] | None
    restarts: Sequence[str]


class JobLogsDocument(TypedDict):
    """The last lines of each log of a job, by path."""

    number: int
    logs: dict[str, str]


class LogsDocument(SubmissionDocument):
    """`logs`."""

    jobs: list[JobLogsDocument]


class SubmissionEntryDocument(TypedDict):
    """One entry of `list submissions`; `counts` counts the jobs in each state."""

    name: str
    runs: int
    methods: list[str]
    counts: Mapping[str, int]


class StatusDocument(SubmissionDocument):
    """`status`; `counts` maps a state to its number of jobs."""

    jobs: list[JobDocument]
    counts: Mapping[str, int]
    table: NotRequired[SubmittedTableDocument]


class CancelDocument(SubmissionDocument):
    """`cancel`: the numbers of the cancelled jobs."""

    cancelled: list[int]


class ResubmitDocument(SubmissionDocument):
    """`resubmit`: the numbers of the jobs submitted again."""

    resubmitted: list[int]


class ComparedResultDocument(TypedDict):
    """One side of a comparison; where it has several seeds, `address` and `seed` are those of the first."""

    address: str
    method: str
    seed: int | None
    addresses: list[str]
    seeds: list[int | None]


class DifferenceDocument(TypedDict):
    """Two fractions and `a - b`; p: two-sided p-value of no difference."""

    a: float | None
    b: float | None
    difference: float | None
    interval: Interval | None
    p: float | None
    higher_is_better: NotRequired[bool]


class CompareDocument(TypedDict):
    """`compare`. unlike: how the two were evaluated differently. settings: those in which they differ."""

    verdict: str
    a: ComparedResultDocument
    b: ComparedResultDocument
    paired: bool
    unlike: list[str]
    settings: list[str]
    metrics: dict[str, DifferenceDocument]
    per_class: dict[str, dict[str, DifferenceDocument]]


class GateCheckDocument(EvaluatedDocument):
    """One metric of a result, compared with its baseline."""

    status: str
    address: str
    seeds: list[int | None]
    metric: str
    higher_is_better: bool
    accepted: float | None
    measured: float | None
    difference: float | None
    interval: Interval | None
    noise: str | None
    note: str


class GateDocument(TypedDict):
    """`gate`."""

    passed: bool
    tolerance: float
    checks: list[GateCheckDocument]


class AcceptDocument(TypedDict):
    """`gate --accept`: a line for each accepted baseline."""

    accepted: list[str]


class TrendPointDocument(TypedDict):
    """The results of one revision. change: that of the primary metric since the previous point."""

    created: str
    revision: str | None
    dirty: bool
    seeds: list[int | None]
    addresses: list[str]
    metrics: Fractions
    change: float | None
    moved: list[str]


class TrendDocument(EvaluatedDocument):
    """One method on one protocol, dataset and split, oldest point first."""

    points: list[TrendPointDocument]


class TrendsDocument(TypedDict):
    """`trend`."""

    trends: list[TrendDocument]


class DownloadDocument(TypedDict):
    """A dataset that can be downloaded."""

    name: str
    parts: list[str]
    terms: str


class DownloadsDocument(TypedDict):
    """`data fetch` without a name."""

    downloads: list[DownloadDocument]


class FetchedDocument(TypedDict):
    """The files fetched of one dataset."""

    name: str
    files: list[str]


class FetchDocument(TypedDict):
    """`data fetch`."""

    fetched: list[FetchedDocument]


class InitDocument(TypedDict):
    """`data init`: the file written, and the splits that it describes."""

    written: str
    layout: str
    classes: list[str]
    dataset: dict[str, Any]


class DataSheetDocument(TypedDict):
    """A sheet of photographs: of `data look`, and of each dataset that `data check` finds.

    suspects: by split, the photographs that look drawn on. unreadable: by split, the files that are not images. notes:
    what was left out, and why.
    """

    written: str | None
    images: int
    suspects: dict[str, list[str]]
    unreadable: dict[str, list[str]]
    notes: list[str]


class InventoriesDocument(TypedDict):
    """`data check`; each entry is `bench.data.check.DatasetCheck.document()` with a `DataSheetDocument` as `sheet`."""

    datasets: list[dict[str, Any]]
    protocols: list[ReadinessDocument]


class ShapesDocument(TypedDict):
    """`data shapes`; `images` maps a split to its number of images."""

    dataset: str
    classes: list[str]
    images: dict[str, int]
    recipe: Mapping[str, Any]


class RecallDocument(TypedDict):
    """Proposals and objects of one class; `recall` at IoU .5 and .7."""

    name: str
    images: int
    proposals: float | None
    objects: int
    recall: Sequence[float | None]


ProposalCountsDocument = TypedDict(
    "ProposalCountsDocument", {"images": int, "boxes": int, "fewest in an image": int, "most": int}
)
"""The number of images and boxes, and the least and the most boxes of an image."""


class ProposalSetDocument(ProposalCountsDocument):
    """The proposals of one split; `min_side` and `classes` only with --report."""

    dataset: str
    split: str
    digest: str
    min_side: NotRequired[int]
    classes: NotRequired[list[RecallDocument]]


class ProposalsDocument(TypedDict):
    """`data proposals`."""

    proposals: list[ProposalSetDocument]


class SourcedDocument(TypedDict):
    """A value of a recipe and its source; `open`: the papers leave it open."""

    value: Any
    source: str
    open: bool


class FieldDocument(TypedDict):
    """One field of a method's config: its default, and the values of the recipe `paper` and of the released variant."""

    name: str
    default: Any
    type: str
    stage: str | None
    help: str
    choices: NotRequired[list[str]]
    paper: NotRequired[SourcedDocument]
    released: NotRequired[Any]


class PaperRecipeDocument(TypedDict):
    """The recipe `paper` of a method. on: what differs on a dataset, by its name. missing: why there is none."""

    paper: NotRequired[str]
    notes: NotRequired[Sequence[str]]
    on: NotRequired[Mapping[str, Mapping[str, SourcedDocument]]]
    missing: NotRequired[str]


class NamedDocument(TypedDict):
    """A name and its one-line summary."""

    name: str
    summary: str


class MethodDocument(NamedDocument):
    """`show METHOD`."""

    origin: str
    version: int
    predicts: list[str]
    default_variant: str | None
    variant: str | None
    variants: Mapping[str, Mapping[str, Any]]
    recipes: Mapping[str, Mapping[str, Any]]
    paper: NotRequired[PaperRecipeDocument]
    config: list[FieldDocument]


class DirectionDocument(TypedDict):
    """The direction of a metric."""

    higher_is_better: bool


class ConventionDocument(TypedDict):
    """The value of a convention, and its source."""

    value: Any
    source: str


class ProtocolDocument(NamedDocument):
    """`show PROTOCOL`. dataset: null if it takes any."""

    family: str
    dataset: str | None
    train_split: str
    eval_split: str
    predicts: list[str]
    also: list[str]
    seen_in: list[str]
    tuned_on: Literal["none", "test-oracle"]
    notes: list[str]
    metrics: dict[str, DirectionDocument]
    conventions: dict[str, ConventionDocument]


class DatasetDocument(NamedDocument):
    """`show DATASET`. missing: where it was looked for, in place of the other fields."""

    missing: NotRequired[str]
    classes: NotRequired[list[str]]
    splits: NotRequired[list[str]]
    recipe: NotRequired[Mapping[str, Any]]


class EntryDocument(NamedDocument):
    """One entry of `list`."""

    origin: NotRequired[str]


class NetDocument(NamedDocument):
    """`show NET`, and one entry of `list nets`. weights: where ImageNet weights come from."""

    pixels_per_cell: int
    channels: int
    weights: str


class TrackGroupDocument(TypedDict):
    """What the methods of a group share; `protocols`: the split that each evaluates."""

    protocols: Mapping[str, str]
    settings: Mapping[str, Any]


class TrackEntryDocument(TypedDict):
    """A method of a track; `search`: how its settings were chosen, None if they are defaults.

    like: the entry whose settings and search it shares, if there is one.
    """

    group: str
    method: str
    like: str | None
    settings: Mapping[str, Any]
    search: Mapping[str, Any] | None


class TrackDocument(NamedDocument):
    """`show TRACK`."""

    origin: str
    version: int
    dataset: str
    data_options: Mapping[str, Any]
    train_split: str
    minutes: int
    weights_digest: str | None
    seeds: Sequence[int]
    threads: int
    settings: Mapping[str, Any]
    tuning: Mapping[str, Any]
    groups: Mapping[str, TrackGroupDocument]
    methods: Mapping[str, TrackEntryDocument]


class ReportedTableDocument(NamedDocument):
    """A paper's table: the number of its cells, of those measured here, and of those with marks."""

    cells: int
    measured: int
    marked: int


class CitationsDocument(TypedDict):
    """`cite`: BibTeX entries."""

    entries: list[str]


class ErrorKindDocument(TypedDict):
    """A kind of error: how often it occurs, and what it costs or its share."""

    name: str
    count: int | None
    value: float | None
    interval: Interval | None


class ErrorAnalysisDocument(TypedDict):
    """The errors of one evaluation. cost: the metric in which `value` is measured, null if it is a share."""

    name: str
    protocol: str
    evaluated_on: str
    cost: str | None
    kinds: list[ErrorKindDocument]
    groups: Mapping[str, Mapping[str, list[ErrorKindDocument]]]


class ErrorsDocument(TypedDict):
    """`errors`."""

    results: list[ErrorAnalysisDocument]


class SheetDocument(TypedDict):
    """`show run ADDRESS --images N`."""

    written: str
    images: int
    notes: list[str]


class WrittenDocument(TypedDict):
    """`report`, `publish`: the written files."""

    written: list[str]


class TrialDocument(TypedDict):
    """One trial of a search. error: why it has no result."""

    number: int
    settings: dict[str, Any]
    score: float | None
    interval: Interval | None
    seconds: float
    result: str | None
    error: str | None


class SearchDocument(TypedDict):
    """The search for settings of one method; `winner` is the number of a trial."""

    method: str
    by: Literal["labels", "boxes"]
    seed: int
    protocol: str
    metric: str
    trials: list[TrialDocument]
    winner: int | None


class TuneDocument(TypedDict):
    """`tune`: the searches that ended."""

    track: str
    searches: list[SearchDocument]


class PredictedImageDocument(TypedDict):
    """The predictions for a photograph, best first; points and boxes have label, score and pixels."""

    image: str
    file: str
    width: int
    height: int
    scores: dict[str, float]
    points: NotRequired[list[dict[str, Any]]]
    boxes: list[dict[str, Any]]


class PredictDocument(TypedDict):
    """`predict`."""

    run: str
    method: str
    dataset: str
    classes: list[str]
    images: list[PredictedImageDocument]


class ExportDocument(WrittenDocument):
    """`export`."""

    kind: str
    rows: int
    images: int


class TableRowDocument(TypedDict):
    """One row: its cells' values by column, their further values, and the texts of their footnotes."""

    group: NotRequired[str]
    values: dict[str, float | str | None]
    more: dict[str, float | str | None]
    notes: list[str]


class TableDocument(TypedDict):
    """One table."""

    title: str
    columns: list[str]
    rows: list[TableRowDocument]
    remarks: list[str]


class TablesDocument(TypedDict):
    """`table`."""

    tables: list[TableDocument]


class RunForecastDocument(TypedDict):
    """What one run would do: `bench.execution.forecast.RunForecast` as JSON."""

    run: str
    training: str | None
    predictions: str
    is_scored: bool
    images: dict[str, int]
    seconds: float | None
    memory_mib: float | None
    like: str | None
    proposals: int
    download: str
    notes: list[str]
    error: str


class DryRunDocument(TypedDict):
    """`run --dry-run`."""

    runs: list[RunForecastDocument]


class StoredItemDocument(TypedDict):
    """A folder or file of the runs folder."""

    kind: str
    name: str
    bytes: int
    modified: str
    label: str
    why_kept: str


class DiskUseDocument(TypedDict):
    """`runs du`: bytes by kind, and the largest items."""

    bytes: int
    kinds: dict[str, int]
    largest: list[StoredItemDocument]


class PruneDocument(TypedDict):
    """`runs prune`: what was deleted, or would be, and what was kept though old enough to delete."""

    dry_run: bool
    bytes: int
    deleted: list[StoredItemDocument]
    kept: list[StoredItemDocument]
