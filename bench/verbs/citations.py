"""`cite`: the papers behind methods, protocols, datasets and papers' tables, as BibTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version

from bench import registry
from bench.errors import UnknownNameError


def cite(names: Sequence[str] = ()) -> list[str]:
    """Return the BibTeX entries of the papers behind each name, after that of weakloc itself.

    A method stands for its paper, a protocol also for that of its dataset, a paper's table for its paper and those of
    its rows' methods. Raises UnknownNameError.
    """
    from bench.tables.references import SOFTWARE, find_references

    wanted = [one for name in names for one in _list_behind(name)]
    return [SOFTWARE.replace("VERSION", version("weakloc")), *find_references(wanted)]


def _list_behind(name: str) -> Iterator[str]:
    """Yield the keywords of the entries to cite for a name. Raises UnknownNameError."""
    from bench.data.datasets import list_datasets
    from bench.tables.papers import reported_tables
    from bench.tables.reported import load_table

    method = name.partition(":")[0]
    if method in registry.methods():
        yield method
    elif name in registry.protocols():
        yield name
        yield registry.protocol(name).dataset or ""
    elif name in (tables := reported_tables()):
        yield name.rpartition("-")[0]
        yield from (row.method.partition(":")[0] for row in load_table(name).rows if row.method)
    elif name in (datasets := list_datasets()):
        yield name
    else:
        known = [*registry.methods(), *registry.protocols(), *tables, *datasets]
        raise UnknownNameError("method, protocol, dataset or table", name, known, hint="python -m bench list methods")
