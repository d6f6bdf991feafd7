"""The plan of a paper's table: for each printed number, the run that would measure it here, or why none would.

Only text is read: the tables, the papers' recipes, and the files of methods and protocols.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Literal

from bench import registry
from bench.core.toml import read_toml
from bench.errors import RequestError, format_names
from bench.paper_recipe import find_recipe, read_reasons, read_recipes
from bench.tables.method_settings import list_prediction_settings, read_variant, write_value
from bench.tables.papers import PAPERS, read_yaml
from bench.tables.reported import PrintedRow, Reported, ReportedTable

State = Literal["planned", "shared", "reported only"]
"""The state of a cell; shared: an earlier cell has the same run."""

NO_METHOD = "a system of another paper, which is no method of this project"

_BASE, _BASE_NET, _BASE_EPOCHS = "classifier", "vgg16", 20
"""The method, net and epochs of the model that attributions explain, unless others are set."""

_NO_NET = "the paper does not say the net"

_OF_ALL = frozenset({"net", "weights", "epochs", "iterations", "batch_size", "lr", "input_size", "precision"})
"""Settings of every method that learns."""

_LEARNS_NOTHING = "learns nothing"
"""The first words of the reason why a method that learns nothing has no recipe."""

Settings = Mapping[str, str]


@dataclass(frozen=True)
class PlannedTraining:
    """One training, which any number of runs predict from. settings: all those known, as text."""

    method: str
    settings: tuple[tuple[str, str], ...]
    dataset: str
    split: str
    seed: int

    def count_images(self, of_split: int | None) -> int | None:
        """Count the images that pass through the net, from the number of images of the split; None if unknown."""
        known = dict(self.settings)
        if steps := int(float(known.get("iterations", 0))):
            return steps * int(float(known["batch_size"]))
        return None if of_split is None else of_split * int(float(known.get("epochs", _BASE_EPOCHS)))


@dataclass(frozen=True)
class PlannedRun:
    """A run that measures cells. trainings: one per seed; none if nothing is learned. split: the one it predicts.

    settings: those given in the command. prediction: all known settings that affect only predictions, as text, given
    or not. options: further options of the command, for a try-out on other data.
    """

    method: str
    protocol: str
    settings: tuple[tuple[str, str], ...]
    recipe: Literal["paper"] | None
    dataset: str
    split: str
    seeds: tuple[int, ...]
    trainings: tuple[PlannedTraining, ...] = ()
    prediction: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    @property
    def command(self) -> str:
        """The command line of the run."""
        settings = ",".join(f"{key}={value}" for key, value in self.settings)
        words = ["python -m bench run --method", shlex.quote(self.method), "--protocol", self.protocol]
        words += ["--recipe", self.recipe] if self.recipe else []
        words += ["--set", shlex.quote(settings)] if settings else []
        words += [word for option, value in self.options for word in (option, shlex.quote(value))]
        return " ".join([*words, "--seed", ",".join(map(str, self.seeds))])


@dataclass(frozen=True)
class PlannedCell:
    """A printed number. label, head: its row and column, as printed. reason: why it is only reported.

    notes: what the paper leaves open about it.
    """

    table: str
    row: int
    column: str
    label: str
    head: str
    value: str
    state: State
    reason: str = ""
    run: PlannedRun | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Row and column: `MELM-D, mAP`."""
        return f"{self.label}, {self.head}"


@dataclass(frozen=True)
class Changes:
    """How a try-out of a plan departs from the papers: in settings of methods that learn, data and splits."""

    settings: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None
    data_options: Mapping[str, object] = field(default_factory=dict)
    split: str | None = None
    train_split: str | None = None

    def list_options(self) -> Iterable[tuple[str, str]]:
        """List the command-line options for these changes, except for the settings."""
        options = ",".join(f"{key}={write_value(value)}" for key, value in self.data_options.items())
        values = {
            "--data": self.data,
            "--data-option": options,
            "--split": self.split,
            "--train-split": self.train_split,
        }
        return ((name, value) for name, value in values.items() if value)


@dataclass(frozen=True)
class Plan:
    """Every printed number of some tables. elsewhere: by training, the other tables that need it too."""

    tables: tuple[str, ...]
    cells: tuple[PlannedCell, ...]
    elsewhere: Mapping[PlannedTraining, tuple[str, ...]] = field(default_factory=dict)

    @property
    def runs(self) -> dict[PlannedRun, list[PlannedCell]]:
        """Each run with the cells that it measures, in the tables' order."""
        found: dict[PlannedRun, list[PlannedCell]] = {}
        for cell in self.cells:
            if cell.run is not None:
                found.setdefault(cell.run, []).append(cell)
        return found

    @property
    def trainings(self) -> list[PlannedTraining]:
        """Each training once."""
        return [*dict.fromkeys(training for run in self.runs for training in run.trainings)]

    def count(self, state: State) -> int:
        """Count the cells in a state."""
        return sum(cell.state == state for cell in self.cells)

    def select(self, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Plan:
        """Keep the rows given by number (from 1) or by part of their label, and the columns given by head or key.

        Raises RequestError for a row or column that no cell has.
        """
        _refuse_unknown("row", rows, self.cells, _is_row, (f"{cell.row + 1} {cell.label}" for cell in self.cells))
        _refuse_unknown("column", columns, self.cells, _is_column, (cell.head for cell in self.cells))
        kept = [
            cell
            for cell in self.cells
            if (not rows or any(_is_row(cell, row) for row in rows))
            and (not columns or any(_is_column(cell, column) for column in columns))
        ]
        return replace(self, cells=_mark_shared(kept))


def plan_tables(tables: Sequence[ReportedTable], seeds: tuple[int, ...] = (0,)) -> Plan:
    """Plan tables, one after the other: a run or training that several need is planned once."""
    cells = [_plan_cell(table, number, seeds) for table in tables for number in table.numbers()]
    return Plan(tuple(table.name for table in tables), _mark_shared(cells))


def change_runs(plan: Plan, changes: Changes) -> Plan:
    """Return the plan with other settings, or on other data.

    A setting goes to the runs that are known to have it; a setting that no run is known to have goes to all runs that
    learn, and methods without it refuse it. Raises UnknownNameError for a setting that no method has.
    """
    known = {run: _list_known(run) for run in plan.runs}
    of_some = _OF_ALL.union(*known.values())
    if (others := {*changes.settings} - of_some) and known:
        registry.check_settings("--set", others, registry.method(_split_name(next(iter(known)).method)[0]))
    changed = {
        run: _change_run(run, changes, [key for key in changes.settings if key in own | _OF_ALL or key not in of_some])
        for run, own in known.items()
    }
    cells = [cell if cell.run is None else _change_cell(cell, changed[cell.run], changes) for cell in plan.cells]
    return replace(plan, cells=_mark_shared(cells))


def _change_cell(cell: PlannedCell, run: PlannedRun, changes: Changes) -> PlannedCell:
    """Return a cell with another run, without the note on a net that the paper leaves open and the user has set."""
    notes = (note for note in cell.notes if not (note.startswith(_NO_NET) and "net" in changes.settings))
    return replace(cell, run=run, notes=tuple(notes))


def _list_known(run: PlannedRun) -> set[str]:
    """List the settings that a run is known to have."""
    trained = (key for training in run.trainings for key, _ in training.settings)
    return {*trained, *(key for key, _ in run.prediction)}


def _change_run(run: PlannedRun, changes: Changes, keys: Sequence[str]) -> PlannedRun:
    given = {key: write_value(changes.settings[key]) for key in keys} if run.trainings else {}
    trained = {key: value for key, value in given.items() if key not in list_prediction_settings()}
    predicted = {key: value for key, value in given.items() if key not in trained}
    train_split = changes.train_split or (run.trainings[0].split if run.trainings else "")
    is_on_training = bool(run.trainings) and run.split == run.trainings[0].split
    return replace(
        run,
        settings=tuple({**dict(run.settings), **given}.items()),
        dataset=changes.data or run.dataset,
        split=train_split if is_on_training else changes.split or run.split,
        trainings=tuple(
            replace(
                training,
                settings=tuple(sorted({**dict(training.settings), **trained}.items())),
                dataset=changes.data or training.dataset,
                split=train_split,
            )
            for training in run.trainings
        ),
        prediction=tuple(sorted({**dict(run.prediction), **predicted}.items())),
        options=tuple(changes.list_options()),
    )


def find_elsewhere(plan: Plan, tables: Iterable[ReportedTable]) -> Plan:
    """Add the names of the other tables that need the plan's trainings too."""
    trainings, seeds = {*plan.trainings}, next((run.seeds for run in plan.runs), (0,))
    found: dict[PlannedTraining, dict[str, None]] = {training: {} for training in trainings}
    methods = {_split_name(run.method)[0] for run in plan.runs} | {training.method for training in trainings}
    for table in tables:
        numbers = [one for one in table.numbers() if one.method and _find_learner(one.method) in methods]
        for number in [] if table.name in plan.tables else numbers:
            cell = _plan_cell(table, number, seeds)
            for training in trainings.intersection(cell.run.trainings if cell.run else ()):
                found[training][table.name] = None
    return replace(plan, elsewhere={training: tuple(names) for training, names in found.items() if names})


def _plan_cell(table: ReportedTable, number: Reported, seeds: tuple[int, ...]) -> PlannedCell:
    row = table.rows[number.row]
    column = next(column for column in table.columns if column.key == number.column)
    head = f"{column.group}: {column.head}" if column.group else column.head
    reason = _explain_reported(number, row, column.reason)
    return PlannedCell(
        table=table.name,
        row=number.row,
        column=number.column,
        label=f"{row.group}: {row.label}" if row.group else row.label,
        head=head,
        value=str(number.value),
        state="reported only" if reason else "planned",
        reason=reason,
        run=None if reason else _plan_run(number, seeds),
        notes=() if reason else tuple(_list_notes(number)),
    )


def _mark_shared(cells: Iterable[PlannedCell]) -> tuple[PlannedCell, ...]:
    """Mark cells as shared if an earlier cell has the same run, and the others with a run as planned."""
    seen: set[PlannedRun] = set()
    marked = []
    for cell in cells:
        if cell.run is None:
            marked.append(cell)
            continue
        marked.append(replace(cell, state="shared" if cell.run in seen else "planned"))
        seen.add(cell.run)
    return tuple(marked)


def _explain_reported(number: Reported, row: PrintedRow, of_column: str | None) -> str:
    """Explain why a number cannot be measured here; empty if it can."""
    if of_column is not None or number.protocol is None:
        return row.reason or of_column or "it is no metric of this project"
    if number.method is None:
        return row.reason or NO_METHOD
    lists = _read_not_implemented()
    name = _split_name(number.method)[0]
    pair = f"{name} under {number.protocol}"
    named = [("methods", name), ("nets", number.net or ""), *(("settings", key) for key in number.setting)]
    reasons = [f"{value}: {reason}" for kind, value in named if (reason := lists[kind].get(value))]
    reasons += [f"{pair}: {lists['pairs'][pair]}"] if pair in lists["pairs"] else []
    return "; ".join(reasons)


@cache
def _read_not_implemented() -> dict[str, dict[str, str]]:
    content: dict[str, dict[str, str]] = read_yaml(PAPERS / "not-implemented.yaml")
    return content


def find_needed_files(run: PlannedRun) -> list[str]:
    """List the file that a run needs and the user still has to name by a setting, if there is one."""
    method = run.trainings[0].method if run.trainings else run.method
    needed = _read_not_implemented()["files"].get(f"{method} on {run.dataset}")
    is_given = needed is not None and needed.partition("=")[0] in dict(run.settings)
    return [] if needed is None or is_given else [f"file: {needed}"]


def _plan_run(number: Reported, seeds: tuple[int, ...]) -> PlannedRun:
    method, protocol = str(number.method), _read_protocol(str(number.protocol))
    dataset = str(protocol["dataset"])
    recipe = read_recipes().get(_split_name(method)[0])
    usual = _list_usual_settings(method, dataset)
    net = {} if number.net is None or "net" not in usual else {"net": number.net}
    given = {key: write_value(value) for key, value in {**net, **number.setting}.items()}
    settings = {key: value for key, value in given.items() if usual.get(key) != value}
    learner = _find_learner(method)
    train, split = protocol["train_split"], protocol["eval_split"]
    every = sorted({**usual, **settings}.items())
    trained = tuple(pair for pair in every if pair[0] not in list_prediction_settings())
    trainings = (PlannedTraining(learner, trained, dataset, train, seed) for seed in seeds) if learner else ()
    return PlannedRun(
        method=method,
        protocol=str(number.protocol),
        settings=tuple(settings.items()),
        recipe=None if recipe is None else "paper",
        dataset=dataset,
        split=train if _evaluates_training_split(protocol) else split,
        seeds=seeds,
        trainings=tuple(trainings),
        prediction=tuple(pair for pair in every if pair[0] in list_prediction_settings()),
    )


def _find_learner(method: str) -> str | None:
    """Return the method that is trained: for an attribution, the one that it explains; None if nothing is learned."""
    name = _split_name(method)[0]
    if name in read_recipes():
        return name
    return None if read_reasons().get(name, "").startswith(_LEARNS_NOTHING) else _BASE


def _list_usual_settings(method: str, dataset: str) -> dict[str, str]:
    """List the settings before the user's, as text: those of the paper's recipe, overridden by the variant's."""
    name, variant = _split_name(method)
    if _find_learner(method) is None:
        return {}
    if name not in read_recipes():
        return {"net": _BASE_NET}
    recipe = find_recipe(name).get_settings(dataset)
    return {key: write_value(setting.value) for key, setting in recipe.items()} | read_variant(name, variant)


def _list_notes(number: Reported) -> Iterable[str]:
    """List what the paper leaves open about a number, so that something else may be measured."""
    usual = _list_usual_settings(str(number.method), str(_read_protocol(str(number.protocol))["dataset"]))
    if number.net is None and "net" in usual:
        yield f"{_NO_NET}; planned with {usual['net']}"
    if number.uncertain:
        yield "the paper does not settle what was measured: see the notes of the table's file"
    if usual and _split_name(str(number.method))[0] not in read_recipes():
        yield "the paper does not say how the explained net was trained; planned with our defaults"


@cache
def _read_protocol(name: str) -> dict[str, str]:
    return read_toml(Path(registry.find_protocol_file(name)))


def _evaluates_training_split(protocol: Mapping[str, str]) -> bool:
    return protocol["train_split"] == protocol["eval_split"]


def _split_name(method: str) -> tuple[str, str | None]:
    name, colon, variant = method.partition(":")
    return name, variant if colon else None


def _is_row(cell: PlannedCell, text: str) -> bool:
    return str(cell.row + 1) == text if text.isdecimal() else text.casefold() in cell.label.casefold()


def _is_column(cell: PlannedCell, text: str) -> bool:
    return text in (cell.column, cell.head, cell.head.rpartition(": ")[2])


def _refuse_unknown(
    what: str,
    given: Sequence[str],
    cells: Sequence[PlannedCell],
    fits: Callable[[PlannedCell, str], bool],
    known: Iterable[str],
) -> None:
    """Raise RequestError for a row or column that no cell has."""
    for text in given:
        if not any(fits(cell, text) for cell in cells):
            raise RequestError(f"No {what} {text!r} has a number here: it has {format_names([*dict.fromkeys(known)])}.")
