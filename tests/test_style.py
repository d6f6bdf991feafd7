"""Rules of style that no tool checks; ruff and mypy are steps of CI."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = [
    path for folder in ("bench", "methods", "protocols", "slurm", "tools") for path in (ROOT / folder).rglob("*.py")
]
MAY_CATCH_ALL = {
    ROOT / "bench" / path: why
    for path, why in {
        "cli/main.py": "an error of our own making gets its exit code",
        "core/apart.py": "a child process tells its parent what it died of",
        "registry.py": "a plugin may raise anything when it is imported",
        "data/datasets.py": "an entry point of others may raise anything when it is opened",
        "execution/rehearsal.py": "a method may raise anything when it is tried",
        "execution/pipeline.py": "one of several runs may end no other",
    }.items()
}
"""Where everything may be caught: nothing is passed over there, it becomes a message."""


def test_library_code_neither_asserts_nor_catches_everything() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in LIBRARY
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.ExceptHandler) and _is_broad(node) and path not in MAY_CATCH_ALL)
    ]


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
