"""Where each page of the site is, from its root."""

from __future__ import annotations


def protocol_page(name: str) -> str:
    """The path of a protocol's page."""
    return f"protocol/{_file(name)}.html"


def method_page(name: str) -> str:
    """The path of a method's page, on which all its variants are."""
    return f"method/{_file(name)}.html"


def run_page(address: str) -> str:
    """The path of a result's page."""
    return f"run/{_file(address)}.html"


def pictures_page(address: str) -> str:
    """The path of the pictures of a result."""
    return f"pictures/{_file(address)}.html"


def paper_page(name: str) -> str:
    """The path of a paper table's page."""
    return f"paper/{_file(name)}.html"


def _file(name: str) -> str:
    """A name without what no file name should hold, and no two names the same."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_") else f".{ord(sign):x}." for sign in name)
