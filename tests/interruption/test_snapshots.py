"""A machine that is suspended, or whose snapshot is restored later: no clock reading from before is trusted."""

from __future__ import annotations

from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._stores import base
from s3dict._stores.base import MonotonicClock
from s3dict.errors import LockLostError, NotFoundError


class Clocks:
    """A monotonic clock that stands still while the wall clock goes on."""

    def __init__(self) -> None:
        self.monotonic = 1000.0
        self.wall = 1.7e9
        self.clock = MonotonicClock(lambda: self.monotonic, lambda: self.wall)

    def run(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def stop(self, seconds: float) -> None:
        self.wall += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(base, "_clock", clocks.clock)
    return clocks


def test_clock_counts_the_time_of_a_stop() -> None:
    clocks = Clocks()
    before = clocks.clock()
    clocks.run(5)
    clocks.stop(3600)
    clocks.run(5)
    assert clocks.clock() - before == pytest.approx(3610)
    assert clocks.clock.stopped == pytest.approx(3600)


def test_clock_does_not_go_back_with_the_wall_clock() -> None:
    clocks = Clocks()
    before = clocks.clock()
    clocks.stop(-3600)
    clocks.run(1)
    assert clocks.clock() - before == pytest.approx(1)
    clocks.stop(60)
    assert clocks.clock() - before == pytest.approx(61)


def test_clock_ignores_the_adjustments_of_ntp() -> None:
    clocks = Clocks()
    before = clocks.clock()
    for _ in range(1000):
        clocks.run(60)
        clocks.wall += 0.03
    assert clocks.clock() - before == pytest.approx(60_000)


def test_lock_is_lost_after_a_stop_that_is_longer_than_its_lease(client: Client, clocks: Clocks) -> None:
    handle: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    with pytest.raises(LockLostError), handle.lock("job", lease=30) as held:
        clocks.run(5)
        clocks.stop(20)
        assert held.lost is False
        clocks.stop(20)
        assert held.lost is True


def test_lease_is_counted_shorter_than_a_faster_clock_of_the_store_counts_it(client: Client, clocks: Clocks) -> None:
    handle: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    with pytest.raises(LockLostError), handle.lock("job", lease=10_000) as held:
        clocks.run(9_985)
        assert held.lost is False
        clocks.run(10)
        assert held.lost is True


def test_dict_is_looked_up_again_after_a_stop(client: Client, clocks: Clocks) -> None:
    handle: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    handle["k"] = 1
    Dict.objects.delete("d", client=client)
    clocks.stop(3600)
    with pytest.raises(NotFoundError):
        Dict.from_id(handle.object_id, client=client)["k"] = 1


def test_read_cache_is_not_trusted_after_a_stop(clocks: Clocks) -> None:
    from datetime import timedelta

    from s3dict._stores.memory import forget_memory_bucket

    cached: Dict[Any, Any] = Dict.from_name(
        "d", create_if_missing=True, client=Client("snapshots", driver="memory", cache=timedelta(minutes=10))
    )
    other: Dict[Any, Any] = Dict.from_name("d", client=Client("snapshots", driver="memory"))
    cached["k"] = "old"
    assert cached["k"] == "old"
    other["k"] = "new"
    assert cached["k"] == "old"
    clocks.stop(3600)
    assert cached["k"] == "new"
    forget_memory_bucket("snapshots")
