"""Calls that take long notice within a minute that their dict was deleted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._core.removal import Removal
from s3dict._stores.memory import memory_bucket
from s3dict._stores.shared.threads import ThreadRuntime
from s3dict.errors import LockLostError, LockTimeoutError, NotFoundError

from .gates import Gate

Handle = Dict[Any, Any]


def _delete(client: Client) -> None:
    Dict.objects.delete("d", client=client)
    memory_bucket(client.bucket).advance(timedelta(seconds=61))


def test_update_of_a_deleted_dict_fails(handle: Handle, client: Client) -> None:
    def pairs() -> Iterator[tuple[int, int]]:
        for number in range(1000):
            if number == 500:
                _delete(client)
            yield number, number

    with pytest.raises(NotFoundError):
        handle.update(pairs())


def test_lock_of_a_deleted_dict_is_not_acquired(handle: Handle, client: Client) -> None:
    other: Handle = Dict.from_name("d", client=client)
    other.hydrate()
    holder = handle.lock("nightly", lease=600)
    thread = threading.Thread(target=holder.__enter__)
    thread.start()
    thread.join()
    threading.Timer(0.05, _delete, [client]).start()
    with pytest.raises(NotFoundError), other.lock("nightly", timeout=20):
        pass
    with pytest.raises(LockLostError):
        holder.__exit__(None, None, None)


def test_wait_for_a_computation_in_a_deleted_dict_fails(handle: Handle, client: Client) -> None:
    other: Handle = Dict.from_name("d", client=client)
    other.hydrate()
    computing, deleted = threading.Event(), threading.Event()

    def compute() -> None:
        computing.set()
        deleted.wait(20)

    def run() -> None:
        with suppress(NotFoundError):
            handle.get_or_compute("k", compute, lease=600)

    def delete() -> None:
        _delete(client)
        deleted.set()

    thread = threading.Thread(target=run)
    thread.start()
    computing.wait(20)
    timer = threading.Timer(0.05, delete)
    timer.start()
    with pytest.raises(NotFoundError):
        other.get_or_compute("k", lambda: "never called", lease=600)
    thread.join()
    timer.join()


@pytest.mark.parametrize(
    ("method", "call"),
    [("delete", lambda d, keys: d.pop_many(keys)), ("get", lambda d, keys: d.discard_many(keys))],
    ids=["pop_many", "discard_many"],
)
def test_bulk_removal_from_a_deleted_dict_fails(
    handle: Handle, client: Client, method: Any, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle.update({number: number for number in range(300)})
    gate = Gate(monkeypatch, method, "/entries/", "after")

    def delete() -> None:
        gate.reached.wait(20)
        _delete(client)
        gate.open()

    thread = threading.Thread(target=delete)
    thread.start()
    with pytest.raises(NotFoundError):
        call(handle, range(300))
    thread.join()


def test_iteration_of_a_deleted_dict_fails(handle: Handle, client: Client) -> None:
    handle.update({number: number for number in range(2500)})
    keys = iter(handle)
    next(keys)
    _delete(client)
    with pytest.raises(NotFoundError):
        list(keys)


def test_lock_that_this_thread_holds_is_not_free(handle: Handle) -> None:
    with handle.lock("job"), pytest.raises(LockTimeoutError), handle.lock("job", timeout=0):
        pass


def test_lock_of_an_ended_thread_is_not_held_by_its_successor(handle: Handle) -> None:
    """Their identifiers are equal: the system gives them out again."""
    identifiers: list[int] = []
    failures: list[BaseException] = []

    def hold() -> None:
        identifiers.append(threading.get_ident())
        handle.lock("job", lease=600).__enter__()

    def wait() -> None:
        identifiers.append(threading.get_ident())
        try:
            with handle.lock("job", timeout=0.05):
                pass
        except BaseException as error:
            failures.append(error)

    for function in (hold, wait):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()
    assert [type(failure) for failure in failures] == [LockTimeoutError]


async def test_lock_of_an_ended_task_is_not_held_by_its_successor(handle: Handle) -> None:
    """Of some successors the `id` is equal: the memory is used again."""

    async def hold() -> int:
        await handle.lock("job", lease=600).__aenter__()
        return id(asyncio.current_task())

    async def wait() -> bool:
        is_successor = id(asyncio.current_task()) == holder
        with pytest.raises(LockTimeoutError):
            await handle.lock("job", timeout=0.05 if is_successor else 0).__aenter__()
        return is_successor

    holder = await asyncio.create_task(hold())
    for _ in range(200):
        if await asyncio.create_task(wait()):
            break


@pytest.mark.parametrize("remove", [lambda d: d.pop("k"), lambda d: d.__delitem__("k"), lambda d: d.pop_many(["k"])])
def test_removal_that_writers_overtake_waits_little_between_attempts(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, remove: Callable[[Handle], object]
) -> None:
    waits: list[float] = []
    run = Removal.run

    async def sleep(_: object, seconds: float) -> None:
        waits.append(seconds)

    async def run_after_another_put(removal: Removal) -> None:
        if len(waits) < 50:
            handle["k"] = len(waits)
        await run(removal)

    handle["k"] = -1
    monkeypatch.setattr(ThreadRuntime, "sleep", sleep)
    monkeypatch.setattr(Removal, "run", run_after_another_put)
    remove(handle)
    assert "k" not in handle
    assert len(waits) == 50
    assert max(waits) <= 0.05
