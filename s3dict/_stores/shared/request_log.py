"""Debug logging: a line for each request that a store sends, through the logger ``s3dict``.

A line has the operation, the URL, the status, the duration and the number of retries. It has no value and no key: of an
entry's object name, which ends with the key if that is short, only the hash is logged.

`logging` is not imported for it: a program that reads the lines has imported it.
"""

from __future__ import annotations

import re
import sys
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logging import Logger

Status = int | str
"""The HTTP status, or a text in its place."""
NO_RESPONSE: Status = "no response"
NOT_SENT: Status = "not sent"
UNKNOWN: Status = "unknown"

_DEBUG = 10
_HASH = r"/([0-9a-f]{32})(?:\.[\w-]*)?$"
_logger: Logger | None = None


def logger() -> Logger:
    """Return the logger of the package, which is silent until the program configures logging."""
    global _logger  # noqa: PLW0603 (it takes a lock to get it, each time)
    if _logger is None:
        from logging import NullHandler, getLogger

        _logger = getLogger("s3dict")
        _logger.addHandler(NullHandler())
    return _logger


def without_key(name: str) -> str:
    """Return an object's name or URL without the key that it ends with: what remains ends with the key's hash."""
    hashed = re.search(_HASH, name)
    return name[: hashed.end(1)] if hashed else name


def start_timer() -> float:
    """Return the start of a request, for `log_request`; 0 if the log is off."""
    if _logger is None and "logging" not in sys.modules:
        return 0.0
    return perf_counter() if (_logger or logger()).isEnabledFor(_DEBUG) else 0.0


def log_request(operation: str, url: str, started: float, status: Status, retries: int) -> None:
    """Log a request about the object, prefix or bucket with that URL."""
    ms = (perf_counter() - started) * 1000
    hashed = re.search(_HASH, url)
    key_hash = hashed[1] if hashed else None
    loggable_url = without_key(url)
    fields = {"operation": operation, "where": loggable_url, "key_hash": key_hash, "status": status, "ms": ms}
    retried = f", {retries} retries" if retries != 1 else ", 1 retry"
    logger().debug(
        "%s %s: %s, %.1f ms%s", operation, loggable_url, status, ms, retried, extra={**fields, "retries": retries}
    )
