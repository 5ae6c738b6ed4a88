"""What a client read a moment ago, for readers that can do with that.

Within the window a read makes no request; after it one conditional GET, which a 304 answers without a body (RFC 9110,
section 13.1.2). What others write shows up when the window is over; what this client writes, at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta

from .._stores.base import NotModified, ObjectStore, StoredObject

MAX_BYTES = 64 << 20
"""How much all that is cached for a client takes; what was not read for longest gives way."""
ENTRY_OVERHEAD = 700
"""What an entry takes beside its body and its path."""


class CachedObject:
    """An object as it was answered at one time, and was seen to be still at another, by the store's `now`."""

    __slots__ = ("fetched_at", "found", "validated_at")

    def __init__(self, found: StoredObject, fetched_at: float) -> None:
        self.found = found
        self.fetched_at = self.validated_at = fetched_at

    def as_of(self, now: float) -> StoredObject:
        """The object with the date that the store would tell now."""
        return replace(self.found, server_time=self.found.server_time + timedelta(seconds=now - self.fetched_at))


class ReadCache:
    """The latest answers to one client. Its threads and event loops share it; `guard` lets in one at a time."""

    def __init__(self, max_age: float, guard: AbstractContextManager[object]) -> None:
        self.max_age = max_age
        self._lock = guard
        self._cached: OrderedDict[str, CachedObject] = OrderedDict()
        self._bytes = 0
        self._fetching: dict[str, set[object]] = {}

    def get(self, path: str) -> CachedObject | None:
        with self._lock:
            if path in self._cached:
                self._cached.move_to_end(path)
            return self._cached.get(path)

    def invalidate(self, path: str) -> None:
        """For after a write of our own: an answer that began its way before it must not hide it from us."""
        with self._lock:
            self._fetching.pop(path, None)
            self._evict(path)

    def invalidate_prefix(self, prefix: str) -> None:
        """`invalidate` for whatever lies below the prefix."""
        with self._lock:
            for path in [path for path in (*self._fetching, *self._cached) if path.startswith(prefix)]:
                self._fetching.pop(path, None)
                self._evict(path)

    @contextmanager
    def begin_fetch(self, path: str) -> Iterator[object]:
        """A fetch of the object. Its token is good for `put` as long as the path is not forgotten."""
        token = object()
        with self._lock:
            self._fetching.setdefault(path, set()).add(token)
        try:
            yield token
        finally:
            with self._lock:
                tokens = self._fetching.get(path, set())
                tokens.discard(token)
                if not tokens:
                    self._fetching.pop(path, None)

    def put(self, path: str, found: StoredObject | None, fetched_at: float, token: object) -> None:
        """Keeps an answer in the place of the one before it."""
        with self._lock:
            if token not in self._fetching.get(path, ()):
                return
            held = self._cached.get(path)
            if held is not None and held.fetched_at > fetched_at:
                # What is there answers a request that was sent later.
                return
            self._evict(path)
            # A large body is a bytearray, over which the arrays of its value may lie, to be changed.
            if found is not None and isinstance(found.body, bytes) and _cost(path, found) <= MAX_BYTES:
                self._cached[path] = CachedObject(found, fetched_at)
                self._bytes += _cost(path, found)
            while self._bytes > MAX_BYTES:
                self._evict(next(iter(self._cached)))

    def _evict(self, path: str) -> None:
        cached = self._cached.pop(path, None)
        if cached is not None:
            self._bytes -= _cost(path, cached.found)


def _cost(path: str, found: StoredObject) -> int:
    return len(found.body) + len(path) + ENTRY_OVERHEAD


async def get_cached(
    cache: ReadCache,
    store: ObjectStore,
    path: str,
    parallel_get: Callable[[], Awaitable[StoredObject | None]],
    must_revalidate: Callable[[StoredObject], bool],
) -> StoredObject | None:
    """The object as it was within the cache's window. No request, or 1."""
    cached, now = cache.get(path), store.runtime.monotonic()
    if cached is not None and must_revalidate(cached.as_of(now)):
        # Others may have kept it alive since, which does not change its ETag: only a whole answer tells its age.
        cached = None
    if cached is not None and now - cached.validated_at < cache.max_age:
        return cached.as_of(now)
    with cache.begin_fetch(path) as token:
        answer = await (parallel_get() if cached is None else store.get(path, if_none_match=cached.found.etag))
        if cached is not None and isinstance(answer, NotModified):
            cached.validated_at = now
            return cached.as_of(now)
        assert not isinstance(answer, NotModified)
        cache.put(path, answer, now, token)
        return answer
