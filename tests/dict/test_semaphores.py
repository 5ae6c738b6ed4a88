"""Semaphores: as many inside as there are permits, and the same number of permits everywhere."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, Dict, InvalidError, LockTimeoutError
from s3dict._stores.memory import memory_bucket

from ..support.modes import Harness, Mode, client_at
from ..support.proxy import Proxy


async def test_semaphore_admits_as_many_as_it_has_permits(harness: Harness, d: Any) -> None:
    semaphores = [harness.in_mode(d.wrapped.semaphore("downloads", 2)) for _ in range(3)]
    first, second = await semaphores[0].acquire(), await semaphores[1].acquire(blocking=False)
    assert first.wrapped._state.permit != second.wrapped._state.permit
    assert await semaphores[2].acquire(blocking=False) is None
    await semaphores[0].release()
    assert await semaphores[2].acquire(blocking=False) is not None
    assert await second.renew() is True
    await semaphores[1].release()
    await semaphores[2].release()


async def test_semaphore_is_entered_as_a_context(harness: Harness, d: Any) -> None:
    semaphore = d.wrapped.semaphore("downloads", 1, timeout=0)
    if harness.mode is Mode.SYNC:
        with semaphore as held, pytest.raises(LockTimeoutError, match="The semaphore 'downloads' of Dict 'd' was not"):
            d.wrapped.semaphore("downloads", 1, timeout=0).__enter__()
    else:
        async with semaphore as held:
            with pytest.raises(LockTimeoutError):
                await d.wrapped.semaphore("downloads", 1, timeout=0).__aenter__()
    assert held.lost is True
    assert (await harness.in_mode(semaphore).acquire(blocking=False)).token > held.token
    await harness.in_mode(semaphore).release()


@pytest.mark.backends("memory")
def test_error_names_the_holders_of_the_permits(configured: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=configured)
    held = [d.semaphore("downloads", 2, owner=f"host {number}").acquire() for number in (1, 2)]
    with ThreadPoolExecutor(1) as pool, pytest.raises(LockTimeoutError, match=r"free within 0 seconds: held by ") as e:
        pool.submit(d.semaphore("downloads", 2, timeout=0).__enter__).result()
    assert (len(held), "host 1 since " in str(e.value), "host 2 since " in str(e.value)) == (2, True, True)


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1), (3, 5)])
async def test_another_number_of_permits_is_an_error(harness: Harness, d: Any, first: int, second: int) -> None:
    held = await harness.in_mode(d.wrapped.semaphore("downloads", first)).acquire()
    other = harness.in_mode(d.wrapped.semaphore("downloads", second))
    with pytest.raises(InvalidError, match=f"has {first} permits?, and not {second}"):
        for _ in range(20):
            # By chance, only permits of the same number might be tried at first.
            await other.acquire(blocking=False)
    await held.release()
    await (await harness.in_mode(d.wrapped.semaphore("other", second)).acquire()).release()


def test_number_of_permits_is_validated(configured: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", client=configured)
    for wrong in (0, -1, 1001, 1.5, True, "3", None):
        with pytest.raises(InvalidError, match="Invalid number of permits"):
            d.semaphore("downloads", wrong)  # type: ignore[arg-type]


async def test_permit_is_handed_over(harness: Harness, d: Any) -> None:
    semaphore = harness.in_mode(d.wrapped.semaphore("downloads", 3))
    held = [await semaphore.acquire() for _ in range(3)]
    assert await semaphore.acquire(blocking=False) is None
    sent = harness.in_mode(pickle.loads(pickle.dumps(held[1].wrapped)))
    assert await sent.renew() is True
    await sent.release()
    again = await semaphore.acquire(blocking=False)
    assert again.wrapped._state.permit == held[1].wrapped._state.permit
    await held[1].detach()
    for permit in (held[0], held[2], again):
        await permit.release()


async def test_permit_that_is_lost_is_acquired_again_by_the_same_caller(harness: Harness, d: Any) -> None:
    semaphore = harness.in_mode(d.wrapped.semaphore("downloads", 1))
    first = await semaphore.acquire()
    await harness.in_mode(pickle.loads(pickle.dumps(first.wrapped))).release()
    assert await first.renew() is False
    second = await semaphore.acquire(blocking=False)
    assert second.token > first.token
    await second.release()


@pytest.mark.backends("memory")
def test_permits_are_left_in_other_threads_than_acquired_them(client: Client) -> None:
    """As of the generators that a web framework ends in any thread of its pool."""
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    semaphore = d.semaphore("downloads", 3)
    with ThreadPoolExecutor(2) as pool:
        barrier = threading.Barrier(2)

        def enter() -> None:
            semaphore.__enter__()
            barrier.wait(60)

        for entered in [pool.submit(enter), pool.submit(enter)]:
            entered.result()
        for _ in range(2):
            semaphore.__exit__(None, None, None)
        with pytest.raises(InvalidError, match="is not held through this object"):
            semaphore.__exit__(None, None, None)
        assert [d.semaphore("downloads", 3).acquire(blocking=False) is not None for _ in range(3)] == [True] * 3


@pytest.mark.memory_only
def test_permit_of_a_dead_holder_is_free_after_its_lease(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    held = d.semaphore("downloads", 1, lease=30).acquire()
    assert held is not None
    held.detach()
    assert d.semaphore("downloads", 1).acquire(blocking=False) is None
    memory_bucket(client.bucket).advance(timedelta(seconds=32))
    assert d.semaphore("downloads", 1).acquire(blocking=False) is not None


@pytest.mark.backends("memory")
def test_threads_never_exceed_the_permits(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    inside: list[int] = []
    most: list[int] = []
    barrier = threading.Barrier(6)

    def work(_: int) -> None:
        barrier.wait()
        for _ in range(3):
            with d.semaphore("downloads", 2):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert max(most) <= 2


@pytest.mark.backends("moto", "seaweedfs", "seaweedfs-rust")
@pytest.mark.unthrottled
async def test_semaphore_makes_the_requests_it_promises(client: Client, mode: Mode, proxy: Proxy) -> None:
    harness = Harness(client_at(proxy.url, client), mode)
    d = harness.named("d", create_if_missing=True)
    await d.hydrate()
    semaphores = [harness.in_mode(d.wrapped.semaphore("downloads", 3)) for _ in range(3)]
    for semaphore in semaphores:
        await semaphore.acquire()
    full = harness.in_mode(d.wrapped.semaphore("downloads", 3))
    with ThreadPoolExecutor(1) as elsewhere, proxy.recording() as requests:
        # The permits that are held by this thread itself are not even read.
        assert await full.acquire(blocking=False) is None
        assert elsewhere.submit(d.wrapped.semaphore("downloads", 3).acquire, blocking=False).result() is None
    assert [request.operation for request in requests if request.operation != "HeadBucket"].count("GetObject") == 3
    for semaphore in semaphores:
        await semaphore.release()
    with proxy.recording() as requests:
        await full.acquire()
        await full.release()
    assert [request.operation for request in requests] == ["GetObject", "PutObject", "PutObject"]
