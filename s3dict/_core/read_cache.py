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

from .._stores.base import Found, NotModified, Store

CACHE_BYTES = 64 << 20
"""How much all that is cached for a client takes; what was not read for longest gives way."""
OVERHEAD_BYTES = 700
"""What an entry takes beside its body and its path."""


class Cached:
    """An object as it was answered at one time, and was seen to be still at another, by the store's `now`."""

    __slots__ = ("found", "read_at", "seen_at")

    def __init__(self, found: Found, read_at: float) -> None:
        self.found = found
        self.read_at = self.seen_at = read_at

    def aged(self, now: float) -> Found:
        """The object with the date that the store would tell now."""
        return replace(self.found, told=self.found.told + timedelta(seconds=now - self.read_at))


class ReadCache:
    """The latest answers to one client. Its threads and event loops share it; `guard` lets in one at a time."""

    def __init__(self, window: float, guard: AbstractContextManager[object]) -> None:
        self.window = window
        self._guard = guard
        self._cached: OrderedDict[str, Cached] = OrderedDict()
        self._bytes = 0
        self._fetching: dict[str, set[object]] = {}

    def find(self, path: str) -> Cached | None:
        with self._guard:
            if path in self._cached:
                self._cached.move_to_end(path)
            return self._cached.get(path)

    def forget(self, path: str) -> None:
        """For after a write of our own: an answer that began its way before it must not hide it from us."""
        with self._guard:
            self._fetching.pop(path, None)
            self._drop(path)

    def forget_all(self, prefix: str) -> None:
        """`forget` for whatever lies below the prefix."""
        with self._guard:
            for path in [path for path in (*self._fetching, *self._cached) if path.startswith(prefix)]:
                self._fetching.pop(path, None)
                self._drop(path)

    @contextmanager
    def fetching(self, path: str) -> Iterator[object]:
        """A fetch of the object. Its token is good for `keep` as long as the path is not forgotten."""
        token = object()
        with self._guard:
            self._fetching.setdefault(path, set()).add(token)
        try:
            yield token
        finally:
            with self._guard:
                tokens = self._fetching.get(path, set())
                tokens.discard(token)
                if not tokens:
                    self._fetching.pop(path, None)

    def keep(self, path: str, found: Found | None, read_at: float, token: object) -> None:
        """Keeps an answer in the place of the one before it."""
        with self._guard:
            if token not in self._fetching.get(path, ()):
                return
            held = self._cached.get(path)
            if held is not None and held.read_at > read_at:
                # What is there answers a request that was sent later.
                return
            self._drop(path)
            # A large body is a bytearray, over which the arrays of its value may lie, to be changed.
            if found is not None and isinstance(found.body, bytes) and _cost(path, found) <= CACHE_BYTES:
                self._cached[path] = Cached(found, read_at)
                self._bytes += _cost(path, found)
            while self._bytes > CACHE_BYTES:
                self._drop(next(iter(self._cached)))

    def _drop(self, path: str) -> None:
        cached = self._cached.pop(path, None)
        if cached is not None:
            self._bytes -= _cost(path, cached.found)


def _cost(path: str, found: Found) -> int:
    return len(found.body) + len(path) + OVERHEAD_BYTES


async def recent(
    cache: ReadCache,
    store: Store,
    path: str,
    fetch: Callable[[], Awaitable[Found | None]],
    needs_a_look: Callable[[Found], bool],
) -> Found | None:
    """The object as it was within the cache's window. No request, or 1."""
    cached, now = cache.find(path), store.now()
    if cached is not None and needs_a_look(cached.aged(now)):
        # Others may have kept it alive since, which does not change its ETag: only a whole answer tells its age.
        cached = None
    if cached is not None and now - cached.seen_at < cache.window:
        return cached.aged(now)
    with cache.fetching(path) as token:
        answer = await (fetch() if cached is None else store.get(path, if_none_match=cached.found.etag))
        if cached is not None and isinstance(answer, NotModified):
            cached.seen_at = now
            return cached.aged(now)
        assert not isinstance(answer, NotModified)
        cache.keep(path, answer, now, token)
        return answer
