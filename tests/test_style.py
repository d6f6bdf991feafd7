"""Rules of style that no tool checks; ruff and mypy are steps of CI."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = [
    path for folder in ("bench", "methods", "protocols", "slurm", "tools") for path in (ROOT / folder).rglob("*.py")
]
LAST_RESORT = ROOT / "bench" / "cli" / "main.py"
"""Where an error of our own making gets its exit code."""


def test_library_code_neither_asserts_nor_catches_everything() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in LIBRARY
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
        or (isinstance(node, ast.ExceptHandler) and _is_broad(node) and path != LAST_RESORT)
    ]


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
