"""`tune`: choose settings of a track's methods by random search, and write the winners into the track file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import registry
from bench.cli import options, product
from bench.cli.cluster import require_profile, resource_option
from bench.cli.documents import SearchDocument, TrialDocument, TuneDocument
from bench.cli.output import align_columns, echo, emit, format_settings, format_value, say
from bench.cli.progress import make_reporter
from bench.errors import RequestError, format_count, group_errors

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.execution.dataset_cache import DatasetCache
    from bench.tracks.track import Track
    from bench.tracks.tune import Criterion, SearchPlan, Trial
    from slurm.trials import SubmittedTrials


@click.command("tune", epilog=options.example("tune --track voc07-laptop --method cam --trials 30 --by boxes"))
@options.track
@click.option(
    "--method",
    "methods",
    multiple=True,
    required=True,
    callback=options.parse_names,
    metavar="NAME",
    help="Methods of the track, or all; can be repeated or comma-separated.",
)
@click.option(
    "--trials", "count", type=click.IntRange(min=1), default=30, show_default=True, help="Trials of each search."
)
@click.option(
    "--by",
    type=click.Choice(["labels", "boxes"]),
    default="labels",
    show_default=True,
    help="What scores a trial on the held-out part: image labels only, or boxes, which marks results as val-boxes.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the draws.")
@click.option("--dry-run", is_flag=True, help="Leave the track file as it is.")
@click.option("--weights", metavar="FILE", help="The track's file of initial weights, if it lies elsewhere.")
@click.option(
    "--cluster",
    type=click.Choice(["local", "slurm"]),
    help="Submit the trials as jobs; the same command, once they are done, finishes the search.",
)
@click.option(
    "--profile", metavar="NAME|FILE.toml", help="Resources that the jobs request (default with --cluster local: local)."
)
@resource_option
@require_profile
@product.means
@product.stored
@options.places
@options.plugin
@options.as_json
def tune(
    *,
    track: str | None,
    methods: tuple[str, ...],
    count: int,
    by: Criterion,
    seed: int,
    dry_run: bool,
    weights: str | None,
    cluster: str | None,
    profile: str | None,
    given: dict[str, str],
    places: Places,
    as_json: bool,
    **means: Any,
) -> int:
    """Choose settings of a track's methods by random search.

    A trial draws the settings that have a range and that the track does not fix; it is trained on one part of the
    training split and scored on the rest. Trial 0 has the defaults. The settings of the best one go into the track
    file. The same command again goes on where it stopped, and more --trials extend a search.
    """
    from bench.execution.dataset_cache import DatasetCache
    from bench.tracks.track import find_track, read_track
    from bench.tracks.tune import plan_search, require_writable
    from bench.verbs.product import choose_threads

    if track is None:
        raise click.UsageError("Missing option '--track'.", click.get_current_context())
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise RequestError("tune runs in one process. For several, add --cluster and a profile with processes.")
    chosen, path, datasets = read_track(track), find_track(track), DatasetCache(places)
    means["threads"] = choose_threads(chosen, means["threads"])
    if not dry_run:
        registry.refuse_installed(path, "Copy it and give --track the copy, or add --dry-run.")
        require_writable(path)
    names = _select_methods(chosen, methods, by, datasets)
    plans = [plan_search(chosen, name, by=by, seed=seed, datasets=datasets, weights=weights) for name in names]
    plans, refused = _refuse_hopeless(plans, datasets, means)
    for plan in plans:
        say(_describe_plan(plan, count))
    if cluster is None:
        searches = _run_searches(plans, count, {**means, "datasets": datasets})
    else:
        searches = _collect_searches(plans, count, datasets, (cluster, profile, given), means)
    ended = [(plan, trials, _finish_search(path, plan, trials, is_dry=dry_run)) for plan, trials in searches]
    if as_json:
        document: TuneDocument = {"track": chosen.name, "searches": [_to_document(*search) for search in ended]}
        emit(document)
    elif ended:
        echo("\n\n".join(_format_search(*search) for search in ended))
    return 2 if refused else 0 if all(winner for *_, winner in ended) else 3


def _refuse_hopeless(
    plans: Sequence[SearchPlan], datasets: DatasetCache, means: Mapping[str, Any]
) -> tuple[list[SearchPlan], bool]:
    """Return the searches whose trials can end in a score, and whether there are others; print why these cannot.

    Raises the error if there is one search, and it is hopeless.
    """
    from bench.tracks.tune import find_hopeless

    hopeless = find_hopeless(plans, datasets, **{key: means[key] for key in ("device", "threads")})
    if len(plans) == len(hopeless) == 1:
        raise next(iter(hopeless.values()))
    for line in group_errors(hopeless):
        say(f"Error: {line}")
    return [plan for plan in plans if plan.name not in hopeless], bool(hopeless)


def _select_methods(track: Track, names: Sequence[str], by: Criterion, datasets: DatasetCache) -> list[str]:
    """Return the named methods, each once; `all` stands for those with something to tune."""
    from bench.tracks.selection import ALL
    from bench.tracks.tune import list_tunable

    tunable = list_tunable(track, by, datasets) if ALL in names else []
    return list(dict.fromkeys(each for name in names for each in (tunable if name == ALL else [name])))


def _describe_plan(plan: SearchPlan, count: int) -> str:
    """Describe what is drawn, and what scores it."""
    request = plan.template
    spaces = ", ".join(f"{name} {_format_space(space)}" for name, space in plan.spaces.items())
    return (
        f"{plan.name}: {format_count(count, 'trial')} trained on {request.train_split}, scored on {request.split} by "
        f"{plan.metric} of {request.protocol.name}; drawn: {spaces}"
    )


def _format_space(space: Any) -> str:
    if isinstance(space, tuple):
        return "|".join(map(format_value, space))
    return f"{space.low:g}...{space.high:g}{' (log)' if space.log else ''}"


def _run_searches(
    plans: Sequence[SearchPlan], count: int, means: Mapping[str, Any]
) -> Iterator[tuple[SearchPlan, list[Trial]]]:
    """Run the trials of each search, under one bar for all of them."""
    from bench.tracks.tune import run_trials

    progress = make_reporter()
    with progress.task("Trials", count * len(plans), unit="trials") as step:
        for plan in plans:
            trials = []
            for trial in run_trials(plan, count, progress=progress, **means):
                trials.append(trial)
                step()
            yield plan, trials


def _collect_searches(
    plans: Sequence[SearchPlan],
    count: int,
    datasets: DatasetCache,
    destination: tuple[str, str | None, Mapping[str, str]],
    means: Mapping[str, Any],
) -> Iterator[tuple[SearchPlan, list[Trial]]]:
    """Submit trials not submitted yet; yield the searches whose trials have all ended."""
    from slurm.profile import read_profile
    from slurm.trials import find_trials, submit_trials

    cluster, profile, given = destination
    resources = read_profile(profile or "local", given)
    found = [(plan, find_trials(plan, count, datasets.places)) for plan in plans]
    todo = {plan.name: trials.list_missing(count) for plan, trials in found}
    if means["stored"] == "again":
        todo = {plan.name: [one for one in range(count) if one not in trials.waiting] for plan, trials in found}
    requests = [plan.make_request(number) for plan in plans for number in todo[plan.name]]
    if requests:
        submission = submit_trials(requests, datasets, cluster, resources, means)
        say(f"{format_count(len(requests), 'trial')} submitted: {submission}")
    for plan, trials in found:
        if means["stored"] == "again":
            say(f"{plan.name}: trials are made again. Follow them, and repeat this command without --again.")
        elif len(trials.ended) == count:
            yield plan, [trials.ended[number] for number in range(count)]
        else:
            say(f"{plan.name}: {len(trials.ended)} of {count} trials ended. {_advise(trials)}")


def _advise(trials: SubmittedTrials) -> str:
    """Return what to do about trials that have not ended."""
    if trials.lost:
        number, reason = min(trials.lost.items())
        return f"The job of trial {number} failed: {reason} Send such jobs again: python -m bench resubmit."
    return "Follow the jobs with python -m bench status, and repeat this command when they are done."


def _finish_search(path: Path, plan: SearchPlan, trials: Sequence[Trial], *, is_dry: bool) -> Trial | None:
    """Write the winner's settings into the track file; return the winner; if there is none, print so."""
    from bench.tracks.tune import choose_winner, write_winner

    winner = choose_winner(plan, trials)
    if winner is None:
        say(f"Error: {plan.name}: no trial has a score, so the track file stays as it is.")
    elif not is_dry:
        write_winner(path, plan, winner, len(trials))
        say(f"Wrote {format_settings(winner.settings)} for {plan.name} into {path}.")
    return winner


def _format_search(plan: SearchPlan, trials: Sequence[Trial], winner: Trial | None) -> str:
    """Format trials as a table, in per cent, the winner marked by a star."""
    head = ("trial", "", *plan.spaces, plan.metric, "seconds")
    rows = [
        (
            str(trial.number),
            "*" if trial is winner else "",
            *(format_value(trial.settings[name]) for name in plan.spaces),
            _format_score(trial, plan.metric),
            f"{trial.seconds:.1f}",
        )
        for trial in trials
    ]
    return f"{plan.name}, by {plan.by}, seed {plan.seed}\n{align_columns([head, *rows])}"


def _format_score(trial: Trial, metric: str) -> str:
    from bench.tables.numbers import with_interval

    if trial.result is None:
        return f"failed: {trial.error}"
    return with_interval(trial.score, trial.result.intervals.get(metric)) or "undefined"


def _to_document(plan: SearchPlan, trials: Sequence[Trial], winner: Trial | None) -> SearchDocument:
    return {
        "method": plan.name,
        "by": plan.by,
        "seed": plan.seed,
        "protocol": plan.template.protocol.name,
        "metric": plan.metric,
        "trials": [_describe_trial(trial, plan.metric) for trial in trials],
        "winner": None if winner is None else winner.number,
    }


def _describe_trial(trial: Trial, metric: str) -> TrialDocument:
    result = trial.result
    return {
        "number": trial.number,
        "settings": dict(trial.settings),
        "score": trial.score,
        "interval": None if result is None else result.intervals.get(metric),
        "seconds": trial.seconds,
        "result": None if result is None else result.address,
        "error": trial.error or None,
    }
