"""Stores with a shorter timeout than their client's."""

from __future__ import annotations

import math
import threading
from typing import Self

CONNECT_SECONDS = 5.0
"""The longest wait for a connection; the wait for a response is the client's `timeout`."""


class HasTimeoutVariants:
    """Gives a class that implements `_with_timeout` its `with_timeout`, and keeps the variants."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._variants: dict[float, Self] = {}
        self._variants_lock = threading.RLock()

    def with_timeout(self, seconds: float) -> Self:
        """Return one whose requests wait no longer than `seconds`, and no shorter than half of it.

        Timeouts are rounded down to powers of two, so that there are few variants.
        """
        if seconds >= self.timeout:
            return self
        timeout = 2.0 ** math.floor(math.log2(seconds))
        with self._variants_lock:
            if timeout not in self._variants:
                self._variants[timeout] = self._with_timeout(timeout)
            return self._variants[timeout]

    async def close(self) -> None:
        """Close the connections, and those of the variants; a later request opens new ones."""
        with self._variants_lock:
            variants = list(self._variants.values())
            self._variants.clear()
        for variant in variants:
            await variant.close()
        await self._close()

    async def _close(self) -> None:
        """Close the connections of this one. Does nothing where they are closed when it is garbage collected."""

    def _with_timeout(self, timeout: float) -> Self:
        """Return a new one with that timeout."""
        raise NotImplementedError
