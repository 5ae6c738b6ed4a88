"""An event loop in virtual time, which runs what is ready and leaves everything else to the simulation."""

from __future__ import annotations

import asyncio
import heapq
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from itertools import count
from typing import Any

NEVER = 300 * 86400.0
"""Timers that are further ahead, in seconds, are for a loop that is closed."""

process_of: ContextVar[str] = ContextVar("process_of", default="")
"""The simulated process in whose context something runs."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Runs tasks until all of them wait. Time does not pass in between; timers fire when the simulation says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.dead: set[str] = set()
        """Processes that were killed: nothing of theirs runs any more."""
        self.problems: list[str] = []
        """What asyncio would have logged."""
        self._tasks: list[tuple[str, asyncio.Task[Any]]] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()

    @contextmanager
    def running(self) -> Iterator[None]:
        outer, hooks = events._get_running_loop(), sys.get_asyncgen_hooks()
        events._set_running_loop(self)
        # asyncio would close generators that a killed process has left; here they are dropped.
        sys.set_asyncgen_hooks(firstiter=None, finalizer=lambda _: None)
        try:
            yield
        finally:
            sys.set_asyncgen_hooks(*hooks)
            events._set_running_loop(outer)

    def run_ready(self) -> None:
        """Run until nothing is ready."""
        while self._ready:
            handle = self._ready.popleft()
            if not handle.cancelled() and process(handle) not in self.dead:
                handle._run()

    def unfinished(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that are not done, other than those of killed processes."""
        self._tasks = [(name, task) for name, task in self._tasks if not task.done()]
        return [task for name, task in self._tasks if name not in self.dead]

    def due_timers(self) -> list[tuple[float, str, asyncio.TimerHandle]]:
        """Return the next timer of each process that has one: when, whose, and the timer; the earliest first."""
        found: dict[str, tuple[float, str, asyncio.TimerHandle]] = {}
        for when, _, handle in sorted(self._timers):
            name = process(handle)
            if not handle.cancelled() and name not in self.dead:
                found.setdefault(name, (when, name, handle))
        return list(found.values())

    def fire(self, when: float, handle: asyncio.TimerHandle) -> None:
        """Move to the timer's time, or stay where that has passed, and make it ready."""
        self.now = max(self.now, when)
        self._timers = [timer for timer in self._timers if timer[2] is not handle and not timer[2].cancelled()]
        heapq.heapify(self._timers)
        self._ready.append(handle)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if when - self.now < NEVER:
            heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: cancelled timers are left out when they are looked at."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append((process_of.get() if context is None else context.get(process_of, ""), task))
        return task

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")


def process(handle: asyncio.Handle) -> str:
    context: Context = handle._context  # type: ignore[attr-defined]
    return context.get(process_of, "")
