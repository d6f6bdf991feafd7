"""Paths of the pages, relative to the root of the site."""

from __future__ import annotations


def protocol_page(name: str) -> str:
    """Return the path of a protocol's page."""
    return f"protocol/{_file(name)}.html"


def method_page(name: str) -> str:
    """Return the path of a method's page, which covers all its variants."""
    return f"method/{_file(name)}.html"


def run_page(address: str) -> str:
    """Return the path of a result's page."""
    return f"run/{_file(address)}.html"


def pictures_page(address: str) -> str:
    """Return the path of a result's pictures."""
    return f"pictures/{_file(address)}.html"


def paper_page(name: str) -> str:
    """Return the path of a paper table's page."""
    return f"paper/{_file(name)}.html"


def data_file(address: str) -> str:
    """Return the path of a result's data file."""
    return f"data/{_file(address)}.js"


def _file(name: str) -> str:
    """Make a safe file name, different for different names."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else f".{ord(sign):x}." for sign in name)
