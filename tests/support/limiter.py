"""Limits of a store on the rate of requests: which requests it refuses with 429."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable

__all__ = ["KeyLimiter", "Limiter", "RateLimiter", "TokenBucket"]

Limiter = Callable[[str, str], bool]
"""Called with the method and path of a request; returns whether it is admitted."""

_WRITES = frozenset({"PUT", "POST", "DELETE"})
_WINDOW = 1.0


class RateLimiter:
    """Admits so many writes in any second, and so many reads; None is no limit."""

    def __init__(
        self, writes: int | None = None, reads: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limits = {True: writes, False: reads}
        self._admitted: dict[bool, deque[float]] = {True: deque(), False: deque()}
        self._clock = clock
        self.refused = 0

    def __call__(self, method: str, path: str) -> bool:
        is_write, now = method in _WRITES, self._clock()
        limit, admitted = self._limits[is_write], self._admitted[is_write]
        while admitted and now - admitted[0] >= _WINDOW:
            admitted.popleft()
        if limit is not None and len(admitted) >= limit:
            self.refused += 1
            return False
        admitted.append(now)
        return True


class TokenBucket:
    """Admits a write for each token, of which it gets so many a second and keeps `burst`.

    Without bursts that is what accumulates in 20 ms, as a server does not respond to each request in the moment of its
    arrival, and two at least.
    """

    def __init__(self, writes: int, *, burst: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._writes, self._clock = writes, clock
        self._burst = max(2.0, writes * 0.02) if burst is None else burst
        self._tokens, self._filled_at = float(self._burst), clock()
        self.refused = 0

    def __call__(self, method: str, path: str) -> bool:
        if method not in _WRITES:
            return True
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._writes)
        self._filled_at = now
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True


class KeyLimiter:
    """Admits one write of a key in a second, as Cloudflare R2 and Google Cloud Storage do."""

    def __init__(self, seconds: float = _WINDOW, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._written: defaultdict[str, float] = defaultdict(lambda: -1e9)
        self._clock = clock
        self.refused = 0

    def __call__(self, method: str, path: str) -> bool:
        if method not in _WRITES:
            return True
        now = self._clock()
        if now - self._written[path] < self._seconds:
            self.refused += 1
            return False
        self._written[path] = now
        return True
