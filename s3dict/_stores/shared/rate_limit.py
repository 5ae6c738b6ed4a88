"""The rate that a store admits: found soon after the store first throttles, and kept from then on.

A `RateLimit` begins without a limit. The first refusal begins a *search*: requests are sent slowly, and twice as fast
every tenth of a second while the store admits them. If it admits none before the first second is over, it counts by the
second, and what it has admitted is its rate. Otherwise it refuses a part of them at some point, and a *measurement*
follows: for a second they are sent not much faster than the store admits them, and what it admits is its rate. From
then on the rate is *steady*: it rises slowly, in time with the cube of the seconds as in CUBIC (RFC 9438), and drops
when more than a few per cent of the requests are refused.

A pause of more than a second, because the operation has ended or the process was frozen, shows nothing: what it leaves
unfinished begins again as a search, and a steady rate does not rise in it.

The number of requests in flight could not serve as the limit: at 2 ms a request, one in flight is 500 a second.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from ..._record import Record
from ..base import monotonic_seconds

WINDOW = 1.0
"""Stores count requests by the second, so nothing shorter shows a rate that they accept."""
FORGET_AFTER = 60.0
"""After so long without throttling there is no limit any more."""
MIN_RATE = 1.0
START_RATE = 32.0
DOUBLING_SECONDS = 0.1
MAX_DOUBLINGS = 30.0
RECENT = 2 * DOUBLING_SECONDS
OVERLOAD = 0.25
"""So many refused requests for each admitted one show that a search has passed the rate of the store."""
PRESSURE = 1.5
"""How much faster than the store admits them requests are sent in a measurement: few more are refused than needed."""
MIN_PRESSURE = 0.125
TOLERATED = 0.05
"""So many refused requests for each admitted one are no reason to slow down: stores that admit no bursts refuse those
that arrive a little early."""
DECREASE = 0.95
MAX_DECREASE = 0.125
LINEAR_INCREASE = 0.03
"""How much of the rate after the last decrease is added a second."""
CUBIC_INCREASE = 0.002
"""The same for the cube of the seconds: after ten of them without throttling, other clients have left, say."""
SHORTEST_WAIT = 1e-5


class RateLimit:
    """The rate of the reads or of the writes of one client, from all of its threads and event loops."""

    def __init__(self, clock: Callable[[], float] = monotonic_seconds) -> None:
        self._clock = clock
        # A signal handler may use the client while its thread is inside.
        self._lock = threading.RLock()
        self._accepted = _Recent(WINDOW)
        self.last_accepted_at = -math.inf
        self._busy_since = self._responded_at = self._throttled_at = -math.inf
        self._phase: _Phase | None = None
        self._reserved = 0
        self._free = 0.0
        """How many slots are free. It grows with the rate, so that a new rate holds for those who wait already."""
        self._counted_at = -math.inf

    @property
    def is_unlimited(self) -> bool:
        """Whether there is nothing to wait for, because the store has not throttled, or not for long."""
        return self._phase is None

    def reserve(self) -> int:
        """Reserve the next slot; return its number."""
        with self._lock:
            self._count_free(self._clock())
            self._reserved += 1
            return self._reserved

    def seconds_until(self, slot: int) -> float:
        """Return for how many seconds to wait before asking again; 0 once the slot is free."""
        with self._lock:
            now = self._clock()
            self._count_free(now)
            if self._phase is None:
                return 0.0
            rate, before = self._phase.rate(now), slot - 1 - self._free
            seconds = before / rate if rate else self._phase.max_wait
            return min(seconds, self._phase.max_wait) if seconds > SHORTEST_WAIT else 0.0

    def accepted(self, sent_at: float) -> None:
        """Note a response that was not throttled, to a request that was sent at that time by the clock."""
        with self._lock:
            now = self._clock()
            if now - self.last_accepted_at > WINDOW:
                self._busy_since = now
            self.last_accepted_at = self._responded_at = now
            self._accepted.add(now)
            if self._phase is not None:
                self._phase.accepted(self._response(now, sent_at))

    def throttled(self, sent_at: float) -> None:
        """Note a throttled response to a request that was sent at that time by the clock."""
        with self._lock:
            now = self._clock()
            self._count_free(now)
            self._responded_at = self._throttled_at = now
            response = self._response(now, sent_at)
            self._phase = _search(response) if self._phase is None else self._phase.throttled(response)

    def _response(self, now: float, sent_at: float) -> _Response:
        return _Response(now, sent_at, self._accepted.number(now), self._busy_since)

    def _count_free(self, now: float) -> None:
        """Add the slots that have become free since this was last called, at the rate of this phase or the next."""
        if self._phase is not None:
            is_forgotten = now - self._throttled_at > FORGET_AFTER
            self._phase = None if is_forgotten else self._phase.at(now, self._responded_at)
        if self._phase is None:
            self._free = float(self._reserved)
        elif now > self._counted_at:
            free = self._free + (now - self._counted_at) * self._phase.rate(now)
            self._free = min(float(self._reserved), free)
        self._counted_at = now


class _Recent:
    """How many responses arrived within the last so many seconds."""

    __slots__ = ("_seconds", "_times")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque()

    def add(self, now: float) -> None:
        self._times.append(now)
        self.number(now)

    def number(self, now: float) -> int:
        while self._times and now - self._times[0] > self._seconds:
            self._times.popleft()
        return len(self._times)


class _Response(Record):
    """A response to a request of the time `sent_at`.

    `seen` were accepted within the window that ends with it, without a gap of a window since `busy_since`.
    """

    at: float
    sent_at: float
    seen: int
    busy_since: float

    @property
    def is_in_first_window(self) -> bool:
        """Whether requests began less than a window ago, so that `seen` is no rate."""
        return self.busy_since + WINDOW > self.at


class _Phase:
    """How fast requests are sent, and which phase follows."""

    max_wait: ClassVar[float] = DOUBLING_SECONDS
    """After so long those who wait look at the rate again."""

    def rate(self, now: float) -> float:
        raise NotImplementedError

    def at(self, now: float, responded_at: float) -> _Phase:
        """Return the phase at that time, where the last response arrived at `responded_at`."""
        raise NotImplementedError

    def accepted(self, response: _Response) -> None:
        """Note a response that was not throttled."""

    def throttled(self, response: _Response) -> _Phase:  # noqa: ARG002 (for those that override it)
        """Note a throttled response; return the phase that follows."""
        return self


class _Search(_Phase):
    """Requests are sent twice as fast every tenth of a second, until the store refuses a part of them."""

    def __init__(self, rate: float, now: float, window_ends_at: float, seen: int) -> None:
        self._rate = rate
        self._since = now
        self._window_ends_at = window_ends_at
        self._seen_in_window = seen
        self._is_admitting = False
        self._recently_accepted, self._recently_refused = _Recent(RECENT), _Recent(RECENT)

    def rate(self, now: float) -> float:
        if now < self._since:
            return 0.0
        return self._rate * math.pow(2.0, min(MAX_DOUBLINGS, (now - self._since) / DOUBLING_SECONDS))

    def at(self, now: float, responded_at: float) -> _Phase:
        if now - max(self._since, responded_at) > WINDOW:
            return _Search(START_RATE, now, window_ends_at=now + WINDOW, seen=0)
        # Much faster than the first second: the store does not count by the second.
        is_faster = self._is_admitting and self.rate(self._window_ends_at) > 2 * self._seen_in_window
        return self if now < self._window_ends_at or is_faster else _Steady(self._seen_in_window, now)

    def accepted(self, response: _Response) -> None:
        if response.at < self._window_ends_at:
            self._seen_in_window = max(self._seen_in_window, response.seen)
        if response.sent_at >= self._since:
            self._is_admitting = True
            self._recently_accepted.add(response.at)

    def throttled(self, response: _Response) -> _Phase:
        now = response.at
        if response.sent_at < self._since:
            return self
        self._recently_refused.add(now)
        accepted = self._recently_accepted.number(now)
        if accepted and self._recently_refused.number(now) > OVERLOAD * accepted:
            return _Measurement(self.rate(response.sent_at), now)
        if not accepted:
            self._rate = max(MIN_RATE, self.rate(response.sent_at) / 2)
            self._since, self._is_admitting = now + 1 / self._rate, False
        return self


def _search(response: _Response) -> _Search:
    """Return the search that begins with a throttled response."""
    now, seen = response.at, response.seen
    if response.is_in_first_window:
        return _Search(START_RATE, now, response.busy_since + WINDOW, seen)
    return _Search(max(START_RATE, seen / 2), now, now + RECENT, seen)


class _Measurement(_Phase):
    """For one window, requests are sent not much faster than the store admits them: what it admits is its rate."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._since = now
        self._accepted = 0
        self._recently_accepted = _Recent(RECENT)

    def rate(self, now: float) -> float:
        seconds = now - self._since
        if seconds < DOUBLING_SECONDS:
            return self._rate
        admitted = self._recently_accepted.number(now) / min(RECENT, seconds)
        return min(self._rate, max(MIN_PRESSURE * self._rate, PRESSURE * admitted))

    def at(self, now: float, responded_at: float) -> _Phase:
        if now - responded_at > WINDOW:
            return _Search(START_RATE, now, window_ends_at=now + WINDOW, seen=0)
        seconds = max(RECENT, responded_at - self._since)
        return self if now - self._since < WINDOW else _Steady(self._accepted / seconds, now)

    def accepted(self, response: _Response) -> None:
        self._accepted += 1
        self._recently_accepted.add(response.at)


class _Steady(_Phase):
    """The rate rises from a measured one, until the store refuses more than a few per cent."""

    max_wait = WINDOW

    def __init__(self, rate: float, now: float) -> None:
        self._rate = max(MIN_RATE, rate)
        self._since = now
        self._refused = _Recent(WINDOW)

    def rate(self, now: float) -> float:
        steady = now - self._since
        return self._rate * (1 + LINEAR_INCREASE * steady + CUBIC_INCREASE * steady**3)

    def at(self, now: float, responded_at: float) -> _Phase:
        if now - responded_at > WINDOW and self._since < responded_at:
            self._rate, self._since = self.rate(responded_at), now
        return self

    def throttled(self, response: _Response) -> _Phase:
        now = response.at
        if response.sent_at < self._since:
            return self
        self._refused.add(now)
        refused = self._refused.number(now)
        if response.is_in_first_window:
            return _search(response) if refused > max(1, OVERLOAD * response.seen) else self
        if now - self._since < WINDOW or refused <= max(1, TOLERATED * response.seen):
            return self
        rate = self.rate(now)
        return _Steady(max(MAX_DECREASE * rate, min(DECREASE * rate, response.seen / WINDOW)), now)
