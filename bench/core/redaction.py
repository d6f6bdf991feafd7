"""Text from outside, made fit for messages and records: no secrets, and nothing that steers a terminal."""

from __future__ import annotations

import re

CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal or turn text around, and halves of characters; newlines are not among them."""

_PASSWORD = re.compile(r"(\b[a-z][\w+.-]*://[^\s:@/?#'\"]*):([^\s'\"]+)@", re.IGNORECASE)
_SECRET = re.compile(r"([?&;][\w.-]*(?:token|pass|pwd|secret|key|sig|auth|cred)[\w.-]*=)([^\s&;#'\"]+)", re.IGNORECASE)


def remove_secrets(text: str, uri: str = "") -> str:
    """Return text without the passwords of its URIs, and without the values of parameters that hold secrets.

    uri: a URI whose secrets are also removed where they occur alone in the text.

    >>> remove_secrets("cannot open postgresql://me:secret@host/db")
    'cannot open postgresql://me@host/db'
    >>> remove_secrets("http://host/?run=3&access_token=xyz")
    'http://host/?run=3&access_token=***'
    """
    for secret in [found[2] for pattern in (_PASSWORD, _SECRET) if (found := pattern.search(uri))]:
        text = text.replace(secret, "***")
    return _SECRET.sub(r"\1***", _PASSWORD.sub(r"\1@", text))


def escape_controls(text: str) -> str:
    r"""Return text with control characters escaped, such as `\u001b`, which JSON decodes again; newlines stay.

    >>> escape_controls("a\x1b[2Jb")
    'a\\u001b[2Jb'
    """
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
