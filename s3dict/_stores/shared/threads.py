"""The runtime of blocking stores: threads, and coroutines that never suspend."""

from __future__ import annotations

import os
import sys
import threading
import time
from _thread import allocate_lock, start_new_thread
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast
from weakref import WeakKeyDictionary

from ..._nested import nested_context, unregistered
from ...errors import Error, shorten_traceback
from ..base import monotonic_seconds
from . import request_log as log
from .forks import check_process

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
R = TypeVar("R")
Outcome: TypeAlias = tuple[R | None, BaseException | None]

FORK_CHECK_SECONDS = 1.0
"""How often a thread that waits for others looks whether it is in a forked child, which has no other threads."""

_interruption: ContextVar[threading.Event | None] = ContextVar("s3dict_interruption", default=None)
"""In a shielded section, and in the worker of a `map`: set when its caller has been interrupted or has gone on."""


def run_blocking(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine over a blocking store to its end, on this thread, without an event loop.

    Nothing in it ever suspends, so the first step is the whole run, and a stack trace shows just the calls made.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    except RuntimeError as error:
        if isinstance(error.__cause__, StopIteration) and str(error) == "coroutine raised StopIteration":
            # A function of the caller raised it, which a blocking call is not to change.
            raise error.__cause__ from None
        raise
    finally:
        coroutine.close()
    raise RuntimeError("a blocking store suspended")


def iterate_blocking(generator: AsyncGenerator[R, None]) -> Iterator[R]:
    """Iterate over an asynchronous generator over a blocking store, as `run_blocking` runs a coroutine."""

    try:
        # Without a coroutine around it, which would cost as much as all else that a key of a listing takes here. The
        # loop that may be running here is not to close the generator: the iterator may outlast it.
        step: Any = unregistered(generator.__anext__)
        while True:
            try:
                step.send(None)
            except StopIteration as stop:
                item: R = stop.value
            except StopAsyncIteration:
                return
            except (Error, KeyError) as error:
                shorten_traceback(error)
                raise
            else:
                step.close()
                raise RuntimeError("a blocking store suspended")
            yield item
            step = generator.__anext__()
    finally:
        # Also when the caller breaks out of its loop: requests in flight end here, not at some garbage collection.
        run_blocking(generator.aclose())


class ThreadRuntime:
    """The runtime of a blocking store: the caller's thread, and a bounded pool of others.

    Its locks are reentrant, since a signal handler may call anything here while its thread is inside.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._guard = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None
        self._locks: WeakKeyDictionary[object, threading.RLock] = WeakKeyDictionary()

    def monotonic(self) -> float:
        return monotonic_seconds()

    async def sleep(self, seconds: float) -> None:
        interruption = _interruption.get()
        if interruption is None:
            time.sleep(seconds)  # noqa: ASYNC251 (no event loop runs under a blocking store)
        else:
            interruption.wait(seconds)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int, *, ordered: bool = False
    ) -> AsyncGenerator[R, None]:
        async def call(item: T) -> R:
            return await function(item)

        def work(numbered: tuple[int, T]) -> tuple[int, R]:
            number, item = numbered
            return number, run_blocking(call(item))

        workers = _WorkerGroup(work, limit, self._threads)
        early: dict[int, R] = {}
        delivered = 0

        def next_result() -> R:
            if not ordered:
                return workers.next_result()[1]
            while delivered not in early:
                number, result = workers.next_result()
                early[number] = result
            return early.pop(delivered)

        try:
            # The items are taken here, on the caller's thread: their iterator may be bound to it. The few ahead are for
            # a thread that ends a call before the caller has come back for its result.
            for numbered in enumerate(items):
                workers.submit(numbered)
                if workers.submitted - delivered == limit + limit // 4:
                    yield next_result()
                    delivered += 1
            while workers.submitted > delivered:
                yield next_result()
                delivered += 1
        finally:
            workers.shutdown()

    async def shielded(self, function: Callable[[], Awaitable[R]]) -> R:
        async def call() -> R:
            return await function()

        if _interruption.get() is not None:
            return await call()
        return _Section(lambda: run_blocking(call())).run()

    def interrupted(self) -> bool:
        interruption = _interruption.get()
        return interruption is not None and interruption.is_set()

    def caller_id(self) -> Hashable:
        return os.getpid(), _this_thread.identity

    @asynccontextmanager
    async def lock_for(self, owner: object) -> AsyncIterator[None]:
        with self._guard:
            lock = self._locks.setdefault(owner, threading.RLock())
        with lock:
            yield

    @nested_context
    async def heartbeat(self, interval: float, callback: Callable[[], Awaitable[bool]]) -> AsyncGenerator[None, None]:
        async def call() -> bool:
            return await callback()

        closed = threading.Event()
        thread = threading.Thread(
            target=_heartbeat_loop, args=(closed, interval, call), name="s3dict heartbeat", daemon=True
        )
        try:
            _start_unless_at_exit(thread)
            yield
        finally:
            closed.set()
            # A forked child has no such thread, and an interpreter that is shutting down runs none. One whose start was
            # interrupted finds `closed` set and ends.
            if not sys.is_finalizing():
                _wait_through_interruptions(lambda: thread.join() if thread.is_alive() else None)

    def _threads(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        with self._guard:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="s3dict")
            return self._pool


def _start_unless_at_exit(thread: threading.Thread) -> None:
    """Start a thread, unless the interpreter is shutting down: Python 3.12.0 to 3.12.2 starts none then.

    What is done in a function of `atexit` seldom takes longer than a lease, and a lock that does is lost.
    """
    try:
        thread.start()
    except RuntimeError:
        if threading.main_thread().is_alive():
            raise


class _ThisThread(threading.local):
    in_worker = False
    """Whether this thread may not wait for the pool: it is one of its threads, or is inside its `submit`."""

    def __init__(self) -> None:
        self.identity = object()
        """Unlike `get_ident`, never that of an earlier thread."""


_this_thread = _ThisThread()


def _wait_through_interruptions(wait: Callable[[], object], interruption: threading.Event | None = None) -> None:
    """Call `wait` until it returns; afterwards raise what a signal handler raised.

    Args:
        wait: Returns once what is waited for has happened, and may be called again after that.
        interruption: Set at the first interruption.
    """
    try:
        wait()
    except BaseException:
        if interruption is not None:
            interruption.set()
        _wait_through_interruptions(wait, interruption)
        raise


class _Section(Generic[R]):
    """A call that runs in a thread of its own, where nothing interrupts it.

    Signal handlers run in the main thread. An exception may be raised in any other thread as well: time limits of
    Dramatiq and RQ do that, and `gevent.Timeout` in a greenlet.

    Args:
        work: What to call.
    """

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._pid = os.getpid()
        self._interruption = threading.Event()
        self._outcomes: list[Outcome[R]] = []
        # Taken by the worker that begins, or by a caller that is interrupted before that.
        self._ticket = [None]
        self._finished = allocate_lock()
        self._finished.acquire()

    def run(self) -> R:
        """Return or raise what `work` does. What a signal handler raises is raised when `work` has ended."""
        try:
            self._start()
            self._wait()
        except BaseException:
            self._interruption.set()
            if not _take(self._ticket):
                _wait_through_interruptions(self._wait, self._interruption)
            self._outcomes.clear()
            raise
        return self._result()

    def _start(self) -> None:
        # An interpreter that is shutting down runs no more threads; before Python 3.12 it starts them nevertheless.
        if not sys.is_finalizing():
            with suppress(RuntimeError):
                start_new_thread(copy_context().run, (self._run_here,))
                return
        copy_context().run(self._run_here)

    def _run_here(self) -> None:
        if not _take(self._ticket):
            return
        _interruption.set(self._interruption)
        try:
            self._outcomes.append((self._work(), None))
        except BaseException as error:
            self._outcomes.append((None, error))
        finally:
            self._finished.release()

    def _wait(self) -> None:
        while not self._outcomes and os.getpid() == self._pid:
            self._finished.acquire(timeout=FORK_CHECK_SECONDS)

    def _result(self) -> R:
        check_process(self._pid)
        return result_of(*self._outcomes.pop())


def result_of(result: R | None, error: BaseException | None) -> R:
    """Return the result, or raise the error, without a reference to it in a frame of its own traceback.

    Such a cycle would keep what the call was working on until it is collected.
    """
    try:
        if error is not None:
            raise error
        return cast("R", result)
    finally:
        del error


def _take(ticket: list[None]) -> bool:
    try:
        ticket.pop()
    except IndexError:
        return False
    return True


class _WorkerGroup(Generic[T, R]):
    """Up to `limit` threads of a pool that process the submitted items, and end when there are none left.

    A thread takes the next item itself, since a future and a switch of threads for each would cost more than a request
    does. It does not wait for one: threads that waited for a caller who has stopped asking would be lost to others.
    """

    def __init__(self, work: Callable[[T], R], limit: int, pool: Callable[[], ThreadPoolExecutor]) -> None:
        from queue import Empty, SimpleQueue

        self.submitted = 0
        self._nothing_done = Empty
        self._work = work
        self._limit = limit
        self._pool = pool
        self._pid = os.getpid()
        self._interruption = threading.Event()
        self._guard = threading.RLock()
        self._waiting: deque[T] = deque()
        self._done: SimpleQueue[Outcome[R]] = SimpleQueue()
        self._started = 0
        # The threads that have taken an item. Each adds itself, since a caller that is interrupted while it starts one
        # may not know of it.
        self._working: set[object] = set()

    def submit(self, item: T) -> None:
        check_process(self._pid)
        self.submitted += 1
        with self._guard:
            self._waiting.append(item)
            if self._started == self._limit:
                return
            self._started += 1
        if not self._start_thread():
            copy_context().run(self._run)

    def next_result(self) -> R:
        """Return the next result, or raise the exception in its place."""
        return result_of(*self._next_outcome())

    def _next_outcome(self) -> Outcome[R]:
        while True:
            check_process(self._pid)
            try:
                return self._done.get(timeout=FORK_CHECK_SECONDS)
            except self._nothing_done:
                continue

    def shutdown(self) -> None:
        """Drop what has not begun, and wait for what has, which makes no further attempt of anything."""
        if os.getpid() != self._pid:
            # A forked child has no such threads, and one of them may have held the lock at the fork.
            return
        _wait_through_interruptions(self._end)
        while not self._done.empty():
            # Exceptions that no caller gets: their tracebacks refer to this group.
            self._done.get()

    def _end(self) -> None:
        with self._guard:
            self._waiting.clear()
        self._interruption.set()
        while self._working and os.getpid() == self._pid:
            with suppress(self._nothing_done):
                self._done.get(timeout=FORK_CHECK_SECONDS)

    def _start_thread(self) -> bool:
        """Start a thread of the pool; return False where this thread has to do the work itself."""
        # In a group within a group, all threads might wait for threads: a value, say, that reads another as it loads.
        # The pool's own lock is not reentrant, so neither may a signal handler submit while this thread does.
        if _this_thread.in_worker:
            return False
        try:
            _this_thread.in_worker = True
            self._pool().submit(copy_context().run, self._run)
        except RuntimeError:
            # The interpreter is shutting down, and starts no more threads.
            return False
        finally:
            _this_thread.in_worker = False
        return True

    def _run(self) -> None:
        _interruption.set(self._interruption)
        outer, _this_thread.in_worker = _this_thread.in_worker, True
        worker = object()
        try:
            while True:
                with self._guard:
                    if not self._waiting:
                        self._started -= 1
                        return
                    self._working.add(worker)
                    item = self._waiting.popleft()
                self._done.put(self._outcome(item))
        finally:
            _this_thread.in_worker = outer
            self._working.discard(worker)
            if self._interruption.is_set():
                # Wakes the caller that waits for this thread.
                self._done.put((None, None))

    def _outcome(self, item: T) -> Outcome[R]:
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
