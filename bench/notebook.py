"""Results and tables in Python: frozen records that a notebook displays, and that can become plots and frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from bench.core.files import Places
from bench.errors import RequestError
from bench.records.collection import StoredResult
from bench.records.result import Result
from bench.tables.frames import make_frame, tables_to_frame, tables_to_html, tables_to_text
from bench.tables.leaderboard import leaderboards
from bench.tables.model import Cell, Row, Table
from bench.tables.numbers import percent
from bench.tables.one_result import make_result_tables

if TYPE_CHECKING:
    import pandas as pd

    from bench.execution.forecast import RunForecast
    from bench.gallery.plots import ResultFigure


class NotebookResult(Result):
    """A result (`bench.records.result.Result`) that knows where its files are; printed, it is a table."""

    _record: Path = PrivateAttr()
    _places: Places = PrivateAttr()
    _data_options: dict[str, Any] = PrivateAttr(default_factory=dict)

    def to_frame(self) -> pd.DataFrame:
        """Make a pandas DataFrame of the metrics, as fractions; `class` is missing for a metric as a whole."""
        rows = [_make_row(name, None, value, self.intervals.get(name)) for name, value in self.metrics.items()]
        for metric, values in self.per_class.items():
            intervals = self.class_intervals.get(metric, {})
            rows += [_make_row(metric, name, value, intervals.get(name)) for name, value in values.items()]
        return make_frame(rows)

    def plot(self, images: int | None = None) -> ResultFigure:
        """Draw precision-recall, the first metric by class, and the worst and best images, as a matplotlib figure.

        images: how many; None: four, if the runs folder and the photographs have them, else a note that says why not.
        Raises RequestError where matplotlib is not installed, and if a number of images cannot be drawn.
        """
        try:
            from bench.gallery.plots import plot_result
        except ModuleNotFoundError as error:
            if error.name != "matplotlib":
                raise
            raise RequestError("plot needs matplotlib, which is not installed: pip install matplotlib") from None
        stored = StoredResult(self, self._record)
        return plot_result(stored, self._places, images=images, options=self._data_options)

    def __str__(self) -> str:
        return tables_to_text([next(make_result_tables(self))])

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {percent(value) or 'undefined'}" for name, value in self.metrics.items())
        where = f"{self.protocol} on {self.dataset} {self.split}{self.seed_suffix}"
        return f"<{self.label} · {where}: {values} per cent, result {self.address}>"

    def _repr_html_(self) -> str:
        return tables_to_html(make_result_tables(self))


class ResultList(tuple[NotebookResult, ...]):
    """Results, as an immutable sequence; a notebook shows their leaderboards, and `print` too."""

    __slots__ = ()

    def __str__(self) -> str:
        return tables_to_text(leaderboards(self)) or "no results"

    def to_frame(self) -> pd.DataFrame:
        """Make a pandas DataFrame with a row for each result; metrics and the ends of intervals are fractions."""
        return make_frame([_describe(result) for result in self])

    def _repr_html_(self) -> str:
        return tables_to_html(leaderboards(self))


class TableList(tuple[Table, ...]):
    """Tables, as an immutable sequence."""

    __slots__ = ()

    def __str__(self) -> str:
        return tables_to_text(self) or "no tables"

    def __repr__(self) -> str:
        return f"<{len(self)} tables: {', '.join(table.title for table in self)}>"

    def to_frame(self) -> pd.DataFrame:
        """Make one pandas DataFrame of the tables; column `table` has their titles. Numbers are fractions."""
        return tables_to_frame(self)

    def _repr_html_(self) -> str:
        return tables_to_html(self)


class ForecastList(tuple["RunForecast", ...]):
    """Forecasts of runs (`bench.execution.forecast.RunForecast`), as an immutable sequence."""

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """Make a pandas DataFrame with a row for each run."""
        return make_frame([asdict(one) for one in self])

    def __str__(self) -> str:
        return tables_to_text([self._make_table()])

    def _repr_html_(self) -> str:
        return tables_to_html([self._make_table()])

    def _make_table(self) -> Table:
        columns = ("run", "training", "predictions", "seconds", "MiB", "notes")
        return Table("What would be done", columns, tuple(_describe_forecast(one) for one in self))


def _describe_forecast(one: RunForecast) -> Row:
    seconds, memory = (None if value is None else round(value) for value in (one.seconds, one.memory_mib))
    notes = "; ".join(filter(None, [one.error, one.download and f"to download: {one.download}", *one.notes]))
    values = (
        one.run,
        None if one.error else one.training,
        None if one.error else one.predictions,
        seconds,
        memory,
        notes,
    )
    return tuple(Cell(value, "" if value is None else str(value)) for value in values)


def show_results(
    stored: Iterable[StoredResult], places: Places, data_options: Mapping[str, Any] | None = None
) -> ResultList:
    """Return stored results as a notebook shows them."""
    return ResultList(_show_result(one, places, data_options or {}) for one in stored)


def _show_result(stored: StoredResult, places: Places, data_options: Mapping[str, Any]) -> NotebookResult:
    shown = NotebookResult.model_construct(**dict(stored.result))  # it has been checked
    shown._record, shown._places, shown._data_options = stored.record, places, dict(data_options)
    return shown


def _make_row(metric: str, of: str | None, value: float | None, ends: tuple[float, float] | None) -> dict[str, Any]:
    low, high = ends or (None, None)
    return {"metric": metric, "class": of, "value": value, "low": low, "high": high}


def _describe(result: Result) -> dict[str, Any]:
    fields = ("protocol", "dataset", "split", "images", "method", "variant", "seed", "tuned_on", "address")
    row = {name: getattr(result, name) for name in fields}
    for name, value in result.metrics.items():
        low, high = result.intervals.get(name, (None, None))
        row |= {name: value, f"{name} low": low, f"{name} high": high}
    return row
