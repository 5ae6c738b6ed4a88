"""Locks: leases with a heartbeat and a fencing token, each one object beside the entries.

A lease expires by the store's clock alone: Last-Modified against the Date of the same response. A holder that dies is
replaced when its lease has expired. One that only seems dead (a long pause, a lost network) finds out by its own clock,
and what it still writes elsewhere carries a token smaller than its successor's (Kleppmann, "How to do distributed
locking"). A release is a write and no deletion, so that tokens never go back.

Acquiring and releasing run shielded: whatever interrupts the caller, no lock stays held without being renewed.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Hashable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from .._format.capabilities import Capabilities
from .._format.lock import MAX_LEASE, LockDetails, LockRecord, decode_lock
from .._record import Record, replace
from .._retry import UNLIMITED, RetryState, ThrottledError
from .._stores.base import MAX_CLOCK_DRIFT, ObjectStore, Runtime, StoredObject
from ..errors import (
    ConflictError,
    Error,
    InvalidError,
    LockLostError,
    LockTimeoutError,
    UnavailableError,
    UncertainOutcomeError,
    plural,
)
from .conditional import CLOCK_RESOLUTION, Applied, Rejected, WriteIds, cas_attempts, conditional_put, get_object
from .entries import ErrorContext

R = TypeVar("R")

MIN_LEASE = 2.0
"""In seconds. Times of the store are whole seconds, so shorter leases could not be distinguished from expired ones."""
RENEWALS_PER_LEASE = 3
MIN_RENEWAL_TIMEOUT = 1.0
ACQUISITION_GRACE = 2.0
"""Seconds for which the acquisition of a lock that was found free is retried, even if the timeout is shorter.

One lost response must not make a free lock look held.
"""

_held_here: dict[tuple[str, Hashable], Holding] = {}
"""What is held in this process, by the path of the lock and the thread or task that acquired it."""


class LockTarget(Record):
    """Where a lock is, and how its store takes conditions.

    Args:
        store: The store.
        capabilities: What the store supports.
        path: The path of the lock object.
        label: The lock's name in messages.
        revalidate: Checks, once a minute, that the dict still exists; raises NotFoundError when it does not.
        details: Returns what an acquisition writes for operators; the time is added to it.
        dict_name: The dict that errors of requests are about.
        client: Whose store this is. Its handle may have another client when the lock is released.
    """

    store: ObjectStore
    capabilities: Capabilities
    path: str
    label: str
    revalidate: Callable[[], Awaitable[None]]
    details: Callable[[], LockDetails] = LockDetails
    dict_name: str | None = None
    client: Any = None

    def error_context(self) -> ErrorContext:
        return ErrorContext(self.dict_name)

    def quick_store(self, lease: float) -> ObjectStore:
        """Return a store that waits for no response longer than from one renewal to the next.

        A second at least, in which a connection to a distant store can be opened.
        """
        return self.store.with_timeout(max(MIN_RENEWAL_TIMEOUT, lease / RENEWALS_PER_LEASE))


class Lease:
    """One acquisition of a lock, until it is released or lost."""

    def __init__(self, target: LockTarget, record: LockRecord, etag: str, sent_at: float) -> None:
        self._target = target
        self._record = record
        self._etag = etag
        self._renewed_at = sent_at
        self._lost = False
        self._renewing = True
        self.is_released = False
        """Whether its release has begun."""

    @property
    def owner(self) -> str:
        """What identifies the acquisition. A process that knows it may renew and release the lock."""
        assert self._record.owner is not None
        return self._record.owner

    @property
    def seconds(self) -> float:
        """How long the lease lasts after a renewal."""
        return self._record.lease

    @property
    def permits(self) -> int:
        """How many permits the semaphore has; 0 of a lock."""
        return self._record.details.permits

    @property
    def runtime(self) -> Runtime:
        return self._target.store.runtime

    def use(self, store: ObjectStore) -> None:
        """Make further requests over this store: of another driver's runtime, or of another event loop."""
        self._target = replace(self._target, store=store)

    @property
    def token(self) -> int:
        """The fencing token: greater than that of every earlier holder. Pass it on with what the lock protects."""
        return self._record.token

    @property
    def lost(self) -> bool:
        """Whether another process may hold the lock. Once true, it stays true."""
        if self.remaining <= 0:
            self._lost = True
        return self._lost

    @property
    def remaining(self) -> float:
        """The seconds of the lease that are certainly left.

        They count from when the last renewal was sent: the lease began when the store received it, which was later.
        """
        # A clock here that is slower than the store's must not let the lease seem longer than it is there.
        lease = self._record.lease * (1 - MAX_CLOCK_DRIFT)
        return self._renewed_at + lease - self._target.store.runtime.monotonic()

    def stop_renewing(self) -> None:
        """Make each later `renew` return False at once, which also ends a heartbeat."""
        self._renewing = False

    async def renew(self) -> bool:
        """Start the lease again; return False when the lock is lost, or no longer renewed here."""
        if self.lost or not self._renewing:
            return False
        sent_at = self._target.store.runtime.monotonic()
        try:
            outcome = await self._write(self._target.quick_store(self._record.lease), owner=self._record.owner)
        except (UnavailableError, UncertainOutcomeError, ConflictError):
            # The store may respond to the next renewal; until the lease has expired, the lock is still held.
            return True
        if isinstance(outcome, Rejected):
            self._lost = True
            return False
        self._etag, self._renewed_at = outcome.etag, sent_at
        return True

    async def release(self) -> None:
        """Let others acquire the lock.

        Raises:
            LockLostError: It was lost before.
        """
        self.is_released = True
        if self.lost:
            raise self.lost_error()
        # Over the connection that acquired the lock, unless that may wait longer than two leases. Only this process
        # waits: for the others, the lease expires.
        store = self._target.store
        if store.timeout > 2 * self._record.lease:
            store = self._target.quick_store(self._record.lease)
        try:
            outcome = await self._write(store, owner=None)
        except (UnavailableError, UncertainOutcomeError, ConflictError):
            # What the lock protected was done while it was held. It is free when its lease has expired.
            return
        if isinstance(outcome, Rejected):
            raise self.lost_error()

    def lost_error(self) -> LockLostError:
        return LockLostError(
            f"{self._target.label} was lost: its lease expired, another process acquired it, or it was taken away"
        )

    async def _write(self, store: ObjectStore, *, owner: str | None) -> Applied | Rejected:
        target, own_owner_id = self._target, (self._record.owner or "").encode()
        while True:
            # Each write has an id of its own: an earlier renewal that is found there has not started the lease again.
            record = replace(self._record, owner=owner, write_id=_new_id())
            write_ids = WriteIds(record.write_id.encode(), own_owner_id)
            if_match = target.capabilities.if_match(self._etag)
            with target.error_context():
                outcome = await conditional_put(
                    store, target.path, record.encode(), write_ids, if_match=if_match, timeout=self.remaining
                )
            if isinstance(outcome, Applied) or outcome.current is None or own_owner_id not in outcome.current.body:
                return outcome
            if self.remaining <= 0:
                # The store rejects each write, though it shows no other.
                return outcome
            # Still our own: a renewal was applied whose response was lost.
            self._etag = outcome.current.etag


class Holding:
    """A lock that this process holds, with the heartbeat that renews its lease.

    Args:
        target: The lock.
        lease: Its acquisition.
    """

    def __init__(self, target: LockTarget, lease: Lease) -> None:
        runtime = target.store.runtime
        self.lease = lease
        self.depth = 1
        """How often a reentrant lock has been acquired by its holder."""
        self.target = target
        self._pid = os.getpid()
        self._holder = target.path, runtime.caller_id()
        self._heartbeat = runtime.heartbeat(lease.seconds / RENEWALS_PER_LEASE, lease.renew)

    @property
    def caller(self) -> Hashable:
        """The thread or task that acquired it."""
        return self._holder[1]

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process acquired the lock, and not the parent that it was forked from."""
        return os.getpid() == self._pid

    async def start(self) -> None:
        """Start the heartbeat."""
        _held_here[self._holder] = self
        try:
            await self._heartbeat.__aenter__()
        except BaseException:
            with suppress(Error):
                await self._end()
            raise

    async def leave(self, store: ObjectStore) -> None:
        """Undo one acquisition; the last one stops the heartbeat and releases the lock, over this store.

        In a forked child it does neither: the lock is its parent's.

        Raises:
            LockLostError: The lock was lost.
        """
        self.depth -= 1
        if self.depth or not self.is_of_this_process:
            return
        try:
            await self.stop(store)
        except BaseException:
            with suppress(Error):
                await self._end()
            raise
        await self._end()

    async def abandon(self, store: ObjectStore, depth: int) -> None:
        """Do what is left to do of a `leave` that was interrupted, and that began with this `depth`."""
        self.depth = depth - 1
        if not self.depth and self.is_of_this_process and not self.lease.is_released:
            try:
                await self.stop(store)
            finally:
                await self._end()

    async def stop(self, store: ObjectStore) -> None:
        """Stop the heartbeat, and leave the lock to its lease or to a process that it was handed over to."""
        self._forget()
        self.lease.stop_renewing()
        if store.runtime is self.target.store.runtime:
            await self._heartbeat.__aexit__(None, None, None)
        else:
            # A thread cannot wait for a task, nor one event loop for another. The heartbeat ends at its next beat.
            self.lease.use(store)

    async def _end(self) -> None:
        self._forget()
        if self.is_of_this_process:
            await release_shielded(self.lease)

    def _forget(self) -> None:
        # Where this was lost, its holder may have acquired the lock again since.
        if _held_here.get(self._holder) is self:
            _held_here.pop(self._holder, None)


def held_here(target: LockTarget) -> Holding | None:
    """Return what this thread or task holds of the lock, or has lost and not left yet.

    Not what is released: an exception that a signal handler raises may keep that from being noted.
    """
    holding = _held_here.get((target.path, target.store.runtime.caller_id()))
    return None if holding is None or holding.lease.is_released else holding


def is_held_here(target: LockTarget) -> bool:
    """Return whether this thread or task holds the lock, so that waiting for it would be waiting for itself."""
    held = held_here(target)
    return held is not None and not held.lease.lost


async def release_shielded(lease: Lease) -> None:
    """Release the lock, whatever interrupts this: also if that happens just before the release begins."""
    try:
        await lease.runtime.shielded(lease.release)
    except Error:
        raise
    except BaseException:
        if not lease.is_released:
            with suppress(Error):
                await lease.runtime.shielded(lease.release)
        raise


async def enter(
    target: LockTarget, seconds: float, timeout: float | None, holdings: list[Holding], *, reentrant: bool = False
) -> Holding:
    """Acquire the lock and start the heartbeat that renews its lease.

    Args:
        target: The lock.
        seconds: How long the lease lasts after a renewal.
        timeout: How many seconds to wait for it; None waits indefinitely.
        holdings: Where to note it.
        reentrant: Whether the thread or task that holds the lock acquires it once more.

    Raises:
        LockTimeoutError: The lock was not free within `timeout` seconds.
        LockLostError: This thread or task holds the lock, and it is lost.
        InvalidError: The lease is not valid, or this thread or task holds the lock and it is not reentrant.

    Requests: 2 when the lock is free, none when a reentrant one is held here.
    """
    check_lease(seconds)
    held = held_here(target)
    if held is not None and reentrant:
        if held.lease.lost:
            raise held.lease.lost_error()
        # A signal is handled before or after both: there is no call between them.
        held.depth += 1
        holdings.append(held)
        return held
    if timeout == 0 and is_held_here(target):
        raise LockTimeoutError(f"{target.label} is not free: this thread or task holds it")
    check_not_reentrant(target)

    async def acquire_it(acquired: list[Lease]) -> tuple[LockTarget, Lease]:
        return target, await acquire(target, seconds, timeout, acquired)

    return await hold(acquire_it, holdings)


async def hold(
    acquire: Callable[[list[Lease]], Awaitable[tuple[LockTarget, Lease]]], holdings: list[Holding]
) -> Holding:
    """Call `acquire`, start the heartbeat of what it returns, and note that in `holdings`.

    Args:
        acquire: Returns the lock and its lease, and notes the lease in the list that it is passed.
        holdings: Where to note what is held.
    """
    acquired: list[Lease] = []
    try:
        target, lease = await acquire(acquired)
        holding = Holding(target, lease)
        await holding.start()
        holdings.append(holding)
        return holding
    except BaseException:
        # A signal handler may raise at any line, also when the lock has just been acquired.
        for lease in acquired:
            lease.stop_renewing()
            if not lease.is_released:
                with suppress(Error):
                    await lease.runtime.shielded(lease.release)
        raise


def check_lease(seconds: float) -> None:
    """Raise InvalidError for a lease that is too short for a clock of whole seconds, or too long to wait for."""
    if not MIN_LEASE <= seconds <= MAX_LEASE:
        raise InvalidError(f"Invalid lease: {seconds!r}. It is from {MIN_LEASE:g} to {MAX_LEASE:g} seconds")


def check_not_reentrant(target: LockTarget) -> None:
    """Raise InvalidError when this thread or task holds the lock already."""
    if is_held_here(target):
        raise InvalidError(f"{target.label} is already held here: it is not reentrant, and this would wait for itself")


@asynccontextmanager
async def renewing(target: LockTarget, lease: Lease) -> AsyncIterator[None]:
    """Renew the lease while the context is open, and then release the lock."""
    holding = Holding(target, lease)
    await holding.start()
    try:
        yield
    except BaseException:
        # The exception from inside says more than that the lock was lost as well.
        with suppress(Error):
            await holding.leave(target.store)
        raise
    await holding.leave(target.store)


async def acquire(
    target: LockTarget, lease: float, timeout: float | None, acquired: list[Lease] | None = None
) -> Lease:
    """Wait for the lock and acquire it: it is also in `acquired` then, for a caller that is interrupted as it returns.

    Raises:
        LockTimeoutError: It was not free within `timeout` seconds.
        UnavailableError: The store throttled the last attempt.
        NotFoundError: The dict was deleted.
    """
    tokens: set[int] = set()
    holders: dict[int, str] = {}

    async def attempt(deadline: float) -> Lease | None:
        state = await LockState.read(target)
        tokens.add(0 if state.record is None else state.record.token)
        holders[0] = state.holder
        return await try_write(target, state, lease, deadline, acquired) if state.is_free else None

    return await wait_for(target, timeout, attempt, holders, tokens)


async def wait_for(
    target: LockTarget,
    timeout: float | None,
    attempt: Callable[[float], Awaitable[R | None]],
    holders: Mapping[int, str],
    tokens: Collection[int] = (),
) -> R:
    """Repeat an attempt, which gets a deadline, until it returns something.

    `holders` are whom an attempt has found to hold the lock, or each permit of a semaphore, for the error.

    The pauses grow until `tokens`, which an attempt extends, show another holder: a lock that changes hands is free
    often, but not for long.

    Raises:
        LockTimeoutError: It returned nothing within `timeout` seconds.
        UnavailableError: The store throttled the last attempt.
        NotFoundError: The dict was deleted.
    """
    deadline = math.inf if timeout is None else target.store.runtime.monotonic() + timeout
    attempts = RetryState(target.store.retries.writes, target.store.runtime, max_attempts=UNLIMITED, deadline=deadline)
    seen = 1
    while await attempts.next_attempt():
        await target.revalidate()
        try:
            result = await attempt(deadline)
        except ThrottledError as error:
            attempts.record(error)
            continue
        attempts.record(None)
        if result is not None:
            return result
        if len(tokens) > seen:
            seen = len(tokens)
            attempts.shorten_backoff()
    if timeout is None or attempts.last_error is not None:
        # A throttled attempt does not show whether the lock is held.
        raise attempts.final_error()
    found = "; ".join(filter(None, holders.values()))
    raise LockTimeoutError(
        f"{target.label} was not free within {plural(timeout, 'second')}{found and f': held by {found}'}"
    )


async def try_acquire(
    target: LockTarget, lease: float, deadline: float = math.inf, acquired: list[Lease] | None = None
) -> Lease | None:
    """Acquire the lock if it is free now; return None if it is not. 2 requests, 1 when it is not free."""
    state = await LockState.read(target)
    return await try_write(target, state, lease, deadline, acquired) if state.is_free else None


class LockState(Record):
    """A lock object and its record, or None where there is none."""

    found: StoredObject | None
    record: LockRecord | None

    @classmethod
    async def read(cls, target: LockTarget) -> LockState:
        with target.error_context():
            found = await get_object(target.store, target.path)
            return cls(found, None if found is None else decode_lock(found.body))

    @property
    def is_free(self) -> bool:
        return self.found is None or self.record is None or _is_free(self.found, self.record)

    @property
    def holder(self) -> str:
        """Who holds the lock, and since when by the clock there, for messages; empty if it is free."""
        if self.record is None or self.is_free:
            return ""
        details = self.record.details
        if not details.acquired_at:
            return f"owner {self.record.owner}"  # of release 0.1, which wrote nothing else
        return f"{details.holder} since {datetime.fromtimestamp(details.acquired_at, UTC):%Y-%m-%d %H:%M:%S} UTC"


async def try_write(
    target: LockTarget, state: LockState, lease: float, deadline: float, acquired: list[Lease] | None = None
) -> Lease | None:
    """Acquire a lock that was found free; return None where another process was faster. 1 request."""
    details = replace(target.details(), acquired_at=int(datetime.now(UTC).timestamp()))
    record = LockRecord(_new_id(), _new_id(), lease, _next_token(state.record), details)
    if_match = None if state.found is None else target.capabilities.if_match(state.found.etag)
    acquisition = _Acquisition(target, record, if_match, deadline)
    try:
        await target.store.runtime.shielded(acquisition.write)
        if acquisition.held is None or not await _is_fresh(acquisition.held, lease):
            await acquisition.undo()
            if acquisition.throttled is not None:
                raise acquisition.throttled
            return None
        if acquired is not None:
            acquired.append(acquisition.held)
    except BaseException:
        await target.store.runtime.shielded(acquisition.undo)
        raise
    return acquisition.held


async def holder_of(target: LockTarget) -> tuple[LockRecord, datetime] | None:
    """Return the record of a lock that is held, and when it was last renewed; None when it is free. 1 request."""
    state = await LockState.read(target)
    if state.found is None or state.record is None or state.is_free:
        return None
    return state.record, state.found.last_modified


async def adopt(target: LockTarget, owner: str) -> Lease:
    """Return the lease of an acquisition that was handed over to this process, renewed. 2 requests.

    A lease that has expired is renewed as well, unless another process has acquired the lock since: the write is
    conditional.

    Raises:
        LockLostError: Another process has acquired the lock since, or it was released.
    """
    found, record = await _find_owned(target, owner)
    sent_at = target.store.runtime.monotonic()
    lease = Lease(target, record, found.etag, sent_at)
    outcome = await lease._write(target.quick_store(record.lease), owner=owner)
    if isinstance(outcome, Rejected):
        raise lease.lost_error()
    return Lease(target, record, outcome.etag, sent_at)


async def release_owned(target: LockTarget, owner: str) -> None:
    """Release an acquisition that was handed over to this process. 2 requests.

    Raises:
        LockLostError: Another process has acquired the lock since, or it was released.
    """
    found, record = await _find_owned(target, owner)
    await Lease(target, record, found.etag, target.store.runtime.monotonic()).release()


async def _find_owned(target: LockTarget, owner: str) -> tuple[StoredObject, LockRecord]:
    state = await LockState.read(target)
    found, record = state.found, state.record
    if found is None or record is None or record.owner != owner:
        raise LockLostError(f"{target.label} was lost: it was released, or another process acquired it")
    return found, record


async def take_away(target: LockTarget, owner: str | None = None) -> LockRecord | None:
    """Release the lock whatever its holder does, which finds it lost; return what it held. None when it is free.

    The token grows, so that what the holder still writes elsewhere carries a token smaller than any later one.

    Args:
        target: The lock.
        owner: The acquisition to end; None is the one that is found. Another one since then keeps the lock.

    Raises:
        ConflictError: The lock kept changing.
        UncertainOutcomeError: A response was lost, and it is unknown whether the lock was released.

    Requests: 2, or 1 when the lock is free.
    """
    attempts = cas_attempts(target.store)
    while await attempts.next_attempt():
        state = await LockState.read(target)
        found, record = state.found, state.record
        if found is None or record is None or state.is_free or owner not in (None, record.owner):
            return None
        owner = record.owner
        released = replace(record, owner=None, write_id=_new_id(), token=_next_token(record))
        with target.error_context():
            outcome = await conditional_put(
                target.store,
                target.path,
                released.encode(),
                WriteIds(released.write_id.encode()),
                if_match=target.capabilities.if_match(found.etag),
            )
        if isinstance(outcome, Applied):
            return record
    raise ConflictError(f"{target.label} changed before each of {attempts.retries + 1} attempts")


class _Acquisition:
    """The write that acquires a lock, and its undoing."""

    def __init__(self, target: LockTarget, record: LockRecord, if_match: str | None, deadline: float) -> None:
        self.held: Lease | None = None
        self.throttled: ThrottledError | None = None
        """How the last attempt failed, where the outcome of an earlier one is unknown."""
        self._target = target
        self._record = record
        self._if_match = if_match
        self._deadline = deadline
        self._store = target.store if target.store.timeout <= record.lease else target.quick_store(record.lease)
        self._unknown = False

    async def write(self) -> None:
        record, sent_at = self._record, self._store.runtime.monotonic()
        write_ids = WriteIds(record.write_id.encode())
        try:
            with self._target.error_context():
                outcome = await conditional_put(
                    self._store,
                    self._target.path,
                    record.encode(),
                    write_ids,
                    if_match=self._if_match,
                    timeout=max(self._deadline - sent_at, ACQUISITION_GRACE),
                )
        except UncertainOutcomeError as error:
            # Another process has written since, or the store has stopped responding.
            self._unknown = True
            if isinstance(error.__cause__, ThrottledError):
                self.throttled = error.__cause__
            return
        except ConflictError:
            # Other processes try to acquire the lock as well.
            return
        except Error:
            raise
        except BaseException:
            self._unknown = True
            raise
        if isinstance(outcome, Applied):
            self.held = Lease(self._target, record, outcome.etag, sent_at)

    async def undo(self) -> None:
        """Release what was acquired or may have been: it will not be renewed. If that fails, the lease expires."""
        with suppress(Error):
            if self._unknown:
                current = await get_object(self._store, self._target.path)
                if current is not None and self._record.write_id.encode() in current.body:
                    self.held = Lease(self._target, self._record, current.etag, self._store.runtime.monotonic())
            if self.held is not None:
                await self.held.release()


async def _is_fresh(held: Lease, lease: float) -> bool:
    """Return whether the lease is certain to last until its first renewal, which may have to come at once.

    If the response to the acquisition took longer than that, another process may hold the lock.
    """
    if held.remaining > lease / RENEWALS_PER_LEASE:
        return True
    return await held.renew() and held.remaining > lease / RENEWALS_PER_LEASE


def _is_free(found: StoredObject, record: LockRecord) -> bool:
    if record.owner is None:
        return True
    # Both times are truncated to whole seconds, so their difference may exceed the true age by nearly one.
    return found.server_time.is_older_than(found.last_modified, timedelta(seconds=record.lease) + CLOCK_RESOLUTION)


def _new_id() -> str:
    return os.urandom(16).hex()


def _next_token(previous: LockRecord | None) -> int:
    # At least the time in milliseconds: where the lifecycle has deleted the object of an unused lock, its
    # tokens go on above the old ones. A clock that is behind by so many days could not have signed a request.
    now = int(datetime.now(UTC).timestamp() * 1000)
    return now if previous is None else max(previous.token + 1, now)
