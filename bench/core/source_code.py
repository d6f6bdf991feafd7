"""Digests of code: of a Python file and its imports, ignoring comments and docstrings, and of whole folders."""

from __future__ import annotations

import ast
import functools
import io
import tokenize
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from tokenize import COMMENT, NEWLINE, STRING, TokenInfo

from bench.core.files import digest, file_digest

Find = Callable[[str], Path | None]
"""Returns the file of a module by its dotted name; None for one that is not to be followed."""


def trace_imports(module: str, find: Find) -> dict[str, Path]:
    """Return the files of a module and of all that it imports, also within functions, by module, sorted."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and (path := find(name)) is not None:
            found[name] = path
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _list_imports(_read(path) or "", package)
    return dict(sorted(found.items()))


def find_module(name: str, folders: Sequence[Path]) -> Path | None:
    """Return the file of a module in the first of these folders that has it."""
    inner = Path(*name.split("."))
    candidates = (folder / path for folder in folders for path in (inner / "__init__.py", inner.with_suffix(".py")))
    return next((path for path in candidates if path.is_file()), None)


def digest_source(path: Path) -> str:
    """Compute the digest of a Python file without comments, docstrings and blank lines; of a broken file, of it all."""
    text = _read(path)
    return (None if text is None else _digest_text(text)) or file_digest(path)


@functools.cache
def digest_code(root: Path, *names: str) -> str:
    """Compute the digest of Python files, and of all those in folders, given by their paths below `root`.

    It is computed once per process, which keeps running the code that it has loaded.
    """
    paths = [root / name for name in names]
    files = {file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])}
    return digest([[file.relative_to(root).as_posix(), file_digest(file)] for file in sorted(files)])


def _read(path: Path) -> str | None:
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (SyntaxError, UnicodeDecodeError):  # importing the file reports the error
        return None


@functools.lru_cache(maxsize=1024)
def _digest_text(text: str) -> str | None:
    try:
        return digest(strip_source(text))
    except (SyntaxError, tokenize.TokenError):
        return None


def strip_source(text: str) -> str:
    """Return code without comments, docstrings, blank lines and spaces at the ends of lines, as Python ignores these.

    >>> strip_source('def f():  # why\\n    "Say."\\n\\n    return "# no comment"\\n')
    'def f():\\n    return "# no comment"'
    """
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    remarks = [token for token, before, after in _with_neighbours(tokens) if _is_remark(token, before, after)]
    spread = [token for token in tokens if token.start[0] < token.end[0] and token not in remarks]
    quoted = {row for token in spread for row in range(token.start[0], token.end[0])}
    lines = [(line, row in quoted) for row, line in enumerate(text.split("\n"), 1)]
    for token in reversed(remarks):
        (first, begin), (last, end) = token.start, token.end
        lines[first - 1 : last] = [(lines[first - 1][0][:begin] + lines[last - 1][0][end:], lines[last - 1][1])]
    return "\n".join(line if is_quoted else line.rstrip() for line, is_quoted in lines if is_quoted or line.strip())


def _with_neighbours(tokens: Sequence[TokenInfo]) -> Iterator[tuple[TokenInfo, int, int]]:
    """Yield each token with the types of those before and behind it."""
    types = [NEWLINE, *(token.type for token in tokens), NEWLINE]
    return zip(tokens, types, types[2:], strict=False)


def _is_remark(token: TokenInfo, before: int, after: int) -> bool:
    """Whether a token is a comment, or a string that is a statement by itself."""
    if token.type == COMMENT:
        return True
    begins = before in (NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, COMMENT)
    is_plain = token.type == STRING and token.string.lstrip("rRbBuU")[0] in "\"'"  # one with f computes
    return is_plain and begins and after == NEWLINE


@functools.lru_cache(maxsize=1024)
def _list_imports(text: str, package: str) -> tuple[str, ...]:
    """List the modules that a file of a package may import, with their parent packages; none of a broken file."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return ()
    names = [name for node in ast.walk(tree) for name in _name_imports(node, package)]
    parts = (part for name in names for part in accumulate(name.split("."), "{}.{}".format))
    return tuple(dict.fromkeys(filter(None, parts)))


def _name_imports(node: ast.AST, package: str) -> list[str]:
    """Return the dotted names that a statement of a module of `package` may import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parts = package.split(".")
    above = parts[: len(parts) + 1 - node.level] if node.level else []
    source = ".".join([*above, *([node.module] if node.module else [])])
    return [f"{source}.{alias.name}" for alias in node.names]
