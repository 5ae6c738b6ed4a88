"""The concurrency of asyncio stores: tasks of one event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import TypeVar
from weakref import WeakKeyDictionary

from ..base import monotonic_seconds
from . import request_log as log

T = TypeVar("T")
R = TypeVar("R")


class TaskRuntime:
    """The runtime of an asyncio store: tasks of one event loop."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[object, asyncio.Lock] = WeakKeyDictionary()

    def monotonic(self) -> float:
        return monotonic_seconds()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int
    ) -> AsyncGenerator[R, None]:
        async def call(item: T) -> R:
            return await function(item)

        source, finished = iter(items), asyncio.Queue[asyncio.Task[R]]()
        in_flight: set[asyncio.Task[R]] = set()
        try:
            while True:
                for item in islice(source, limit - len(in_flight)):
                    task = asyncio.create_task(call(item))
                    in_flight.add(task)
                    task.add_done_callback(finished.put_nowait)
                if not in_flight:
                    return
                task = await finished.get()
                in_flight.discard(task)
                yield task.result()
        finally:
            await _cancel(in_flight)

    def caller_id(self) -> Hashable:
        return os.getpid(), id(asyncio.current_task())

    @asynccontextmanager
    async def lock_for(self, owner: object) -> AsyncIterator[None]:
        async with self._locks.setdefault(owner, asyncio.Lock()):
            yield

    @asynccontextmanager
    async def heartbeat(self, interval: float, callback: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
        task = asyncio.create_task(_heartbeat_loop(interval, callback), name="s3dict heartbeat")
        try:
            yield
        finally:
            await _cancel({task})


async def _cancel(tasks: Iterable[asyncio.Task[R]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _heartbeat_loop(interval: float, callback: Callable[[], Awaitable[bool]]) -> None:
    while True:
        await asyncio.sleep(interval)
        try:
            if not await callback():
                return
        except Exception:
            log.logger().exception("a heartbeat failed; retrying in %.1f s", interval)
