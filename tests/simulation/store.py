"""A simulated bucket, and stores whose every request waits for the simulation to let it take effect."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from itertools import count, repeat
from typing import TYPE_CHECKING, Any, Literal, Self

from s3dict._retry import RetryPolicies, RetryPolicy
from s3dict._stores.base import (
    Body,
    Conflict,
    DeleteFailure,
    DeleteResult,
    NotModified,
    ObjectMeta,
    Page,
    PreconditionFailed,
    PutResult,
    Refusal,
    ServerTime,
    StoredObject,
)
from s3dict._stores.shared.tasks import TaskRuntime
from s3dict.errors import ConflictError, UnavailableError

if TYPE_CHECKING:
    from .world import World

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

RETRIES = RetryPolicies(writes=RetryPolicy(max_attempts=3, initial_backoff=0.05, max_backoff=0.2, max_timeouts=3))
"""Few attempts, so that a few faults exhaust them."""

Kind = Literal["get", "head", "put", "delete", "delete_many", "copy", "list"]


@dataclass(frozen=True, slots=True)
class Stored:
    body: bytes
    etag: str
    last_modified: datetime
    written_at: float
    """The simulation's time, which is not truncated."""


@dataclass(frozen=True, slots=True)
class Features:
    """The features of the store."""

    conditional_delete: bool = True
    conditional_copy: bool = True
    etag_of_content: bool = True
    """Equal bodies have equal ETags; not so on stores that encrypt."""
    page_size: int = 1000
    readable_clock: bool = True
    """Otherwise responses have no Date, and the request for the time fails."""


class UnreadableClock:
    """The clock of a store that does not respond when it is asked for the time."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def time_at(self, moment: float) -> datetime:
        raise UnavailableError(f"no time at {moment}", maybe_applied=False)

    def latest_at(self, moment: float) -> datetime:
        return self._now + timedelta(minutes=15)

    def has_passed(self, deadline: datetime, moment: float) -> bool:
        raise UnavailableError(f"no time at {moment}", maybe_applied=False)


class Bucket:
    """The objects, and the clock by which they are dated."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.objects: dict[str, Stored] = {}
        self.clock_step = 0.0
        self.violations: list[str] = []
        self._etags = count(1)
        self._replaced: set[tuple[str, str]] = set()

    def copy(self) -> Bucket:
        bucket = Bucket(self.features)
        bucket.objects, bucket._etags = dict(self.objects), count(1_000_000)
        return bucket

    def swept(self, now: float) -> list[str]:
        """Return the objects that are old enough for their lifecycle rule."""
        classes = [(path, re.search(r"/sweep-([0-9]+)d/", path), each) for path, each in self.objects.items()]
        return [
            path
            for path, sweep_class, each in classes
            if sweep_class and now - each.written_at > int(sweep_class[1]) * 86400
        ]

    def remove(self, path: str) -> None:
        if stored := self.objects.pop(path, None):
            self._replaced.add((path, stored.etag))

    def date(self, now: float) -> datetime:
        return (EPOCH + timedelta(seconds=now + self.clock_step)).replace(microsecond=0)

    def put(self, path: str, body: bytes, now: float) -> PutResult:
        content = md5(body, usedforsecurity=False).hexdigest()
        etag = f'"{content if self.features.etag_of_content else next(self._etags)}"'
        before = self.objects.get(path)
        if before is not None and before.etag != etag:
            self._replaced.add((path, before.etag))
        if "/entries/" in path and (path, etag) in self._replaced:
            # Another client may have read the entry under this ETag, and act on it.
            self.violations.append(f"an ETag of {path} came back")
        self.objects[path] = Stored(body, etag, self.date(now), now)
        return PutResult(etag)

    def holds(self, path: str, if_match: str | None, if_none_match: bool = False) -> bool:
        stored = self.objects.get(path)
        if if_match is not None:
            return stored is not None and stored.etag == if_match
        return stored is None or not if_none_match


@dataclass(eq=False, slots=True)
class Request:
    """A request in flight."""

    process: str
    kind: Kind
    path: str
    effect: Callable[[], Any]
    future: asyncio.Future[Any]
    conditional: bool
    number: int
    applied: bool = False
    result: Any = None
    stalled_until: float = 0.0

    @property
    def writes(self) -> bool:
        return self.kind in ("put", "delete", "delete_many", "copy")

    def __str__(self) -> str:
        return f"{self.process}: {self.kind.upper()} {self.path}{' (conditional)' if self.conditional else ''}"


class SimulatedRuntime(TaskRuntime):
    """The real runtime for asyncio, by the clock of one simulated process."""

    def __init__(self, world: World, process: str) -> None:
        super().__init__()
        self._world = world
        self._process = process

    def monotonic(self) -> float:
        return self._world.loop.now


@dataclass(eq=False)
class SimulatedStore:
    """The requests of one process."""

    world: World
    process: str
    runtime: SimulatedRuntime
    timeout: float = 60.0
    retries: RetryPolicies = field(default=RETRIES)

    def with_timeout(self, seconds: float) -> Self:
        return type(self)(self.world, self.process, self.runtime, seconds, self.retries)

    def paced(self) -> Self:
        return self

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> StoredObject | NotModified | None:
        first, last = byte_range or (0, 1 << 60)

        def effect() -> StoredObject | NotModified | None:
            stored = self._bucket.objects.get(path)
            if stored is None:
                return None
            if stored.etag == if_none_match:
                return NotModified()
            return self._stored_object(stored, stored.body[first : last + 1])

        return await self._send("get", path, effect)  # type: ignore[no-any-return]

    async def head(self, path: str) -> StoredObject | None:
        def effect() -> StoredObject | None:
            stored = self._bucket.objects.get(path)
            return None if stored is None else self._stored_object(stored, b"")

        return await self._send("head", path, effect)  # type: ignore[no-any-return]

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        def effect() -> PutResult | Refusal:
            if not self._bucket.holds(path, if_match, if_none_match):
                return PreconditionFailed()
            return self._bucket.put(path, bytes(body), self._now)

        conditional = if_none_match or if_match is not None
        return await self._send("put", path, effect, conditional)  # type: ignore[no-any-return]

    async def delete(self, path: str, *, if_match: str | None = None) -> DeleteResult | Refusal:
        def effect() -> DeleteResult | Refusal:
            condition = if_match if self._bucket.features.conditional_delete else None
            if not self._bucket.holds(path, condition):
                return PreconditionFailed()
            self._bucket.remove(path)
            return DeleteResult()

        return await self._send("delete", path, effect, if_match is not None)  # type: ignore[no-any-return]

    async def delete_many(
        self, paths: Sequence[str], *, if_match: Sequence[str] | None = None
    ) -> tuple[DeleteFailure, ...]:
        def effect() -> tuple[DeleteFailure, ...]:
            failures = []
            for path, etag in zip(paths, if_match or repeat(None, len(paths)), strict=True):
                if etag is None or self._bucket.holds(path, etag):
                    self._bucket.remove(path)
                else:
                    failures.append(DeleteFailure(path, ConflictError("The object has changed"), rejected=True))
            return tuple(failures)

        return await self._send("delete_many", paths[0], effect, if_match is not None)  # type: ignore[no-any-return]

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> PutResult | Refusal:
        def effect() -> PutResult | Refusal:
            bucket = self._bucket
            honoured = bucket.features.conditional_copy
            if honoured and not (bucket.holds(path, source_if_match) and bucket.holds(path, if_match)):
                return PreconditionFailed()
            return bucket.put(path, bucket.objects[path].body, self._now) if path in bucket.objects else Conflict()

        return await self._send("copy", path, effect, True)  # type: ignore[no-any-return]

    async def list_page(
        self,
        prefix: str,
        token: object = None,
        *,
        folders: bool = False,
        start_after: str = "",
        end_before: str | None = None,
    ) -> Page:
        assert not folders
        after = start_after if token is None else str(token)

        def effect() -> Page:
            paths = sorted(self._bucket.objects)
            start = max(bisect_left(paths, prefix), bisect_right(paths, after))
            end = len(paths) if end_before is None else bisect_left(paths, end_before)
            found = [path for path in paths[start:end] if path.startswith(prefix)]
            size = self._bucket.features.page_size
            objects = [(path, self._bucket.objects[path]) for path in found[:size]]
            listed = tuple(ObjectMeta(path, o.etag, len(o.body), o.last_modified) for path, o in objects)
            is_truncated, date = len(found) > size, ServerTime(self._bucket.date(self._now))
            return Page(listed, is_truncated, date, listed[-1].path if is_truncated else None)

        return await self._send("list", prefix, effect)  # type: ignore[no-any-return]

    @property
    def _bucket(self) -> Bucket:
        return self.world.bucket

    @property
    def _now(self) -> float:
        return self.world.loop.now

    def _stored_object(self, stored: Stored, body: bytes) -> StoredObject:
        now = self._bucket.date(self._now)
        date = ServerTime(now) if self._bucket.features.readable_clock else ServerTime(clock=UnreadableClock(now))
        return StoredObject(body, stored.etag, len(stored.body), stored.last_modified, date)

    async def _send(self, kind: Kind, path: str, effect: Callable[[], Any], conditional: bool = False) -> Any:
        return await self.world.send(self.process, kind, path, effect, conditional)
