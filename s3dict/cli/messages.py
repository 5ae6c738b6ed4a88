"""Messages of errors, as the command line words them: hints are commands and variables, not Python."""

from __future__ import annotations

import re

from ..errors import NotFoundError

__all__ = ["for_terminal", "no_such_dict"]

_HINTS = (
    (
        re.compile(r"(There is no Dict '([^']*)' in environment '[^']*').*", re.DOTALL),
        r"\1: see `s3dict list`, or run `s3dict create \2`",
    ),
    (re.compile(r",? or pass\s+client=Client\([^)]*\)"), ""),
    (re.compile(r"Choose another port"), "Choose another with --port"),
    (re.compile(r"Client\(timeout=[^)]*\) or (S3DICT_TIMEOUT)"), r"\1"),
    (re.compile(r"Client\(signing_keys=[^)]*\) or (S3DICT_SIGNING_KEYS)"), r"\1"),
)


def for_terminal(error: BaseException) -> str:
    """Return the message of an error with its Python hints replaced by those of the command line."""
    message = str(error)
    for pattern, replacement in _HINTS:
        message = pattern.sub(replacement, message)
    return message


def no_such_dict(name: str, environment: str) -> NotFoundError:
    return NotFoundError(f"There is no Dict {name!r} in environment {environment!r}")
