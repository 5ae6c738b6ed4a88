"""The protocol that every operation is written against, and the dataclasses that cross it.

A store is async in shape. A blocking one never suspends, so its coroutines run to their end in one step on the caller's
own thread (`threads.run_blocking`); an asyncio one awaits as usual. The operations cannot tell which they have.

What the protocol promises, and `s3dict.testing.StoreContract` checks:

- A refused condition is a `Refused`, never an exception; something missing is `None`, never an exception.
- A `put`, and whatever carries a condition, is sent exactly once. Only its sender knows what a second sending may have
  done, so that is for the operations (`core.conditional`, `core.entries`). Everything else is retried by the store.
- A `put` without a condition may be a `Refused` too, for a conflict: nothing was written, and it may be sent again.
- Whatever goes wrong is one of `s3dict.errors`, raised from the vendor's own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol, TypeVar, Union

from ..errors import Error, UnavailableError

T = TypeVar("T")
R = TypeVar("R")

Body = Union[bytes, bytearray]
PAGE_SIZE = 1000


class Clock(Protocol):
    """The store's clock as it stood at an answer that did not tell: it is asked when somebody has to know.

    That takes a request now and then. So ask `has_aged`, which can often tell without.
    """

    def date(self) -> datetime:
        """Raises UnavailableError when the store does not answer."""
        ...

    def has_reached(self, moment: datetime) -> bool:
        """Whether the clock surely stood at that moment, or later. Raises as `date` does, where it has to ask."""
        ...

    def __add__(self, later: timedelta, /) -> Clock: ...


Told = Union[datetime, Clock]


def has_aged(last_modified: datetime, age: timedelta, told: Told) -> bool:
    """Whether an object of that time was at least so old when the store told."""
    if isinstance(told, datetime):
        return told - last_modified >= age
    return age != timedelta.max and told.has_reached(last_modified + age)


def _date(told: Told) -> datetime:
    return told if isinstance(told, datetime) else told.date()


@dataclass(frozen=True, slots=True)
class Found:
    """An object, or the range of it that was asked for.

    ``last_modified`` and what was ``told`` are both read off the store's clock, so their difference is the object's age
    however wrong the clock here is: too long by less than a second, for they are cut to seconds, or a little too short.
    """

    body: Body = field(repr=False)
    etag: str
    size: int
    last_modified: datetime
    told: Told = field(repr=False)

    @property
    def date(self) -> datetime:
        return _date(self.told)


@dataclass(frozen=True, slots=True)
class NotModified:
    """The object still has the ETag that was asked about."""


@dataclass(frozen=True, slots=True)
class Written:
    """The write took effect."""

    etag: str


@dataclass(frozen=True, slots=True)
class Deleted:
    """The object is gone, or was not there."""


class Reason(Enum):
    CONDITION = "the condition did not hold, or the object was not there"
    CONFLICT = "another conditional request was under way; nothing was written, and the same request may be sent again"


@dataclass(frozen=True, slots=True)
class Refused:
    """A conditional request had no effect."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a listing."""

    path: str
    etag: str
    size: int
    last_modified: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Up to a thousand lines of a listing, in the order of their paths.

    ``more`` says whether others may follow.
    """

    objects: tuple[Listed, ...]
    more: bool
    told: Told = field(repr=False)

    @property
    def date(self) -> datetime:
        return _date(self.told)


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """One object that a bulk deletion could not delete, and why."""

    path: str
    why: Error


class SilenceError(UnavailableError):
    """The store, or what leads there, said nothing for as long as it was waited for."""


_BOOT_TIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def steady_seconds() -> float:
    """A clock that never goes back and, where the system has one, goes on while the machine is suspended."""
    return time.monotonic() if _BOOT_TIME is None else time.clock_gettime(_BOOT_TIME)


class Store(Protocol):
    """Objects of one bucket, and the concurrency that fits the caller.

    ``timeout`` is for how many seconds a request waits while the store says nothing.
    """

    timeout: float

    def hurried(self, seconds: float) -> Store:
        """The same, for requests that wait no longer than so many seconds: what is late then is no use any more.

        It has connections of its own, and is kept for the next who is in such a hurry.
        """
        ...

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> Found | NotModified | None:
        """The object, or its bytes from the first to the last of `byte_range` (both included, as in HTTP)."""
        ...

    async def head(self, path: str) -> Found | None:
        """The object without its body."""
        ...

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> Written | Refused:
        """Writes the object: always, only over the ETag `if_match`, or only where there is none (`if_none_match`)."""
        ...

    async def delete(self, path: str, *, if_match: str | None = None) -> Deleted | Refused: ...

    async def delete_many(self, paths: Sequence[str]) -> tuple[NotDeleted, ...]:
        """Deletes up to a thousand objects in one request; gives those that are still there."""
        ...

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> Written | Refused:
        """Copies the object onto itself, which renews its Last-Modified."""
        ...

    async def list_page(self, prefix: str, *, after: str = "", until: str | None = None) -> Page:
        """The first objects under `prefix` whose path is greater than `after` and less than `until`."""
        ...

    def now(self) -> float:
        """Seconds of a clock that never goes back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def map(self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int) -> AsyncGenerator[R, None]:
        """The results of `function` for each item, as they come, with at most `limit` calls under way.

        Items are taken only as fast as calls end, or a quarter of `limit` ahead of that. The first exception ends it;
        closing it early cancels what has not begun and waits for what has. Must not be nested: `function` may not call
        `map` again.
        """
        ...

    def caller(self) -> Hashable:
        """Who is calling: the thread or task, of this process."""
        ...

    def exclusive(self, owner: object) -> AbstractAsyncContextManager[None]:
        """One caller of this store at a time for each owner, among this store's threads or tasks."""
        ...

    def every(self, seconds: float, beat: Callable[[], Awaitable[bool]]) -> AbstractAsyncContextManager[None]:
        """Calls `beat` in the background while the context is open, until it returns False."""
        ...
