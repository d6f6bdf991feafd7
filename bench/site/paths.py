"""Paths of the pages, relative to the root of the site."""

from __future__ import annotations

import hashlib


def protocol_page(name: str) -> str:
    """Return the path of a protocol's page."""
    return f"protocol/{encode_name(name)}.html"


def method_page(name: str) -> str:
    """Return the path of a method's page, which covers all its variants."""
    return f"method/{encode_name(name)}.html"


def run_page(address: str) -> str:
    """Return the path of a result's page."""
    return f"run/{encode_name(address)}.html"


def images_folder(dataset: str, split: str) -> str:
    """Return the path of the pages of a split's images."""
    return f"image/{encode_name(dataset)}/{encode_name(split)}"


def paper_page(name: str) -> str:
    """Return the path of a paper table's page."""
    return f"paper/{encode_name(name)}.html"


def board_file(protocol: str, dataset: str, ending: str) -> str:
    """Return the path of a leaderboard as a file."""
    return f"protocol/{encode_name(protocol)}.{encode_name(dataset)}.{ending}"


def paper_file(name: str, ending: str) -> str:
    """Return the path of a paper's table as a file."""
    return f"paper/{encode_name(name)}.{ending}"


def data_file(address: str) -> str:
    """Return the path of a result's data file."""
    return f"data/{encode_name(address)}.js"


_LONGEST = 100
"""The most characters of an encoded name before it is cut; file systems allow 255 in a file name."""


def encode_name(name: str) -> str:
    """Make a safe file name, distinct for distinct names even on case-insensitive file systems.

    >>> encode_name("cam"), encode_name("CAM"), encode_name("a/b")
    ('cam', 'CAM..7', 'a.2f.b')
    """
    safe = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else f".{ord(sign):x}." for sign in name)
    if capitals := sum(1 << place for place, sign in enumerate(name) if "A" <= sign <= "Z"):
        safe += f"..{capitals:x}"
    if len(safe) <= _LONGEST:
        return safe
    return f"{safe[:_LONGEST]}..{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"
