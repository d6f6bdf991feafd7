"""The group of verbs, each imported when it is called, and the one place that turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import click

from bench.cli.options import plugin
from bench.cli.output import name_program, say
from bench.errors import ADVICE, BenchError, LeftOutWarning, UnknownNameError, describe_os_error

GROUPS = {
    "Train and score": {
        "run": ("run:run", "Train, predict, score and record."),
        "tune": ("tune:tune", "Choose settings of a track's methods by random search."),
        "predict": ("predict:predict", "Put a trained model on photographs."),
        "score": ("score:score", "Score predictions from a file."),
        "audit": ("audit:audit", "Score the same predictions under every convention."),
        "export": ("export:export", "Export predictions as COCO results or as an archive for the VOC server."),
        "check": ("check:check", "Run the contract tests of a method."),
    },
    "Look and compare": {
        "list": ("show:list_", "List methods, protocols, datasets, nets, tracks, papers' tables, runs or submissions."),
        "show": ("show:show", "Show a method, protocol, dataset, net, track or run in full."),
        "table": ("table:table", "Print the leaderboard, or a paper's table with measured results."),
        "plan": ("plan:plan", "Plan the runs that would fill a paper's table, and say what they cost."),
        "compare": ("compare:compare", "Compare two methods or results on the same images."),
        "errors": ("errors:errors", "Sort the errors of results by their kind."),
        "trend": ("gate:trend", "Show every result of a method on a protocol, oldest first."),
        "report": ("report:report", "Write the static site."),
        "cite": ("cite:cite", "Print BibTeX of weakloc and of the papers behind names."),
    },
    "Keep": {
        "publish": ("table:publish", "Copy a result, or those of a track, to the published ones."),
        "gate": ("gate:gate", "Check results against their baselines."),
        "runs": ("runs:runs", "Show what the runs folder takes on the disk, and delete old parts of it."),
        "sync": ("check:sync", "Mirror finished runs into MLflow."),
    },
    "Cluster": {
        "submit": ("cluster:submit", "Submit runs as jobs."),
        "status": ("cluster:status", "Show the jobs of a submission."),
        "logs": ("cluster:logs", "Print the ends of the logs of failed jobs, or of one job."),
        "collect": ("cluster:collect", "Print the results so far of a submission."),
        "cancel": ("cluster:cancel", "Cancel the jobs of a submission."),
        "resubmit": ("cluster:resubmit", "Submit the failed jobs of a submission again."),
    },
    "Data and machine": {
        "data": ("data:data", "Check, look at and download datasets; compute proposals."),
        "doctor": ("check:doctor", "Check what works on this machine."),
    },
}
"""Groups of verbs; each verb with its command (`module:attribute` in `bench.cli`) and its line of help, so that --help
imports no verb."""

VERBS = {verb: entry for group in GROUPS.values() for verb, entry in group.items()}


class Verbs(click.Group):
    """A group that imports a verb only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, group by group."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb's command. Raises UnknownNameError."""
        if cmd_name not in VERBS and ctx.resilient_parsing:  # shell completion
            return None
        if cmd_name not in VERBS:
            raise UnknownNameError("verb", cmd_name, VERBS, hint="python -m bench --help")
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(f"bench.cli.{module}"), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line of help for each verb without importing it."""
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(verb, line) for verb, (_, line) in group.items()])


HELP = """A benchmark harness and leaderboard for weakly supervised vision.

\b
python -m bench run --track shapes-quick --method all
"""


@click.group(cls=Verbs, help=name_program(HELP), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="weakloc", prog_name="weakloc")
@plugin
def verbs() -> None:
    """Run the command line."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 success, 1 a check failed, 2 invalid request, 3 another failure, 130 interrupted.
    """
    sys.exit(invoke(arguments))


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, print errors on stderr, and return the exit code."""
    try:
        with _print_warnings():
            return int(verbs.main(arguments, prog_name=name_program(), standalone_mode=False) or 0)
    except BenchError as error:
        say(f"Error: {error}")
        return error.exit_code
    except click.ClickException as error:
        say(_format_usage_error(error))
        return 2
    except (click.Abort, KeyboardInterrupt):
        say("Interrupted. Run the same command again to resume.")
        return 130
    except OSError as error:
        if error.filename is None and error.errno not in ADVICE:
            traceback.print_exc()
        else:
            say(f"Error: {describe_os_error(error)}")
        return 3
    except Exception as error:  # never exit code 1, which means that a check failed
        from bench import registry

        if registry.find_own_line(error):
            say(f"Error: {registry.describe_own_failure(error)}. Correct it, and run the same command again.")
        else:  # a bug of ours
            traceback.print_exc()
        return 3


@contextmanager
def _print_warnings() -> Iterator[None]:
    """Print each warning about what was left out as a note, once."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any, **more: Any
    ) -> None:
        if issubclass(category, LeftOutWarning):
            say(f"note: {message}")
        else:
            show_others(message, category, filename, lineno, *rest, **more)

    show_others = warnings.showwarning
    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=LeftOutWarning)
        warnings.showwarning = show
        yield


def _format_usage_error(error: click.ClickException) -> str:
    """Format a usage error as one line that points to the help; for a group without a verb, return its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message()
    message = f"Error: {' '.join(error.format_message().split()).rstrip('.')}"
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else name_program()
    return f"{message} ({command} --help)."
