"""Programs that mix features: what one of them promises holds whatever the others do."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from s3dict._core.locks import take_away
from s3dict.errors import ConflictError, LockLostError, LockTimeoutError, UnavailableError, UncertainOutcomeError

from .programs import KEY, Handle
from .world import World


@dataclass
class TakenPermits:
    """A semaphore of which a permit is taken away, beside holders that may be cancelled: no permit is lost."""

    permits: int = 2
    lease: float = 600.0
    _inside: dict[str, Any] = field(default_factory=dict)
    _taken: set[int] = field(default_factory=set)
    _violations: list[str] = field(default_factory=list)
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        for name in "ABC":
            world.start(name, partial(self._hold, name, world.handle(name)))
        world.start("T", partial(self._take_away, world.handle("T")))

    async def _hold(self, name: str, d: Handle) -> None:
        for _ in range(2):
            with suppress(LockLostError, LockTimeoutError, UnavailableError):
                async with d.semaphore("job", self.permits, lease=self.lease, timeout=60.0) as held:
                    self._inside[name] = held
                    try:
                        self._note()
                        await asyncio.sleep(0.1)
                        self._note()
                    finally:
                        del self._inside[name]

    def _note(self) -> None:
        inside = [name for name, held in self._inside.items() if not held.lost and held.token not in self._taken]
        if len(inside) > self.permits:
            self._violations.append(f"{' and '.join(inside)} are inside together")

    async def _take_away(self, d: Handle) -> None:
        semaphore = d.semaphore("job", self.permits)
        for permit in range(self.permits):
            target = await semaphore._async_view._locate(permit)
            await asyncio.sleep(0.05)
            with suppress(UncertainOutcomeError, UnavailableError, ConflictError):
                taken = await take_away(target)
                if taken is not None:
                    self._taken.add(taken.token)

    def check(self, world: World) -> None:
        # Whether that of a request without a response was one of them is not known.
        assert not self._violations or world.setting.faults, self._violations
        if set(world.setting.faults) <= {"cancel"}:
            try:
                world.now(self._hold_all())
            except LockTimeoutError as error:
                raise AssertionError("a permit is still held") from error

    async def _hold_all(self) -> None:
        assert self._reader is not None
        semaphore = self._reader.semaphore("job", self.permits, lease=self.lease, timeout=5)
        async with AsyncExitStack() as stack:
            for _ in range(self.permits):
                await stack.enter_async_context(semaphore)


@dataclass
class RenewedByHand:
    """A holder that renews its lock in tasks of its own, also while it releases it: then it is released."""

    lease: float = 600.0
    _inside: dict[str, Any] = field(default_factory=dict)
    _violations: list[str] = field(default_factory=list)
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        for name in "AB":
            world.start(name, partial(self._hold, name, world.handle(name)))

    async def _hold(self, name: str, d: Handle) -> None:
        for _ in range(2):
            with suppress(LockLostError, LockTimeoutError, UnavailableError):
                held = await d.lock("job", lease=self.lease, timeout=60.0).acquire.aio()
                if held is not None:
                    await self._work(name, held)

    async def _work(self, name: str, held: Any) -> None:
        self._inside[name] = held
        renewals = [asyncio.create_task(self._renew(held)) for _ in range(2)]
        try:
            for _ in range(2):
                holders = [each for each, lock in self._inside.items() if not lock.lost]
                if len(holders) > 1:
                    self._violations.append(f"{' and '.join(holders)} hold the lock together")
                await asyncio.sleep(0.01)
        finally:
            del self._inside[name]
            try:
                await held.release.aio()
                if not held.lost:
                    self._violations.append(f"{name} has released its lock, and it is not lost")
            finally:
                await asyncio.gather(*renewals, return_exceptions=True)
                if not held.lost:
                    self._violations.append(f"{name} holds a lock that it has released")

    async def _renew(self, held: Any) -> None:
        for _ in range(3):
            await held.renew.aio()

    def check(self, world: World) -> None:
        assert not self._violations, self._violations
        if not world.setting.faults:
            assert self._reader is not None
            try:
                world.now(self._reader.lock("job", timeout=5).__aenter__())
            except LockTimeoutError as error:
                raise AssertionError("a released lock is still held") from error


@dataclass
class Regenerated:
    """Callers that compute, refresh and forget one value: none is returned one that is older than the last refresh.

    The value is the state of its source when its computation began.
    """

    _source: int = 0
    _refreshed: int = 0
    """The state of the source when the latest refresh that has ended began."""
    _computing: int = 0
    _violations: list[str] = field(default_factory=list)

    def prepare(self, world: World) -> None:
        world.start("A", partial(self._compute_or_get, "A", world.handle("A")))
        world.start("B", partial(self._refresh, "B", world.handle("B")))
        world.start("C", partial(self._refresh, "C", world.handle("C")))
        world.start("D", partial(self._forget, "D", world.handle("D")))

    async def _compute(self) -> int:
        self._computing += 1
        if self._computing > 1:
            self._violations.append("two compute together")
        state = self._source
        await asyncio.sleep(0.02)
        self._computing -= 1
        return state

    async def _get(self, name: str, d: Handle, *, refresh: bool, least: int) -> None:
        with suppress(UnavailableError, UncertainOutcomeError, ConflictError):
            value = await d.get_or_compute.aio(KEY, self._compute, refresh=refresh)
            if value < least:
                self._violations.append(f"{name} got {value} after a refresh that began at {least}")
            if refresh:
                self._refreshed = max(self._refreshed, least)

    async def _compute_or_get(self, name: str, d: Handle) -> None:
        for _ in range(3):
            await self._get(name, d, refresh=False, least=self._refreshed)
            await asyncio.sleep(0.01)

    async def _refresh(self, name: str, d: Handle) -> None:
        for _ in range(2):
            await asyncio.sleep(0.03)
            self._source += 1
            await self._get(name, d, refresh=True, least=self._source)
            await self._get(name, d, refresh=False, least=self._refreshed)

    async def _forget(self, name: str, d: Handle) -> None:
        for _ in range(2):
            with suppress(UnavailableError, UncertainOutcomeError, ConflictError):
                await d.discard.aio(KEY)
            await self._get(name, d, refresh=False, least=self._refreshed)

    def check(self, world: World) -> None:
        assert not self._violations, self._violations


@dataclass
class Once:
    """Something with two steps that is done once, whose processes die: it is completed, and no step is done twice."""

    lease: float = 3.0
    _done: list[str] = field(default_factory=list)
    _results: list[Any] = field(default_factory=list)
    _reader: Handle | None = None

    def prepare(self, world: World) -> None:
        self._reader = world.handle("reader")
        for name in "ABC":
            world.start(name, partial(self._run, name, world.handle(name)))

    async def _run(self, name: str, d: Handle) -> None:
        with suppress(UnavailableError, UncertainOutcomeError, ConflictError):
            self._results.append(await d.get_or_compute.aio(KEY, partial(self._steps, name, d), lease=self.lease))

    async def _steps(self, name: str, d: Handle) -> str:
        for step in ("first", "second"):
            if await d.put.aio(step, name, skip_if_exists=True):
                self._done.append(step)
            await asyncio.sleep(0.05)
        return name

    def check(self, world: World) -> None:
        assert self._reader is not None
        world.now(self._run("reader", self._reader))
        assert len(self._done) == len(set(self._done)), f"done twice: {self._done}"
        assert self._results, "it was not completed"
        assert len(set(self._results)) == 1, f"different results: {self._results}"
