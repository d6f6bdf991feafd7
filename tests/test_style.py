"""The tools that keep the style, and the rules that no tool knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = [path for folder in ("bench", "methods", "protocols", "slurm") for path in (ROOT / folder).rglob("*.py")]


@pytest.mark.parametrize("tool", ["ruff check", "ruff format --check", "mypy"])
def test_tool_finds_nothing(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *tool.split(), *(["."] if tool != "mypy" else [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_library_code_neither_asserts_nor_catches_everything(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    broad = [node for node in nodes if isinstance(node, ast.ExceptHandler) and _is_broad(node)]
    if path != ROOT / "bench" / "cli" / "main.py":  # where our own bugs get their exit code
        assert not broad
    assert not [node for node in nodes if isinstance(node, ast.Assert)]


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
