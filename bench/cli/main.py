"""The group of verbs, each imported when it is called, and the one place that turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn, cast

import click

from bench.cli.options import plugin
from bench.cli.output import name_program
from bench.errors import BenchError, UnknownNameError

VERBS = {
    "run": ("run:run", "Train, predict, score and record."),
    "tune": ("tune:tune", "Choose settings of a track's methods by random search."),
    "submit": ("cluster:submit", "Submit runs as jobs."),
    "status": ("cluster:status", "Show the jobs of a submission."),
    "collect": ("cluster:collect", "Print the results so far of a submission."),
    "cancel": ("cluster:cancel", "Cancel the jobs of a submission."),
    "resubmit": ("cluster:resubmit", "Submit the failed jobs of a submission again."),
    "score": ("score:score", "Score predictions from a file."),
    "audit": ("audit:audit", "Score the same predictions under every convention."),
    "predict": ("predict:predict", "Put a trained model on photographs."),
    "export": ("export:export", "Export predictions as COCO results or as an archive for the VOC server."),
    "list": ("show:list_", "List methods, protocols, datasets, nets, tracks, papers' tables or runs."),
    "show": ("show:show", "Show a method, protocol, dataset, net, track or run in full."),
    "table": ("table:table", "Print the leaderboard, or a paper's table with measured results."),
    "compare": ("compare:compare", "Compare two methods or results on the same images."),
    "gate": ("gate:gate", "Check results against their baselines."),
    "trend": ("gate:trend", "Show every result of a method on a protocol, oldest first."),
    "runs": ("runs:runs", "Show what the runs folder takes on the disk, and delete old parts of it."),
    "report": ("report:report", "Write the static site."),
    "publish": ("table:publish", "Copy a result, or those of a track, to the published ones."),
    "data": ("data:data", "Check, look at and download datasets; compute proposals."),
    "sync": ("check:sync", "Mirror finished runs into MLflow."),
    "check": ("check:check", "Run the contract tests of a method."),
    "doctor": ("check:doctor", "Check what works on this machine."),
}
"""Verb to its command (`module:attribute` in `bench.cli`) and its line of help, so that --help imports no verb."""


class Verbs(click.Group):
    """A group that imports a verb only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of a workflow."""
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
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])


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
        return int(verbs.main(arguments, prog_name=name_program(), standalone_mode=False) or 0)
    except BenchError as error:
        click.echo(name_program(f"Error: {error}"), err=True)
        return error.exit_code
    except click.ClickException as error:
        click.echo(_format_usage_error(error), err=True)
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted. Run the same command again to resume.", err=True)
        return 130
    except OSError as error:
        if error.filename is None:
            traceback.print_exc()
        else:
            click.echo(f"Error: {error.filename}: {error.strerror}.", err=True)
        return 3
    except Exception:  # a bug: print the traceback, and avoid exit code 1, which means that a check failed
        traceback.print_exc()
        return 3


def _format_usage_error(error: click.ClickException) -> str:
    """Format a usage error as one line that points to the help; for a group without a verb, return its help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message()
    message = f"Error: {' '.join(error.format_message().split()).rstrip('.')}"
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else name_program()
    return f"{message} ({command} --help)."
