"""The concurrency of blocking stores: threads, and coroutines that never suspend."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

from ..base import monotonic_seconds
from . import request_log as log

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


class ThreadRuntime:
    """The runtime of a blocking store: the caller's thread, and a bounded pool of others."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._guard = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._locks: WeakKeyDictionary[object, threading.Lock] = WeakKeyDictionary()

    def monotonic(self) -> float:
        return monotonic_seconds()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (no event loop runs under a blocking store)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int
    ) -> AsyncGenerator[R, None]:
        async def call(item: T) -> R:
            return await function(item)

        workers: _WorkerGroup[T, R] = _WorkerGroup(lambda item: run_blocking(call(item)), limit, self._threads)
        try:
            # The items are taken here, on the caller's thread: what gives them may be bound to it. The few ahead are
            # for a thread that ends a call before the caller has come back for its result.
            for item in items:
                workers.submit(item)
                if workers.submitted - workers.collected == limit + limit // 4:
                    yield workers.next_result()
            while workers.submitted > workers.collected:
                yield workers.next_result()
        finally:
            workers.shutdown()

    def caller_id(self) -> Hashable:
        return os.getpid(), threading.get_ident()

    @asynccontextmanager
    async def lock_for(self, owner: object) -> AsyncIterator[None]:
        with self._guard:
            lock = self._locks.setdefault(owner, threading.Lock())
        with lock:
            yield

    @asynccontextmanager
    async def heartbeat(self, interval: float, callback: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
        async def call() -> bool:
            return await callback()

        closed = threading.Event()
        thread = threading.Thread(
            target=_heartbeat_loop, args=(closed, interval, call), name="s3dict heartbeat", daemon=True
        )
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


class _Member(threading.local):
    _in_worker = False


_member = _Member()


class _WorkerGroup(Generic[T, R]):
    """Up to `limit` threads of a pool that work off what they are given, and go when there is nothing left.

    A thread takes the next item itself, since a future and a switch of threads for each would cost more than a request
    does. It does not wait for one: threads that waited for a caller who has stopped asking would be lost to others.
    """

    def __init__(self, work: Callable[[T], R], limit: int, pool: Callable[[], ThreadPoolExecutor]) -> None:
        from queue import SimpleQueue

        self.submitted = self.collected = 0
        self._work = work
        self._limit = limit
        self._pool = pool
        self._guard = threading.Lock()
        self._waiting: deque[T] = deque()
        self._done: SimpleQueue[tuple[R | None, BaseException | None]] = SimpleQueue()
        self._threads: set[Future[None]] = set()
        self._working = 0

    def submit(self, item: T) -> None:
        self.submitted += 1
        with self._guard:
            self._waiting.append(item)
            if self._working == self._limit:
                return
            self._working += 1
        try:
            # Of a crew within a crew, all threads might wait for threads: a value, say, that reads another as it loads.
            thread = None if _member._in_worker else self._pool().submit(self._run)
        except RuntimeError:
            # The interpreter is on its way out, and starts no more threads.
            thread = None
        if thread is None:
            self._run()
        else:
            self._threads.add(thread)
            thread.add_done_callback(self._threads.discard)

    def next_result(self) -> R:
        """The next result, or the exception in its place."""
        self.collected += 1
        result, error = self._done.get()
        if error is not None:
            raise error
        return cast("R", result)

    def shutdown(self) -> None:
        """Drops what has not begun, and waits for what has."""
        from concurrent.futures import wait

        with self._guard:
            self._waiting.clear()
        wait(tuple(self._threads))

    def _run(self) -> None:
        outer, _member._in_worker = _member._in_worker, True
        try:
            while True:
                with self._guard:
                    if not self._waiting:
                        self._working -= 1
                        return
                    item = self._waiting.popleft()
                self._done.put(self._outcome(item))
        finally:
            _member._in_worker = outer

    def _outcome(self, item: T) -> tuple[R | None, BaseException | None]:
        try:
            return self._work(item), None
        except BaseException as error:
            return None, error


def _heartbeat_loop(
    closed: threading.Event, interval: float, callback: Callable[[], Coroutine[Any, Any, bool]]
) -> None:
    while not closed.wait(interval):
        try:
            if not run_blocking(callback()):
                return
        except Exception:
            log.logger().exception("a heartbeat failed; retrying in %.1f s", interval)
