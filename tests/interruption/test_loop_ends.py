"""The end of an event loop, which closes all generators that it knows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._core import locks
from s3dict.errors import NotFoundError

Handle = Dict[Any, Any]


async def _in_lock(handle: Handle, _: Client) -> AsyncGenerator[Any, None]:
    async with handle.lock("job", lease=600) as held:
        yield held


async def _in_semaphore(handle: Handle, _: Client) -> AsyncGenerator[Any, None]:
    async with handle.semaphore("job", 1, lease=600) as held:
        yield held


async def _in_ephemeral_dict(_: Handle, client: Client) -> AsyncGenerator[Any, None]:
    async with Dict.ephemeral(client=client) as d:
        yield d


async def _in_iteration(handle: Handle, _: Client) -> AsyncGenerator[Any, None]:
    await handle.update.aio({number: number for number in range(20)})
    async with aclosing(handle.items.aio()) as items:
        async for item in items:
            yield item


@pytest.mark.parametrize("generate", [_in_lock, _in_semaphore, _in_ephemeral_dict, _in_iteration])
def test_generator_that_is_left_ends_in_silence(
    handle: Handle, client: Client, generate: Callable[[Handle, Client], AsyncGenerator[Any, None]]
) -> None:
    """Its loop closes it, and with it what it is inside of."""
    problems: list[Any] = []

    async def begin() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
        return await anext(generator)

    generator = generate(handle, client)
    with asyncio.Runner() as runner:
        item = runner.run(begin())
    assert problems == []
    assert handle.lock("job").locked() is False
    with handle.semaphore("job", 1, timeout=60):
        pass
    if isinstance(item, Dict):
        with pytest.raises(NotFoundError):
            item.get("k")


def test_lock_that_was_acquired_by_a_blocking_call_inside_of_a_loop_outlasts_it(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed, renew = threading.Event(), locks.Lease.renew

    async def note_and_renew(lease: locks.Lease) -> bool:
        renewed.set()
        return await renew(lease)

    async def acquire() -> Any:
        return handle.lock("job", lease=600).acquire()

    monkeypatch.setattr(locks.Lease, "renew", note_and_renew)
    monkeypatch.setattr(locks, "RENEWALS_PER_LEASE", 12_000)
    with asyncio.Runner() as runner:
        held = runner.run(acquire())
    renewed.clear()
    assert renewed.wait(60)
    held.release()


def test_ephemeral_dict_that_was_entered_by_a_blocking_call_inside_of_a_loop_outlasts_it(client: Client) -> None:
    context: Any = Dict.ephemeral(client=client)

    async def enter() -> Any:
        return context.__enter__()

    with asyncio.Runner() as runner:
        d = runner.run(enter())
    d["k"] = 1
    assert d["k"] == 1
    context.__exit__(None, None, None)


def test_blocking_iteration_that_began_inside_of_a_loop_outlasts_it(handle: Handle) -> None:
    handle.update({number: number for number in range(20)})

    async def begin() -> Any:
        keys = handle.keys()
        return next(keys), keys

    with asyncio.Runner() as runner:
        first, rest = runner.run(begin())
    assert sorted([first, *rest]) == list(range(20))
