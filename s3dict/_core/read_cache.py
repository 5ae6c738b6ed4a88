"""What a client has read recently, for readers that accept stale values.

Up to `max_age` after the last validation a read makes no request; after that it makes one conditional GET, for which a
304 has no body (RFC 9110, section 13.1.2). Writes of other clients become visible after `max_age`; writes of this
client, immediately.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

from .._record import replace
from .._stores.base import NotModified, ObjectStore, StoredObject

MAX_BYTES = 64 << 20
"""The memory of all that is cached for a client; the least recently used objects are evicted."""
ENTRY_OVERHEAD = 700
"""The memory of a cached object besides its body and its path."""


class CachedObject:
    """An object with the times at which it was fetched and last validated, by the runtime's clock."""

    __slots__ = ("fetched_at", "found", "validated_at")

    def __init__(self, found: StoredObject, fetched_at: float) -> None:
        self.found = found
        self.fetched_at = self.validated_at = fetched_at

    def as_of(self, now: float) -> StoredObject:
        """Return the object with the date that the store's clock shows now."""
        return replace(self.found, server_time=self.found.server_time + timedelta(seconds=now - self.fetched_at))


class ReadCache:
    """The latest responses to one client, shared by its threads and event loops under `lock`."""

    def __init__(self, max_age: float, lock: AbstractContextManager[object]) -> None:
        self.max_age = max_age
        self._lock = lock
        self._cached: OrderedDict[str, CachedObject] = OrderedDict()
        self._bytes = 0
        self._fetching: dict[str, set[object]] = {}

    def get(self, path: str) -> CachedObject | None:
        with self._lock:
            if path in self._cached:
                self._cached.move_to_end(path)
            return self._cached.get(path)

    def invalidate(self, path: str) -> None:
        """Forget the path after a write of this client, and any fetch in flight that began before the write."""
        with self._lock:
            self._fetching.pop(path, None)
            self._evict(path)

    def invalidate_prefix(self, prefix: str) -> None:
        """`invalidate` every path under the prefix."""
        with self._lock:
            for path in [path for path in (*self._fetching, *self._cached) if path.startswith(prefix)]:
                self._fetching.pop(path, None)
                self._evict(path)

    @contextmanager
    def begin_fetch(self, path: str) -> Iterator[object]:
        """Register a fetch of the object. Its token is valid for `put` until the path is invalidated."""
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
        """Store a response in place of the one before it."""
        with self._lock:
            if token not in self._fetching.get(path, ()):
                return
            cached = self._cached.get(path)
            if cached is not None and cached.fetched_at > fetched_at:
                # The cached response belongs to a later request.
                return
            self._evict(path)
            # A large body is a bytearray that the arrays of its value may use as their memory, and change.
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
    fetch: Callable[[], Awaitable[StoredObject | None]],
    must_revalidate: Callable[[StoredObject], bool],
) -> StoredObject | None:
    """Return the object as it was at most `max_age` ago. Requests: none, or 1."""
    cached, now = cache.get(path), store.runtime.monotonic()
    if cached is not None and must_revalidate(cached.as_of(now)):
        # Other clients may have renewed it since, which does not change its ETag: only a full response has its age.
        cached = None
    if cached is not None and now - cached.validated_at < cache.max_age:
        return cached.as_of(now)
    with cache.begin_fetch(path) as token:
        response = await (fetch() if cached is None else store.get(path, if_none_match=cached.found.etag))
        if cached is not None and isinstance(response, NotModified):
            cached.validated_at = now
            return cached.as_of(now)
        assert not isinstance(response, NotModified)
        cache.put(path, response, now, token)
        return response
