"""Programs of a few processes each, and their invariants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from s3dict import Dict
from s3dict._core.locks import take_away
from s3dict._lock import unpickle_held
from s3dict.errors import (
    AlreadyExistsError,
    ConflictError,
    Error,
    InvalidError,
    LockLostError,
    LockTimeoutError,
    NotFoundError,
    UnavailableError,
    UncertainOutcomeError,
)

from ..support import linearizability as checker
from .history import ABSENT, History, Step
from .world import STEP_SECONDS, World

KEY = "k"
TTL = timedelta(days=7)
SWEPT_AFTER = timedelta(days=9)
"""When the lifecycle may delete what has not been written since."""
Handle = Dict[Any, Any]


class Program(Protocol):
    """An initial state, processes, and a check of the final state."""

    def prepare(self, world: World) -> None:
        """Create the initial state, and start the processes."""
        ...

    def check(self, world: World) -> None:
        """Raise AssertionError when a promise was broken."""
        ...


@dataclass(frozen=True, slots=True)
class Discard(checker.Call):
    """Returns whether it removed something."""

    def apply(self, state: checker.State, number: int, result: Any) -> checker.State | None:
        removes = state.value is not checker.ABSENT
        if result not in (removes, checker.UNKNOWN):
            return None
        return checker.State(checker.ABSENT, number, state.versions) if removes else state


def get() -> Step:
    return Step("get", lambda d: d.get.aio(KEY, ABSENT), lambda value: (value, value), checker.Get())


def put(new: Any, *, may_repeat: bool = False) -> Step:
    return Step(f"put {new!r}", lambda d: d.put.aio(KEY, new), lambda _: (True, new), checker.Put(new), may_repeat)


def create(new: Any) -> Step:
    return Step(
        f"create {new!r}",
        lambda d: d.put.aio(KEY, new, skip_if_exists=True),
        lambda value: (True, new) if value == ABSENT else (False, value),
        checker.Put(new, skip_if_exists=True),
    )


def pop() -> Step:
    return Step("pop", lambda d: d.pop.aio(KEY), lambda value: (value, ABSENT), checker.Pop())


def discard() -> Step:
    async def call(d: Handle) -> bool:
        return await (await d._async_view._open(KEY)).discard(KEY)

    return Step("del", call, lambda value: (value != ABSENT, ABSENT), Discard())


def add(amount: int) -> Step:
    def apply(value: Any) -> tuple[Any, Any]:
        total = (0 if value == ABSENT else value) + amount
        return total, total

    model = checker.Modify(lambda n: n + amount, 0)
    return Step(f"add {amount}", lambda d: d.modify.aio(KEY, lambda n: n + amount, 0), apply, model)


def setdefault(new: Any) -> Step:
    def apply(value: Any) -> tuple[Any, Any]:
        chosen = new if value == ABSENT else value
        return chosen, chosen

    model = checker.Modify(lambda value: value, new)
    return Step(f"setdefault {new!r}", lambda d: d.setdefault.aio(KEY, new), apply, model)


@dataclass
class OneKey:
    """Processes that do some steps each on one key: there must be an order that explains all results."""

    steps: Sequence[Sequence[Step]]
    initial: Any = ABSENT
    shared_cache: bool = False
    """Whether all processes are threads of one, whose client has a read cache."""
    age: timedelta = timedelta(0)
    """How long ago the initial value was put."""
    popped: bool = False
    """Whether it was popped at once."""
    _history: History | None = None
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._history = History(world)
        shared = world.handle("shared", cache=timedelta(minutes=1)) if self.shared_cache else None
        self._reader = world.handle("reader")
        if self.initial != ABSENT:
            world.now(self._reader.put.aio(KEY, self.initial))
            if self.popped:
                world.now(self._reader.pop.aio(KEY))
            elif self.age < TTL:
                world.now(self._history.record("setup", put(self.initial), _true))
            world.loop.now += self.age.total_seconds()
        for number, steps in enumerate(self.steps):
            name = "ABCD"[number]
            world.start(name, partial(self._run, name, shared or world.handle(name), steps))

    async def _run(self, name: str, d: Handle, steps: Sequence[Step]) -> None:
        assert self._history is not None
        for step in steps:
            if step.may_repeat:
                self._history.note_possible(name, step)
            await self._history.record(name, step, partial(step.call, d))

    def check(self, world: World) -> None:
        assert self._history is not None
        assert self._reader is not None
        final = get()
        world.now(self._history.record("end", final, partial(final.call, self._reader)))
        self._history.check()


async def _true() -> bool:
    return True


@dataclass
class Conservation:
    """Values are put once and removed by calls that are interrupted: each is stored, returned or carried in the end."""

    poppers: int = 2
    many: bool = False
    _returned: list[Any] = field(default_factory=list)
    _lost_track: bool = False
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        for key in self._keys:
            world.now(self._reader.put.aio(key, f"value of {key}"))
        for name in "ABC"[: self.poppers]:
            world.start(name, partial(self._pop, world.handle(name)))

    @property
    def _keys(self) -> list[str]:
        return ["k1", "k2", "k3"] if self.many else ["k1"]

    async def _pop(self, d: Handle) -> None:
        try:
            if self.many:
                self._returned += (await d.pop_many.aio(self._keys)).values()
            elif (value := await d.pop.aio("k1", None)) is not None:
                self._returned.append(value)
        except (asyncio.CancelledError, Error) as error:
            carried = [*_carried(error, "completed"), *_carried(error, "uncertain")]
            self._returned += [*carried, getattr(error, "value", None)]
            if isinstance(error, asyncio.CancelledError):
                raise

    def check(self, world: World) -> None:
        assert self._reader is not None
        stored = [value for key in self._keys if (value := world.now(self._reader.get.aio(key))) is not None]
        known = {*stored, *self._returned}
        missing = {f"value of {key}" for key in self._keys} - known
        if set(world.setting.faults) == {"cancel"}:
            twice = [value for value in stored if value in self._returned]
            assert not twice, f"carried away and stored: {twice}"
        assert not missing or world.loop.dead, f"lost: {missing}"


def _carried(error: BaseException, name: str) -> list[Any]:
    return list(getattr(error, name, {}).values())


async def watch_lease(world: World, name: str, held: Any, lease: float, violations: list[str]) -> None:
    """Compare the state that a holder assumes with that of the store, at intervals."""
    was_lost = False
    while True:
        await asyncio.sleep(0.3)
        if was_lost and not held.lost:
            violations.append(f"{name} found its lock lost, and then not")
        was_lost = held.lost
        [stored] = [stored for path, stored in world.bucket.objects.items() if "/locks/" in path]
        believed = world.loop.now + held.remaining
        is_own = held._state.owner.encode() in stored.body
        if is_own and not was_lost and believed > stored.written_at + lease + STEP_SECONDS:
            violations.append(f"{name} believes in a lease that ended {believed - stored.written_at:.3f}")


@dataclass
class Locks:
    """Processes that hold one lock in turn: never two that both believe so, and tokens that only grow."""

    processes: int = 2
    rounds: int = 1
    lease: float = 2.0
    inside_seconds: float = 0.5
    timeout: float | None = 60.0
    reentrant: bool = False
    """Whether each holder acquires it once more, and leaves that before it goes on."""
    shared: bool = False
    """Whether the processes are tasks of one, and share the object."""
    idle: timedelta = timedelta(0)
    """How long the lock is free after each round."""
    _inside: dict[str, Any] = field(default_factory=dict)
    _tokens: list[int] = field(default_factory=list)
    _violations: list[str] = field(default_factory=list)
    _entered: int = 0

    def prepare(self, world: World) -> None:
        shared = self._lock(world.handle("shared")) if self.shared else None
        for name in "ABC"[: self.processes]:
            world.start(name, partial(self._run, world, name, shared or self._lock(world.handle(name))))

    def _lock(self, d: Handle) -> Any:
        return d.lock("job", lease=self.lease, timeout=self.timeout, reentrant=self.reentrant)

    async def _run(self, world: World, name: str, lock: Any) -> None:
        for _ in range(self.rounds):
            with suppress(LockLostError, LockTimeoutError, UnavailableError):
                async with lock as held:
                    self._entered += 1
                    world.timeline.append(f"          {name}: enters with token {held.token % 1000}")
                    if held.lost:
                        self._violations.append(f"{name} entered with a lost lock")
                    if self._tokens and held.token <= max(self._tokens):
                        self._violations.append(f"{name} entered with a token that is not greater")
                    self._tokens.append(held.token)
                    monitor = asyncio.create_task(watch_lease(world, name, held, self.lease, self._violations))
                    self._inside[name] = held
                    try:
                        self._note(world)
                        if self.reentrant:
                            async with lock as again:
                                assert again.token == held.token
                                await asyncio.sleep(self.inside_seconds / 2)
                        await asyncio.sleep(self.inside_seconds)
                        self._note(world)
                    finally:
                        del self._inside[name]
                        monitor.cancel()
            if self.idle:
                await asyncio.sleep(self.idle.total_seconds())

    def _note(self, world: World) -> None:
        holders = [name for name, held in self._inside.items() if not held.lost and name not in world.loop.dead]
        if len(holders) > 1:
            self._violations.append(f"{' and '.join(holders)} hold the lock together")

    def check(self, world: World) -> None:
        assert not self._violations, self._violations
        if not world.setting.faults:
            assert self._entered == self.processes * self.rounds


@dataclass
class Semaphore:
    """Processes that hold a permit each: never more that believe so than there are permits."""

    processes: int = 3
    permits: int = 2
    inside_seconds: float = 0.5
    used_before: bool = False
    """Whether it was used once, so long ago that the lifecycle may delete its objects."""
    _inside: dict[str, Any] = field(default_factory=dict)
    _violations: list[str] = field(default_factory=list)
    _entered: int = 0

    def prepare(self, world: World) -> None:
        if self.used_before:
            world.now(self._use(world.handle("setup")))
            world.loop.now += SWEPT_AFTER.total_seconds()
        for name in "ABCD"[: self.processes]:
            world.start(name, partial(self._run, world, name, world.handle(name)))

    async def _use(self, d: Handle) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(self.permits):
                await stack.enter_async_context(d.semaphore("job", self.permits))

    async def _run(self, world: World, name: str, d: Handle) -> None:
        with suppress(LockLostError, LockTimeoutError, UnavailableError):
            async with d.semaphore("job", self.permits, lease=2.0, timeout=60.0) as held:
                self._entered += 1
                self._inside[name] = held
                try:
                    self._note(world)
                    await asyncio.sleep(self.inside_seconds)
                    self._note(world)
                finally:
                    del self._inside[name]

    def _note(self, world: World) -> None:
        holders = [name for name, held in self._inside.items() if not held.lost and name not in world.loop.dead]
        if len(holders) > self.permits:
            self._violations.append(f"{' and '.join(holders)} are inside together")

    def check(self, world: World) -> None:
        assert not self._violations, self._violations
        if not world.setting.faults:
            assert self._entered == self.processes


@dataclass
class DifferentPermits:
    """Processes that disagree on the number of permits: not both get in."""

    _admitted: set[int] = field(default_factory=set)

    def prepare(self, world: World) -> None:
        for name, permits in (("A", 1), ("B", 3)):
            world.start(name, partial(self._run, world.handle(name), permits))

    async def _run(self, d: Handle, permits: int) -> None:
        with suppress(LockLostError, LockTimeoutError, UnavailableError, InvalidError):
            async with d.semaphore("job", permits, timeout=5.0):
                self._admitted.add(permits)

    def check(self, world: World) -> None:
        assert len(self._admitted) <= 1, f"semaphores of {self._admitted} permits"
        assert self._admitted or world.setting.faults


@dataclass
class HandedOver:
    """A lock that one process acquires and another goes on holding and releases, beside a third that waits for it."""

    inside_seconds: float = 0.2
    _queue: list[tuple[str, int]] = field(default_factory=list)
    _inside: dict[str, Any] = field(default_factory=dict)
    _entered: set[str] = field(default_factory=set)
    _violations: list[str] = field(default_factory=list)

    def prepare(self, world: World) -> None:
        world.start("A", partial(self._give, world.handle("A")))
        world.start("B", partial(self._receive, world, world.handle("B")))
        world.start("C", partial(self._wait, world, world.handle("C")))

    async def _give(self, d: Handle) -> None:
        with suppress(LockLostError, UnavailableError):
            held = await d.lock("job", lease=4.0).acquire.aio()
            assert held is not None
            await held.detach.aio()
            self._queue.append((held._state.owner, held.token))

    async def _receive(self, world: World, d: Handle) -> None:
        for _ in range(100):
            if self._queue:
                break
            await asyncio.sleep(0.1)
        for owner, token in self._queue:
            lost = [LockLostError] if world.setting.faults else []
            with suppress(*lost, UnavailableError, UncertainOutcomeError):
                async with unpickle_held(d.lock("job"), owner, token) as held:
                    await self._hold(world, "B", held)

    async def _wait(self, world: World, d: Handle) -> None:
        with suppress(LockLostError, LockTimeoutError, UnavailableError):
            async with d.lock("job", lease=4.0, timeout=60.0) as held:
                await self._hold(world, "C", held)

    async def _hold(self, world: World, name: str, held: Any) -> None:
        self._entered.add(name)
        self._inside[name] = held
        watch = asyncio.create_task(watch_lease(world, name, held, 4.0, self._violations))
        try:
            for _ in range(2):
                inside = [each for each, held in self._inside.items() if not held.lost and each not in world.loop.dead]
                if len(inside) > 1:
                    self._violations.append(f"{inside} hold the lock together")
                await asyncio.sleep(self.inside_seconds)
        finally:
            watch.cancel()
            del self._inside[name]

    def check(self, world: World) -> None:
        assert not self._violations, self._violations
        if set(world.setting.faults) <= {"kill"} and "C" not in world.loop.dead:
            # Those that have handed it over or are dead do not go on renewing it.
            assert "C" in self._entered, "the lock never became free"


@dataclass
class TakenAway:
    """A holder whose lock is taken away, and another that waits for it: they overlap until the next renewal at most."""

    lease: float = 3.0
    _inside: dict[str, Any] = field(default_factory=dict)
    _taken: dict[int, float] = field(default_factory=dict)
    """When which token was taken away."""
    _tokens: list[int] = field(default_factory=list)
    _violations: list[str] = field(default_factory=list)

    def prepare(self, world: World) -> None:
        world.start("A", partial(self._hold, world, "A", world.handle("A")))
        world.start("B", partial(self._take_away, world, world.handle("B")))
        world.start("C", partial(self._hold, world, "C", world.handle("C")))

    async def _take_away(self, world: World, d: Handle) -> None:
        target = await d.lock("job")._async_view._locate()
        await asyncio.sleep(0.2)
        with suppress(UncertainOutcomeError, UnavailableError, ConflictError):
            taken = await take_away(target)
            if taken is not None:
                self._taken[taken.token] = world.loop.now

    async def _hold(self, world: World, name: str, d: Handle) -> None:
        held: Any = None
        with suppress(LockTimeoutError, UnavailableError):
            try:
                async with d.lock("job", lease=self.lease, timeout=60.0) as held:
                    self._inside[name] = held
                    if self._tokens and held.token <= max(self._tokens):
                        self._violations.append(f"{name} entered with a token that is not greater")
                    self._tokens.append(held.token)
                    try:
                        await self._work(world, held)
                    finally:
                        del self._inside[name]
            except LockLostError:
                # Taken away, or its renewals took longer than the lease.
                pass
            else:
                if held.token in self._taken:
                    self._violations.append(f"{name} did not notice that its lock was taken away")

    async def _work(self, world: World, held: Any) -> None:
        for _ in range(6):
            await asyncio.sleep(self.lease / 6)
            if held.token in self._taken and await held.renew.aio() and not world.setting.faults:
                self._violations.append("a lock that was taken away was renewed")
            inside = [each.token for each in self._inside.values() if not each.lost]
            if len([token for token in inside if token not in self._taken]) > 1:
                self._violations.append("two hold the lock together")

    def check(self, world: World) -> None:
        # Whether that of a request without a response was one of them is not known.
        assert not self._violations or (world.setting.faults and not self._taken), self._violations


@dataclass
class Observed:
    """A lock that two hold in turn, and a third asks who: it is one that held it while the question was in flight."""

    _held: dict[int, tuple[int, list[int]]] = field(default_factory=dict)
    """By token: when it was acquired, and when its release began and ended."""
    _answers: list[tuple[int, int, int | None, bool]] = field(default_factory=list)

    def prepare(self, world: World) -> None:
        for name in "AC":
            world.start(name, partial(self._hold, world, world.handle(name)))
        world.start("B", partial(self._ask, world, world.handle("B")))

    async def _hold(self, world: World, d: Handle) -> None:
        for _ in range(2):
            with suppress(LockLostError, LockTimeoutError, UnavailableError):
                held = await d.lock("job", lease=30.0, timeout=60.0).acquire.aio()
                assert held is not None
                released: list[int] = []
                self._held[held.token] = world.steps, released
                await asyncio.sleep(0.1)
                released.append(world.steps)
                await held.release.aio()
                released.append(world.steps)

    async def _ask(self, world: World, d: Handle) -> None:
        lock = d.lock("job")
        for _ in range(4):
            with suppress(UnavailableError):
                started = world.steps
                holder = await lock.holder.aio()
                token = None if holder is None else holder.token
                self._answers.append((started, world.steps, token, holder is not None))
                started = world.steps
                is_locked = await lock.locked.aio()
                self._answers.append((started, world.steps, None, is_locked))
            await asyncio.sleep(0.03)

    def check(self, world: World) -> None:
        for started, ended, token, is_held in self._answers:
            throughout = [
                each
                for each, (acquired, released) in self._held.items()
                if acquired <= started and (not released or released[0] >= ended)
            ]
            assert is_held or not throughout, f"free, while {throughout} was held"
            if token is not None and token in self._held:
                released = self._held[token][1]
                assert len(released) < 2 or released[1] >= started, f"held by {token}, which had been released"


@dataclass
class Additions:
    """A counter that several processes add to: its value is between what certainly and what possibly was added."""

    processes: int = 3
    rounds: int = 2
    shards: int = 2
    _certain: int = 0
    _possible: int = 0
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        for name in "ABC"[: self.processes]:
            world.start(name, partial(self._add, world.handle(name)))

    async def _add(self, d: Handle) -> None:
        for _ in range(self.rounds):
            self._possible += 1
            with suppress(UncertainOutcomeError, UnavailableError, ConflictError):
                await d.counter("hits", self.shards).add.aio()
                self._certain += 1

    def check(self, world: World) -> None:
        assert self._reader is not None
        value = world.now(self._reader.counter("hits", self.shards).value.aio())
        assert self._certain <= value <= self._possible, f"{value} of {self._certain} to {self._possible}"


@dataclass
class InterruptedLock:
    """A holder or a waiter is cancelled: the lock is free at once, not only when its lease has expired."""

    lease: float = 600.0
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        world.start("A", partial(self._hold, world.handle("A")))

    async def _hold(self, d: Handle) -> None:
        async with d.lock("job", lease=self.lease, timeout=5):
            await asyncio.sleep(0.1)

    def check(self, world: World) -> None:
        assert self._reader is not None
        reader = self._reader

        async def acquire() -> None:
            async with reader.lock("job", lease=self.lease, timeout=5):
                pass

        try:
            world.now(acquire())
        except LockTimeoutError as error:
            raise AssertionError("the interrupted lock is still held") from error


@dataclass
class Computation:
    """Callers of `get_or_compute`: one value for all, computed once unless a process dies."""

    callers: int = 2
    calls: int = 0
    _results: list[Any] = field(default_factory=list)
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        for name in "ABC"[: self.callers]:
            world.start(name, partial(self._run, world.handle(name)))

    async def _run(self, d: Handle) -> None:
        async def compute() -> int:
            self.calls += 1
            mine = self.calls
            await asyncio.sleep(0.05)
            return mine

        with suppress(UnavailableError, UncertainOutcomeError):
            self._results.append(await d.get_or_compute.aio(KEY, compute))

    def check(self, world: World) -> None:
        assert self._reader is not None
        stored = world.now(self._reader.get.aio(KEY))
        values = {*self._results, *([] if stored is None else [stored])}
        assert len(values) <= 1, f"different values: {values}"
        if not world.setting.faults:
            assert self.calls == 1


@dataclass
class Refreshed:
    """Callers that find a stale value, beside a writer: one computes it again, and what was put since stays."""

    callers: int = 3
    _calls: int = 0
    _computing: int = 0
    _written: bool = False
    _results: list[Any] = field(default_factory=list)
    _violations: list[str] = field(default_factory=list)
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        world.now(self._reader.put.aio(KEY, "stale", ttl=60))
        world.loop.now += 55
        for name in "ABC"[: self.callers]:
            world.start(name, partial(self._run, world.handle(name)))
        world.start("W", partial(self._write, world.handle("W")))

    async def _run(self, d: Handle) -> None:
        async def compute() -> int:
            self._calls += 1
            self._computing += 1
            if self._computing > 1:
                self._violations.append("two compute together")
            mine = self._calls
            try:
                await asyncio.sleep(0.05)
            finally:
                self._computing -= 1
            return mine

        with suppress(UnavailableError, UncertainOutcomeError):
            self._results.append(await d.get_or_compute.aio(KEY, compute, ttl=60, stale=20))

    async def _write(self, d: Handle) -> None:
        await asyncio.sleep(0.02)
        await d.put.aio(KEY, "written", ttl=60)
        self._written = True

    def check(self, world: World) -> None:
        assert self._reader is not None
        assert not self._violations, self._violations
        stored = world.now(self._reader.get.aio(KEY))
        assert stored == "written" or not self._written, f"the value that was put is gone: {stored!r}"
        assert {*self._results} <= {"stale", "written", *range(1, self._calls + 1)}, self._results
        if not world.setting.faults:
            assert self._written
            assert self._calls <= 1, f"computed {self._calls} times"


@dataclass
class LifeCycle:
    """Processes that open, create, use and delete one dict: a deleted id never returns, and what was put stays."""

    _deleted: set[str] = field(default_factory=set)
    _violations: list[str] = field(default_factory=list)
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("setup")
        world.now(Dict.objects.delete.aio("d", client=world.client("setup")))
        world.start("A", lambda: self._use(world, "A"))
        world.start("B", lambda: self._delete(world))
        world.start("C", lambda: self._use(world, "C"))

    async def _use(self, world: World, name: str) -> None:
        d = Dict.from_name("d", create_if_missing=True, client=world.client(name))
        with suppress(UnavailableError):
            await d.hydrate.aio()
            if d.object_id in self._deleted:
                self._violations.append(f"{name} got the id of a deleted dict")
            with suppress(NotFoundError):
                await d.put.aio(KEY, name)

    async def _delete(self, world: World) -> None:
        client = world.client("B")
        for _ in range(2):
            with suppress(NotFoundError, Error):
                seen = Dict.from_name("d", client=client)
                await seen.hydrate.aio()
                await Dict.objects.delete.aio("d", client=client)
                now = Dict.from_name("d", client=client)
                self._deleted.add(seen.object_id)
                with suppress(NotFoundError):
                    await now.hydrate.aio()
                    if now.object_id == seen.object_id:
                        self._violations.append("an id that was deleted returned")

    def check(self, world: World) -> None:
        assert not self._violations, self._violations
        d = Dict.from_name("d", client=world.client("end"))
        with suppress(NotFoundError):
            world.now(d.hydrate.aio())
            assert d.object_id not in self._deleted, "an id that was deleted is there in the end"


@dataclass
class Creation:
    """`Dict.objects.create` by several processes: one creates it, and no result is wrong."""

    _results: list[str] = field(default_factory=list)

    def prepare(self, world: World) -> None:
        world.handle("setup")
        world.now(Dict.objects.delete.aio("d", client=world.client("setup")))
        for name in "AB":
            world.start(name, partial(self._create, world, name))

    async def _create(self, world: World, name: str) -> None:
        try:
            await Dict.objects.create.aio("d", client=world.client(name), allow_existing=False)
        except AlreadyExistsError:
            self._results.append("existed")
        except (UncertainOutcomeError, UnavailableError):
            self._results.append("unknown")
        else:
            self._results.append("created")

    def check(self, world: World) -> None:
        created = self._results.count("created")
        assert created <= 1, self._results
        assert created == 1 or "unknown" in self._results, self._results


@dataclass
class Listing:
    """A listing beside writers: what is there throughout is listed exactly once, and nothing twice."""

    entries: int = 7
    values: bool = False
    expired: int = 0
    """How many further entries there are that have expired."""
    _listed: list[Any] = field(default_factory=list)
    _counts: list[int] = field(default_factory=list)

    def prepare(self, world: World) -> None:
        d = world.handle("A")
        for number in range(self.expired):
            world.now(d.put.aio(f"expired {number}", number))
        if self.expired:
            world.loop.now += SWEPT_AFTER.total_seconds()
        for number in range(self.entries):
            world.now(d.put.aio(number, number))
        world.start("A", lambda: self._list(d))
        world.start("B", partial(self._change, world.handle("B")))

    async def _list(self, d: Handle) -> None:
        with suppress(UnavailableError):
            if self.values:
                self._listed = [key async for key, _ in d.items.aio()]
            else:
                self._listed = [key async for key in d.keys.aio()]
            self._listed.append("end")
        with suppress(UnavailableError):
            self._counts.append((await d.stats.aio()).entries)
            self._counts.append(await d.len.aio())

    async def _change(self, d: Handle) -> None:
        with suppress(Error):
            await d.put.aio("new", 1)
            await d.pop.aio(0)
            await d.put.aio(1, "overwritten")

    def check(self, world: World) -> None:
        keys = [key for key in self._listed if key != "end"]
        assert len(keys) == len(set(keys)), f"listed twice: {keys}"
        assert not [key for key in keys if "expired" in str(key)], f"listed after its expiry: {keys}"
        for count in self._counts:
            # One is removed during the listing, and another one inserted.
            assert self.entries - 1 <= count <= self.entries + 1, f"counted {count}"
        if "end" in self._listed and not world.loop.dead:
            missing = set(range(1, self.entries)) - set(keys)
            assert not missing, f"missed: {missing}"


@dataclass
class Update:
    """`update` with repeated keys: the last pair of a key counts. Cancelled, it sends nothing after its end."""

    concurrency: int = 2
    _done: bool = False
    _sent: int = 0
    _reader: Handle | None = None

    PAIRS = (("a", 1), ("b", 1), ("a", 2), ("c", 1), ("a", 3), ("b", 2))

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        world.start("A", partial(self._update, world, world.handle("A", concurrency=self.concurrency)))

    async def _update(self, world: World, d: Handle) -> None:
        with suppress(Error):
            try:
                await d.update.aio(self.PAIRS)
                self._done = True
            finally:
                self._sent = world.sent

    def check(self, world: World) -> None:
        assert self._reader is not None
        assert world.sent == self._sent or world.loop.dead, "requests were sent after the call had ended"
        if self._done:
            # With all pairs written, the last of each key counts.
            found = {key: world.now(self._reader.get.aio(key)) for key in "abc"}
            assert found == {"a": 3, "b": 2, "c": 1}


@dataclass
class Ephemeral:
    """An ephemeral dict whose context is cancelled: its manifest is deleted."""

    _ids: list[str] = field(default_factory=list)

    def prepare(self, world: World) -> None:
        world.handle("setup")
        world.start("A", lambda: self._use(world))

    async def _use(self, world: World) -> None:
        with suppress(UnavailableError):
            async with Dict.ephemeral(client=world.client("A")) as d:
                self._ids.append(d.object_id)
                await d.put.aio(KEY, 1)

    def check(self, world: World) -> None:
        left = [path for path in world.bucket.objects if "ephemeral" in path and path.endswith(".json")]
        assert not left or world.loop.dead, left
