"""Data files: scripts that a page loads on demand, as a page opened from disk may load no other data."""

from __future__ import annotations

import json
from typing import Any

_UNSAFE = {sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
"""Escapes of characters that could end an element that holds data, or a line of a script."""


def escape_json(data: Any) -> str:
    """Return data as JSON in which nothing can end the element or the script that holds it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign, escaped in _UNSAFE.items():
        text = text.replace(sign, escaped)  # `translate` is slower: it goes letter by letter
    return text


def make_data_file(path: str, data: Any) -> str:
    """Make the data file of a path relative to the site's root; pages load it with `weakloc.load(path)`."""
    return f"weakloc.data[{escape_json(path)}] = {escape_json(data)};\n"
