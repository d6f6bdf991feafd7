"""Text from outside, made fit for messages and records: no passwords."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def remove_password(uri: str) -> str:
    """Return a URI without its password.

    >>> remove_password("postgresql://me:secret@host/db")
    'postgresql://me@host/db'
    """
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}{at}{host}")) if at else uri
