"""Durations, which callers give as seconds or as a timedelta."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, TypeAlias

from .errors import InvalidError

Duration: TypeAlias = float | timedelta
"""Seconds, or a timedelta."""


def to_seconds(duration: Duration, name: str) -> float:
    """Return the seconds.

    Raises:
        InvalidError: It is not a number or a timedelta. The name is that of the argument.
    """
    seconds: Any = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not isinstance(seconds, (int, float)):
        seconds = of_numpy(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or math.isnan(seconds):
        raise InvalidError(f"Invalid {name}: {duration!r}. It is a number of seconds or a timedelta")
    return seconds


def of_numpy(duration: Any) -> Any:
    """Return the seconds of a timedelta64 or an integer of NumPy; anything else as it is."""
    kind = type(duration)
    if kind.__module__ != "numpy":
        return duration
    if kind.__name__ == "timedelta64":
        try:
            return float(duration / kind(1, "s"))
        except TypeError:  # months and years have no length
            return duration
    return duration.item() if hasattr(duration, "item") and not hasattr(duration, "__len__") else duration


def to_timedelta(duration: Duration, name: str) -> timedelta:
    """Return the timedelta. Raises InvalidError, as `to_seconds` does."""
    try:
        return timedelta(seconds=to_seconds(duration, name))
    except OverflowError as error:
        raise InvalidError(f"Invalid {name}: {duration!r}. It exceeds the longest timedelta") from error
