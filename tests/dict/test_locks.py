"""Locks: leases, tokens, takeover, loss."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import boto3
import pytest

from s3dict import Client, Dict, InvalidError, LockLostError, LockTimeoutError
from s3dict._core.locks import Lease
from s3dict._retry import RetryPolicies
from s3dict._stores.memory import memory_bucket
from s3dict._stores.shared.threads import ThreadRuntime

from ..conftest import here
from ..support.faulty_server import Deviation, MisbehavingServer
from ..support.modes import Driver, Harness, Mode, collect
from ..support.modes import locked as locked_in_mode
from ..support.proxy import Fault, FaultKind, Proxy
from ..support.retries import quick


@asynccontextmanager
async def locked(d: Any, name: str, **options: Any) -> AsyncIterator[Any]:
    """`d.lock` in the way of the test."""
    async with locked_in_mode(d.wrapped.lock(name, **options), d._mode) as held:
        yield held


def locks_of(client: Client, mode: Mode) -> Any:
    return client._store(aio=mode is Mode.ASYNCIO)


async def test_lock_is_held_and_released(d: Any) -> None:
    async with locked(d, "job") as held:
        assert held.lost is False
        with pytest.raises(
            LockTimeoutError, match=r"The lock 'job' of Dict 'd' was not free within 0 seconds: held by \w+@\S+ since 2"
        ):
            await _from_another_thread(d, "job")
    async with locked(d, "job", timeout=0) as again:
        assert again.token > held.token


async def test_tokens_grow_and_locks_are_told_apart_by_name(d: Any) -> None:
    tokens = []
    for _ in range(5):
        async with locked(d, "job") as held, locked(d, "other job"):
            tokens.append(held.token)
    assert sorted(set(tokens)) == tokens


async def test_locks_are_no_entries(d: Any) -> None:
    async with locked(d, "job"):
        await d.put("k", 1)
        assert await d.len() == 1
        assert await collect(d.keys()) == ["k"]
        assert await collect(d.items()) == [("k", 1)]
        await d.clear()
        with pytest.raises(LockTimeoutError):
            await _from_another_thread(d, "job")


async def test_lock_is_released_also_after_an_exception(d: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        await _fail_inside(d)
    async with locked(d, "job", timeout=0):
        pass


async def _fail_inside(d: Any) -> None:
    async with locked(d, "job"):
        raise ZeroDivisionError


async def test_lock_is_not_reentrant_and_says_so(d: Any) -> None:
    async with locked(d, "job"):
        with pytest.raises(InvalidError, match="The lock 'job' of Dict 'd' is already held here"):
            async with locked(d, "job"):
                pass
    async with locked(d, "job", timeout=0):
        pass


async def test_lock_name_is_any_string_and_only_a_string(d: Any) -> None:
    for name in ("", "a/b", "é", "\ud800", "x" * 10_000):
        async with locked(d, name) as held:
            assert not held.lost
    for wrong in (5, None, b"job"):
        with pytest.raises(InvalidError, match="Invalid lock name"):
            d.lock(wrong)


async def test_lease_has_a_minimum(d: Any) -> None:
    for lease in (0, -1, 1.9, float("nan"), float("inf"), 1e9):
        with pytest.raises(InvalidError, match="Invalid lease"):
            async with locked(d, "job", lease=lease):
                pass


@pytest.mark.unthrottled
async def test_foreign_lock_object_is_rejected(harness: Harness, d: Any) -> None:
    from s3dict import IntegrityError

    async with locked(d, "job"):
        pass
    store = locks_of(harness.client, harness.mode)
    page = await store.list_page(f"{harness.client.prefix}/")
    [path] = [line.path for line in page.objects if "/locks/" in line.path]
    for body in (b"", b"[]", b'{"owner": 1, "write_id": "", "lease": 1, "token": 1}', b'{"token": "x"}'):
        await store.put(path, body)
        with pytest.raises(IntegrityError, match="lock object"):
            async with locked(d, "job"):
                pass


async def test_waiting_caller_gets_the_lock_when_it_is_released(d: Any, mode: Mode) -> None:
    order: list[str] = []
    if mode is Mode.SYNC:
        with d.wrapped.lock("job"):
            waiting = threading.Thread(target=lambda: _hold(d, order))
            waiting.start()
            order.append("first")
        waiting.join()
    else:
        async with d.wrapped.lock("job"):
            task = asyncio.create_task(_hold_aio(d, order))
            await asyncio.sleep(0.01)
            order.append("first")
        await task
    assert order == ["first", "second"]


def _hold(d: Any, order: list[str]) -> None:
    with d.wrapped.lock("job"):
        order.append("second")


async def _hold_aio(d: Any, order: list[str]) -> None:
    async with d.wrapped.lock("job"):
        order.append("second")


async def _from_another_thread(d: Any, name: str) -> None:
    """Try to take a lock as anybody but this thread and task would; raise what that raises."""

    def take() -> None:
        try:
            with d.wrapped.lock(name, timeout=0):
                pass
        except Exception as error:
            caught.append(error)

    caught: list[Exception] = []
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    if caught:
        raise caught[0]


def test_waiting_caller_looks_every_two_seconds_at_least() -> None:
    """Pauses that are longer, which the guide recommends for loops, let one of those that wait acquire the lock."""
    waits = [RetryPolicies().writes.backoff_seconds(attempt) for attempt in range(1000)]
    assert max(waits) <= 2


@pytest.mark.memory_only
@pytest.mark.parametrize(
    ("kind", "is_reacquired", "longest"), [("lock", True, 0.2), ("lock", False, 2.0), ("semaphore", True, 2.0)]
)
def test_waiting_caller_looks_often_while_the_lock_changes_hands(
    client: Client, monkeypatch: pytest.MonkeyPatch, kind: str, is_reacquired: bool, longest: float
) -> None:
    """Its holder acquires it again at once: it is free often, but not for long. To look for a permit costs more."""
    d = Dict.from_name("d", create_if_missing=True, client=client)
    arguments = () if kind == "lock" else (1,)
    held, pauses = getattr(d, kind)("job", *arguments), list[float]()
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(held.acquire).result()

        def hold_again() -> None:
            held.release()
            if len(pauses) < 12:
                held.acquire()

        async def sleep(_: object, seconds: float) -> None:
            pauses.append(seconds)
            if is_reacquired or len(pauses) == 12:
                elsewhere.submit(hold_again).result()

        monkeypatch.setattr(ThreadRuntime, "sleep", sleep)
        monkeypatch.setattr(random, "uniform", lambda _, most: most)
        getattr(d, kind)("job", *arguments).acquire().release()
    assert len(pauses) == 12
    assert max(pauses) == longest


def test_one_lock_object_serves_many_threads(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    lock = d.lock("job")
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with lock:
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


def test_lock_may_be_left_in_another_thread(client: Client) -> None:
    """As frameworks do that enter a dependency in one thread of a pool and leave it in another."""
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    lock = d.lock("job")
    lock.__enter__()
    thread = threading.Thread(target=lock.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with d.lock("job", timeout=0):
        pass
    with pytest.raises(InvalidError, match="not in the one that leaves it"):
        lock.__exit__(None, None, None)


@pytest.mark.memory_only
@pytest.mark.timeout(60)
def test_renewal_that_is_rejected_over_and_over_ends_with_the_lease(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Dict.from_name("d", create_if_missing=True, client=client).lock("job", lease=60)
    held, bucket = lock.acquire(), memory_bucket(client.bucket)
    assert held is not None

    def reject(*_: object) -> bool:
        bucket.advance(timedelta(seconds=10))
        return False

    monkeypatch.setattr("s3dict._stores.memory._MemoryRequests._precondition_holds", reject)
    assert not held.renew()
    assert held.lost
    with pytest.raises(LockLostError):
        lock.release()


class TestTime:
    """What happens as time passes: on servers whose clock can be moved."""

    @pytest.fixture(params=["memory", "misbehaving", "misbehaving-rust"])
    def backend(self, request: pytest.FixtureRequest) -> str:
        name: str = request.param
        return name

    @pytest.fixture
    def server(self) -> Iterator[MisbehavingServer]:
        with MisbehavingServer() as misbehaving:
            boto3.client("s3", endpoint_url=misbehaving.url).create_bucket(Bucket="b")
            yield misbehaving

    @pytest.fixture
    def client(self, backend: str, request: pytest.FixtureRequest) -> Client:
        if backend.startswith("memory"):
            return Client(f"locks-{id(request)}", driver="memory")
        driver = here("obstore" if backend.endswith("-rust") else "boto3")
        return Client("b", endpoint_url=request.getfixturevalue("server").url, driver=driver)

    @pytest.fixture
    def pass_time(self, client: Client, backend: str, jumping_clock: None, request: pytest.FixtureRequest) -> Any:
        """Move the store's clock, and with the memory store that of its callers as well."""
        if backend.startswith("memory"):
            return lambda seconds: memory_bucket(client.bucket).advance(timedelta(seconds=seconds))
        server = request.getfixturevalue("server")

        def advance(seconds: float) -> None:
            server.clock += seconds

        return advance

    async def test_lock_of_a_dead_holder_is_acquired_after_its_lease(
        self, d: Any, harness: Harness, pass_time: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await self._abandon(d, lease=30)
        with pytest.raises(LockTimeoutError):
            await _from_another_thread(d, "job")
        pass_time(20)  # and what the calls themselves take
        with pytest.raises(LockTimeoutError):
            await _from_another_thread(d, "job")
        pass_time(12)
        await _from_another_thread(d, "job")

    async def test_token_of_a_successor_is_greater(self, d: Any, pass_time: Any) -> None:
        dead = await self._abandon(d, lease=30)
        pass_time(32)
        async with locked(d, "job", timeout=0) as held:
            assert held.token > dead.token

    async def test_tokens_go_on_growing_after_the_lock_object_was_swept(self, d: Any, harness: Harness) -> None:
        async with locked(d, "job") as held:
            pass
        store = locks_of(harness.client, harness.mode)
        page = await store.list_page(f"{harness.client.prefix}/")
        await store.delete_many([line.path for line in page.objects if "/locks/" in line.path])
        await store.runtime.sleep(0.002)  # a sweep comes days later; tokens begin with the time in milliseconds
        async with locked(d, "job") as later:
            assert later.token > held.token

    async def test_replaced_holder_detects_the_loss(self, d: Any, pass_time: Any) -> None:
        with pytest.raises(LockLostError, match="The lock 'job' of Dict 'd' was lost"):
            async with locked(d, "job", lease=30) as held:
                pass_time(32)
                await _from_another_thread(d, "job")
                assert await held.renew() is False
                assert held.lost is True

    async def test_exception_in_the_body_takes_precedence_over_the_loss(self, d: Any, pass_time: Any) -> None:
        with pytest.raises(ZeroDivisionError):
            await self._lose_and_fail(d, pass_time)

    async def _lose_and_fail(self, d: Any, pass_time: Any) -> None:
        async with locked(d, "job", lease=30):
            pass_time(32)
            await _from_another_thread(d, "job")
            raise ZeroDivisionError

    async def test_renewed_lease_starts_again(self, d: Any, pass_time: Any) -> None:
        async with locked(d, "job", lease=30) as held:
            for _ in range(4):
                pass_time(20)
                assert await held.renew() is True
                with pytest.raises(LockTimeoutError):
                    await _from_another_thread(d, "job")
            assert held.lost is False

    @pytest.mark.parametrize("backend", ["memory"], indirect=True)
    async def test_suspended_holder_loses_by_its_own_clock(self, d: Any, pass_time: Any) -> None:
        with pytest.raises(LockLostError):
            async with locked(d, "job", lease=30) as held:
                pass_time(30)
                assert held.lost is True
                assert await held.renew() is False

    @pytest.mark.parametrize("backend", ["memory"], indirect=True)
    async def test_heartbeat_keeps_the_lock(self, d: Any, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("s3dict._core.locks.RENEWALS_PER_LEASE", 200)
        bucket = memory_bucket(d.client.bucket)
        async with locked(d, "job", lease=2) as held:
            [path] = [path for path in bucket.objects if "/locks/" in path]
            for _ in range(3):
                before = bucket.objects[path]
                while bucket.objects[path] is before:
                    await locks_of(d.client, mode).runtime.sleep(0.001)
            assert held.lost is False

    async def test_computation_outliving_its_lease_returns_its_value(self, d: Any, pass_time: Any) -> None:
        def slow() -> int:
            pass_time(32)
            return 42

        assert await d.get_or_compute("k", slow, lease=30) == 42
        assert await d.get("k") == 42

    async def _abandon(self, d: Any, lease: float) -> Lease:
        """A holder that dies: it has the lock, and neither renews nor releases it."""
        from s3dict._core.locks import acquire

        entries = await (d.wrapped._async_view if d._mode is Mode.ASYNCIO else d.wrapped)._open()
        return await acquire(d.wrapped._lock_target(entries, "lock", b"job", "lock 'job'", "job"), lease, None)


class TestFaults:
    """Renewals and releases whose answers are lost, also where the same bytes get a new ETag (KMS)."""

    @pytest.fixture(
        params=[(), (Deviation.PUT_CHANGES_ETAG,), (Deviation.PUT_WANTS_BARE_ETAG,)], ids=["md5", "kms", "bare"]
    )
    def proxied_url(self, request: pytest.FixtureRequest) -> Iterator[str]:
        with MisbehavingServer(*request.param) as server:
            boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket="b")
            yield server.url

    @pytest.fixture
    def client(self, proxy: Proxy, driver: Driver) -> Client:
        return quick(Client("b", endpoint_url=proxy.url, driver=driver))

    @pytest.mark.parametrize("kind", ["lost-response", "internal-error-after", "lost-request", "slow-down", "conflict"])
    async def test_lock_is_acquired_renewed_and_released_whatever_is_lost(
        self, d: Any, proxy: Proxy, kind: FaultKind
    ) -> None:
        fault = Fault(kind, operation="PutObject", when=lambda request: "/locks/" in request.path)
        await d.hydrate()
        tokens = []
        for _ in range(2):
            proxy.script(fault)
            async with locked(d, "job", lease=60, timeout=0) as held:
                tokens.append(held.token)
                for _ in range(3):
                    proxy.script(fault)
                    assert await held.renew() is True
                proxy.script(fault)
        assert tokens[0] < tokens[1]

    async def test_lost_renewals_let_the_lease_expire(self, d: Any, proxy: Proxy) -> None:
        await d.hydrate()
        async with locked(d, "job", lease=60) as held:
            proxy.faults = [Fault("lost-request", operation="PutObject")]
            assert await held.renew() is True
            proxy.faults = []
            assert await held.renew() is True
            proxy.faults = [Fault("lost-request", operation="PutObject")]
        proxy.faults = []
        with pytest.raises(LockTimeoutError):
            await _from_another_thread(d, "job")
