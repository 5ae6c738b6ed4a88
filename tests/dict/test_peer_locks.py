"""What users of python-redis-lock, diskcache and aiocache rely on, where the tests of locks do not contain it already.

What these libraries have and s3dict does not is in the guide, under Coordination, with the reasons.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Dict, InvalidError, LockLostError, LockTimeoutError, memoize
from s3dict._core.locks import _held_here
from s3dict._stores.memory import memory_bucket
from s3dict.errors import Error

from ..support.modes import Harness, hold, locked

pytestmark = pytest.mark.backends("memory")


@pytest.fixture
def advance(harness: Harness) -> Callable[[float], None]:
    bucket = memory_bucket(harness.client.bucket)
    return lambda seconds: bucket.advance(timedelta(seconds=seconds))


def elsewhere(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the function in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args, **kwargs).result()


class TestPythonRedisLock:
    async def test_timeout_may_exceed_the_lease(self, harness: Harness, d: Any) -> None:
        """`test_expire_less_than_timeout`: there without renewal TimeoutTooLarge."""
        lock = harness.in_mode(d.wrapped.lock("job", lease=2))
        assert await lock.acquire(timeout=60) is not None
        await lock.release()

    @pytest.mark.parametrize("wrong", ["foobar", "1", True, float("nan")])
    async def test_timeout_is_a_number(self, d: Any, wrong: Any) -> None:
        """`test_invalid_timeout`, `test_timeout_int_conversion`: there "1" is a number."""
        with pytest.raises(ValueError, match="Invalid timeout"):
            d.wrapped.lock("job").acquire(timeout=wrong)

    @pytest.mark.memory_only
    async def test_lease_of_the_holder_counts(self, harness: Harness, d: Any, advance: Callable[[float], None]) -> None:
        """`test_expire_without_timeout`."""
        held = await harness.in_mode(d.wrapped.lock("job", lease=30)).acquire()
        await held.detach()
        other = d.wrapped.lock("job", lease=2)
        advance(10)
        assert elsewhere(other.acquire, blocking=False) is None
        advance(22)
        assert elsewhere(other.acquire, blocking=False) is not None

    async def test_entering_a_lock_that_is_held_without_waiting(self, harness: Harness, d: Any) -> None:
        """`test_enter_already_acquired_with_not_blocking`."""
        lock = harness.in_mode(d.wrapped.lock("job"))
        await lock.acquire()
        with pytest.raises(LockTimeoutError, match="this thread or task holds it"):
            await hold(d.wrapped.lock("job", timeout=0), harness.mode)
        await lock.release()

    @pytest.mark.memory_only
    async def test_lock_leaves_one_object(self, harness: Harness, d: Any) -> None:
        """`test_release_from_nonblocking_leaving_garbage`."""
        for _ in range(5):
            lock = harness.in_mode(d.wrapped.lock("job"))
            assert await lock.acquire(blocking=False) is not None
            await lock.release()
        bucket = memory_bucket(harness.client.bucket)
        assert len([path for path in bucket.objects if "/locks/" in path]) == 1

    async def test_waiting_caller_gets_a_lock_that_was_taken_away(self, harness: Harness, d: Any) -> None:
        """`test_reset_signalizes`."""
        lock = harness.in_mode(d.wrapped.lock("job"))
        await lock.acquire()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(d.wrapped.lock("job").acquire, timeout=30)
            assert await harness.in_mode(d.wrapped.lock("job")).force_release() is True
            assert waiting.result() is not None
        with pytest.raises(LockLostError):
            await lock.release()

    async def test_lock_without_a_reference_stays_held(self, harness: Harness, d: Any) -> None:
        """`test_auto_renewal_stops_after_gc` is the opposite.

        ``if d.lock("singleton").acquire(blocking=False): run()`` would lose its lock unnoticed.
        """
        token = (await harness.in_mode(d.wrapped.lock("job")).acquire()).token
        gc.collect()
        assert elsewhere(d.wrapped.lock("job").acquire, blocking=False) is None
        [holding] = [holding for holding in _held_here.values() if holding.lease.token == token]
        assert not holding.lease.lost
        await harness.in_mode(d.wrapped.lock("job")).force_release()
        await holding.stop(holding.target.store)


class TestDiskcache:
    def test_averager(self, d: Any) -> None:
        def add(number: float) -> None:
            d.wrapped.modify("average", lambda sums: (sums[0] + number, sums[1] + 1), (0.0, 0))

        for number in range(10):
            add(number)
        total, count = d.wrapped["average"]
        assert total / count == 4.5
        assert d.wrapped.pop("average") == (45.0, 10)

    def test_reentrant_lock_admits_one_thread(self, d: Any) -> None:
        order: list[str] = []

        def worker() -> None:
            order.append("started")
            with d.wrapped.lock("demo", reentrant=True), d.wrapped.lock("demo", reentrant=True):
                order.append("entered")

        with d.wrapped.lock("demo", reentrant=True):
            thread = threading.Thread(target=worker)
            thread.start()
            while not order:
                threading.Event().wait(0.001)
            order.append("left")
        thread.join()
        assert order == ["started", "left", "entered"]

    async def test_semaphore_is_not_released_more_often_than_acquired(self, harness: Harness, d: Any) -> None:
        semaphore = harness.in_mode(d.wrapped.semaphore("demo", 3))
        held = await semaphore.acquire()
        await semaphore.release()
        with pytest.raises(InvalidError, match="not held"):
            await semaphore.release()
        with pytest.raises(LockLostError):
            await held.release()

    def test_barrier_is_a_lock_around_the_function(self, d: Any) -> None:
        inside: list[int] = []

        def work(number: int) -> None:
            with d.wrapped.lock("work"):
                inside.append(number)
                assert inside == [number]
                inside.remove(number)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(8)))

    def test_memoize_stampede(self, d: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[int] = []

        @memoize(d.wrapped, ttl=100, early=10_000)
        def worker(number: int) -> int:
            calls.append(number)
            threading.Event().wait(0.001)
            return number

        for draw, expected in ((0.0, 1), (0.0, 1), (1 - 2**-53, 2), (0.0, 2)):
            monkeypatch.setattr("s3dict._core.compute.random.random", lambda draw=draw: draw)
            assert worker(100) == 100
            assert len(calls) == expected


class TestAiocache:
    """RedLock and OptimisticLock; both are also run over the adapter, with aiocache's own tests."""

    async def test_exception_inside_is_raised_and_the_lock_released(self, harness: Harness, d: Any) -> None:
        """`test_locking_dogpile_propagates_exceptions`."""
        with pytest.raises(ZeroDivisionError):
            await self._fail(harness, d)
        assert await harness.in_mode(d.wrapped.lock("job")).locked() is False

    async def _fail(self, harness: Harness, d: Any) -> None:
        async with locked(d.wrapped.lock("job"), harness.mode):
            raise ZeroDivisionError

    async def test_dogpile(self, d: Any) -> None:
        """`test_locking_dogpile`: four callers, one computation."""
        calls: list[int] = []

        def compute() -> str:
            calls.append(1)
            return "value"

        with ThreadPoolExecutor(4) as pool:
            values = list(pool.map(lambda _: d.wrapped.get_or_compute("k", compute), range(4)))
        assert (values, calls) == (["value"] * 4, [1])

    async def test_check_and_set(self, d: Any) -> None:
        """`test_check_and_set`, `test_check_and_set_fail`, and with a ttl."""
        await d.put("k", "previous")
        version = (await d.entry("k")).version
        assert await d.put("k", "value", if_version=version, ttl=60) is True
        assert (await d.entry("k")).expires_at is not None
        assert await d.put("k", "late", if_version=version) is False
        assert await d.get("k") == "value"

    async def test_check_and_set_of_a_missing_key_fails_beside_another_writer(self, d: Any) -> None:
        """`test_check_and_set_not_existing_never_fails` is the opposite: there the other's value is overwritten."""
        assert await d.entry("k") is None
        await d.put("k", "conflicting")
        assert await d.put("k", "value", skip_if_exists=True) is False
        assert await d.get("k") == "conflicting"

    async def test_lock_of_another_object_is_not_released(self, harness: Harness, d: Any) -> None:
        """`test_release_wrong_client_fails`: there without an error."""
        await harness.in_mode(d.wrapped.lock("job")).acquire()
        other: Dict[Any, Any] = Dict.from_name("d", client=harness.client)
        with pytest.raises(Error, match="is not held through this object"):
            elsewhere(other.lock("job").release)
        assert await harness.in_mode(other.lock("job")).force_release() is True
