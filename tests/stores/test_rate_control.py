"""The rate of bulk operations, in simulated time: what it reaches of a store's limit, and how often it is refused."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from random import Random

import pytest

from s3dict._stores.shared.rate_limit import FORGET_AFTER, WINDOW, RateLimit

from ..support.limiter import RateLimiter, TokenBucket

CLIENT_RATE = 3000
"""Requests a second that the simulated client can send."""
Admits = Callable[[], bool]


class Simulation:
    """Workers that send requests through a `RateLimit` to a store that limits them."""

    def __init__(self, *, concurrency: int = 64, latency: float = 0.02) -> None:
        self.now = 0.0
        self.refused = 0
        self.admits: Admits = lambda: True
        self._rate = RateLimit(self.clock)
        self._concurrency = concurrency
        self._latency = latency
        self._random = Random(1)
        self._busy_until = 0.0
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._left = 0

    def clock(self) -> float:
        return self.now

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
        if self._rate.is_unlimited:
            self._send(-math.inf)
        else:
            self._wait(self._rate.reserve())

    def _wait(self, slot: int) -> None:
        seconds = self._rate.seconds_until(slot)
        if seconds:
            self._after(seconds, lambda: self._wait(slot))
        else:
            self._send(self.now)

    def _send(self, sent_at: float) -> None:
        self._busy_until = max(self._busy_until, self.now) + 1 / CLIENT_RATE
        self._after(self._busy_until - self.now + self._half_latency(), lambda: self._arrive(sent_at))

    def _arrive(self, sent_at: float) -> None:
        admitted = self.admits()
        self._after(self._half_latency(), lambda: self._respond(admitted, sent_at))

    def _respond(self, admitted: bool, sent_at: float) -> None:
        if admitted:
            self._rate.accepted(sent_at)
            self._start()
        else:
            self.refused += 1
            self._rate.throttled(sent_at)
            self._reserve()

    def _half_latency(self) -> float:
        return self._latency * self._random.uniform(0.25, 0.75)


def in_any_second(limit: int, clock: Callable[[], float]) -> Admits:
    limiter = RateLimiter(limit, clock=clock)
    return lambda: limiter("PUT", "k")


def in_each_second(limit: int, clock: Callable[[], float]) -> Admits:
    """Admit so many requests in each second of a clock that the client does not know."""
    admitted: dict[int, int] = {}

    def admits() -> bool:
        second = int(clock() + 0.37)
        admitted[second] = admitted.get(second, 0) + 1
        return admitted[second] <= limit

    return admits


def without_bursts(limit: int, clock: Callable[[], float]) -> Admits:
    bucket = TokenBucket(limit, clock=clock)
    return lambda: bucket("PUT", "k")


def with_bursts(limit: int, clock: Callable[[], float]) -> Admits:
    """Admit a whole second's requests at once, and as many more in the same second."""
    bucket = TokenBucket(limit, burst=limit, clock=clock)
    return lambda: bucket("PUT", "k")


STORES = [without_bursts, in_any_second, in_each_second, with_bursts]


@pytest.mark.parametrize("limit", [50, 200, 500, 1000, 2000])
@pytest.mark.parametrize("store", STORES)
def test_rate_reaches_nine_tenths_of_the_limit_with_few_refusals(store: Callable[..., Admits], limit: int) -> None:
    simulation = Simulation()
    simulation.admits = store(limit, simulation.clock)
    entries = (20 if limit <= 500 else 8) * limit
    seconds = simulation.run(entries)
    assert entries / seconds >= 0.9 * limit
    assert simulation.refused <= 0.2 * entries


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("concurrency", "latency"), [(1, 0.002), (16, 0.002), (64, 0.1)])
def test_rate_reaches_the_limit_with_other_latencies(
    store: Callable[..., Admits], concurrency: int, latency: float
) -> None:
    simulation = Simulation(concurrency=concurrency, latency=latency)
    simulation.admits = store(200, simulation.clock)
    seconds = simulation.run(4000)
    # Without bursts, requests that vary by 50 ms on the line come together too often.
    assert 4000 / seconds >= (0.8 if latency == 0.1 else 0.9) * 200
    assert simulation.refused <= 0.2 * 4000


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("limit", [2, 5])
def test_rate_keeps_to_a_limit_of_few_requests_a_second(store: Callable[..., Admits], limit: int) -> None:
    """At first, each of the requests in flight is refused."""
    simulation = Simulation()
    simulation.admits = store(limit, simulation.clock)
    entries = 60 * limit
    seconds = simulation.run(entries)
    assert entries / seconds >= 0.7 * limit
    assert simulation.refused <= 64 + 0.6 * entries


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("pause", [1.5, 10.0, 40.0])
@pytest.mark.parametrize("first", [70, 300, 1200])
def test_pause_between_operations_shows_nothing_of_the_limit(
    store: Callable[..., Admits], first: int, pause: float
) -> None:
    """The first operation ends in the search, in the measurement, or at a steady rate."""
    simulation = Simulation()
    simulation.admits = store(200, simulation.clock)
    simulation.run(first)
    simulation.now += pause
    assert 4000 / simulation.run(4000) >= 0.9 * 200
    assert simulation.refused <= 0.2 * (first + 4000)


@pytest.mark.parametrize("store", STORES)
def test_rate_follows_a_limit_that_rises_and_falls(store: Callable[..., Admits]) -> None:
    simulation = Simulation()
    simulation.admits = store(100, simulation.clock)
    simulation.run(1000)
    simulation.admits = store(400, simulation.clock)
    simulation.run(6000)
    refused = simulation.refused
    assert 2000 / simulation.run(2000) >= 0.9 * 400
    simulation.admits = store(100, simulation.clock)
    simulation.run(600)
    assert 1000 / simulation.run(1000) >= 0.9 * 100
    assert simulation.refused - refused <= 0.2 * 3600


def test_without_throttling_no_slot_is_waited_for() -> None:
    rate = RateLimit(lambda: 1.0)
    for _ in range(10_000):
        assert rate.is_unlimited
        rate.accepted(-math.inf)


def test_limit_is_forgotten_after_a_minute_without_throttling() -> None:
    now = [0.0]
    rate = RateLimit(lambda: now[0])
    rate.accepted(-math.inf)
    rate.throttled(-math.inf)
    now[0] = WINDOW
    slots = [rate.reserve() for _ in range(3)]
    assert rate.seconds_until(slots[0]) == 0.0
    assert rate.seconds_until(slots[2]) > 0.0
    now[0] = FORGET_AFTER + 3 * WINDOW
    assert rate.seconds_until(slots[2]) == 0.0
    assert rate.is_unlimited


def test_search_that_the_store_admits_is_forgotten_too() -> None:
    now = [0.0]
    rate = RateLimit(lambda: now[0])
    rate.accepted(-math.inf)
    rate.throttled(-math.inf)
    while now[0] <= FORGET_AFTER:
        rate.reserve()
        assert not rate.is_unlimited
        rate.accepted(now[0])
        now[0] += WINDOW / 2
    rate.reserve()
    assert rate.is_unlimited


def test_refusals_of_requests_sent_before_the_first_do_not_count() -> None:
    now = [0.0]
    rate = RateLimit(lambda: now[0])
    for _ in range(100):
        rate.accepted(-math.inf)
    for _ in range(64):
        rate.throttled(-math.inf)
    now[0] = WINDOW
    slots = [rate.reserve() for _ in range(2)]
    assert rate.seconds_until(slots[0]) == 0.0
    assert rate.seconds_until(slots[1]) == pytest.approx(0.01, rel=0.1)


def test_new_rate_holds_for_those_who_wait_already() -> None:
    now = [0.0]
    rate = RateLimit(lambda: now[0])
    rate.throttled(-math.inf)
    slots = [rate.reserve() for _ in range(64)]
    sent = 0
    for step in range(1, 41):
        now[0] = step / 100
        while sent < len(slots) and not rate.seconds_until(slots[sent]):
            rate.accepted(now[0])
            sent += 1
    assert sent == len(slots), "The rate of the reservation, 32 a second, would take two seconds"
