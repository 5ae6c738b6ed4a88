"""When an entry has expired, and how reading it renews it.

An entry lives for at least the dict's ttl after its last read or write, and is absent from 8/7 of that after it at the
latest. A read that finds it older than a seventh of the ttl renews it, so that one that is read earlier is fresh enough
to last for another ttl. An entry costs at most one renewal per seventh of the ttl, however often it is read. Expired
entries are absent; only the bucket's lifecycle deletes them.

An entry written with a ttl of its own is never renewed: it is absent from that ttl and one second after the write on,
and also when the dict's ttl has passed, for the lifecycle may have deleted it.

Every age is the difference of two times of the store's clock (Date and Last-Modified, RFC 9110 sections 6.6.1 and
8.8.2), so a wrong clock on this machine changes nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil
from numbers import Real
from typing import TypeAlias

from .._duration import of_numpy
from .._format.capabilities import Capabilities
from .._format.entry import MAX_TTL_SECONDS, EntryExpiry, ExpiryKind, read_prelude, with_new_etag
from .._format.layout import SWEEP_MARGIN
from .._stores.base import ObjectStore, PutResult, Refusal, ServerTime, StoredObject
from ..errors import Error, InvalidError, PermissionDeniedError
from .conditional import CLOCK_RESOLUTION, get_object

Ttl: TypeAlias = float | timedelta
"""The ttl of one entry: seconds, or a timedelta."""

MAX_IN_FLIGHT = timedelta(minutes=2)
"""No copy or small body is in flight for longer, or for twice the client's timeout: its client has given up by then."""
RENEWAL_BACKOFF_DENIED = 600.0
"""Seconds without a renewal after the store denied one: a reader without write permission stays one."""
RENEWAL_BACKOFF_FAILED = timedelta(seconds=15)
"""How long no renewal is attempted after a failure, at most: the store is in trouble, and reads must go on."""
LARGE_BYTES = 1 << 20
"""A body of so many bytes may be in flight for as long as a slow link needs."""


class Lifetime:
    """The ages at which something happens to an entry; with a ttl of None, never."""

    __slots__ = ("expires_after", "renew_after", "renewal_backoff", "rewrite_after")

    def __init__(self, ttl: timedelta | None, timeout: timedelta) -> None:
        self.renew_after = self.rewrite_after = self.expires_after = self.renewal_backoff = timedelta.max
        if ttl is not None:
            self.expires_after = ttl * SWEEP_MARGIN - CLOCK_RESOLUTION
            # What is read just before it is due has to last for another ttl by any reading of the clock.
            self.renew_after = self.expires_after - ttl - 2 * CLOCK_RESOLUTION
            # A renewal that is requested later may arrive after the expiry: all of them, if the timeout is long
            # compared with the ttl.
            self.rewrite_after = min(ttl, self.expires_after - max(MAX_IN_FLIGHT, 2 * timeout))
            # What is read during the backoff is not renewed, so it must be short compared with the ttl.
            self.renewal_backoff = min(RENEWAL_BACKOFF_FAILED, ttl / 100)


class Expiry:
    """Decides which entries of one dict have expired, and renews those that are read.

    Its only state is the time before which no renewal is attempted.
    """

    __slots__ = ("_capabilities", "_lifetime", "_next_attempt_at", "_store", "_ttl")

    def __init__(self, store: ObjectStore, capabilities: Capabilities, ttl: timedelta | None) -> None:
        self._store = store
        self._capabilities = capabilities
        self._ttl = ttl
        self._lifetime = Lifetime(ttl, timedelta(seconds=store.timeout))
        self._next_attempt_at = store.runtime.monotonic()

    def of_entry(self, ttl: Ttl | None) -> EntryExpiry | None:
        """Return the expiry of an entry that is written with this ttl, None without one.

        Fractions of a second are rounded up: an entry never expires early.

        Raises:
            InvalidError: It is not a positive number of seconds or timedelta, or exceeds the dict's ttl.
        """
        if ttl is None:
            return None
        seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else of_numpy(ttl)
        limit = MAX_TTL_SECONDS if self._ttl is None else self._ttl.total_seconds()
        if not _is_number(seconds) or not 0 < seconds <= limit:
            raise InvalidError(
                f"Invalid ttl of an entry: {ttl!r}. It is a number of seconds or a timedelta, more than 0 and at most "
                + (f"{limit} seconds" if self._ttl is None else f"the dict's ttl, {self._ttl}")
            )
        return EntryExpiry(ExpiryKind.TTL, ceil(seconds))

    def is_past_dict_ttl(self, last_modified: datetime, server_time: ServerTime) -> bool:
        """Return whether an entry with that Last-Modified is absent at that time by the dict's ttl."""
        return server_time.is_older_than(last_modified, self._lifetime.expires_after)

    def is_past_own_ttl(self, found: StoredObject, expiry: EntryExpiry | None) -> bool:
        """Return whether an entry is absent by its own expiry.

        Raises:
            UnavailableError: That depends on the store's clock, which does not respond.
        """
        # One second later: Last-Modified and Date are truncated, and no entry expires early.
        return expiry is not None and found.server_time.has_passed(
            expiry.deadline(found.last_modified) + CLOCK_RESOLUTION
        )

    def is_expired(self, found: StoredObject) -> bool:
        """Return whether the object, of which the first bytes suffice, is an expired entry."""
        if self.is_past_dict_ttl(found.last_modified, found.server_time):
            return True
        return self.is_past_own_ttl(found, read_prelude(found.body).expiry)

    def needs_renewal(self, found: StoredObject) -> bool:
        """Return whether an entry that is read now has to be renewed. One with its own expiry never is.

        False when the store's clock would have to be read and does not respond: the value has been read all the same.
        """
        try:
            needs_renewal = found.server_time.is_older_than(found.last_modified, self._lifetime.renew_after)
            return needs_renewal and read_prelude(found.body).expiry is None
        except Error:
            return False

    def must_revalidate(self, found: StoredObject) -> bool:
        """Return whether a cached object must be fetched again: to renew it, or to confirm that it has expired."""
        may_renew = self._store.runtime.monotonic() >= self._next_attempt_at
        # Not for its own expiry, which nothing but a write changes: a cached entry that has passed it is absent.
        return (may_renew and self.needs_renewal(found)) or self.is_past_dict_ttl(
            found.last_modified, found.server_time
        )

    async def renew_if_due(self, path: str, found: StoredObject, started_at: float) -> str:
        """Renew an entry that has just been read, if that is due; return its ETag afterwards.

        A failure is not the reader's concern: it has its value, and a later read tries again.

        Args:
            started_at: When the read began, by the runtime's clock: `found` does not know how much time has passed.

        Requests: none for a fresh entry, 1 when it is due, 2 when the body is missing and it cannot be copied.
        """
        if not self.needs_renewal(found) or self._store.runtime.monotonic() < self._next_attempt_at:
            return found.etag
        try:
            response = await self._renew(
                path, found, found.server_time + timedelta(seconds=self._store.runtime.monotonic() - started_at)
            )
        except PermissionDeniedError:
            self._next_attempt_at = self._store.runtime.monotonic() + RENEWAL_BACKOFF_DENIED
            return found.etag
        except Error:
            self._next_attempt_at = self._store.runtime.monotonic() + self._lifetime.renewal_backoff.total_seconds()
            return found.etag
        # Rejected: a concurrent client has renewed, overwritten or removed it, and that is what counts.
        return response.etag if isinstance(response, PutResult) else found.etag

    async def _renew(self, path: str, found: StoredObject, now: ServerTime) -> PutResult | Refusal | None:
        """Renew in one attempt, always on the condition that the entry is still the one that was read.

        A lost response does no harm: the same bytes have been written, or not. A request that arrives late fails its
        condition if a write, a removal or a lifecycle deletion came in between. Expiry alone fails no condition; so
        nothing is requested after it, and what was requested before it is not undone by clients that saw the expiry.
        """
        if self.is_past_dict_ttl(found.last_modified, now):
            return None
        rewrite_after = now.is_older_than(found.last_modified, self._lifetime.rewrite_after)
        body_missing, large = len(found.body) < found.size, found.size >= LARGE_BYTES
        if self._capabilities.conditional_copy and not rewrite_after and (body_missing or large):
            etag = self._capabilities.if_match(found.etag)
            return await self._store.copy(path, source_if_match=etag, if_match=etag)
        full = await get_object(self._store, path) if body_missing else found
        if full is None or full.etag != found.etag:
            return None
        # The same bytes have the same ETag. A client that reads a moment later may see the entry expired, and then
        # overwrite it on the condition of that ETag, which still holds after this renewal, and undo it. So the ETag of
        # what may arrive near the expiry changes.
        body = with_new_etag(full.body) if rewrite_after or large else full.body
        return await self._store.put(path, body, if_match=self._capabilities.if_match(full.etag))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
