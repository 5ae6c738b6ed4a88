"""The concurrency of asyncio stores: tasks of one event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Hashable, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import TypeVar
from weakref import WeakKeyDictionary

from ..base import steady_seconds
from . import request_log as log

T = TypeVar("T")
R = TypeVar("R")


class Tasks:
    """What an asyncio store inherits: `map`, `sleep`, `exclusive` and `every` over tasks of one event loop."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[object, asyncio.Lock] = WeakKeyDictionary()

    def now(self) -> float:
        return steady_seconds()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int
    ) -> AsyncGenerator[R, None]:
        async def call(item: T) -> R:
            return await function(item)

        source, ended = iter(items), asyncio.Queue[asyncio.Task[R]]()
        under_way: set[asyncio.Task[R]] = set()
        try:
            while True:
                for item in islice(source, limit - len(under_way)):
                    task = asyncio.create_task(call(item))
                    under_way.add(task)
                    task.add_done_callback(ended.put_nowait)
                if not under_way:
                    return
                task = await ended.get()
                under_way.discard(task)
                yield task.result()
        finally:
            await _cancel(under_way)

    def caller(self) -> Hashable:
        return os.getpid(), id(asyncio.current_task())

    @asynccontextmanager
    async def exclusive(self, owner: object) -> AsyncIterator[None]:
        async with self._locks.setdefault(owner, asyncio.Lock()):
            yield

    @asynccontextmanager
    async def every(self, seconds: float, beat: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
        task = asyncio.create_task(_beat(seconds, beat), name="s3dict heartbeat")
        try:
            yield
        finally:
            await _cancel({task})


async def _cancel(tasks: Iterable[asyncio.Task[R]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _beat(seconds: float, beat: Callable[[], Awaitable[bool]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            if not await beat():
                return
        except Exception:
            log.logger().exception("a heartbeat failed; it is tried again in %.1f s", seconds)
