"""The rate of bulk operations, in simulated time: what it reaches of a store's limit, and how often it is refused."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from random import Random

import pytest

from s3dict._stores.shared.rate_control import FORGET_AFTER, WINDOW, RateLimit

from ..support.limiter import RateLimiter

CLIENT_RATE = 3000
"""Requests a second that the simulated client can send."""


class Simulation:
    """Workers that send requests through a `RateLimit` to a store that limits them."""

    def __init__(self, limit: int, *, concurrency: int = 64, latency: float = 0.005, burst: int | None = None) -> None:
        self.now = 0.0
        self.refused = 0
        self._rate = RateLimit(lambda: self.now)
        self._admits = store_limit(limit, burst, lambda: self.now)
        self._concurrency = concurrency
        self._latency = latency
        self._random = Random(1)
        self._busy_until = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._left = 0

    def run(self, requests: int) -> float:
        """Return how many seconds so many requests take."""
        started_at, self._left = self.now, requests
        for _ in range(min(self._concurrency, requests)):
            self._start()
        while self._events:
            self.now, _, action = heapq.heappop(self._events)
            action()
        return self.now - started_at

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), action))

    def _start(self) -> None:
        if self._left:
            self._left -= 1
            self._reserve()

    def _reserve(self) -> None:
        self._after(self._rate.reserve(), self._send)

    def _send(self) -> None:
        self._busy_until = max(self._busy_until, self.now) + 1 / CLIENT_RATE
        sent_at = self._busy_until
        self._after(sent_at - self.now + self._half_latency(), lambda: self._arrive(sent_at))

    def _arrive(self, sent_at: float) -> None:
        admitted = self._admits()
        self._after(self._half_latency(), lambda: self._respond(admitted, sent_at))

    def _respond(self, admitted: bool, sent_at: float) -> None:
        if admitted:
            self._rate.accepted()
            self._start()
        else:
            self.refused += 1
            self._rate.throttled(sent_at)
            self._reserve()

    def _half_latency(self) -> float:
        return self._latency * self._random.uniform(0.25, 0.75)


class TokenBucket:
    """Admits a request for each token, of which it has `burst` at most and gets `limit` a second."""

    def __init__(self, limit: int, burst: int, clock: Callable[[], float]) -> None:
        self._limit, self._burst, self._clock = limit, burst, clock
        self._tokens, self._filled_at = float(burst), clock()

    def __call__(self) -> bool:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._limit)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def store_limit(limit: int, burst: int | None, clock: Callable[[], float]) -> Callable[[], bool]:
    if burst is not None:
        return TokenBucket(limit, burst, clock)
    limiter = RateLimiter(limit, clock=clock)
    return lambda: limiter("PUT", "k")


@pytest.mark.parametrize("limit", [50, 60, 200, 1000, 2000])
@pytest.mark.parametrize(("concurrency", "latency"), [(64, 0.005), (16, 0.002)])
def test_rate_reaches_nine_tenths_of_the_limit_with_few_refusals(limit: int, concurrency: int, latency: float) -> None:
    simulation = Simulation(limit, concurrency=concurrency, latency=latency)
    entries = 10 * limit
    seconds = simulation.run(entries)
    assert entries / seconds >= 0.9 * limit
    assert simulation.refused <= 0.2 * entries


@pytest.mark.parametrize("limit", [20, 50, 200])
@pytest.mark.parametrize(("concurrency", "latency"), [(64, 0.005), (16, 0.002)])
def test_rate_reaches_nine_tenths_of_a_limit_without_bursts_after_a_while(
    limit: int, concurrency: int, latency: float
) -> None:
    """The first seconds, in which it doubles from next to nothing, do not count."""
    simulation = Simulation(limit, concurrency=concurrency, latency=latency, burst=2)
    entries = 10 * limit
    simulation.run(entries)
    refused_at_first = simulation.refused
    seconds = simulation.run(2 * entries)
    assert 2 * entries / seconds >= 0.9 * limit
    assert simulation.refused - refused_at_first <= 0.2 * 2 * entries


def test_without_throttling_no_slot_is_waited_for() -> None:
    rate = RateLimit(lambda: 1.0)
    for _ in range(10_000):
        assert rate.reserve() == 0.0
        rate.accepted()


def test_limit_is_forgotten_after_a_minute_without_throttling() -> None:
    now = [0.0]
    rate = RateLimit(lambda: now[0])
    rate.accepted()
    rate.throttled(0.0)
    now[0] = WINDOW
    assert [rate.reserve() for _ in range(2)][1] > 0.0
    now[0] = FORGET_AFTER + 2 * WINDOW
    assert [rate.reserve() for _ in range(2)] == [0.0, 0.0]


def test_refusals_of_requests_sent_before_a_decrease_do_not_decrease_again() -> None:
    now = [0.0]
    rate = RateLimit(lambda: now[0])
    for _ in range(100):
        rate.accepted()
    for _ in range(64):
        rate.throttled(0.0)
    now[0] = WINDOW
    first, second = rate.reserve(), rate.reserve()
    assert second - first == pytest.approx(0.01, rel=0.1)
