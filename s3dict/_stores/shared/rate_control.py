"""The rate of bulk operations against a store that throttles: additive increase, multiplicative decrease.

Bulk operations send as fast as their concurrency allows until the store throttles them. From then on each attempt of
theirs reserves the next free slot, at a rate that rises slowly and drops when the store throttles again. One controller
serves all threads and event loops of a client in one process: a slot is reserved under a lock, and waited for outside
of it. The number of requests in flight could not serve as the limit: at 2 ms a request, one in flight is 500 a second.

Reads and writes have rates of their own, as stores limit them apart. Locks, renewals and single-key operations neither
wait here nor report: a 429 of one object does not concern the others.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Self

from ..._retry import RetryPolicies, ThrottledError
from ...errors import Error
from ..base import Runtime, monotonic_seconds
from .forks import check_process

WINDOW = 1.0
"""Stores count requests by the second, so nothing shorter shows a rate that they accept."""
DECREASE = 0.93
MAX_DECREASE = 0.125
LINEAR_INCREASE = 0.03
"""How much of the rate after the last decrease is added a second: a cycle of two or three seconds, at 97 % of it."""
CUBIC_INCREASE = 0.001
"""The same for the cube of the seconds: after ten of them without throttling, other clients have left, say."""
FORGET_AFTER = 60.0
"""After so long without throttling there is no limit any more."""
MIN_RATE = 1.0
REFUSED_MOSTLY = 3
"""So many refused requests for each accepted one show that the rate is out of all proportion."""
START_DOUBLING = 0.5
"""A first estimate that is out of all proportion doubles in so many seconds, until the store throttles."""


class RateLimit:
    """The rate of the reads or of the writes of one client, from all of its threads and event loops."""

    def __init__(self, clock: Callable[[], float] = monotonic_seconds) -> None:
        self._clock = clock
        # A signal handler may use the client while its thread is inside.
        self._lock = threading.RLock()
        self._accepted: deque[float] = deque()
        """When responses arrived that were not throttled, in the last `WINDOW`."""
        self.last_accepted_at = -math.inf
        self._refused = 0
        """How many were throttled since the last decrease."""
        self._busy_since = -math.inf
        self._rate_after_decrease = math.inf
        self._decreased_at = -math.inf
        self._is_first_estimate = False
        self._next_slot = -math.inf

    @property
    def is_unlimited(self) -> bool:
        """Whether the store has never throttled, so that there is nothing to wait for."""
        return math.isinf(self._rate_after_decrease)

    def reserve(self) -> float:
        """Reserve the next free slot; return how many seconds from now it is."""
        with self._lock:
            now = self._clock()
            slot = max(now, self._next_slot)
            rate = self._rate(slot)
            if math.isinf(rate):
                return 0.0
            self._next_slot = slot + 1 / rate
            return slot - now

    def accepted(self) -> None:
        """Note a response that was not throttled."""
        with self._lock:
            now = self._clock()
            if not self._accepted or now - self._accepted[-1] > WINDOW:
                self._busy_since = now
            self._accepted.append(now)
            self.last_accepted_at = now
            self._drop_old(now)
            if self._is_first_estimate and now < self._busy_since + WINDOW:
                # The responses of the first second arrive in any order, those to what was refused often first.
                self._rate_after_decrease = max(self._rate_after_decrease, len(self._accepted) / WINDOW)

    def throttled(self, sent_at: float) -> None:
        """Note a throttled response to a request that was sent at that time by the clock."""
        with self._lock:
            now = self._clock()
            self._drop_old(now)
            self._refused += 1
            if now - self._decreased_at >= WINDOW and sent_at >= self._decreased_at:
                self._decrease(now)
            elif self._is_refused_mostly():
                # The rest of this second would be refused as well.
                self._next_slot = max(self._next_slot, self._decreased_at + WINDOW)

    def _decrease(self, now: float) -> None:
        rate, seen = self._rate(now), len(self._accepted) / WINDOW
        if math.isinf(rate):
            # What is accepted within this second is what the store accepts in a second; the next one begins when it is
            # over.
            self._is_first_estimate, self._rate_after_decrease = True, max(MIN_RATE, seen)
            self._next_slot = max(now, self._busy_since + WINDOW)
        else:
            self._is_first_estimate = False
            self._rate_after_decrease = max(MIN_RATE, MAX_DECREASE * rate, min(DECREASE * rate, seen))
        self._decreased_at, self._refused = now, 0

    def _rate(self, now: float) -> float:
        steady = now - self._decreased_at
        if steady > FORGET_AFTER or math.isinf(self._rate_after_decrease):
            return math.inf
        if self._is_first_estimate and self._refused > REFUSED_MOSTLY * self._rate_after_decrease:
            doublings = max(0.0, steady - WINDOW) / START_DOUBLING
            return self._rate_after_decrease * math.pow(2.0, doublings)
        return self._rate_after_decrease * (1 + LINEAR_INCREASE * steady + CUBIC_INCREASE * steady**3)

    def _is_refused_mostly(self) -> bool:
        accepted = sum(at > self._decreased_at for at in self._accepted)
        return self._refused > max(10, self._rate_after_decrease / 4) and self._refused > REFUSED_MOSTLY * accepted

    def _drop_old(self, now: float) -> None:
        while self._accepted and now - self._accepted[0] > WINDOW:
            self._accepted.popleft()


class RateController:
    """The limits of one client in one process."""

    def __init__(self) -> None:
        self.reads = RateLimit()
        self.writes = RateLimit()


class Slot:
    """A request's place in the rate of its kind; that of a request that is not paced has no limit."""

    __slots__ = ("_limit", "_sent_at")

    def __init__(self, limit: RateLimit | None, sent_at: float) -> None:
        self._limit = limit
        self._sent_at = sent_at

    def accepted(self) -> None:
        """Note that the store did not throttle the request."""
        if self._limit is not None:
            self._limit.accepted()

    def failed(self, error: Error) -> None:
        """Note how the request failed. Only throttling counts: other failures have other causes."""
        if self._limit is not None and isinstance(error, ThrottledError):
            error.progress_at = self._limit.last_accepted_at
            self._limit.throttled(self._sent_at)


_UNPACED = Slot(None, 0.0)
_READS = frozenset({"get_object", "head_object", "list_objects_v2"})


class HasPacedView:
    """Gives a store `paced`, and the slots of its requests, in the process that made it."""

    runtime: Runtime

    def __init__(self, rates: RateController, retries: RetryPolicies) -> None:
        self.retries = retries
        self.is_paced = False
        self._rates = rates
        self._pid = os.getpid()

    def paced(self) -> Self:
        """Return this store, with the same connections, for requests that the rate controller paces."""
        if self.is_paced:
            return self
        view = copy(self)
        # Waiting for a slot takes the place of the backoff.
        view.is_paced, view.retries = True, self.retries.without_throttle_backoff()
        return view

    async def reserve_slot(self, method: str) -> Slot:
        """Wait for the next slot for a request of that botocore method, unless this store is not paced.

        Raises:
            InvalidError: This is a forked child, which shares the connections of the store with its parent.
        """
        check_process(self._pid)
        if not self.is_paced:
            return _UNPACED
        limit = self._rates.reads if method in _READS else self._rates.writes
        if limit.is_unlimited:
            # Sent before any decrease, whenever that is.
            return Slot(limit, -math.inf)
        seconds = limit.reserve()
        if seconds > 0:
            await self.runtime.sleep(seconds)
        return Slot(limit, monotonic_seconds())
