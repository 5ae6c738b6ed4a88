"""Conditional writes that recognise their own earlier attempt.

When the response to a conditional PUT is lost and the request is repeated, the store rejects a write that has already
been applied: a 412 may be due to our own attempt. So every conditional write carries an idempotency token (its write
id) in its body. A store sends such a request only once; repeating it is decided here, where earlier attempts are known.
"""

from __future__ import annotations

import math
from datetime import timedelta
from enum import Enum

from .._record import Record
from .._retry import RetryState, ThrottledError
from .._stores.base import Conflict, NotModified, ObjectStore, PreconditionFailed, PutResult, StoredObject
from ..errors import Error, UnavailableError, UncertainOutcomeError

MAX_CAS_RETRIES = 200
"""How often an entry may change between a read and the write that depends on it before the operation gives up."""
CLOCK_RESOLUTION = timedelta(seconds=1)
"""Last-Modified and Date are truncated to whole seconds, so an age may be off by nearly one, either way."""
ORDERING_MARGIN = 2 * CLOCK_RESOLUTION
"""Only two times of the store that are this far apart are certainly in order."""


class Applied(Record):
    """The write was applied, once."""

    etag: str


class Rejected(Record):
    """The write had no effect. `current` is the stored object instead; None when there was none when it was read."""

    current: StoredObject | None


class DeleteOutcome(Enum):
    APPLIED = "deleted by this call"
    REJECTED = "not deleted by this call: the object had changed or was gone"
    UNKNOWN = "the response was lost, and a later 412 does not show what became of the request"


class WriteIds(Record):
    """The idempotency tokens of a write, by which it is recognised in the stored object.

    Args:
        own: In this write's body and in no other.
        replaced: In the body of the write that it replaces.
        prefix_bytes: How many bytes from the start contain them; None for the whole object.
    """

    own: bytes
    replaced: bytes | None = None
    prefix_bytes: int | None = None


def cas_attempts(store: ObjectStore) -> RetryState:
    """Return the attempts of a compare-and-set loop: more than those of a request, since each may fail to a writer."""
    return RetryState(store.retries.writes, store.runtime, max_attempts=MAX_CAS_RETRIES)


async def conditional_put(
    store: ObjectStore,
    path: str,
    body: bytes,
    write_ids: WriteIds,
    *,
    if_match: str | None,
    may_be_deleted: bool = False,
    leave_busy: bool = False,
    timeout: float | None = None,
) -> Applied | Rejected:
    """Write the object if it still has the ETag `if_match`, or if there is none when `if_match` is None; at most once.

    Args:
        store: The store.
        path: The object's path.
        body: The new body, which contains `write_ids.own`.
        write_ids: How the write is recognised.
        if_match: The ETag to replace; None to create the object.
        may_be_deleted: Whether other processes may delete the object. Then `If-None-Match` is not repeated after an
            attempt without a response: "never applied" and "applied, and deleted since" look the same, and in the
            second case the object would come back. For the same reason such a write is never said to be rejected: once
            the current object is deleted, a request that is still in flight could be applied.
        leave_busy: Whether to raise at once where the store throttles the write or responds with 409, for a caller that
            can write elsewhere. Not after an attempt that may have been applied: that outcome must be settled here.
        timeout: The number of seconds after which no further attempt begins.

    Raises:
        UncertainOutcomeError: Responses were lost, and the stored object does not show whether the write was applied.
        ConflictError: The store kept responding with 409.
        UnavailableError: No attempt was applied.

    Requests: 1 when it is applied, 2 when it is rejected.
    """
    started_at = store.runtime.monotonic()
    deadline = math.inf if timeout is None else started_at + timeout
    retry = RetryState(store.retries.writes, store.runtime, deadline=deadline)
    while await retry.next_attempt():
        try:
            response = await store.put(path, body, if_match=if_match, if_none_match=if_match is None)
        except Error as error:
            retry.record(error)
            if if_match is None and may_be_deleted and retry.ambiguous_error is not None:
                # A request that is still in flight gets time to arrive, so that it can be recognised.
                await retry.backoff()
                return await _resolve_ambiguity(store, path, write_ids, started_at, retry, may_arrive=True)
            _raise_unless_retryable(error, retry, leave_busy=leave_busy)
            continue
        if isinstance(response, PutResult):
            return Applied(response.etag)
        if isinstance(response, PreconditionFailed):
            return await _resolve_ambiguity(store, path, write_ids, started_at, retry)
        retry.record(None, response.code)
        if leave_busy and retry.ambiguous_error is None:
            break
    raise retry.final_error(conditional=True)


async def conditional_delete(store: ObjectStore, path: str, if_match: str) -> DeleteOutcome:
    """Delete the object if it still has the ETag `if_match`. Raises as `conditional_put` does. 1 request."""
    retry = RetryState(store.retries.writes, store.runtime)
    while await retry.next_attempt():
        try:
            response = await store.delete(path, if_match=if_match)
        except Error as error:
            retry.record(error)
            _raise_unless_retryable(error, retry)
            continue
        if isinstance(response, PreconditionFailed):
            return DeleteOutcome.REJECTED if retry.ambiguous_error is None else DeleteOutcome.UNKNOWN
        if not isinstance(response, Conflict):
            return DeleteOutcome.APPLIED
        retry.record(None, response.code)
    raise retry.final_error(conditional=True)


def _raise_unless_retryable(error: Error, retry: RetryState, *, leave_busy: bool = False) -> None:
    is_left = leave_busy and isinstance(error, ThrottledError) and retry.ambiguous_error is None
    if is_left or not isinstance(error, UnavailableError):
        raise retry.final_error(conditional=True)


async def _resolve_ambiguity(
    store: ObjectStore,
    path: str,
    write_ids: WriteIds,
    started_at: float,
    retry: RetryState,
    *,
    may_arrive: bool = False,
) -> Applied | Rejected:
    """Return whether a write that was rejected, or got no response, was applied after all.

    `may_arrive` says that it may be applied even later than this, over the deletion of what is stored now.
    """
    ambiguous = retry.ambiguous_error
    try:
        current = await get_object(store, path, write_ids.prefix_bytes)
        if current is not None and write_ids.own in current.body:
            return Applied(current.etag)
        # Comparing the times may take a request for the server's, which can fail as well.
        if ambiguous is None or (not may_arrive and _predates_attempt(store, current, write_ids, started_at)):
            return Rejected(current)
    except Error as error:
        if ambiguous is None:
            raise
        retry.record(error)
        raise retry.final_error(conditional=True) from error
    raise UncertainOutcomeError(
        "The outcome is unknown: a response was lost, and the object does not show whether the write was applied "
        f"or still may be. {ambiguous}"
    ) from ambiguous


def _predates_attempt(store: ObjectStore, current: StoredObject | None, write_ids: WriteIds, started_at: float) -> bool:
    """Return whether the stored object is older than the write, which therefore neither replaced it nor preceded it."""
    if current is None:
        return False
    if write_ids.replaced is not None and write_ids.replaced in current.body:
        return True
    # Both times are the store's own: its clock now, less what has passed here since.
    elapsed = timedelta(seconds=store.runtime.monotonic() - started_at)
    return current.server_time.is_older_than(current.last_modified, ORDERING_MARGIN + elapsed)


async def get_object(store: ObjectStore, path: str, prefix_bytes: int | None = None) -> StoredObject | None:
    """Return the object, or its first `prefix_bytes` bytes."""
    found = await store.get(path, byte_range=None if prefix_bytes is None else (0, prefix_bytes - 1))
    assert not isinstance(found, NotModified)
    return found
