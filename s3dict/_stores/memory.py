"""A bucket in this process's memory, for tests: ours and users'.

It answers as S3 does (conditions, ranges, pages of a thousand, clocks in whole seconds) and forgets everything with the
process. Equal bucket names are one bucket, whichever Client names it; blocking and asyncio calls share it. Its clock
can be moved, and requests can be made to fail: `s3dict.testing` has the words for users.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from hashlib import md5
from typing import Literal

from ..errors import Error, UnavailableError
from .base import (
    PAGE_SIZE,
    Body,
    Deleted,
    Found,
    Listed,
    NotDeleted,
    NotModified,
    Page,
    Reason,
    Refused,
    Written,
)
from .boto.requests import Call, folder
from .shared.access_denied import denied
from .shared.tasks import Tasks
from .shared.threads import Threads

_REFUSED = Refused(Reason.CONDITION)
_FAULTY_PAUSE = 0.001

Operation = Literal["get", "put", "delete", "list"]
"""What a policy would allow or deny: HEAD counts as a get, a copy as a put."""
FaultKind = Literal["lost-request", "lost-answer", "unreachable", "denied"]

_METHODS = {"get": "get_object", "put": "put_object", "delete": "delete_object", "list": "list_objects_v2"}


@dataclass(slots=True)
class Fault:
    """What goes wrong with requests to a bucket while the fault is in its `faults`."""

    kind: FaultKind
    operation: Operation | None
    times: int | None
    struck: int = 0
    """How many requests it has hit."""

    def concerns(self, operation: Operation) -> bool:
        return self.operation in (None, operation) and (self.times is None or self.struck < self.times)

    def error(self, operation: Operation, bucket: str, path: str) -> Error:
        said = f"said by a fault that a test injected ({self.kind})"
        if self.kind == "denied":
            return denied(Call(_METHODS[operation], bucket, path, {}), 403, "AccessDenied", said)
        return UnavailableError(f"{operation}: {said}", sent=self.kind != "unreachable")


@dataclass(frozen=True, slots=True)
class _Object:
    body: bytes
    etag: str
    last_modified: datetime


class MemoryBucket:
    """The objects of one bucket, a clock that tests move with `advance`, and faults that they inject."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.objects: dict[str, _Object] = {}
        self.ahead = timedelta(0)
        self.faults: list[Fault] = []
        self._guard = threading.Lock()
        self._paths: list[str] | None = None

    def advance(self, time: timedelta) -> None:
        """Makes everything in the bucket that much older."""
        self.ahead += time

    def date(self) -> datetime:
        return (datetime.now(timezone.utc) + self.ahead).replace(microsecond=0)

    @contextmanager
    def answering(self, operation: Operation, path: str) -> Iterator[None]:
        """One request: atomic among threads, and ended by the first fault that concerns it. Nothing waits inside."""
        with self._guard:
            fault = next((fault for fault in self.faults if fault.concerns(operation)), None)
            if fault is not None:
                fault.struck += 1
                if fault.kind != "lost-answer":
                    raise fault.error(operation, self.name, path)
            yield
            if fault is not None:
                raise fault.error(operation, self.name, path)

    def pause(self, seconds: float) -> float:
        """How long to wait in earnest: a test need not sit through the pauses between attempts that are to fail."""
        return min(seconds, _FAULTY_PAUSE) if self.faults else seconds

    def paths(self) -> list[str]:
        if self._paths is None:
            self._paths = sorted(self.objects)
        return self._paths

    def write(self, path: str, body: Body) -> str:
        if path not in self.objects:
            self._paths = None
        etag = f'"{md5(body, usedforsecurity=False).hexdigest()}"'
        self.objects[path] = _Object(bytes(body), etag, self.date())
        return etag

    def remove(self, path: str) -> None:
        if self.objects.pop(path, None) is not None:
            self._paths = None


_buckets: dict[str, MemoryBucket] = {}


def memory_bucket(name: str) -> MemoryBucket:
    """The bucket of that name in this process; made when first asked for."""
    return _buckets.setdefault(name, MemoryBucket(name))


def forget_memory_bucket(name: str) -> None:
    """Lets go of the bucket: the next that is asked for by this name is another."""
    _buckets.pop(name, None)


class _MemoryObjects:
    """The requests of the protocol."""

    _bucket: MemoryBucket
    timeout = 60.0
    """Never waited for."""

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> Found | NotModified | None:
        with self._bucket.answering("get", path):
            found = self._find(path)
        if found is None:
            return None
        if if_none_match == found.etag:
            return NotModified()
        first, last = byte_range or (0, found.size)
        return Found(found.body[first : last + 1], found.etag, found.size, found.last_modified, found.date)

    async def head(self, path: str) -> Found | None:
        with self._bucket.answering("get", path):
            found = self._find(path)
        return found and Found(b"", found.etag, found.size, found.last_modified, found.date)

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> Written | Refused:
        with self._bucket.answering("put", path):
            if not self._holds(path, if_match, if_none_match):
                return _REFUSED
            return Written(self._bucket.write(path, body))

    async def delete(self, path: str, *, if_match: str | None = None) -> Deleted | Refused:
        with self._bucket.answering("delete", path):
            if not self._holds(path, if_match):
                return _REFUSED
            self._bucket.remove(path)
        return Deleted()

    async def delete_many(self, paths: Sequence[str]) -> tuple[NotDeleted, ...]:
        with self._bucket.answering("delete", folder(paths)):
            for path in paths:
                self._bucket.remove(path)
        return ()

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> Written | Refused:
        with self._bucket.answering("put", path):
            if not (self._holds(path, source_if_match) and self._holds(path, if_match)):
                return _REFUSED
            return Written(self._bucket.write(path, self._bucket.objects[path].body))

    async def list_page(self, prefix: str, *, after: str = "", until: str | None = None) -> Page:
        with self._bucket.answering("list", prefix):
            paths = self._bucket.paths()
            start = max(bisect_left(paths, prefix), bisect_right(paths, after))
            end = len(paths) if until is None else bisect_left(paths, until)
            under = [path for path in paths[start : min(end, start + PAGE_SIZE + 1)] if path.startswith(prefix)]
            listed = tuple(self._line(path) for path in under[:PAGE_SIZE])
            return Page(listed, len(under) > PAGE_SIZE, self._bucket.date())

    def _find(self, path: str) -> Found | None:
        held = self._bucket.objects.get(path)
        if held is None:
            return None
        return Found(held.body, held.etag, len(held.body), held.last_modified, self._bucket.date())

    def _holds(self, path: str, if_match: str | None, if_none_match: bool = False) -> bool:
        held = self._bucket.objects.get(path)
        if if_match is not None:
            return held is not None and held.etag == if_match
        return held is None or not if_none_match

    def _line(self, path: str) -> Listed:
        held = self._bucket.objects[path]
        return Listed(path, held.etag, len(held.body), held.last_modified)


class MemoryStore(_MemoryObjects, Threads):
    """The bucket for blocking calls."""

    def hurried(self, seconds: float) -> MemoryStore:  # noqa: ARG002 (it never waits)
        return self

    def __init__(self, bucket: MemoryBucket, concurrency: int = 64) -> None:
        super().__init__(concurrency)
        self._bucket = bucket

    def now(self) -> float:
        return super().now() + self._bucket.ahead.total_seconds()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(self._bucket.pause(seconds))


class AsyncMemoryStore(_MemoryObjects, Tasks):
    """The bucket for asyncio."""

    def hurried(self, seconds: float) -> AsyncMemoryStore:  # noqa: ARG002 (it never waits)
        return self

    def __init__(self, bucket: MemoryBucket) -> None:
        super().__init__()
        self._bucket = bucket

    def now(self) -> float:
        return super().now() + self._bucket.ahead.total_seconds()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(self._bucket.pause(seconds))
