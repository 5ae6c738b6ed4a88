"""The concurrency of blocking stores: threads, and coroutines that never suspend."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable
from contextlib import asynccontextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from .base import steady_seconds

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")
R = TypeVar("R")


def run_blocking(coroutine: Coroutine[Any, Any, R]) -> R:
    """Runs a coroutine over a blocking store: to its end, on this thread, without an event loop.

    Nothing in it ever suspends, so the first step is the whole run, and a stack trace shows just the calls made.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    finally:
        coroutine.close()
    raise RuntimeError("a blocking store suspended")


class Threads:
    """What a blocking store inherits: `map`, `sleep`, `exclusive` and `every` over threads."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._guard = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._locks: WeakKeyDictionary[object, threading.Lock] = WeakKeyDictionary()

    def now(self) -> float:
        return steady_seconds()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (no event loop runs under a blocking store)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int
    ) -> AsyncGenerator[R, None]:
        from concurrent.futures import wait
        from queue import SimpleQueue

        async def call(item: T) -> R:
            return await function(item)

        source, ended = iter(items), SimpleQueue["Future[R]"]()
        under_way: set[Future[R]] = set()
        try:
            while True:
                for item in islice(source, limit - len(under_way)):
                    future = self._threads().submit(lambda it: run_blocking(call(it)), item)
                    under_way.add(future)
                    future.add_done_callback(ended.put)
                if not under_way:
                    return
                future = ended.get()
                under_way.discard(future)
                yield future.result()
        finally:
            for future in under_way:
                future.cancel()
            wait(under_way)

    def caller(self) -> Hashable:
        return os.getpid(), threading.get_ident()

    @asynccontextmanager
    async def exclusive(self, owner: object) -> AsyncIterator[None]:
        with self._guard:
            lock = self._locks.setdefault(owner, threading.Lock())
        with lock:
            yield

    @asynccontextmanager
    async def every(self, seconds: float, beat: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
        async def once() -> bool:
            return await beat()

        closed = threading.Event()
        thread = threading.Thread(target=_beat, args=(closed, seconds, once), name="s3dict heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            closed.set()
            thread.join()

    def _threads(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="s3dict")
            return self._pool


def _beat(closed: threading.Event, seconds: float, once: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    while not closed.wait(seconds):
        try:
            if not run_blocking(once()):
                return
        except Exception:
            import logging

            logging.getLogger("s3dict").exception("a heartbeat failed; it is tried again in %.1f s", seconds)
