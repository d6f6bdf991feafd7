"""Data files: scripts that a page loads when it needs them, as one opened from disk may read nothing else."""

from __future__ import annotations

import json
from typing import Any

_UNSAFE = {sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""What could end an element that holds data, or a line of a script."""


def escape_json(data: Any) -> str:
    """Return data as JSON in which nothing can end the element or the script that holds it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign, escaped in _UNSAFE.items():
        text = text.replace(sign, escaped)  # `translate` goes letter by letter
    return text


def make_data_file(path: str, data: Any) -> str:
    """Make the data file of this path, relative to the root of the site; pages get it by `weakloc.load(path)`."""
    return f"weakloc.data[{escape_json(path)}] = {escape_json(data)};\n"
