"""The protocols that every operation is written against, and the classes that cross them.

`ObjectStore` is the requests to one bucket; `Runtime` is how its caller waits and runs calls side by side (threads or
tasks). A store has a runtime, and a new store is a handful of methods.

The methods of both are coroutines. Those of a blocking store never suspend, so they run to their end in one step on the
caller's own thread (`threads.run_blocking`); those of an asyncio store await as usual. The operations are the same for
either.

What the protocol promises, and `tests/stores/contract.py` checks:

- A precondition that fails is a `PreconditionFailed`, never an exception; a missing object is `None`, never an
  exception.
- A `put`, and every conditional request, is sent exactly once. Only its caller knows what an earlier attempt may have
  done, so retries are for the operations (`_core.conditional`, `_core.entries`). The store retries everything else.
- A `put` without a condition may be a `Conflict` too: nothing was written, and it may be retried.
- Every failure is one of `s3dict.errors`, raised from the vendor's exception.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from .._record import Record, field
from .._retry import RetryPolicies
from ..errors import Error

T = TypeVar("T")
R = TypeVar("R")

Body = bytes | bytearray
PAGE_SIZE = 1000


class ReadsServerClock(Protocol):
    """A clock of the store that is read when its time matters, which takes an occasional request."""

    def time_at(self, moment: float) -> datetime:
        """Return the store's time at `moment` of `monotonic_seconds`.

        Raises:
            UnavailableError: The store does not respond.
            UnsupportedStoreError: Its responses have no Date.
        """
        ...

    def latest_at(self, moment: float) -> datetime:
        """Return a time that the store's clock cannot have passed at `moment`. Sends no request."""
        ...

    def has_passed(self, deadline: datetime, moment: float) -> bool:
        """Return whether the store's clock certainly showed `deadline` at `moment`, or shows it now.

        Raises as `time_at` does.
        """
        ...


class ServerTime:
    """The time of the store's clock when a response arrived: known from its Date header, or read when it matters.

    Args:
        date: The time in the response's Date header; None where the driver does not show headers.
        clock: Reads the time where there is no `date`.
        moment: When the response arrived, in `monotonic_seconds`.
    """

    __slots__ = ("_clock", "_date", "_latest", "_moment")

    def __init__(
        self, date: datetime | None = None, clock: ReadsServerClock | None = None, moment: float = 0.0
    ) -> None:
        self._date = date
        self._clock = clock
        self._moment = moment
        self._latest: datetime | None = None
        """What the clock cannot have passed at `moment`."""

    def date(self) -> datetime:
        """Return the time.

        Raises:
            UnavailableError: The time has to be read, and the store does not respond.
            UnsupportedStoreError: The time has to be read, and the store's responses have no Date.
        """
        if self._date is not None:
            return self._date
        assert self._clock is not None
        return self._clock.time_at(self._moment)

    def is_after(self, moment: datetime) -> bool:
        """Return whether the clock certainly showed that moment, or later.

        Raises as `date` does, but only where the clock has to be read for the answer.
        """
        if self._date is not None:
            return self._date >= moment
        return self._may_have_passed(moment) and self.date() >= moment

    def has_passed(self, deadline: datetime) -> bool:
        """Return whether the clock certainly showed the deadline then, or shows it now: exact to a second.

        Raises as `date` does, but only where the clock has to be read for the answer.
        """
        if self._date is not None:
            return self._date >= deadline
        assert self._clock is not None
        return self._may_have_passed(deadline) and self._clock.has_passed(deadline, self._moment)

    def _may_have_passed(self, moment: datetime) -> bool:
        if self._latest is None:
            assert self._clock is not None
            self._latest = self._clock.latest_at(self._moment)
        return self._latest >= moment

    def is_older_than(self, last_modified: datetime, age: timedelta) -> bool:
        """Return whether an object of that Last-Modified had at least that age. Raises as `is_after` does."""
        if self._date is not None:
            return self._date - last_modified >= age
        if age == timedelta.max:
            return False
        # As `is_after`, without its calls: each read of an entry asks twice, and the answer is nearly always no.
        moment = last_modified + age
        if self._latest is not None and self._latest < moment:
            return False
        return self.is_after(moment)

    def __add__(self, later: timedelta, /) -> ServerTime:
        if self._date is not None:
            return ServerTime(self._date + later)
        return ServerTime(clock=self._clock, moment=self._moment + later.total_seconds())


class StoredObject(Record):
    """An object, or the range of it that was requested.

    `last_modified` and `server_time` are both times of the store's clock, so their difference is the object's age
    however wrong the clock here is. Both are truncated to seconds, so the difference may exceed the age by up to one.
    """

    body: Body = field(repr=False)
    etag: str
    size: int
    last_modified: datetime
    server_time: ServerTime = field(repr=False)

    @property
    def date(self) -> datetime:
        return self.server_time.date()


class NotModified(Record):
    """The object still has the given ETag."""


class PutResult(Record):
    """The write took effect."""

    etag: str


class DeleteResult(Record):
    """The object no longer exists, or did not exist."""


class PreconditionFailed(Record):
    """A conditional request had no effect: its condition did not hold, or the object does not exist."""


class Conflict(Record):
    """A request had no effect, since another conditional request was in flight. It may be retried.

    Args:
        code: The store's error code, which differs from store to store; empty where there is none.
    """

    code: str = ""


Refusal = PreconditionFailed | Conflict


class ObjectMeta(Record):
    """One object of a listing."""

    path: str
    etag: str
    size: int
    last_modified: datetime


class Page(Record):
    """A part of a listing: as a rule up to a thousand objects.

    `is_truncated` says whether others may follow. They do after `token`, or, where listings have an order, after the
    path of the last object. `folders` are the prefixes directly under that of the listing, where they were asked for.
    """

    objects: tuple[ObjectMeta, ...]
    is_truncated: bool
    server_time: ServerTime = field(repr=False)
    token: object = field(default=None, repr=False)
    folders: tuple[str, ...] = ()

    @property
    def date(self) -> datetime:
        return self.server_time.date()


class DeleteFailure(Record):
    """One object that a bulk deletion could not delete, and why."""

    path: str
    error: Error
    rejected: bool = False
    """The object was gone or had another ETag than the required one."""


_BOOT_TIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


MIN_STOP_SECONDS = 0.25
"""How far the wall clock must get ahead of the monotonic clock before that counts as a stop of the machine."""
MAX_CLOCK_DRIFT = 0.001
"""How much faster or slower one clock may run than another: twice what NTP adjusts at most."""


class MonotonicClock:
    """A clock that never goes back and includes the time for which this machine was stopped.

    The system's monotonic clock may stand still while a virtual machine is suspended, or is a snapshot that is restored
    much later (AWS Lambda SnapStart); the wall clock does not. So whatever the wall clock gains counts as passed. If it
    was set forward, readings look older than they are: manifests are looked up again, and a lock may count
    as lost that was not. That errs on the safe side; the reverse would have two holders of one lock.

    Args:
        monotonic: The system's monotonic clock, in seconds.
        wall: The system's wall clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        # One tuple, so that threads need no lock: two that notice the same stop compute the same.
        self._last = monotonic(), wall(), 0.0

    def __call__(self) -> float:
        """Return the seconds; only differences mean anything."""
        last_monotonic, last_wall, stopped = self._last
        monotonic = self._monotonic()
        if abs(self._wall() - last_wall - (monotonic - last_monotonic)) <= MIN_STOP_SECONDS:
            # As a rule, and without a further call: this is read several times for each request.
            return monotonic + stopped
        monotonic, stopped, gained = self._read()
        if gained:
            # Read again: this thread may have waited for the processor between the two clocks.
            monotonic, stopped, gained = self._read()
        if gained:
            # A wall clock that was set back has gained nothing.
            stopped += max(0.0, gained)
            self._last = monotonic, self._wall(), stopped
        return monotonic + stopped

    @property
    def stopped(self) -> float:
        """The seconds for which the system's monotonic clock has stood still."""
        return self._last[2]

    def _read(self) -> tuple[float, float, float]:
        """Return the monotonic clock, how long it stood still so far, and what the wall clock has gained since."""
        last_monotonic, last_wall, stopped = self._last
        monotonic, wall = self._monotonic(), self._wall()
        passed = monotonic - last_monotonic
        gained = wall - last_wall - passed
        return monotonic, stopped, gained if abs(gained) > MIN_STOP_SECONDS + MAX_CLOCK_DRIFT * passed else 0.0


_system_monotonic = time.monotonic if _BOOT_TIME is None else partial(time.clock_gettime, _BOOT_TIME)
_clock = MonotonicClock(_system_monotonic, lambda: time.time())  # noqa: PLW0108 (tests replace `time.time`)


def monotonic_seconds() -> float:
    """Return seconds of the `MonotonicClock` of this process."""
    return _clock()


def stopped_seconds() -> float:
    """Return for how many of the `monotonic_seconds` so far this machine was stopped, or its wall clock set forward."""
    return _clock.stopped


class Runtime(Protocol):
    """How the caller of a store waits and runs calls side by side: threads, or the tasks of one event loop."""

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; less if the caller of a `shielded` section is interrupted while it waits."""
        ...

    def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int, *, ordered: bool = False
    ) -> AsyncGenerator[R, None]:
        """Yield the results of `function` for each item, with at most `limit` calls in flight.

        They come as they complete, or, if `ordered`, in the order of the items.

        Items are taken only as fast as results are, or a quarter of `limit` ahead of that. The first exception ends it;
        closing it early drops what has not begun, interrupts what has, and waits for its end: nothing is sent after
        that. Must not be nested: `function` may not call `map` again.
        """
        ...

    async def shielded(self, function: Callable[[], Awaitable[R]]) -> R:
        """Call `function` to its end, whatever interrupts the caller, and return or raise what it does.

        An interruption (the cancellation of the task, an exception that a signal handler raises, or that is raised in
        the thread from outside) is raised when `function` has ended. It must be short: after an interruption
        `interrupted` is true inside it, and whatever retries makes no further attempt.
        """
        ...

    def interrupted(self) -> bool:
        """Return whether the caller of the `shielded` section or of the `map` that this runs in was interrupted."""
        ...

    def caller_id(self) -> Hashable:
        """Return an identity of the calling thread or task of this process, which no later one will have."""
        ...

    def lock_for(self, owner: object) -> AbstractAsyncContextManager[None]:
        """Admit one caller at a time for each owner, among this runtime's threads or tasks.

        A thread that is inside may enter again: a signal handler that it runs could not wait for it.
        """
        ...

    def heartbeat(self, interval: float, callback: Callable[[], Awaitable[bool]]) -> AbstractAsyncContextManager[None]:
        """Call `callback` in the background every `interval` seconds, until it returns False or the context ends."""
        ...


class ObjectStore(Protocol):
    """The requests to one bucket.

    `timeout` is for how many seconds a request waits without receiving anything. By `retries.requests` the store
    repeats what may be repeated; `retries.writes` is for the operations, which repeat the rest.
    """

    timeout: float
    retries: RetryPolicies

    @property
    def runtime(self) -> Runtime: ...

    def with_timeout(self, seconds: float) -> ObjectStore:
        """Return a store of the same bucket whose requests wait no longer than so many seconds.

        It has connections of its own, and is kept for the next call with such a timeout.
        """
        ...

    def paced(self) -> ObjectStore:
        """Return this store for the requests of a bulk operation, which the client's rate controller paces."""
        ...

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> StoredObject | NotModified | None:
        """Return the object, or its bytes from the first to the last of `byte_range` (inclusive, as in HTTP)."""
        ...

    async def head(self, path: str) -> StoredObject | None:
        """Return the object without its body."""
        ...

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        """Write the object: unconditionally, only over the ETag `if_match`, or only where there is none."""
        ...

    async def delete(self, path: str, *, if_match: str | None = None) -> DeleteResult | Refusal: ...

    async def delete_many(
        self, paths: Sequence[str], *, if_match: Sequence[str] | None = None
    ) -> tuple[DeleteFailure, ...]:
        """Delete up to a thousand objects in one request; return those that were not deleted.

        With `if_match`, the ETags that the objects must have, the request is sent exactly once.
        """
        ...

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> PutResult | Refusal:
        """Copy the object onto itself, which renews its Last-Modified."""
        ...

    async def list_page(
        self,
        prefix: str,
        token: object = None,
        *,
        folders: bool = False,
        start_after: str = "",
        end_before: str | None = None,
    ) -> Page:
        """Return objects under `prefix`: the first ones, or those that follow the page with that `token`.

        A token is for this store alone, with the same arguments, and for one continuation. A continuation may not be
        repeated where it failed: the whole listing is.

        Args:
            prefix: What the paths begin with; it ends in a slash where the store's listings have no order.
            token: That of the page before, which is truncated; None for the first page.
            folders: Return only what is directly under the prefix: objects, and the prefixes of what is deeper. Such a
                page may have more than a thousand objects.
            start_after: Only paths greater than this. A store whose listings have no order rejects it.
            end_before: Only paths less than this, where listings have an order.
        """
        ...
