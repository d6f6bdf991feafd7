"""Choose a method's settings for a track: random trials, scored on a held-out part of the training split.

A trial is a run like any other, found by its content address: a killed search resumes, and a search of more trials
extends one of fewer. Training settings are drawn first, so that searches by labels and by boxes share their trainings,
as do attributions of one base.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench import registry
from bench.config import ADAMW_SEARCHES
from bench.core.files import write_text
from bench.errors import BenchError, RequestError
from bench.execution.request import Request
from bench.records.result import Result
from bench.scoring.protocol import Record
from bench.tracks.selection import use_weights
from bench.tracks.track import Group, Search, Setting, Track, as_setting

if TYPE_CHECKING:
    from bench.config import Range
    from bench.config import Search as Space
    from bench.execution.dataset_cache import DatasetCache

Criterion = Literal["labels", "boxes"]


@dataclass(frozen=True)
class SearchPlan:
    """A search for the settings of a track's method.

    spaces: what is drawn, in this order. template: the request of a trial, without what is drawn. defaults: trial 0.
    reset: settings that an earlier search chose by boxes and this one does not draw, at their defaults.
    """

    track: Track
    name: str
    by: Criterion
    seed: int
    spaces: Mapping[str, Space]
    template: Request
    defaults: Mapping[str, Setting]
    reset: Mapping[str, Setting]

    @property
    def metric(self) -> str:
        """The metric that scores a trial."""
        return self.template.protocol.metrics[0]

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return registry.family(self.template.protocol.family).METRICS[self.metric]

    def draw(self, number: int) -> dict[str, Setting]:
        """Draw the settings of a trial; trial 0 has the defaults."""
        if number == 0:
            return dict(self.defaults)
        generator = np.random.default_rng([self.seed, number])
        return {name: _draw_value(space, generator) for name, space in self.spaces.items()}

    def make_request(self, number: int) -> Request:
        """Make the request of a trial."""
        return replace(self.template, settings={**self.template.settings, **self.draw(number)})


@dataclass(frozen=True)
class Trial:
    """A completed trial: its result, or why it has none."""

    number: int
    settings: Mapping[str, Setting]
    result: Result | None = None
    error: str = ""

    @property
    def score(self) -> float | None:
        """The first metric; None if the trial failed, or the metric is undefined."""
        return next(iter(self.result.metrics.values())) if self.result else None

    @property
    def seconds(self) -> float:
        """The time that training, prediction and scoring took, even if in an earlier run."""
        return sum(self.result.seconds.values()) if self.result else 0.0


def list_tunable(track: Track, by: Criterion, datasets: DatasetCache) -> list[str]:
    """List the methods of a track that have something to tune by a criterion."""
    return [name for name in track.methods if find_spaces(track, name, by, datasets)]


def find_spaces(track: Track, name: str, by: Criterion, datasets: DatasetCache) -> dict[str, Space]:
    """Return what a search draws: settings of training, then, by boxes, of prediction, each in the order of names.

    Settings fixed by the track, the group or the variant are not drawn; an untrained method has nothing to draw. AdamW
    has ranges of its own.
    """
    entry = track.entry(name)
    if entry.like is not None:
        return {}
    if track.list_settings(name).get("epochs") == 0 or (by == "boxes" and entry.group not in track.tuning.boxes):
        return {}
    cls, variant = datasets.method(entry.method or name, entry.settings)
    spaces = cls.Config.list_searches("training")
    if by == "boxes":
        accepted = registry.protocol(track.tuning.boxes[entry.group]).predicts
        kind = next((kind for kind in accepted if kind in cls.kinds), "")
        spaces |= cls.Config.list_searches("prediction", kind)
    fixed = {**track.share_settings(entry.group), **(cls.variants[variant] if variant else {})}
    if {**fixed, **entry.settings}.get("optimizer") == "adamw":
        spaces = {key: ADAMW_SEARCHES.get(key, space) for key, space in spaces.items()}
    return {key: space for key, space in spaces.items() if key not in fixed}


def plan_search(
    track: Track, name: str, *, by: Criterion, seed: int, datasets: DatasetCache, weights: str | None = None
) -> SearchPlan:
    """Plan the search for a method of a track; weights: the path of the track's file of weights.

    Raises RequestError for a method with nothing to tune, and as `find_weights`.
    """
    entry, spaces = track.entry(name), find_spaces(track, name, by, datasets)
    if not spaces:
        raise RequestError(
            f"{name} of track {track.name} has nothing to tune by {by}: it is like another entry, is not trained, has "
            "no setting with a range, or the track has no protocol for it."
        )
    former = _list_former(track, name, spaces, datasets)
    own = {key: value for key, value in entry.settings.items() if key not in spaces and key not in former}
    request = replace(
        track.join(entry.method or name, entry.group, own, track.seeds[0])[0],
        protocol=_choose_protocol(track, entry.group, by),
        train_split=track.tuning.train_split,
        split=track.tuning.eval_split,
    )
    (template,) = use_weights(track, [request], weights, datasets.places)
    config = datasets.recipe(template).config
    defaults, reset = ({key: as_setting(getattr(config, key)) for key in keys} for keys in (spaces, former))
    return SearchPlan(track, name, by, seed, spaces, template, defaults, reset)


def _list_former(track: Track, name: str, spaces: Mapping[str, Space], datasets: DatasetCache) -> list[str]:
    """List the settings of an entry that a search by boxes chose and that a search of these spaces does not draw."""
    entry = track.entry(name)
    if entry.search is None or entry.search.by != "boxes":
        return []
    cls, _ = datasets.method(entry.method or name, entry.settings)
    return [key for key in cls.Config.list_searches("prediction") if key in entry.settings and key not in spaces]


def _choose_protocol(track: Track, group: Group, by: Criterion) -> Record:
    """Return the protocol that scores trials, trained on their part of the training split.

    The evaluated split stays the protocol's own, so that results on a part of it are marked as partial, and a protocol
    that evaluates its training split evaluates the held-out part. Raises RequestError if a search by labels would use
    more than image labels.
    """
    record = registry.protocol(track.tuning.labels if by == "labels" else track.tuning.boxes[group])
    if by == "labels" and record.predicts != ("scores",):
        raise RequestError(f"Track {track.name}, tuning.labels: {record.name} looks at more than image labels.")
    return record.model_copy(update={"train_split": track.tuning.train_split})


def _draw_value(space: Space, generator: np.random.Generator) -> Setting:
    """Draw a value; numbers from a range are rounded to two digits, to be readable and easy to type."""
    if isinstance(space, tuple):
        value: Setting = as_setting(space[generator.integers(len(space))])
        return value
    share = generator.random()
    return float(f"{_interpolate(space, share):.2g}")


def _interpolate(space: Range, share: float) -> float:
    """Return the number at a fraction of a range, interpolated on a logarithmic scale if the range has one.

    >>> from bench.config import Range
    >>> _interpolate(Range(1, 5), 0.5), round(_interpolate(Range(0.01, 1, log=True), 0.5), 9)
    (3.0, 0.1)
    """
    low, high = (math.log(space.low), math.log(space.high)) if space.log else (space.low, space.high)
    value = low + share * (high - low)
    return math.exp(value) if space.log else value


def find_hopeless(
    plans: Sequence[SearchPlan], datasets: DatasetCache, *, device: str, threads: int | None
) -> dict[str, BenchError]:
    """Return the searches, by name, whose trial 0 cannot end in a score, and why, before any is run."""
    from bench.execution.forecast import find_errors

    errors = find_errors([plan.make_request(0) for plan in plans], datasets, device=device, threads=threads)
    return {plan.name: error for plan, error in zip(plans, errors, strict=True) if error is not None}


def run_trials(plan: SearchPlan, count: int, *, datasets: DatasetCache, **options: Any) -> Iterator[Trial]:
    """Run the first trials of a search, or find their results; `options` are those of `pipeline.run`.

    A trial that fails has no score. Raises the error of trial 0 if its request is wrong, since all others are too.
    """
    from bench.execution import pipeline

    for number in range(count):
        report = pipeline.run([plan.make_request(number)], datasets.places, datasets=datasets, **options)
        error = next(iter(report.failed.values()), None)
        if number == 0 and isinstance(error, RequestError):
            raise error
        yield Trial(number, plan.draw(number), report.results[0] if report.results else None, str(error or ""))


def choose_winner(plan: SearchPlan, trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the best score, the earliest of equals; None if none has a score."""
    scored = [(trial.score, trial) for trial in trials if trial.score is not None]
    sign = 1 if plan.higher_is_better else -1
    return max(scored, key=lambda pair: sign * pair[0])[1] if scored else None


def require_writable(path: Path) -> None:
    """Raise RequestError if a track file cannot be replaced."""
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise RequestError(f"{path} cannot be written. Copy it and give --track the copy, or add --dry-run.")


def write_winner(path: Path, plan: SearchPlan, winner: Trial, trials: int) -> None:
    """Write the winner's settings, and how they were chosen, into the track's own file, leaving the rest as it is."""
    import tomlkit

    search = Search(
        by=plan.by,
        trials=trials,
        seed=plan.seed,
        protocol=plan.template.protocol.name,
        score=round(winner.score or 0, 4),
        trial=winner.number,
    )
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    methods = _open_table(document, "methods", tomlkit.table(is_super_table=True))
    entry = _open_table(methods, plan.name, tomlkit.table())
    settings = {**plan.reset, **winner.settings}
    if isinstance(entry.get("settings"), tomlkit.items.Table):
        entry["settings"].update(settings)
    else:
        entry["settings"] = _make_inline_table({**entry.get("settings", {}), **settings})
    entry["search"] = _make_inline_table(search.model_dump())
    write_text(path, tomlkit.dumps(document))


def _open_table(parent: Any, key: str, empty: Any) -> Any:
    """Return a table of a document, adding an empty one if it is missing."""
    if key not in parent:
        parent[key] = empty
    return parent[key]


def _make_inline_table(values: Mapping[str, Setting]) -> Any:
    """Return `{ lr = 0.1, neck = 8 }`, with the spaces that tomlkit omits."""
    import tomlkit

    pairs = ", ".join(f"{key} = {tomlkit.item(value).as_string()}" for key, value in values.items())
    return tomlkit.value(f"{{ {pairs} }}")
