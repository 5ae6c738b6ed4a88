"""Locks without ``with``: acquire, release, who holds them, reentrant ones, and those that are handed over."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, Dict, HeldLock, InvalidError, Lock, LockLostError, LockTimeoutError
from s3dict._config import current_user

from ..support.modes import Harness, Mode, client_at
from ..support.proxy import Proxy

GET, PUT = "GetObject", "PutObject"


@pytest.fixture
def lock(harness: Harness, d: Any) -> Any:
    """The lock "job", whose methods are called in either mode."""
    return harness.in_mode(d.wrapped.lock("job"))


def copied(harness: Harness, held: Any) -> Any:
    """Return what another process gets that is sent the object."""
    return harness.in_mode(pickle.loads(pickle.dumps(held.wrapped)))


def test_lock_names_are_public() -> None:
    assert {Lock.__module__, HeldLock.__module__} == {"s3dict"}


async def test_acquire_returns_the_held_lock_or_none(harness: Harness, d: Any, lock: Any) -> None:
    held = await lock.acquire()
    assert (held.lost, held.remaining > 0) == (False, True)
    with ThreadPoolExecutor(1) as elsewhere:
        assert elsewhere.submit(d.wrapped.lock("job").acquire, blocking=False).result() is None
        assert elsewhere.submit(d.wrapped.lock("job").acquire, timeout=0.01).result() is None
    assert await lock.acquire(blocking=False) is None
    await lock.release()
    again = await lock.acquire(blocking=False)
    assert again.token > held.token
    await again.release()


async def test_acquire_rejects_what_would_wait_for_itself(lock: Any) -> None:
    await lock.acquire()
    with pytest.raises(InvalidError, match="already held here"):
        await lock.acquire()
    await lock.release()


async def test_acquire_rejects_a_timeout_that_means_nothing(lock: Any) -> None:
    for arguments in ({"timeout": -1}, {"blocking": False, "timeout": 1}):
        with pytest.raises(InvalidError, match="Invalid timeout"):
            await lock.acquire(**arguments)


def test_negative_timeout_is_rejected_before_it_is_used(configured: Client) -> None:
    """In threading and filelock it waits indefinitely, which is None here."""
    d: Dict[Any, Any] = Dict.from_name("d", client=configured)
    with pytest.raises(InvalidError, match=r"Invalid timeout: -1.*None to wait indefinitely"):
        d.lock("job", timeout=-1)
    with pytest.raises(InvalidError, match="Invalid timeout"):
        d.semaphore("downloads", 2, timeout=timedelta(seconds=-1))


async def test_release_of_what_is_not_held_is_an_error(lock: Any) -> None:
    with pytest.raises(InvalidError, match="The lock 'job' is not held through this object"):
        await lock.release()
    held = await lock.acquire()
    await held.release()
    assert held.wrapped.lost is True
    with pytest.raises(InvalidError, match="is not held through this object"):
        await lock.release()
    with pytest.raises(LockLostError):
        await held.release()


async def test_lock_is_released_by_another_thread(d: Any, lock: Any) -> None:
    await lock.acquire()
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lock.wrapped.release).result()
    assert await lock.locked() is False


async def test_held_lock_is_released_at_the_end_of_its_context(harness: Harness, lock: Any) -> None:
    if harness.mode is Mode.SYNC:
        with lock.wrapped.acquire() as held:
            assert lock.wrapped.locked() is True
    else:
        async with await lock.wrapped.acquire.aio() as held:
            assert await lock.wrapped.locked.aio() is True
    assert held.lost is True
    assert await lock.locked() is False


async def test_held_lock_has_both_kinds_of_methods(harness: Harness, lock: Any) -> None:
    held = (await lock.acquire()).wrapped
    assert all(hasattr(getattr(held, name), "aio") for name in ("renew", "release", "detach"))
    assert await (held.renew.aio() if harness.mode is Mode.ASYNCIO else _result(held.renew))
    await lock.release()


async def _result(function: Callable[[], Any]) -> Any:
    return function()


async def test_holder_is_who_since_when_until_when(harness: Harness, d: Any, lock: Any) -> None:
    assert (await lock.locked(), await lock.holder()) == (False, None)
    held = await lock.acquire()
    holder = await lock.holder()
    assert (holder.owner, holder.token) == (current_user(), held.token)
    assert (holder.expires_at - holder.renewed_at).total_seconds() == 30
    assert abs((holder.acquired_at - holder.renewed_at).total_seconds()) < 30
    assert pickle.loads(pickle.dumps(holder)) == holder
    await held.release()
    assert (await lock.locked(), await lock.holder()) == (False, None)
    named = harness.in_mode(d.wrapped.lock("job", owner="the nightly job"))
    await named.acquire()
    assert (await lock.holder()).owner == "the nightly job"
    await named.release()


async def test_reentrant_lock_is_released_as_often_as_acquired(harness: Harness, d: Any) -> None:
    outer = harness.in_mode(d.wrapped.lock("job", reentrant=True))
    inner = harness.in_mode(d.wrapped.lock("job", reentrant=True))
    held = await outer.acquire()
    assert (await inner.acquire()).token == held.token
    assert (await outer.acquire(blocking=False)).token == held.token
    with ThreadPoolExecutor(1) as elsewhere, pytest.raises(LockTimeoutError):
        elsewhere.submit(d.wrapped.lock("job", timeout=0, reentrant=True).__enter__).result()
    await inner.release()
    await outer.release()
    assert await outer.locked() is True
    await outer.release()
    assert await outer.locked() is False


async def test_reentrant_lock_that_is_lost_is_not_entered_again(harness: Harness, d: Any) -> None:
    lock = harness.in_mode(d.wrapped.lock("job", reentrant=True))
    held = await lock.acquire()
    await lock.force_release()
    assert await held.renew() is False
    with pytest.raises(LockLostError):
        await lock.acquire()
    with pytest.raises(LockLostError):
        await lock.release()


async def test_lock_that_is_lost_is_acquired_again_by_the_same_caller(harness: Harness, d: Any, lock: Any) -> None:
    """A leader that was deposed becomes a candidate again; what it lost is left without ending its new term."""
    first = await lock.acquire()
    await lock.force_release()
    assert await first.renew() is False
    second = await lock.acquire(blocking=False)
    assert second.token > first.token
    with pytest.raises(LockLostError):
        await first.release()
    with pytest.raises(InvalidError, match="already held here"):
        await harness.in_mode(d.wrapped.lock("job")).acquire()
    assert (second.lost, await lock.locked()) == (False, True)
    await lock.release()
    assert await lock.locked() is False


async def test_lock_that_is_lost_and_acquired_again_is_released_by_another_thread(lock: Any) -> None:
    first = await lock.acquire()
    await lock.force_release()
    assert await first.renew() is False
    await lock.acquire()
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(lock.wrapped.release).result()
    assert await lock.locked() is False
    with pytest.raises(LockLostError):
        await lock.release()


async def test_force_release_takes_the_lock_from_its_holder(harness: Harness, d: Any, lock: Any) -> None:
    assert await lock.force_release() is False
    held = await lock.acquire()
    other = harness.in_mode(d.wrapped.lock("job"))
    assert await other.force_release() is True
    assert await other.locked() is False
    assert await held.renew() is False
    assert held.wrapped.lost is True
    with ThreadPoolExecutor(1) as elsewhere:
        successor = elsewhere.submit(d.wrapped.lock("job").acquire, blocking=False).result()
        assert successor.token > held.token + 1
        successor.release()
    with pytest.raises(LockLostError, match="taken away"):
        await lock.release()


async def test_handed_over_lock_is_held_on(harness: Harness, d: Any, lock: Any) -> None:
    held = await lock.acquire()
    sent = copied(harness, held)
    await held.detach()
    assert held.wrapped.lost is True
    assert (sent.wrapped.token, sent.wrapped.lost) == (held.wrapped.token, True)
    assert await sent.renew() is True
    assert sent.wrapped.lost is False
    assert await lock.locked() is True
    await sent.release()
    assert await lock.locked() is False


async def test_handed_over_lock_is_released_without_being_renewed(harness: Harness, lock: Any) -> None:
    held = await lock.acquire()
    await copied(harness, held).release()
    assert await lock.locked() is False
    assert await held.renew() is False
    with pytest.raises(LockLostError):
        await lock.release()


async def test_handed_over_lock_is_entered(harness: Harness, lock: Any) -> None:
    held = await lock.acquire()
    sent = copied(harness, held).wrapped
    await held.detach()
    if harness.mode is Mode.SYNC:
        with sent:
            assert (sent.lost, lock.wrapped.locked()) == (False, True)
    else:
        async with sent:
            assert (sent.lost, await lock.wrapped.locked.aio()) == (False, True)
    assert await lock.locked() is False


async def test_handed_over_lock_that_has_a_successor_is_lost(harness: Harness, d: Any, lock: Any) -> None:
    held = await lock.acquire()
    sent = copied(harness, held)
    await held.release()
    again = await lock.acquire()
    assert await sent.renew() is False
    with pytest.raises(LockLostError, match="The lock 'job' of Dict 'd' was lost"):
        await sent.release()
    await again.release()


async def test_pickled_lock_is_the_lock_of_that_name(harness: Harness, d: Any, lock: Any) -> None:
    await lock.acquire()
    other = harness.in_mode(pickle.loads(pickle.dumps(lock.wrapped)))
    assert await other.locked() is True
    with pytest.raises(InvalidError, match="is not held through this object"):
        await other.release()
    await lock.release()


@pytest.mark.backends("memory")
def test_release_in_a_forked_child_is_an_error(client: Client) -> None:
    lock = Dict.from_name("d", create_if_missing=True, client=client).lock("job")
    lock.acquire()
    child = os.fork()
    if child == 0:
        try:
            lock.release()
        except InvalidError:
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert lock.locked() is True
    lock.release()


@pytest.mark.backends("memory", "seaweedfs", "seaweedfs-rust")
def test_lock_may_be_acquired_in_one_event_loop_and_released_elsewhere(client: Client) -> None:
    import asyncio

    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    lock = d.lock("job")
    asyncio.run(_acquire(lock))
    assert lock.locked() is True
    lock.release()
    assert lock.locked() is False
    asyncio.run(_acquire(lock))
    asyncio.run(lock.release.aio())
    assert lock.locked() is False
    lock.acquire()
    asyncio.run(lock.release.aio())
    assert lock.locked() is False


async def _acquire(lock: Lock) -> None:
    assert await lock.acquire.aio() is not None


@pytest.mark.backends("moto", "seaweedfs", "seaweedfs-rust")
@pytest.mark.unthrottled
async def test_lock_methods_make_the_requests_they_promise(client: Client, mode: Mode, proxy: Proxy) -> None:
    harness = Harness(client_at(proxy.url, client), mode)
    d = harness.named("d", create_if_missing=True)
    await d.hydrate()
    lock = harness.in_mode(d.wrapped.lock("job", reentrant=True))
    steps: list[tuple[Callable[[], Any], list[str]]] = [
        (lock.acquire, [GET, PUT]),
        (lock.acquire, []),
        (lock.locked, [GET]),
        (lock.holder, [GET]),
        (lock.release, []),
        (lock.release, [PUT]),
        (lock.acquire, [GET, PUT]),
        (lock.force_release, [GET, PUT]),
        (lock.force_release, [GET]),
    ]
    for step, expected in steps:
        with proxy.recording() as requests:
            await step()
        # obstore reads the store's clock besides, once a minute, where the lock is held.
        assert [request.operation for request in requests if request.operation in (GET, PUT)] == expected
    with pytest.raises(LockLostError):
        await lock.release()
    held = await lock.acquire()
    sent = copied(harness, held)
    await sent.wrapped._lock._dict.hydrate.aio() if mode is Mode.ASYNCIO else sent.wrapped._lock._dict.hydrate()
    await held.detach()
    with proxy.recording() as requests:
        await sent.renew()
        await sent.release()
    assert [request.operation for request in requests] == [GET, PUT, PUT]


@pytest.mark.backends("memory")
def test_threads_share_one_lock_without_context(client: Client) -> None:
    lock = Dict.from_name("d", create_if_missing=True, client=client).hydrate().lock("job")
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        lock.acquire()
        inside.append(1)
        most.append(len(inside))
        inside.pop()
        lock.release()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 5


@pytest.mark.backends("memory")
@pytest.mark.parametrize("kind", ["lock", "semaphore"])
async def test_lock_is_released_where_it_was_acquired(harness: Harness, kind: str) -> None:
    first, second = harness.client, Client("another-bucket", driver="memory")
    for client in (first, second):
        await harness.objects.create("d", client=client, allow_existing=True)
    handle: Dict[Any, Any] = Dict.from_name("d", client=first)
    lock = harness.in_mode(handle.lock("job") if kind == "lock" else handle.semaphore("job", 1))
    for release_held in (False, True):
        held = await lock.acquire()
        handle._state.bind(second)
        await (held if release_held else lock).release()
        handle._state.bind(first)
        again = await lock.acquire(blocking=False)
        assert again is not None
        await again.release()
