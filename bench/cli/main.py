"""The group of verbs, each loaded when it is called, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, cast

import click

from bench.cli.options import plugin
from bench.errors import BenchError, UnknownNameError

VERBS = {
    "run": ("run:run", "Train, predict, score, record."),
    "submit": ("cluster:submit", "The product of runs of `run`, as jobs."),
    "status": ("cluster:status", "How the jobs of a submission are."),
    "collect": ("cluster:collect", "Leaderboards of what is done of a submission."),
    "cancel": ("cluster:cancel", "End the jobs of a submission."),
    "resubmit": ("cluster:resubmit", "Send out again what failed of a submission."),
    "score": ("score:score", "Score anybody's predictions."),
    "audit": ("audit:audit", "The same predictions under every convention switch."),
    "export": ("export:export", "Predictions in other people's formats."),
    "list": ("show:list_", "What there is: methods, protocols, datasets, tables, runs."),
    "show": ("show:show", "One thing in full: a method, a protocol, a dataset, a run."),
    "table": ("table:table", "Methods by metrics, or a paper's table with what was measured."),
    "compare": ("compare:compare", "Paired comparison of two results."),
    "gate": ("gate:gate", "Whether a result fell below its baseline."),
    "trend": ("gate:trend", "How a result moved over revisions."),
    "report": ("report:report", "The static site."),
    "publish": ("table:publish", "Put a result into results/measured."),
    "data": ("data:data", "What is on disk; the synthetic set; region proposals."),
    "sync": ("check:sync", "Mirror finished runs into MLflow."),
    "check": ("check:check", "Contract suite for a method."),
    "doctor": ("check:doctor", "What works on this machine."),
}
"""Verb to where its command is (`module:attribute` in `bench.cli`) and its line of help, so that help imports none."""


class Verbs(click.Group):
    """A group that knows its verbs by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of the way of a run."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb. Raises UnknownNameError."""
        if cmd_name not in VERBS and ctx.resilient_parsing:  # a shell asks what would complete it
            return None
        if cmd_name not in VERBS:
            raise UnknownNameError("verb", cmd_name, VERBS, hint="python -m bench --help")
        module, _, attribute = VERBS[cmd_name][0].partition(":")
        return cast(click.Command, getattr(importlib.import_module(f"bench.cli.{module}"), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs' lines without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@plugin
def verbs() -> None:
    """A benchmark harness and leaderboard for weakly supervised vision.

    \b
    python -m bench run --method melm --protocol voc07-det --data shapes
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 the answer is no, 2 the request was wrong, 3 something failed."""
    sys.exit(invoke(arguments))


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. Errors have been said on stderr."""
    try:
        return int(verbs.main(arguments, standalone_mode=False) or 0)
    except BenchError as error:
        click.echo(f"Error: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        click.echo(_usage(error), err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. The same command goes on where it stopped.", err=True)
        return 130
    except OSError as error:
        if error.filename is None:
            traceback.print_exc()
        else:
            click.echo(f"Error: {error.filename}: {error.strerror}.", err=True)
        return 3
    except Exception:  # our bug: show it whole, but never with exit code 1, which means "the answer is no"
        traceback.print_exc()
        return 3


def _usage(error: click.ClickException) -> str:
    """What click found wrong, in one line, and where help is; of a group without a verb, its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message()
    message = f"Error: {' '.join(error.format_message().split()).rstrip('.')}"
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "python -m bench"
    return f"{message} ({command} --help)."
