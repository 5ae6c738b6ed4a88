"""When an entry is over, and how reading it keeps it alive.

An entry lives for `ttl` after its last read or write at least, and is never given later than 8/7 of `ttl` after it. A
read that finds it older than `ttl` / 7 renews it: whoever reads it sooner finds it young enough to last. So an entry
costs one renewal per `ttl` / 7 at most, however often it is read. Entries that are over are absent, and nobody but the
bucket's lifecycle deletes them.

All ages are differences of two times that the store told (Date and Last-Modified, RFC 9110 sections 6.6.1 and 8.8.2),
so a clock that is wrong here changes nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from .._format.capabilities import Capabilities
from .._format.entry import with_new_etag
from .._format.layout import SWEEP_MARGIN
from .._stores.base import ObjectStore, PutResult, Refusal, ServerTime, StoredObject
from ..errors import Error, PermissionDeniedError
from .conditional import get_object

CLOCK_RESOLUTION = timedelta(seconds=1)
"""Both times are cut to whole seconds, so an age may be off by nearly one, either way."""
MAX_IN_FLIGHT = timedelta(minutes=2)
"""No copy or small body is under way for longer, or for twice the client's timeout: its sender has given up by then."""
RENEWAL_BACKOFF_DENIED = 600.0
"""Seconds without another try after the store has denied a renewal: a reader without the right to write stays that."""
RENEWAL_BACKOFF_FAILED = timedelta(seconds=15)
"""How long none is tried after one has failed, at most: a store in trouble has enough to do, and reads must go on."""
LARGE_BYTES = 1 << 20
"""A body of so many bytes may be under way for as long as a slow link needs."""


class Lifetime:
    """The ages at which something happens to an entry; with a ttl of None, never."""

    __slots__ = ("expires_after", "pause", "renew_after", "rewrite_after")

    def __init__(self, ttl: timedelta | None, timeout: timedelta) -> None:
        self.renew_after = self.rewrite_after = self.expires_after = self.pause = timedelta.max
        if ttl is not None:
            self.expires_after = ttl * SWEEP_MARGIN - CLOCK_RESOLUTION
            # What is read just before it is due has to last for another ttl by any reading of the clock.
            self.renew_after = self.expires_after - ttl - 2 * CLOCK_RESOLUTION
            # What is sent later may arrive after the end: all there is, with a timeout that is long beside the ttl.
            self.rewrite_after = min(ttl, self.expires_after - max(MAX_IN_FLIGHT, 2 * timeout))
            # What is read in a pause is not renewed, so it must be short beside the ttl.
            self.pause = min(RENEWAL_BACKOFF_FAILED, ttl / 100)


class Expiry:
    """Which entries of one dict are over, and the renewal of those that are read.

    Its only state is when the next renewal may be tried.
    """

    __slots__ = ("_capabilities", "_lifetime", "_next_attempt_at", "_store")

    def __init__(self, store: ObjectStore, capabilities: Capabilities, ttl: timedelta | None) -> None:
        self._store = store
        self._capabilities = capabilities
        self._lifetime = Lifetime(ttl, timedelta(seconds=store.timeout))
        self._next_attempt_at = store.runtime.monotonic()

    def is_expired(self, last_modified: datetime, server_time: ServerTime) -> bool:
        """Whether an entry of that time is absent at what the store told."""
        return server_time.is_older_than(last_modified, self._lifetime.expires_after)

    def needs_renewal(self, found: StoredObject) -> bool:
        """Whether an entry that is read now has to be renewed.

        Not when the store's clock would have to be asked and does not answer: the value is there all the same.
        """
        try:
            return found.server_time.is_older_than(found.last_modified, self._lifetime.renew_after)
        except Error:
            return False

    def must_revalidate(self, found: StoredObject) -> bool:
        """Whether only a whole answer will do: to renew what is due, or to believe that it is over."""
        may_renew = self._store.runtime.monotonic() >= self._next_attempt_at
        return (may_renew and self.needs_renewal(found)) or self.is_expired(found.last_modified, found.server_time)

    async def renew(self, path: str, found: StoredObject, began: float) -> str:
        """Keeps an entry that has just been read, and gives its ETag after that. No request while it is young.

        1 request when it is due; 2 when its body is not at hand (`contains`) and cannot be copied in its place. Nothing
        that goes wrong here is the reader's business: it has its value, and a later read tries again.

        `began` is when the read began, by the store's `now`: `found` does not know how much has passed since.
        """
        if not self.needs_renewal(found) or self._store.runtime.monotonic() < self._next_attempt_at:
            return found.etag
        try:
            answer = await self._renew(
                path, found, found.server_time + timedelta(seconds=self._store.runtime.monotonic() - began)
            )
        except PermissionDeniedError:
            self._next_attempt_at = self._store.runtime.monotonic() + RENEWAL_BACKOFF_DENIED
            return found.etag
        except Error:
            self._next_attempt_at = self._store.runtime.monotonic() + self._lifetime.pause.total_seconds()
            return found.etag
        # Refused: another has renewed it, written over it or removed it since, and theirs is what counts.
        return answer.etag if isinstance(answer, PutResult) else found.etag

    async def _renew(self, path: str, found: StoredObject, now: ServerTime) -> PutResult | Refusal | None:
        """Sent once, and always on the condition that the entry is still the one that was read.

        An answer that is lost does no harm: the same bytes have been written, or not. A request that arrives late finds
        its condition broken by a write, a removal or a sweep that came in between. Only the end of its life breaks no
        condition; so nothing is sent after that, and what was sent before is not undone by those who saw the end.
        """
        if self.is_expired(found.last_modified, now):
            return None
        rewrite_after = now.is_older_than(found.last_modified, self._lifetime.rewrite_after)
        unread, large = len(found.body) < found.size, found.size >= LARGE_BYTES
        if self._capabilities.conditional_copy and not rewrite_after and (unread or large):
            etag = self._capabilities.if_match(found.etag)
            return await self._store.copy(path, source_if_match=etag, if_match=etag)
        whole = await get_object(self._store, path) if unread else found
        if whole is None or whole.etag != found.etag:
            return None
        # The same bytes have the same ETag. Somebody who looks a moment after us may see the entry over, and then write
        # over that ETag, which would still be there after our renewal, and undo it. So the ETag of what may arrive near
        # the end changes.
        body = with_new_etag(whole.body) if rewrite_after or large else whole.body
        return await self._store.put(path, body, if_match=self._capabilities.if_match(whole.etag))
