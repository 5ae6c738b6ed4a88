"""Locks: leases with a heartbeat and a fencing token, each one object beside the entries.

A lease is over by the store's clock alone: Last-Modified against the Date of the same answer. A holder that dies is
replaced when its lease is over; one that only believes itself alive (a long pause, a lost network) finds out by its
own clock, and whatever it still sends to other systems carries a token smaller than its successor's (Kleppmann, "How
to do distributed locking"). Releasing writes and does not delete, so that tokens never go back.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from .._format.capabilities import Capabilities
from .._format.lock import MAX_LEASE, LockRecord, decode_lock
from .._retry import UNLIMITED, RetryState
from .._stores.base import ObjectStore, StoredObject
from ..errors import (
    Error,
    InvalidError,
    LockLostError,
    LockTimeoutError,
    UnavailableError,
    UncertainOutcomeError,
)
from .conditional import CLOCK_RESOLUTION, Applied, Rejected, WriteIds, conditional_put, get_object

MIN_LEASE = 2.0
"""Seconds. S3 tells time in whole seconds, so shorter leases could not be told from ended ones."""
RENEWALS_PER_LEASE = 3
MIN_RENEWAL_TIMEOUT = 1.0

_held_here: set[tuple[str, Hashable]] = set()
"""The locks held in this process, each with its holder's thread or task."""


@dataclass(frozen=True, slots=True)
class LockTarget:
    """Where a lock is, and how its store takes conditions."""

    store: ObjectStore
    capabilities: Capabilities
    path: str
    label: str


class HeldLock:
    """A lock while it is held."""

    def __init__(self, target: LockTarget, record: LockRecord, etag: str, sent_at: float) -> None:
        self._target = target
        self._record = record
        self._etag = etag
        self._renewed_at = sent_at
        self._lost = False

    @property
    def token(self) -> int:
        """The fencing token: greater than that of every earlier holder. Pass it on with what the lock protects."""
        return self._record.token

    @property
    def lost(self) -> bool:
        """Whether somebody else may hold the lock by now. Once true, it stays true."""
        # Counted from when the last renewal was sent, not answered: the store's lease cannot have begun before that.
        if self._target.store.runtime.monotonic() - self._renewed_at >= self._record.lease:
            self._lost = True
        return self._lost

    async def renew(self) -> bool:
        """Begins the lease anew; False when the lock is lost."""
        if self.lost:
            return False
        sent_at = self._target.store.runtime.monotonic()
        try:
            outcome = await self._write(self._store_for_renewal(), owner=self._record.owner)
        except (UnavailableError, UncertainOutcomeError):
            # The store may be back in time for the next beat; until the lease is over the lock is still ours.
            return True
        if isinstance(outcome, Rejected):
            self._lost = True
            return False
        self._etag, self._renewed_at = outcome.etag, sent_at
        return True

    async def release(self) -> None:
        """Lets others have the lock. Raises LockLostError when it was lost before."""
        if self.lost:
            raise LockLostError(f"{self._target.label} was lost: its lease ran out, or another took it over")
        # Over the connection that took the lock, where that waits for an answer for two leases at most. It is only the
        # releaser who waits: for the others, the lease runs out meanwhile.
        usual = self._target.store
        store = usual if usual.timeout <= 2 * self._record.lease else self._store_for_renewal()
        try:
            outcome = await self._write(store, owner=None)
        except (UnavailableError, UncertainOutcomeError):
            # The work is done, and was done under the lock. It frees itself when its lease is over.
            return
        if isinstance(outcome, Rejected):
            raise LockLostError(f"{self._target.label} was lost: another took it over")

    def _store_for_renewal(self) -> ObjectStore:
        """In no more time than is between two renewals: one that gets no answer must leave time for the next.

        A second at least, in which also a connection to a store far away comes about.
        """
        return self._target.store.with_timeout(max(MIN_RENEWAL_TIMEOUT, self._record.lease / RENEWALS_PER_LEASE))

    def _remaining(self) -> float:
        """Seconds of the lease: after that it is not for us to write any more."""
        return self._renewed_at + self._record.lease - self._target.store.runtime.monotonic()

    async def _write(self, store: ObjectStore, *, owner: str | None) -> Applied | Rejected:
        target, own_owner_id = self._target, (self._record.owner or "").encode()
        while True:
            # Each write has an id of its own: an earlier renewal that is found there has begun no new lease.
            record = replace(self._record, owner=owner, write_id=_new_id())
            write_ids = WriteIds(record.write_id.encode(), own_owner_id)
            if_match = target.capabilities.if_match(self._etag)
            outcome = await conditional_put(
                store, target.path, record.encode(), write_ids, if_match=if_match, timeout=self._remaining()
            )
            if isinstance(outcome, Applied) or outcome.current is None or own_owner_id not in outcome.current.body:
                return outcome
            # Ours still: a renewal took effect whose answer was lost.
            self._etag = outcome.current.etag


@asynccontextmanager
async def holding(target: LockTarget, lease: float, timeout: float | None) -> AsyncIterator[HeldLock]:
    """Holds the lock while the context is open. Requests: 2 to take a free lock, 1 to release it, 3 a lease to keep it.

    Raises LockTimeoutError, and LockLostError at the end of a context whose lock was lost.
    """
    check_lease(lease)
    check_not_reentrant(target)
    held = await acquire(target, lease, timeout)
    async with renewing(target, held, lease):
        yield held


def check_lease(lease: float) -> None:
    """Raises InvalidError for a lease that cannot be told by a clock of whole seconds, or not be waited for."""
    if not MIN_LEASE <= lease <= MAX_LEASE:
        raise InvalidError(f"Invalid lease: {lease!r}. It is from {MIN_LEASE:g} to {MAX_LEASE:g} seconds")


def check_not_reentrant(target: LockTarget) -> None:
    """Raises InvalidError when this thread or task holds the lock already."""
    if (target.path, target.store.runtime.caller_id()) in _held_here:
        raise InvalidError(f"{target.label} is already held here: it is not re-entrant, and this would wait for itself")


@asynccontextmanager
async def renewing(target: LockTarget, held: HeldLock, lease: float) -> AsyncIterator[None]:
    """Renews the lease while the context is open, and then releases the lock."""
    holder = (target.path, target.store.runtime.caller_id())
    _held_here.add(holder)
    try:
        async with target.store.runtime.heartbeat(lease / RENEWALS_PER_LEASE, held.renew):
            yield
    except BaseException:
        # What went wrong inside says more than that the lock was lost as well.
        with suppress(Error):
            await held.release()
        raise
    else:
        await held.release()
    finally:
        _held_here.discard(holder)


async def acquire(target: LockTarget, lease: float, timeout: float | None) -> HeldLock:
    """Waits for the lock and takes it. Raises LockTimeoutError when it was not free within `timeout` seconds."""
    deadline = math.inf if timeout is None else target.store.runtime.monotonic() + timeout
    attempts = RetryState(target.store.retries.writes, target.store.runtime, max_attempts=UNLIMITED, deadline=deadline)
    while await attempts.next_attempt():
        held = await try_acquire(target, lease)
        if held is not None:
            return held
    raise LockTimeoutError(f"{target.label} was not free within {timeout:g} seconds")


async def try_acquire(target: LockTarget, lease: float) -> HeldLock | None:
    """Takes the lock if it is free now; None if it is not. 2 requests, 1 when it is not free."""
    found = await get_object(target.store, target.path)
    before = None if found is None else decode_lock(found.body)
    if found is not None and before is not None and not _is_free(found, before):
        return None
    record = LockRecord(_new_id(), _new_id(), lease, _next_token(before))
    sent_at = target.store.runtime.monotonic()
    if_match = None if found is None else target.capabilities.if_match(found.etag)
    try:
        outcome = await conditional_put(
            target.store, target.path, record.encode(), WriteIds(record.write_id.encode()), if_match=if_match
        )
    except UncertainOutcomeError:
        # Somebody else wrote after us, or the store stopped answering. If it is ours now, nobody renews it, and the
        # lease that we have not begun to use ends by itself.
        return None
    return None if isinstance(outcome, Rejected) else HeldLock(target, record, outcome.etag, sent_at)


def _is_free(found: StoredObject, record: LockRecord) -> bool:
    if record.owner is None:
        return True
    # Both times are truncated to whole seconds, so their difference may exceed the true age by nearly one.
    return found.server_time.is_older_than(found.last_modified, timedelta(seconds=record.lease) + CLOCK_RESOLUTION)


def _new_id() -> str:
    return os.urandom(16).hex()


def _next_token(before: LockRecord | None) -> int:
    # At least the time in milliseconds: a lock that nobody used until the lifecycle swept it goes on above its old
    # tokens.
    now = int(datetime.now(UTC).timestamp() * 1000)
    return now if before is None else max(before.token + 1, now)
