"""Plans of papers' tables: their runs as requests, and measuring the cost of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.errors import BenchError, RequestError
from bench.execution.step_cost import write_cost
from bench.tables.plan import Changes, Plan, PlannedCell, PlannedRun, change_runs, find_elsewhere, plan_tables
from bench.tables.reported import load_table, reported_tables
from bench.verbs.plan_cost import FROM_FILES, CostedPlan, SplitSizes, compute_run_key, cost_plan, list_known_results

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.request import Request
    from bench.records.result import Supervision
    from bench.verbs.product import Asked

Say = Callable[[str], None]

NO_CHANGES = Changes()


def make_plan(
    names: Sequence[str],
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    changes: Changes = NO_CHANGES,
) -> Plan:
    """Plan tables by name, or all without a name. Raises UnknownNameError, and RequestError for rows and columns."""
    tables = {name: load_table(name) for name in names or reported_tables()}
    plan = plan_tables([*tables.values()], tuple(seeds or (0,))).select(rows, columns)
    if len(tables) == 1 and changes == NO_CHANGES:
        others = (load_table(name) for name in reported_tables() if name not in tables)
        return find_elsewhere(plan, others)
    return change_runs(plan, changes)


def make_requests(
    plan: Plan, changes: Changes = NO_CHANGES, tuned_on: Supervision = "none"
) -> dict[PlannedRun, list[Request]]:
    """Make the requests of a plan's runs, one for each seed."""
    from bench.execution.request import Request

    return {
        run: [
            Request(
                method=run.method,
                protocol=registry.protocol(run.protocol),
                seed=seed,
                settings=dict(run.settings),
                data=changes.data,
                data_options=changes.data_options,
                split=changes.split,
                train_split=changes.train_split,
                tuned_on=tuned_on,
                recipe=run.recipe,
            )
            for seed in run.seeds
        ]
        for run in plan.runs
    }


def measure_plan(
    plan: Plan,
    places: Places,
    changes: Changes = NO_CHANGES,
    *,
    device: str,
    threads: int | None,
    workers: int,
    say: Say,
) -> dict[str, str]:
    """Measure a few steps of each distinct configuration of a plan, and keep their cost for `cost_plan`.

    Returns, by key, why configurations could not be measured.
    """
    from bench.execution.measure import measure

    requests, datasets = make_requests(plan, changes), SplitSizes(places, changes)
    keys, failures = {compute_run_key(run): run for run in plan.runs}, {}
    for number, (key, run) in enumerate(keys.items(), start=1):
        say(f"Measuring {number} of {len(keys)}: {run.command.partition('--method ')[2]}")
        try:
            cost = measure(
                _do_without_weights(run, requests[run][0]),
                places,
                images_of_split=datasets.count(run.dataset, run.trainings[0].split if run.trainings else run.split),
                device=device,
                threads=threads,
                workers=workers,
            )
        except (BenchError, MemoryError) as error:
            failures[key] = str(error) or type(error).__name__
            continue
        write_cost(places, key, cost)
    return failures


def _do_without_weights(run: PlannedRun, request: Request) -> Request:
    """Return a request without weights that must come from a file, since weights do not affect the time.

    Features of a frozen net with random weights may exceed the range of half precision, so they are kept in single.
    """
    settings = dict(run.trainings[0].settings) if run.trainings else {}
    more = {"feature_precision": "float32"} if settings.get("freeze_backbone") == "true" else {}
    if settings.get("net") in FROM_FILES and settings.get("weights", "imagenet") == "imagenet":
        more["weights"] = "none"
    return replace(request, settings={**request.settings, **more}) if more else request


@dataclass(frozen=True)
class RequestedTable:
    """A paper's table as requests, with the cell that each group of them measures. data: the dataset of a try-out."""

    name: str
    data: str | None
    cells: tuple[tuple[PlannedCell, tuple[Request, ...]], ...]

    def list_requests(self) -> list[Request]:
        """List the requests, each once."""
        found: list[Request] = []
        for _, requests in self.cells:
            found += [request for request in requests if request not in found]
        return found


def request_table(name: str, asked: Asked, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> RequestedTable:
    """Make the requests of a table's plan.

    Raises RequestError for options that it fixes, or if no number is planned.
    """
    _refuse_options(asked)
    weights = {} if asked.weights is None else {"weights": asked.weights}
    changes = Changes({**asked.settings, **weights}, asked.data, asked.data_options, asked.split, asked.train_split)
    plan = make_plan([name], rows=rows, columns=columns, seeds=asked.seeds, changes=changes)
    requests = make_requests(plan, changes, asked.tuned_on)
    cells = [(cell, tuple(requests[cell.run])) for cell in plan.cells if cell.run is not None]
    if not cells:
        raise RequestError(f"No run here measures a number of {name}: python -m bench plan {name} says why.")
    return RequestedTable(name, asked.data, tuple(cells))


def _refuse_options(asked: Asked) -> None:
    """Raise RequestError for options whose values a paper's table fixes."""
    options = {
        "--track": asked.track,
        "--method": asked.methods,
        "--protocol": asked.protocols,
        "--recipe": asked.recipe,
        "--convention": asked.conventions,
    }
    if given := [name for name, value in options.items() if value]:
        raise RequestError(f"{', '.join(given)}: the plan of a table says it. Leave it out, or leave out --table.")


def plan_with_costs(
    names: Sequence[str],
    places: Places,
    published: Path,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    changes: Changes = NO_CHANGES,
    measure: bool = False,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 2,
    say: Say,
) -> CostedPlan:
    """Plan tables with the costs of their runs, which are measured first if `measure`."""
    plan = make_plan(names, rows=rows, columns=columns, seeds=seeds, changes=changes)
    means: dict[str, Any] = {"device": device, "threads": threads, "workers": workers}
    failures = measure_plan(plan, places, changes, **means, say=say) if measure else {}
    return cost_plan(plan, places, changes, known=list_known_results(places, published), failures=failures)
