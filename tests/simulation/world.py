"""The simulation: processes, requests in flight, and the events that can follow."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo
from functools import cache, partial
from itertools import count
from typing import Any, Literal

import pytest

from s3dict import Client, Dict
from s3dict._core import locks
from s3dict._stores.base import Conflict, ObjectStore
from s3dict.errors import UnavailableError

from .choices import Chooser, Option, Replay
from .loop import SimulatedLoop, process_of
from .store import EPOCH, Bucket, Features, Kind, Request, SimulatedRuntime, SimulatedStore

Fault = Literal[
    "lose request",
    "lose response",
    "delay request",
    "duplicate",
    "proxy retry",
    "conflict",
    "throttle",
    "cancel",
    "kill",
    "stall",
    "pause",
    "clock step",
    "clock back",
    "lifecycle",
]

STEP_SECONDS = 0.001
MAX_STEPS = 4000
_LOST = "no response (a simulated fault)"


class HangError(AssertionError):
    """Tasks wait for something that will not happen, or go on without end."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The settings of a run.

    `faults` says which faults there may be, `budget` how many at most. With `split`, a request takes effect in one step
    and is responded to in a later one.
    """

    features: Features = field(default_factory=Features)
    faults: tuple[Fault, ...] = ()
    budget: int = 0
    split: bool = False
    split_reads: bool = False
    pause_seconds: float = 3.0
    fault_weight: float = 0.15
    fault_on: str = ""
    """A pattern of the requests that faults hit, such as `PUT .*/locks/`."""
    overwrites_fail: bool = False
    """Whether faults hit unconditional puts, which may be applied again while their call runs."""
    skew_seconds: float = 0.0
    """How far the wall clock of the process "B" is behind those of the others."""


class SimulatedClient(Client):
    """A client of one simulated process."""

    def __init__(self, world: World, process: str, **settings: Any) -> None:
        super().__init__("simulated", driver="memory", **settings)
        self._simulated_store = SimulatedStore(world, process, SimulatedRuntime(world, process))

    def _store(self, *, aio: bool) -> ObjectStore:
        return self._simulated_store


class World:
    """One run: a bucket, processes, and a chooser that decides what happens next."""

    def __init__(self, chooser: Chooser, setting: Setting, bucket: Bucket | None = None) -> None:
        self.loop = SimulatedLoop()  # type: ignore[abstract]
        self.bucket = _bucket_with_dict(setting.features).copy() if bucket is None else bucket
        self.timeline: list[str] = []
        self.setting = setting
        self.steps = 0
        self.sent = 0
        """How many requests processes have sent."""
        self.quiet = False
        """While the scene is set or looked at: requests take effect in their order, without faults."""
        self._chooser = chooser
        self._budget = setting.budget
        self._pending: list[Request] = []
        self._ghosts: list[Request] = []
        self._programs: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {}
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._numbers = count(1)
        self._closing = False

    def client(self, process: str, **settings: Any) -> SimulatedClient:
        return SimulatedClient(self, process, **settings)

    def handle(self, process: str, **settings: Any) -> Dict[Any, Any]:
        """Return a handle of the Dict "d" that has been looked up."""
        handle = Dict.from_name("d", client=self.client(process, **settings), create_if_missing=True)
        self.now(handle.hydrate.aio())
        return handle

    def now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run something to its end at once: to set the scene, or to look at it afterwards."""
        self.quiet = True
        try:
            with self._running():
                task = self.loop.create_task(coroutine)
                while not task.done():
                    self.loop.run_ready()
                    if not task.done():
                        self._run_quietly()
            return task.result()
        finally:
            self.quiet = False

    def start(self, process: str, function: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Have a process start when the run begins: a task in a context of its own."""
        self._programs[process] = function

    def run(self) -> None:
        """Let things happen, one by one, until all processes have ended and no request is in flight."""
        state = random.getstate()
        random.seed(0)
        try:
            with self._running():
                for process, function in self._programs.items():
                    context = copy_context()
                    context.run(process_of.set, process)
                    self._tasks[process] = self.loop.create_task(function(), name=process, context=context)
                while self._step():
                    pass
        finally:
            random.setstate(state)

    def failures(self) -> list[BaseException]:
        """Return what processes raised that ended in an unexpected exception."""
        ended = [task for task in self._tasks.values() if task.done() and not task.cancelled()]
        return [error for task in ended if (error := task.exception()) is not None]

    async def send(self, process: str, kind: Kind, path: str, effect: Callable[[], Any], conditional: bool) -> Any:
        """Send a request, and return its result once the simulation responds."""
        if self._closing:
            raise asyncio.CancelledError
        self.sent += not self.quiet
        request = Request(process, kind, path, effect, self.loop.create_future(), conditional, next(self._numbers))
        self._pending.append(request)
        try:
            return await request.future
        except asyncio.CancelledError:
            self._abandon(request)
            raise

    def close(self) -> None:
        """End all tasks, those of killed processes included: a coroutine that is merely dropped would complain."""
        self._closing = True
        self.loop.dead.clear()
        with self.loop.running():
            while left := self.loop.unfinished():
                for task in left:
                    task.cancel()
                self.loop.run_ready()
                for when, _, handle in self.loop.due_timers():
                    self.loop.fire(when, handle)

    def _step(self) -> bool:
        self.loop.run_ready()
        for process in self.loop.dead:
            for request in [request for request in self._pending if request.process == process]:
                self._abandon(request)
        options = self._options()
        if not options:
            if stuck := [name for name, task in self._tasks.items() if not task.done() and name not in self.loop.dead]:
                raise HangError(f"{', '.join(stuck)}: waiting for nothing")
            return False
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise HangError(f"no end after {MAX_STEPS} steps")
        option = options[self._chooser.choose(options)]
        self.loop.now += STEP_SECONDS
        self.timeline.append(f"{self.loop.now:8.3f}  {option.label}")
        option.run()
        return True

    def _run_quietly(self) -> None:
        if self._pending:
            request = self._pending.pop(0)
            request.future.set_result(request.effect())
            return
        timers = self.loop.due_timers()
        if not timers:
            raise HangError("waiting for nothing")
        self.loop.fire(timers[0][0], timers[0][2])

    def _options(self) -> list[Option]:
        waiting = [request for request in self._pending if request.stalled_until <= self.loop.now]
        options = [option for request in waiting for option in self._ordinary(request)]
        timers = [] if not self.loop.unfinished() else sorted(self.loop.due_timers(), key=lambda timer: timer[:2])
        if timers:
            when, name, handle = timers[0]
            label = f"{name or 'a timer'}: wakes up at {when:.3f}"
            options.append(Option(label, lambda: self.loop.fire(when, handle), 0.3 if options else 1.0))
        if not options:
            options = [option for request in self._pending for option in self._ordinary(request)]
        options += [
            Option(f"{ghost}, late: takes effect", partial(self._apply_ghost, ghost), 0.3) for ghost in self._ghosts
        ]
        if self._ghosts and len(options) == len(self._ghosts):
            options.insert(0, Option("what is still in flight never arrives", self._ghosts.clear))
        if self._budget > 0 and options:
            options += self._faults(timers)
        return options

    def _ordinary(self, request: Request) -> list[Option]:
        if request.applied:
            return [Option(f"{request}: response arrives", lambda: self._respond(request))]
        if self.setting.split_reads or (self.setting.split and request.writes):
            return [Option(f"{request}: takes effect", lambda: self._apply(request))]
        return [Option(str(request), lambda: self._apply_and_respond(request))]

    def _faults(self, timers: list[tuple[float, str, asyncio.TimerHandle]]) -> list[Option]:
        options: list[Option] = []

        def add(fault: Fault, label: str, run: Callable[[], None]) -> None:
            def inject() -> None:
                self._budget -= 1
                run()

            if fault in self.setting.faults:
                options.append(Option(f"FAULT {label}", inject, self.setting.fault_weight))

        for request in self._pending:
            self._add_request_faults(request, add)
        for name, task in self._tasks.items():
            if not task.done() and name not in self.loop.dead:
                add("cancel", f"{name} is cancelled", partial(_cancel, task))
                add("kill", f"{name} is killed", partial(self.loop.dead.add, name))
        pause = self.setting.pause_seconds
        add("pause", f"{pause:g} s pass", lambda: self._pass(pause))
        add("clock step", "the store's clock is set forward by 1 s", lambda: self._step_clock(1.0))
        add("clock back", "the store's clock is set back by 5 s", lambda: self._step_clock(-5.0))
        for path in self.bucket.swept(self.loop.now):
            add("lifecycle", f"the lifecycle deletes {path}", partial(self.bucket.remove, path))
        return options

    def _add_request_faults(self, request: Request, add: Callable[[Fault, str, Callable[[], None]], None]) -> None:
        if request.writes and not request.conditional and not self.setting.overwrites_fail:
            return
        if not re.match(self.setting.fault_on, f"{request.kind.upper()} {request.path}"):
            return
        if request.applied:
            add("lose response", f"{request}: the response is lost", lambda: self._fail(request))
            add("stall", f"{request}: the response takes long", lambda: self._stall(request))
            return
        add("lose request", f"{request}: is lost", lambda: self._fail(request))
        add("throttle", f"{request}: is throttled", lambda: self._fail(request, maybe_applied=False))
        if not request.writes:
            return
        add("stall", f"{request}: takes long", lambda: self._stall(request))

        def lose_response() -> None:
            self._apply(request)
            self._fail(request)

        def proxy_retry() -> None:
            self._apply(request)
            request.applied = False
            self._apply_and_respond(request)

        def duplicate() -> None:
            self._ghosts.append(request)
            self._apply_and_respond(request)

        def delay() -> None:
            self._ghosts.append(request)
            self._fail(request)

        def conflict() -> None:
            request.result = Conflict()
            self._respond(request)

        add("lose response", f"{request}: takes effect, and the response is lost", lose_response)
        add("delay request", f"{request}: is delayed, and given up by its sender", delay)
        add("duplicate", f"{request}: takes effect, and its duplicate is in flight", duplicate)
        add("proxy retry", f"{request}: takes effect, and a proxy repeats it", proxy_retry)
        if request.conditional:
            add("conflict", f"{request}: 409", conflict)

    def _apply(self, request: Request) -> None:
        request.result, request.applied = request.effect(), True

    def _apply_and_respond(self, request: Request) -> None:
        self._apply(request)
        self._respond(request)

    def _respond(self, request: Request) -> None:
        self._pending.remove(request)
        if not request.future.done():
            request.future.set_result(request.result)
        self.timeline[-1] += f" -> {_short(request.result)}"

    def _fail(self, request: Request, *, maybe_applied: bool = True) -> None:
        self._pending.remove(request)
        if not request.future.done():
            request.future.set_exception(UnavailableError(_LOST, maybe_applied=maybe_applied))

    def _abandon(self, request: Request) -> None:
        """The caller has gone: a write may take effect all the same, or never."""
        if request in self._pending:
            self._pending.remove(request)
            if request.writes and not request.applied:
                self._ghosts.append(request)

    def _apply_ghost(self, ghost: Request) -> None:
        self._ghosts.remove(ghost)
        self.timeline[-1] += f" -> {_short(ghost.effect())}"

    def _stall(self, request: Request) -> None:
        request.stalled_until = self.loop.now + self.setting.pause_seconds

    def _pass(self, seconds: float) -> None:
        self.loop.now += seconds

    def _step_clock(self, seconds: float) -> None:
        self.bucket.clock_step += seconds

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Run the loop, with the wall clock of the simulation."""
        world = self

        class WallClock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                behind = world.setting.skew_seconds if process_of.get() == "B" else 0.0
                return EPOCH + timedelta(seconds=world.loop.now - behind)

        with pytest.MonkeyPatch.context() as patch, self.loop.running():
            patch.setattr(locks, "datetime", WallClock)
            yield


@cache
def _bucket_with_dict(features: Features) -> Bucket:
    """Return a bucket that contains an empty Dict "d"."""
    # With long pages: the probe expects its few objects on one.
    world = World(Replay(), Setting(features), Bucket(replace(features, page_size=1000)))
    world.handle("setup")
    world.bucket.features = features
    return world.bucket


def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()


def _short(result: object) -> str:
    text = type(result).__name__
    return text if result is not None else "nothing there"
