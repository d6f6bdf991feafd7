"""`cite`: what to cite."""

from __future__ import annotations

import click

from bench.cli import options
from bench.cli.documents import CitationsDocument
from bench.cli.output import echo, emit


@click.command("cite", epilog=options.example("cite melm voc07-corloc"))
@click.argument(
    "names", nargs=-1, metavar="[NAME]...", shell_complete=options.make_completer("methods", "protocols", "tables")
)
@options.as_json
def cite(names: tuple[str, ...], *, as_json: bool) -> None:
    """Print BibTeX of weakloc and of the papers behind names.

    NAME is a method, a protocol, a dataset or a paper's table, which stands for its paper and those of its rows'
    methods.
    """
    from bench.verbs.citations import cite as find_citations

    entries = find_citations(names)
    if as_json:
        document: CitationsDocument = {"entries": entries}
        emit(document)
        return
    echo("\n\n".join(entries))
