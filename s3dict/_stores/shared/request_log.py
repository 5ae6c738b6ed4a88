"""Debug logging: a line for each request that a store sends, through the logger ``s3dict``.

A line has the operation, where, the status, the time and how often the request was sent again. It has no value and no
key: of an entry's object name, which ends with the key where that is short, only the hash is shown.

`logging` is not imported for it: who wants lines has imported it.
"""

from __future__ import annotations

import re
import sys
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger

Status = int | str
"""Of HTTP, or what came in its place."""
NO_ANSWER: Status = "no answer"
NOT_SENT: Status = "not sent"
UNKNOWN: Status = "not clear"

_DEBUG = 10
_HASH = r"/([0-9a-f]{32})(?:\.[\w-]*)?$"
_logger: Logger | None = None


def logger() -> Logger:
    """The logger of the package, which says nothing until the program has set logging up."""
    global _logger  # noqa: PLW0603 (it takes a lock to get it, each time)
    if _logger is None:
        from logging import NullHandler, getLogger

        _logger = getLogger("s3dict")
        _logger.addHandler(NullHandler())
    return _logger


def start() -> float:
    """When the request begins, for `write`; 0 if nobody wants to know."""
    if _logger is None and "logging" not in sys.modules:
        return 0.0
    return perf_counter() if (_logger or logger()).isEnabledFor(_DEBUG) else 0.0


def write(operation: str, where: str, began: float, status: Status, retries: int) -> None:
    """The line for a request. `where` is its object's or its listing's URL, or the bucket's."""
    ms = (perf_counter() - began) * 1000
    hashed = re.search(_HASH, where)
    key_hash = hashed[1] if hashed else None
    shown = where[: hashed.end(1)] if hashed else where
    fields = {"operation": operation, "where": shown, "key_hash": key_hash, "status": status, "ms": ms}
    again = f", {retries} retries" if retries != 1 else ", 1 retry"
    logger().debug("%s %s: %s, %.1f ms%s", operation, shown, status, ms, again, extra={**fields, "retries": retries})
