"""The runtime of asyncio stores: tasks of one event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Hashable,
    Iterable,
)
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from contextvars import Context, ContextVar
from itertools import islice
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary, ref

from ..._nested import nested_context
from ..base import monotonic_seconds
from . import request_log as log
from .threads import Outcome, result_of

T = TypeVar("T")
R = TypeVar("R")

_interruption: ContextVar[asyncio.Event | None] = ContextVar("s3dict_interruption", default=None)
"""In a shielded section: set when its caller has been cancelled."""

_YEAR = 365 * 86400.0

_task_identities: WeakKeyDictionary[asyncio.Task[Any], object] = WeakKeyDictionary()


class TaskRuntime:
    """The runtime of an asyncio store: tasks of one event loop."""

    def __init__(self) -> None:
        self._locks: WeakKeyDictionary[object, asyncio.Lock] = WeakKeyDictionary()

    def monotonic(self) -> float:
        return monotonic_seconds()

    async def sleep(self, seconds: float) -> None:
        interruption = _interruption.get()
        if interruption is None:
            await asyncio.sleep(seconds)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(interruption.wait(), seconds)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int, *, ordered: bool = False
    ) -> AsyncGenerator[R, None]:
        async def call(item: T) -> Outcome[R]:
            # An exception of the task would be reported if the generator is left before it comes to this result.
            try:
                return await function(item), None
            except Exception as error:
                return None, error

        source, finished = iter(items), asyncio.Queue[asyncio.Task[Outcome[R]]]()
        # In the order in which they were created.
        in_flight: dict[asyncio.Task[Outcome[R]], None] = {}

        async def next_result() -> R:
            task = next(iter(in_flight)) if ordered else await finished.get()
            if not task.done():
                await asyncio.wait({task})
            del in_flight[task]
            try:
                return result_of(*task.result())
            finally:
                # Its exception's traceback refers to this frame: the cycle would keep the request's body.
                del task

        end_watch = _LoopWatch(in_flight).start()
        try:
            while True:
                for item in islice(source, limit - len(in_flight)):
                    task = quiet_task(call(item))
                    in_flight[task] = None
                    if not ordered:
                        task.add_done_callback(finished.put_nowait)
                if not in_flight:
                    return
                yield await next_result()
        finally:
            end_watch()
            await _cancel(in_flight)

    async def shielded(self, function: Callable[[], Awaitable[R]]) -> R:
        if _interruption.get() is not None:
            return await function()
        interruption = asyncio.Event()

        async def section() -> R:
            _interruption.set(interruption)
            return await function()

        task = asyncio.create_task(section())
        try:
            await wait_through_cancellation({task}, interruption)
            return task.result()
        finally:
            # Its exception's traceback refers to this frame: the cycle would keep the request's body.
            del task

    def interrupted(self) -> bool:
        interruption = _interruption.get()
        return interruption is not None and interruption.is_set()

    def caller_id(self) -> Hashable:
        task = asyncio.current_task()
        # Unlike its `id`, never that of an earlier task.
        return os.getpid(), None if task is None else _task_identities.setdefault(task, object())

    @asynccontextmanager
    async def lock_for(self, owner: object) -> AsyncIterator[None]:
        async with self._locks.setdefault(owner, asyncio.Lock()):
            yield

    @nested_context
    async def heartbeat(self, interval: float, callback: Callable[[], Awaitable[bool]]) -> AsyncGenerator[None, None]:
        task = quiet_task(_heartbeat_loop(interval, callback), name="s3dict heartbeat")
        try:
            yield
        finally:
            await _cancel({task})


def quiet_task(coroutine: Coroutine[Any, Any, R], name: str | None = None) -> asyncio.Task[R]:
    """Return a task of which asyncio does not report that its loop was closed before its end, as `asyncio.gather`."""
    task: Any = asyncio.create_task(coroutine, name=name)
    task._log_destroy_pending = False
    return cast("asyncio.Task[R]", task)


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    _cancel_requests(tasks)
    if asyncio._get_running_loop() is not None:
        # Otherwise this generator was left unfinished, and its loop is closed: no task runs any more.
        await wait_through_cancellation([task for task in tasks if not task.get_loop().is_closed()])


def _cancel_requests(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        # Of a closed loop: what the task waits for is cancelled, and its driver does not deliver the response.
        with suppress(RuntimeError):
            task.cancel()


class _LoopWatch:
    """Cancels the requests of tasks when their loop is closed: drivers report a response that they cannot deliver.

    There is no hook for that, but a closed loop drops its timers, and this with its own.
    """

    def __init__(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()

    def start(self) -> Callable[[], None]:
        """Return a function that ends it."""
        timer = ref(self._loop.call_later(_YEAR, self.ignore, context=Context()))

        def end() -> None:
            handle = timer()
            if handle is not None:
                handle.cancel()

        return end

    def ignore(self) -> None: ...

    def __del__(self) -> None:
        if self._loop.is_closed():
            _cancel_requests(self._tasks)


async def wait_through_cancellation(
    tasks: Collection[asyncio.Future[Any]], interruption: asyncio.Event | None = None
) -> None:
    """Wait until all tasks are done, also when this one is cancelled while it waits: that is raised afterwards.

    Args:
        tasks: What to wait for.
        interruption: Set at the first cancellation.
    """
    if not tasks:
        return
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        if interruption is not None:
            interruption.set()
        with _shield_from_anyio():
            while not all(task.done() for task in tasks):
                with suppress(asyncio.CancelledError):
                    await asyncio.wait(tasks)
        for task in tasks:
            # Retrieved, because asyncio reports exceptions that were never retrieved.
            _ = task.cancelled() or task.exception()
        raise


def _shield_from_anyio() -> AbstractContextManager[object]:
    """Keep anyio's cancel scopes from cancelling the wait in each cycle of the loop."""
    # Only where it is loaded can there be such a scope.
    cancel_scope = getattr(sys.modules.get("anyio"), "CancelScope", None)
    scope: AbstractContextManager[object] = nullcontext() if cancel_scope is None else cancel_scope(shield=True)
    return scope


async def _heartbeat_loop(interval: float, callback: Callable[[], Awaitable[bool]]) -> None:
    while True:
        await asyncio.sleep(interval)
        try:
            if not await callback():
                return
        except Exception:
            log.logger().exception("a heartbeat failed; retrying in %.1f s", interval)
