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
from .._format.entry import renewed
from .._format.layout import SWEEP_MARGIN
from .._stores.base import Found, Refused, Store, Told, Written, has_aged
from ..errors import Error, PermissionDeniedError
from .conditional import read

CLOCK_SLACK = timedelta(seconds=1)
"""Both times are cut to whole seconds, so an age may be off by nearly one, either way."""
LONGEST_REQUEST = timedelta(minutes=2)
"""No copy or small body is under way for longer, or for twice the client's timeout: its sender has given up by then."""
DENIED_PAUSE = 600.0
"""Seconds without another try after the store has denied a renewal: a reader without the right to write stays that."""
FAILED_PAUSE = timedelta(seconds=15)
"""How long none is tried after one has failed, at most: a store in trouble has enough to do, and reads must go on."""
LARGE_BYTES = 1 << 20
"""A body of so many bytes may be under way for as long as a slow link needs."""


class Lifetime:
    """The ages at which something happens to an entry; with a ttl of None, never."""

    __slots__ = ("closing", "due", "over", "pause")

    def __init__(self, ttl: timedelta | None, timeout: timedelta) -> None:
        self.due = self.closing = self.over = self.pause = timedelta.max
        if ttl is not None:
            self.over = ttl * SWEEP_MARGIN - CLOCK_SLACK
            # What is read just before it is due has to last for another ttl by any reading of the clock.
            self.due = self.over - ttl - 2 * CLOCK_SLACK
            # What is sent later may arrive after the end: all there is, with a timeout that is long beside the ttl.
            self.closing = min(ttl, self.over - max(LONGEST_REQUEST, 2 * timeout))
            # What is read in a pause is not renewed, so it must be short beside the ttl.
            self.pause = min(FAILED_PAUSE, ttl / 100)


class Expiry:
    """Which entries of one dict are over, and the renewal of those that are read.

    Its only state is when the next renewal may be tried.
    """

    __slots__ = ("_capabilities", "_lifetime", "_quiet_until", "_store")

    def __init__(self, store: Store, capabilities: Capabilities, ttl: timedelta | None) -> None:
        self._store = store
        self._capabilities = capabilities
        self._lifetime = Lifetime(ttl, timedelta(seconds=store.timeout))
        self._quiet_until = store.now()

    def is_over(self, last_modified: datetime, told: Told) -> bool:
        """Whether an entry of that time is absent at what the store told."""
        return has_aged(last_modified, self._lifetime.over, told)

    def is_due(self, found: Found) -> bool:
        """Whether an entry that is read now has to be renewed.

        Not when the store's clock would have to be asked and does not answer: the value is there all the same.
        """
        try:
            return has_aged(found.last_modified, self._lifetime.due, found.told)
        except Error:
            return False

    def needs_a_look(self, found: Found) -> bool:
        """Whether only a whole answer will do: to renew what is due, or to believe that it is over."""
        may_renew = self._store.now() >= self._quiet_until
        return (may_renew and self.is_due(found)) or self.is_over(found.last_modified, found.told)

    async def renew(self, path: str, found: Found, began: float) -> str:
        """Keeps an entry that has just been read, and gives its ETag after that. No request while it is young.

        1 request when it is due; 2 when its body is not at hand (`contains`) and cannot be copied in its place. Nothing
        that goes wrong here is the reader's business: it has its value, and a later read tries again.

        `began` is when the read began, by the store's `now`: `found` does not know how much has passed since.
        """
        if not self.is_due(found) or self._store.now() < self._quiet_until:
            return found.etag
        try:
            answer = await self._renew(path, found, found.told + timedelta(seconds=self._store.now() - began))
        except PermissionDeniedError:
            self._quiet_until = self._store.now() + DENIED_PAUSE
            return found.etag
        except Error:
            self._quiet_until = self._store.now() + self._lifetime.pause.total_seconds()
            return found.etag
        # Refused: another has renewed it, written over it or removed it since, and theirs is what counts.
        return answer.etag if isinstance(answer, Written) else found.etag

    async def _renew(self, path: str, found: Found, now: Told) -> Written | Refused | None:
        """Sent once, and always on the condition that the entry is still the one that was read.

        An answer that is lost does no harm: the same bytes have been written, or not. A request that arrives late finds
        its condition broken by a write, a removal or a sweep that came in between. Only the end of its life breaks no
        condition; so nothing is sent after that, and what was sent before is not undone by those who saw the end.
        """
        if self.is_over(found.last_modified, now):
            return None
        closing = has_aged(found.last_modified, self._lifetime.closing, now)
        unread, large = len(found.body) < found.size, found.size >= LARGE_BYTES
        if self._capabilities.conditional_copy and not closing and (unread or large):
            etag = self._capabilities.if_match(found.etag)
            return await self._store.copy(path, source_if_match=etag, if_match=etag)
        whole = await read(self._store, path) if unread else found
        if whole is None or whole.etag != found.etag:
            return None
        # The same bytes have the same ETag. Somebody who looks a moment after us may see the entry over, and then write
        # over that ETag, which would still be there after our renewal, and undo it. So the ETag of what may arrive near
        # the end changes.
        body = renewed(whole.body) if closing or large else whole.body
        return await self._store.put(path, body, if_match=self._capabilities.if_match(whole.etag))
