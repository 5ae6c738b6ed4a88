"""For pickles of 0.1: see `s3dict._legacy`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from s3dict import _memoize
from s3dict._memoize import memoize

__all__ = ["_key", "memoize"]


def _key(function: Callable[..., Any], bound: inspect.BoundArguments) -> tuple[Any, ...]:
    """Return the key of a call. A memoized function of ``__main__`` is pickled with its code, which calls this."""
    return _memoize._key(f"{function.__module__}.{function.__qualname__}", bound)
