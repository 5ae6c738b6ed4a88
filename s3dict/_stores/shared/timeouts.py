"""Stores for requests that are of no use when they are late."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

S = TypeVar("S")


class TimeoutVariants(Generic[S]):
    """What a store has made for each shorter timeout.

    These are powers of two, lest there be one for each number that somebody asks for.
    """

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._made: dict[float, S] = {}

    def of(self, seconds: float, make: Callable[[float], S]) -> S:
        """That for a timeout of so many seconds, or down to half as many; `make` is called when there is none."""
        timeout = 2.0 ** math.floor(math.log2(seconds))
        with self._making:
            if timeout not in self._made:
                self._made[timeout] = make(timeout)
            return self._made[timeout]
