"""A table as LaTeX (booktabs, graphicx)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby

from bench.tables.model import Cell, Table

_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{"
"""Scales what is wider than the text down to the width of the text."""

_LINE = 60
"""Characters per line of a cell: the longest lines determine how far the whole table is scaled down."""

_PIECES = re.compile(r"\S{1,24}$|\S{1,24}[-/_=,:.+]|\S{1,24}")
"""Pieces of a word between which a line may break; a short word is one piece."""

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "±": r"$\pm$",
        "†": r"\dag{}",
        "‡": r"\ddag{}",
        "§": r"\S{}",
        "τ": r"$\tau$",
        **{sign: rf"\{sign}" for sign in "&%$#_{}"},
        **{sign: f"{{{sign}}}" for sign in "[]*"},  # after \\ these would be its arguments
    }
)


def latex(table: Table) -> str:
    r"""Format a table for a paper with `\usepackage{booktabs,graphicx}` and T1 fonts; the best of a column is bold."""
    width = len(table.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape_breakable(table.title)}}}",
        rf"{_FIT}\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
        *_heads(table.heads),
        _row(map(escape, table.columns)),
    ]
    for group, rows in table.sections():
        lines += [r"\midrule", *([rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape(group)}}}}} \\"] if group else [])]
        lines += [_row(map(_cell, row)) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\footnotesize {_mark(mark)} {_escape_breakable(note)}" for mark, note in table.notes.items()]
    lines += [rf"\par\footnotesize {_escape_breakable(remark)}" for remark in table.remarks]
    return "\n".join([*lines, r"\end{table}"])


def escape(words: str) -> str:
    r"""Escape words for LaTeX, without unprintable characters: `a_b` becomes `a\_b`."""
    return "".join(filter(str.isprintable, " ".join(words.split()))).translate(_ESCAPES)


def _escape_breakable(words: str) -> str:
    r"""Escape words and let long ones break across lines: `a_long_path/` `\allowbreak{}` `to_a_file`."""
    return " ".join(r"\allowbreak{}".join(map(escape, _PIECES.findall(word))) for word in words.split())


def _heads(heads: tuple[str, ...]) -> Iterator[str]:
    """Return the headings above the columns, and the rules below them."""
    if not heads:
        return
    spans = [(head, len(list(same))) for head, same in groupby(heads)]
    yield _row(rf"\multicolumn{{{span}}}{{c}}{{{escape(head)}}}" if head else " &" * (span - 1) for head, span in spans)
    column = 1
    for head, span in spans:
        if head:
            yield rf"\cmidrule(lr){{{column}-{column + span - 1}}}"
        column += span


def _row(cells: Iterator[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _cell(cell: Cell) -> str:
    lines = [re.sub(r"^-(?=\d)", "$-$", escape(line)) for line in textwrap.wrap(cell.text, _LINE)] or [""]
    lines = [rf"\textbf{{{line}}}" if cell.best else line for line in lines]
    lines[-1] += "".join(map(_mark, cell.marks))
    if len(lines) == 1:
        return lines[0]
    return r"\begin{tabular}[t]{@{}l@{}}" + r" \\ \quad ".join(lines) + r"\end{tabular}"


def _mark(mark: str) -> str:
    return rf"\textsuperscript{{{escape(mark)}}}"
