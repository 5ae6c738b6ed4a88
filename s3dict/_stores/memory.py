"""A bucket in this process's memory, for tests: ours and users'.

It responds as S3 does (conditions, ranges, pages of a thousand, clocks in whole seconds); its content ends with the
process. Equal bucket names are one bucket, whichever Client names it; blocking and asyncio calls share it. Its clock
can be moved, and requests can be made to fail: `s3dict.testing` is the public interface to both.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from hashlib import md5
from itertools import islice, repeat, takewhile
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from .._retry import DEFAULT_POLICIES, RetryPolicies
from ..errors import ConflictError, Error, PermissionDeniedError, UnavailableError, UnsupportedStoreError
from .base import (
    PAGE_SIZE,
    Body,
    DeleteFailure,
    DeleteResult,
    NotModified,
    ObjectMeta,
    Page,
    PreconditionFailed,
    PutResult,
    Refusal,
    Runtime,
    ServerTime,
    StoredObject,
)
from .shared.access_denied import access_denied_error
from .shared.messages import S3Request, common_folder
from .shared.request_log import NO_RESPONSE, Status
from .shared.tasks import TaskRuntime
from .shared.threads import ThreadRuntime

if TYPE_CHECKING:
    from .shared.events import RequestObserver

F = TypeVar("F", bound=Callable[..., Any])
_PRECONDITION_FAILED = PreconditionFailed()
FAULT_BACKOFF = 0.001

Operation = Literal["get", "put", "delete", "list"]
"""What a policy allows or denies: HEAD counts as a get, a copy as a put."""
FaultKind = Literal["lost-request", "lost-response", "unreachable", "denied"]

_METHODS = {"get": "get_object", "put": "put_object", "delete": "delete_object", "list": "list_objects_v2"}


@dataclass(slots=True)
class Fault:
    """A failure of requests to a bucket, as long as it is in the bucket's `faults`."""

    kind: FaultKind
    operation: Operation | None
    times: int | None
    hits: int = 0
    """How many requests have failed by it."""

    def matches(self, operation: Operation) -> bool:
        return self.operation in (None, operation) and (self.times is None or self.hits < self.times)

    def error(self, operation: Operation, bucket: str, path: str) -> Error:
        reason = f"a fault that a test injected ({self.kind})"
        if self.kind == "denied":
            return access_denied_error(S3Request(_METHODS[operation], bucket, path, {}), 403, "AccessDenied", reason)
        return UnavailableError(f"{operation}: {reason}", maybe_applied=self.kind != "unreachable")


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
        self.clock_offset = timedelta(0)
        self.faults: list[Fault] = []
        self.ordered_listing = True
        """Whether listings are in the order of the paths, or shuffled and of folders alone, as of S3 Express."""
        # A signal handler may use the bucket while its thread is inside.
        self._guard = threading.RLock()
        self._paths: list[str] | None = None

    def advance(self, time: timedelta) -> None:
        """Make everything in the bucket that much older."""
        self.clock_offset += time

    def date(self) -> datetime:
        return (datetime.now(UTC) + self.clock_offset).replace(microsecond=0)

    @contextmanager
    def handling(self, operation: Operation, path: str) -> Iterator[None]:
        """Run one request: atomically among threads, and with the first fault that matches it."""
        with self._guard:
            fault = next((fault for fault in self.faults if fault.matches(operation)), None)
            if fault is not None:
                fault.hits += 1
                if fault.kind != "lost-response":
                    raise fault.error(operation, self.name, path)
            yield
            if fault is not None:
                raise fault.error(operation, self.name, path)

    def shortened(self, seconds: float) -> float:
        """Return how long to sleep: a test need not wait for the backoff between attempts that are to fail."""
        return min(seconds, FAULT_BACKOFF) if self.faults else seconds

    def paths(self) -> list[str]:
        if self._paths is None:
            self._paths = sorted(self.objects)
        return self._paths

    def names_under(self, prefix: str, start_after: str, end_before: str | None, *, folders: bool) -> list[str]:
        """Return the paths under a prefix, or the paths and folders directly under it, as they are listed."""
        paths = self.paths()
        start = max(bisect_left(paths, prefix), bisect_right(paths, start_after))
        end = len(paths) if end_before is None else bisect_left(paths, end_before)
        names = list(takewhile(lambda path: path.startswith(prefix), islice(paths, start, end)))
        if folders:
            names = list(dict.fromkeys(_directly_under(prefix, path) for path in names))
        return names if self.ordered_listing else sorted(names, key=self.place_of)

    def place_of(self, name: str) -> str:
        """Return what listings are ordered by. No write of another object changes it."""
        return name if self.ordered_listing else md5(name.encode(), usedforsecurity=False).hexdigest()

    def write(self, path: str, body: Body) -> str:
        etag = f'"{md5(body, usedforsecurity=False).hexdigest()}"'
        with self._guard:
            if path not in self.objects:
                self._paths = None
            self.objects[path] = _Object(bytes(body), etag, self.date())
        return etag

    def remove(self, path: str) -> None:
        with self._guard:
            if self.objects.pop(path, None) is not None:
                self._paths = None


_buckets: dict[str, MemoryBucket] = {}


def _renew_guards() -> None:
    """Replace the locks in a forked child, which does not have the threads that held them."""
    for bucket in _buckets.values():
        bucket._guard = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guards)


def memory_bucket(name: str) -> MemoryBucket:
    """Return the bucket of that name in this process; make it at first use."""
    return _buckets.setdefault(name, MemoryBucket(name))


def forget_memory_bucket(name: str) -> None:
    """Drop the bucket: the next of this name is a new one."""
    _buckets.pop(name, None)


def _directly_under(prefix: str, path: str) -> str:
    """Return the path, or the folder directly under the prefix that it is in."""
    folder, slash, _ = path[len(prefix) :].partition("/")
    return f"{prefix}{folder}{slash}"


def _is_folder(prefix: str, name: str) -> bool:
    return name.endswith("/") and name != prefix


def _observed(operation: str) -> Callable[[F], F]:
    """Report each call of a method to the observer, as the other drivers report a request."""

    def decorate(function: F) -> F:
        @wraps(function)
        async def method(self: _MemoryRequests, path: Any, *arguments: Any, **options: Any) -> Any:
            if self._observer is None:
                return await function(self, path, *arguments, **options)
            observed = self._observer.watching(
                lambda: function(self, path, *arguments, **options),
                operation,
                path if isinstance(path, str) else common_folder(path),
                bytes_sent=memoryview(arguments[0]).nbytes if operation == "PutObject" else 0,
                result=_reported_result,
                error_status=lambda error: 403 if isinstance(error, PermissionDeniedError) else NO_RESPONSE,
            )
            return await observed()

        return cast(F, method)

    return decorate


def _reported_result(result: Any) -> tuple[Status, int]:
    """Return the HTTP status that S3 would have sent, and the size of the body."""
    statuses: dict[type, int] = {NoneType: 404, NotModified: 304, PreconditionFailed: 412}
    is_part = isinstance(result, StoredObject) and 0 < len(result.body) < result.size
    size = len(result.body) if isinstance(result, StoredObject) else 0
    return 206 if is_part else statuses.get(type(result), 200), size


class _MemoryRequests:
    """The requests to a bucket in memory, over any runtime."""

    timeout = 60.0
    """No request takes any time."""

    def __init__(
        self,
        bucket: MemoryBucket,
        runtime: Runtime,
        retries: RetryPolicies = DEFAULT_POLICIES,
        observer: RequestObserver | None = None,
    ) -> None:
        self._bucket = bucket
        self._observer = observer
        self.runtime = runtime
        self.retries = retries.within(self.timeout)

    def with_timeout(self, seconds: float) -> Self:  # noqa: ARG002 (it never waits)
        return self

    def paced(self) -> Self:
        return self

    @_observed("GetObject")
    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> StoredObject | NotModified | None:
        with self._bucket.handling("get", path):
            found = self._find(path)
        if found is None:
            return None
        if if_none_match == found.etag:
            return NotModified()
        first, last = byte_range or (0, found.size)
        return StoredObject(
            found.body[first : last + 1], found.etag, found.size, found.last_modified, found.server_time
        )

    @_observed("HeadObject")
    async def head(self, path: str) -> StoredObject | None:
        with self._bucket.handling("get", path):
            found = self._find(path)
        return found and StoredObject(b"", found.etag, found.size, found.last_modified, found.server_time)

    @_observed("PutObject")
    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        with self._bucket.handling("put", path):
            if not self._precondition_holds(path, if_match, if_none_match):
                return _PRECONDITION_FAILED
            return PutResult(self._bucket.write(path, body))

    @_observed("DeleteObject")
    async def delete(self, path: str, *, if_match: str | None = None) -> DeleteResult | Refusal:
        with self._bucket.handling("delete", path):
            if not self._precondition_holds(path, if_match):
                return _PRECONDITION_FAILED
            self._bucket.remove(path)
        return DeleteResult()

    @_observed("DeleteObjects")
    async def delete_many(
        self, paths: Sequence[str], *, if_match: Sequence[str] | None = None
    ) -> tuple[DeleteFailure, ...]:
        failures: list[DeleteFailure] = []
        with self._bucket.handling("delete", common_folder(paths)):
            for path, etag in zip(paths, if_match or repeat(None, len(paths)), strict=True):
                if self._precondition_holds(path, etag):
                    self._bucket.remove(path)
                else:
                    failures.append(DeleteFailure(path, ConflictError("The object has changed"), rejected=True))
        return tuple(failures)

    @_observed("CopyObject")
    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> PutResult | Refusal:
        with self._bucket.handling("put", path):
            if not (self._precondition_holds(path, source_if_match) and self._precondition_holds(path, if_match)):
                return _PRECONDITION_FAILED
            return PutResult(self._bucket.write(path, self._bucket.objects[path].body))

    @_observed("ListObjectsV2")
    async def list_page(
        self,
        prefix: str,
        token: object = None,
        *,
        folders: bool = False,
        start_after: str = "",
        end_before: str | None = None,
    ) -> Page:
        bucket = self._bucket
        with bucket.handling("list", prefix):
            if not bucket.ordered_listing and (start_after or not prefix.endswith("/")):
                raise UnsupportedStoreError(f"Listings have no order here: rejected {prefix=}, {start_after=}")
            names = bucket.names_under(prefix, start_after, end_before, folders=folders)
            if token is not None:
                place_of = bucket.place_of
                names = [name for name in names if place_of(name) > place_of(cast(str, token))]
            page, is_truncated = names[:PAGE_SIZE], len(names) > PAGE_SIZE
            found = [name for name in page if not (folders and _is_folder(prefix, name))]
            return Page(
                tuple(self._line(name) for name in found),
                is_truncated,
                ServerTime(bucket.date()),
                page[-1] if is_truncated else None,
                tuple(name for name in page if folders and _is_folder(prefix, name)),
            )

    def _find(self, path: str) -> StoredObject | None:
        held = self._bucket.objects.get(path)
        if held is None:
            return None
        return StoredObject(held.body, held.etag, len(held.body), held.last_modified, ServerTime(self._bucket.date()))

    def _precondition_holds(self, path: str, if_match: str | None, if_none_match: bool = False) -> bool:
        held = self._bucket.objects.get(path)
        if if_match is not None:
            return held is not None and held.etag == if_match
        return held is None or not if_none_match

    def _line(self, path: str) -> ObjectMeta:
        held = self._bucket.objects[path]
        return ObjectMeta(path, held.etag, len(held.body), held.last_modified)


class MemoryStore(_MemoryRequests):
    """The bucket for blocking calls."""

    def __init__(
        self,
        bucket: MemoryBucket,
        concurrency: int = 64,
        *,
        retries: RetryPolicies = DEFAULT_POLICIES,
        observer: RequestObserver | None = None,
    ) -> None:
        super().__init__(bucket, _MovedThreads(bucket, concurrency), retries, observer)


class AsyncMemoryStore(_MemoryRequests):
    """The bucket for asyncio."""

    def __init__(
        self,
        bucket: MemoryBucket,
        *,
        retries: RetryPolicies = DEFAULT_POLICIES,
        observer: RequestObserver | None = None,
    ) -> None:
        super().__init__(bucket, _MovedTasks(bucket), retries, observer)


class _MovedThreads(ThreadRuntime):
    """Threads whose clock moves with the bucket's."""

    def __init__(self, bucket: MemoryBucket, concurrency: int) -> None:
        super().__init__(concurrency)
        self._bucket = bucket

    def monotonic(self) -> float:
        return super().monotonic() + self._bucket.clock_offset.total_seconds()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(self._bucket.shortened(seconds))


class _MovedTasks(TaskRuntime):
    """Tasks whose clock moves with the bucket's."""

    def __init__(self, bucket: MemoryBucket) -> None:
        super().__init__()
        self._bucket = bucket

    def monotonic(self) -> float:
        return super().monotonic() + self._bucket.clock_offset.total_seconds()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(self._bucket.shortened(seconds))
