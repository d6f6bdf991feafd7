"""Digests of code: they change with what Python runs, and with nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from bench.core.source_code import digest_source, find_module, strip_source, trace_imports

CODE = '''"""What it is for."""

import math  # for pi


class Circle:
    """A circle."""

    radius: float = 1.0
    """In metres."""

    def area(self) -> float:
        """Compute the area."""
        return math.pi * self.radius**2  # the formula
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""What it is for."""\n', ""),
        ('"""What it is for."""', '"""Something else,\n\nover lines."""'),
        ("  # for pi", ""),
        ("# the formula", "# Archimedes"),
        ('    """In metres."""\n', ""),
        ('        """Compute the area."""\n', "\n        # nothing\n"),
        ("radius: float = 1.0\n", "radius: float = 1.0   \n\n\n"),
    ],
)
def test_comments_docstrings_and_blank_lines_do_not_count(old: str, new: str) -> None:
    assert old in CODE
    assert strip_source(CODE.replace(old, new)) == strip_source(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1.0", "1.5"),
        ("math.pi", "3.14"),
        ("Circle", "Disc"),
        ("        return", "        if self.radius:\n            return"),
    ],
)
def test_code_counts(old: str, new: str) -> None:
    assert strip_source(CODE.replace(old, new)) != strip_source(CODE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('x = "# a"\n', 'x = "# b"\n'),
        ("x = ('a'\n     'b')\n", "x = ('a'\n     'c')\n"),
        ('x = """a\n\nb"""\n', 'x = """a\nb"""\n'),
        ('x = """a \nb"""\n', 'x = """a\nb"""\n'),
        ('f"{print(1)}"\n', 'f"{print(2)}"\n'),
        ('f(\n    "a"\n)\n', 'f(\n    "b"\n)\n'),
    ],
)
def test_texts_that_the_code_uses_count(one: str, other: str) -> None:
    assert strip_source(one) != strip_source(other)


def test_letters_beyond_ascii_stand_before_what_is_cut() -> None:
    assert strip_source('é = "ü"  # ö\nß = 1 # x\n') == 'é = "ü"\nß = 1'


def test_an_edit_of_the_same_length_is_seen_and_a_broken_file_has_a_digest(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    digests = []
    for text in ("x = 1\n", "x = 2\n", "x = (\n", "x = [\n", "x = 1  # again\n"):
        file.write_text(text)
        digests.append(digest_source(file))
    assert len(set(digests)) == 4
    assert digests[0] == digests[-1]


def test_imports_are_followed_within_functions_packages_and_relative_ones(tmp_path: Path) -> None:
    files = {
        "start.py": "import helper\nfrom package import one\nfrom package.inner import *\n",
        "helper.py": "def late():\n    import later\n    import numpy\n",
        "later.py": "import start\n",
        "package/__init__.py": "from . import base\n",
        "package/base.py": "",
        "package/one.py": "from .inner.deep import name\n",
        "package/two.py": "",
        "package/inner/__init__.py": "",
        "package/inner/deep.py": "from ..two import thing\n",
        "unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = trace_imports("start", partial(find_module, folders=[tmp_path]))
    assert {path.relative_to(tmp_path).as_posix() for path in found.values()} == {*files} - {"unused.py"}
    assert found["package.inner.deep"] == tmp_path / "package" / "inner" / "deep.py"
