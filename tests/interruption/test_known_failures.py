"""What has gone wrong in other clients and locks when they were interrupted, tried here."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from s3dict import Client, Dict
from s3dict._core.locks import _held_here, _new_id
from s3dict._format.layout import new_ulid
from s3dict.errors import InvalidError, LockLostError
from s3dict.testing import faults

from ..support.modes import Endpoint
from .gates import Gate

Handle = Dict[Any, Any]


@pytest.mark.parametrize("steps", range(4))
async def test_release_that_was_cancelled_has_happened_or_can_be_repeated(handle: Handle, steps: int) -> None:
    lock = handle.lock("job", lease=600)
    await lock.acquire.aio()
    releasing = asyncio.create_task(lock.release.aio())
    for _ in range(steps):
        await asyncio.sleep(0)
    releasing.cancel()
    with suppress(asyncio.CancelledError):
        await releasing
    with suppress(InvalidError):
        await lock.release.aio()
    assert await lock.locked.aio() is False


async def holding(handle: Handle) -> asyncio.Task[None]:
    """Return a task that is inside of a lock."""

    async def work() -> None:
        async with handle.lock("job", lease=600):
            entered.set()
            await asyncio.sleep(60)

    entered = asyncio.Event()
    working = asyncio.create_task(work())
    await entered.wait()
    return working


@pytest.mark.parametrize("kind", ["unreachable", "lost-response"])
async def test_failed_release_does_not_replace_a_cancellation(handle: Handle, client: Client, kind: Any) -> None:
    working = await holding(handle)
    with faults(client, kind):
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working


async def test_lock_that_is_being_released_is_not_held_on(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    held = await handle.lock("job", lease=600).acquire.aio()
    assert held is not None
    gate = Gate(monkeypatch, "put", "/locks/")
    releasing = asyncio.create_task(held.release.aio())
    await gate.until_reached()
    assert await held.renew.aio() is False
    with pytest.raises(LockLostError, match="was released before"):
        await held.release.aio()
    gate.open()
    await releasing
    assert (held.lost, gate.requests, handle.lock("job").locked()) == (True, 1, False)


async def test_loss_of_a_lock_does_not_replace_a_cancellation(handle: Handle) -> None:
    working = await holding(handle)
    await handle.lock("job").force_release.aio()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


def test_lock_is_free_if_its_heartbeat_cannot_start(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="start new thread"):
            handle.lock("job", lease=600).acquire()
    assert all(held.lease.is_released for (path, _), held in _held_here.items() if _ulid(handle) in path)
    with handle.lock("job", timeout=0):
        pass


def test_lock_is_held_without_a_heartbeat_at_the_end_of_the_interpreter(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, in functions of `atexit`, Python 3.12.0 to 3.12.2 starts no thread."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        patch.setattr(threading, "main_thread", lambda: SimpleNamespace(is_alive=lambda: False))
        with handle.lock("job", lease=600) as held:
            assert held.lost is False
            assert handle.lock("job").locked() is True
        assert handle.get_or_compute("k", lambda: 1) == 1
    assert handle.lock("job").locked() is False


def test_invalid_release_leaves_the_lock_as_it_was(handle: Handle) -> None:
    lock = handle.lock("job", lease=600, reentrant=True)
    with pytest.raises(InvalidError):
        lock.release()
    with lock:
        with lock:
            pass
        assert lock.locked() is True
    assert lock.locked() is False
    with pytest.raises(InvalidError):
        lock.release()
    with lock:
        assert lock.locked() is True


@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_release_inside_of_the_context_does_not_hide_what_was_raised(handle: Handle, kind: str) -> None:
    """A signal handler may release what its program holds, and end it."""
    lock: Any = handle.lock("job", lease=600) if kind == "lock" else handle.semaphore("job", 1, lease=600)
    with pytest.raises(SystemExit), lock:
        lock.release()
        raise SystemExit
    with pytest.raises(SystemExit):
        async with lock:
            await lock.release.aio()
            raise SystemExit
    with pytest.raises(InvalidError), lock:
        lock.release()
    with pytest.raises(InvalidError):
        async with lock:
            await lock.release.aio()


def test_interrupted_acquisition_can_be_followed_by_a_release_and_another_acquisition(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = handle.lock("job", lease=600)
    with monkeypatch.context() as patch:
        patch.setattr("s3dict._core.locks._is_fresh", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            lock.acquire()
    with pytest.raises(InvalidError):
        lock.release()
    with lock:
        pass


def _ulid(handle: Handle) -> str:
    """Return the part of the paths of a Dict that no other has."""
    return handle.object_id.partition(":")[0].removeprefix("di-")


async def _interrupt(*_: object) -> bool:
    raise KeyboardInterrupt


async def test_lock_whose_renewals_all_fail_is_lost_with_its_lease(
    handle: Handle, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("s3dict._stores.memory._MovedTasks.monotonic", lambda _: now[0])
    lock = handle.lock("job", lease=30)
    held = await lock.acquire.aio()
    assert held is not None
    with faults(client, "unreachable"):
        for _ in range(3):
            now[0] += 9
            assert await held.renew.aio() is True
            assert held.lost is False
        now[0] += 9
        assert held.lost is True
        assert await held.renew.aio() is False
    with pytest.raises(LockLostError):
        await lock.release.aio()


def test_identities_do_not_come_from_a_state_that_a_snapshot_copies() -> None:
    """Machines that are restored from one snapshot would otherwise continue with equal ids."""

    def identities() -> set[str]:
        random.seed(7)
        return {new_ulid(datetime(2026, 1, 1, tzinfo=UTC)), _new_id()}

    assert not identities() & identities()


def test_signal_handlers_of_the_program_stay(handle: Handle) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with handle.lock("job"):
        handle["k"] = 1
        handle.pop("k")
        assert {number: signal.getsignal(number) for number in before} == before


async def test_second_object_of_a_reentrant_lock_does_not_wait_for_the_first(handle: Handle) -> None:
    async with asyncio.timeout(20):
        async with handle.lock("job", reentrant=True), handle.lock("job", reentrant=True):
            pass


async def test_cancelled_waiter_does_not_count_as_a_reentrant_holder(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = handle.lock("job", lease=600, reentrant=True)
    gate = Gate(monkeypatch, "put", "/locks/")
    acquiring = asyncio.create_task(lock.acquire.aio())
    await gate.until_reached()
    acquiring.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await acquiring
    with pytest.raises(InvalidError):
        await lock.release.aio()
    assert await lock.locked.aio() is False


def test_cancelled_requests_leave_no_connection_behind(seaweedfs: Endpoint, driver: Any) -> None:
    client = Client(
        seaweedfs.bucket, prefix=f"cancelled-{uuid4().hex}", endpoint_url=seaweedfs.url, driver=driver, concurrency=4
    )
    d: Handle = Dict.from_name("d", create_if_missing=True, client=client)

    async def use() -> None:
        await d.put.aio("k", 1)
        for number in range(40):
            reads = [asyncio.create_task(d.get.aio("k")) for _ in range(4)]
            await asyncio.sleep(0.0005 * (number % 5))
            for read in reads:
                read.cancel()
            await asyncio.gather(*reads, return_exceptions=True)
        async with asyncio.timeout(60):
            assert await asyncio.gather(*(d.get.aio("k") for _ in range(40))) == [1] * 40

    asyncio.run(use())
