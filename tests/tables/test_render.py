"""What a table is written as: three of the papers' tables in every format as they were last approved, and read back.

`python tests/tables/test_render.py` writes `golden/` anew; look at the difference before it is committed.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from measured import beside, result

from bench.cli.options import FORMATS as OFFERED
from bench.tables.latex import escape
from bench.tables.model import Cell, Table
from bench.tables.render import FORMATS, csv, html, latex, markdown
from bench.tables.reported import reported_tables

GOLDEN = Path(__file__).with_name("golden")
SUFFIX = {"text": "txt", "md": "md", "latex": "tex", "csv": "csv", "html": "html"}


def _pointing() -> Table:
    """Heads over two columns, missing cells, everything that a verdict can be, and caveats."""
    metrics, intervals = {"accuracy": 0.6963, "accuracy_difficult": 0.4}, {"accuracy": (0.684, 0.708)}
    center = result("voc07-point", "center", metrics, intervals={**intervals, "accuracy_difficult": (0.38, 0.44)})
    learned = {"config": {"net": "googlenet"}, "training": "t", "provenance": {"dirty": True}}
    cam = result("voc07-point", "cam", {"accuracy": 0.7}, intervals={"accuracy": (0.6, 0.75)}, **learned)
    return beside("spn-2", [center, cam])


def _ablation() -> Table:
    """Groups, seeds, and numbers that cannot be compared."""
    full = [
        result("voc07-det", "melm:l2+arl", {"mAP_11pt": value}, seed=seed, config={"net": "vgg16"})
        for seed, value in enumerate((0.47, 0.48))
    ]
    part = result(
        "voc07-det", "melm:base", {"mAP_11pt": 0.1}, config={"net": "tiny"}, split="few", images=5, partial=True
    )
    return beside("melm-1", [*full, part])


def _errors() -> Table:
    """Lower is better, two digits."""
    errors = {"top1_cls_error": 0.25, "top5_cls_error": 0.08, "top1_loc_error": 0.4712, "top5_loc_error": 0.39}
    intervals = {name: (value - 0.01, value + 0.01) for name, value in errors.items()}
    return beside("danet-1", [result("cub-loc", "danet", errors, config={"net": "vgg16"}, intervals=intervals)])


TABLES = {"spn-2": _pointing, "melm-1": _ablation, "danet-1": _errors}

ODD = Table(
    r"a & b_c <i> 100 % #1 $x$ ~ ^ \ {y}",
    ("method", "m|n*", "*p*"),
    (
        (Cell("[x](y)", "[x](y)"), Cell(1.0, "**1**", best=True), Cell()),
        (Cell("* <b>", "* <b>"), Cell("`z` _u_ &lt;", "`z` _u_ &lt;", ("a",)), Cell(0.0, "0.0")),
    ),
    {"a": "<script>alert(1)</script> 5 % $"},
    ("--- & remark_",),
    ("", "head & <x>", "head & <x>"),
    ("", "group # 2"),
)
"""Everything that some format takes for markup."""

_LONG_NAMES = (
    "measured: melm:l2+arl [background=true, box_threshold=0.25, epochs=24, map_alignment=resize], 3 seeds",
    "m" * 150,
    "a/path/to/" * 15,
    "a_b&" * 50,
)
LONG = Table(
    f"on {'split' * 40}",
    ("method", "CorLoc", "mAP"),
    tuple(
        (Cell(name, name, ("a",)), Cell(0.5, "50.0 [49.0, 51.0] ± 0.3 (3)"), Cell(-0.1, name)) for name in _LONG_NAMES
    ),
    {"a": " ".join(_LONG_NAMES)},
    _LONG_NAMES,
)
"""Names and notes longer than a line, with and without places to break them."""


class _Reader(HTMLParser):
    """Rows of texts of an HTML table; what spans columns stands in the first of them. strong: texts that are so."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.strong: list[str] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1] += [""] * int(dict(attrs).get("colspan") or 1)
            self._at = -int(dict(attrs).get("colspan") or 1)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"td", "th"} & set(self._open):
            return
        self.rows[-1][self._at] += f" {_enclose(data)}" if "sup" in self._open else data
        self.strong += [data] if "strong" in self._open else []


def _cells(table: Table) -> list[list[str]]:
    """Texts as a page shows them: a row for each group, and marks after their cell."""
    shown = []
    for group, rows in table.sections():
        shown += [[group] + [""] * (len(table.columns) - 1)] if group else []
        shown += [[_with_marks(cell) for cell in row] for row in rows]
    return shown


def _with_marks(cell: Cell) -> str:
    return " ".join([cell.text, *map(_enclose, cell.marks)])


def _enclose(mark: str) -> str:
    return f"({mark})" if mark.isalpha() else mark


def _best(table: Table) -> list[str]:
    return [cell.text for row in table.rows for cell in row if cell.best]


def test_the_command_line_offers_every_format() -> None:
    assert tuple(FORMATS) == OFFERED


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_written_as_approved(name: str, format_: str) -> None:
    golden = GOLDEN / f"{name}.{SUFFIX[format_]}"
    assert FORMATS[format_](TABLES[name]()) + "\n" == golden.read_text(encoding="utf-8"), f"see {__file__}, its top"


@pytest.mark.parametrize("name", [*TABLES, "odd"])
def test_html_says_what_the_table_says(name: str) -> None:
    table = ODD if name == "odd" else TABLES[name]()
    read = _Reader(html(table))
    heads = 2 if table.heads else 1
    assert read.rows[heads - 1] == list(table.columns)
    assert read.rows[heads:] == _cells(table)
    assert read.strong == _best(table)


@pytest.mark.parametrize("name", [*TABLES, "odd"])
def test_markdown_says_what_the_table_says(name: str) -> None:
    table = ODD if name == "odd" else TABLES[name]()
    read = _Reader(MarkdownIt("commonmark").enable("table").render(markdown(table)))
    assert read.rows[0] == list(table.names)
    assert read.rows[1:] == _cells(table)
    assert read.strong == [_with_marks(cell) for row in table.rows for cell in row if cell.best]


@pytest.mark.parametrize("name", reported_tables())
def test_csv_is_read_by_pandas_with_every_cell_in_full_precision(name: str) -> None:
    table = beside(name, [])
    frame = pd.read_csv(io.StringIO(csv(table)), dtype=str, keep_default_na=False)
    values = [["" if cell.value is None else str(cell.value) for cell in row] for row in table.rows]
    assert frame[list(table.names)].to_numpy().tolist() == values
    assert list(frame.get("group", ())) == list(table.groups)


def test_html_is_escaped() -> None:
    assert "<script>" not in html(ODD)
    assert "&lt;script&gt;" in html(ODD)


def test_latex_escapes_what_latex_reads() -> None:
    body = latex(ODD)
    assert r"\caption{a \& b\_c \textless{}i\textgreater{} 100 \% \#1 \$x\$ \textasciitilde{}" in body
    assert "{[}x{]}(y) & \\textbf{{*}{*}1{*}{*}} &  \\\\" in body
    assert r"\multicolumn{3}{l}{\emph{group \# 2}} \\" in body
    assert r" & \multicolumn{2}{c}{head \& \textless{}x\textgreater{}} \\" in body
    assert r"\cmidrule(lr){2-3}" in body


def test_latex_breaks_long_names_so_that_a_table_is_not_set_very_small() -> None:
    *_, body = latex(LONG).split("\\midrule\n")
    for name, row in zip(_LONG_NAMES, body.splitlines(), strict=False):
        first, _, _ = row.partition("\\end{tabular}")
        lines = first.removeprefix("\\begin{tabular}[t]{@{}l@{}}").split(r" \\ \quad ")
        assert len(lines) > 1
        assert "".join("".join(lines).split()) == "".join(escape(name).split()) + r"\textsuperscript{a}"
    letters = "m" * 60
    assert rf"{letters} \\ \quad {letters} \\ \quad {letters[:30]}\textsuperscript" in body


def test_latex_breaks_words_of_notes_only_where_they_are_long() -> None:
    table = Table("melm-2 on a-b_c", ("method",), (), {}, ("m" * 30, "training/of/a/long/path/to/weights.npz"))
    assert r"\caption{melm-2 on a-b\_c}" in latex(table)
    assert rf"{'m' * 24}\allowbreak{{}}{'m' * 6}" in latex(table)
    assert r"training/of/a/long/path/\allowbreak{}to/weights.npz" in latex(table)


@pytest.mark.slow
def test_latex_compiles(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex: apt-get install texlive-latex-recommended")
    tables = [ODD, LONG, *(beside(name, []) for name in reported_tables()), *(make() for make in TABLES.values())]
    body = "\n\n".join(map(latex, tables))
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs,graphicx}\n\\extrafloats{99}\n"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n",
        encoding="utf-8",
    )
    command = ["pdflatex", "-halt-on-error", "-no-shell-escape", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert re.search(r"Output written on page\.pdf \(\d+ pages", done.stdout)
    assert "Overfull" not in done.stdout  # nothing runs off the page


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, make in TABLES.items():
        for format_, write in FORMATS.items():
            (GOLDEN / f"{name}.{SUFFIX[format_]}").write_text(write(make()) + "\n", encoding="utf-8")


def test_csv_has_no_text_that_a_spreadsheet_computes() -> None:
    names = ("=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1")
    rows = tuple((Cell(name, name), Cell(-0.5, "-50.0")) for name in names)
    lines = csv(Table("title", ("method", "=metric"), rows, {}, ())).splitlines()
    assert lines[0] == "method,'=metric,notes"
    assert lines[1:] == [f"'{name},-0.5," for name in names]


def test_html_folds_what_is_very_long_and_says_it_whole() -> None:
    long = "m" * 1000
    row = Cell(long, long), Cell(long, long, link="page.html"), Cell(long[:400], long[:400])
    page = html(Table("long", ("a", "b", "c"), (row,)))
    assert f"<details><summary>{long[:120]}…</summary>{long}</details>" in page
    assert f'<a href="page.html"><span title="{long}">{long[:120]}…</span></a>' in page
    assert f">{long[:400]}</td>" in page


def test_latex_has_no_letters_that_cannot_be_printed() -> None:
    assert escape("a\x00b\x1bc\u202ed\te") == "abcd e"
