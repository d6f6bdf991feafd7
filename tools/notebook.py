"""`docs/python.ipynb`, the notebook of `docs/python.md`: `python -m tools.notebook` regenerates it.

Its code cells are the page's Python blocks, all else is text; the output of cells is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from bench.core.files import write_text
from tools.docs import FOLDER

PAGE, NOTEBOOK = FOLDER / "python.md", FOLDER / "python.ipynb"

_CODE = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(r"^```text\n.*?^```\n", re.MULTILINE | re.DOTALL)


def make_notebook(page: str) -> str:
    """Make the notebook of a page, in nbformat 4.5."""
    cells = [{"id": f"cell-{number}", **cell} for number, cell in enumerate(_split(_OUTPUT.sub("", page)))]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _split(page: str) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(_CODE.split(page)):
        if not text.strip():
            continue
        lines = text.strip().splitlines(keepends=True)
        if number % 2:
            yield {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": lines}
        else:
            yield {"cell_type": "markdown", "metadata": {}, "source": lines}


if __name__ == "__main__":
    write_text(NOTEBOOK, make_notebook(PAGE.read_text(encoding="utf-8")))
