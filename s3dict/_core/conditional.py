"""Conditional writes that know their own refusals.

When the answer to a conditional PUT is lost and the request is sent again, the store refuses a write that has already
succeeded: a 412 may be our own. So every conditional write carries a mark (a write id) by which it is recognised, and
the store sends it only once at a time; sending it again is decided here, where it is known how often that happened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from .._stores.base import (
    Conflict,
    NotModified,
    ObjectStore,
    PreconditionFailed,
    PutResult,
    RequestTimeoutError,
    StoredObject,
)
from ..errors import ConflictError, Error, UnavailableError, UncertainOutcomeError

SENDINGS = 8
"""How often a conditional request is sent before giving up."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
SILENT_SENDINGS = 4
"""How often a store that says nothing is sent a write. Each takes a timeout; what fails otherwise does so at once."""
CLOCK_STEP = timedelta(seconds=2)
"""Last-Modified and Date are cut to whole seconds, so only what is two apart is surely in order."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The write took effect, once."""

    etag: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The write had no effect. ``found`` is what stood there instead; None when that was gone when looked at."""

    found: StoredObject | None


class DeleteOutcome(Enum):
    APPLIED = "by us"
    REJECTED = "not by us: the object had changed or was gone"
    UNKNOWN = "the answer was lost, and what came next does not tell"


async def before(store: ObjectStore, attempt: int) -> None:
    """Waits before the attempt of that number, from 0: not at all before the first, and longer each time."""
    if attempt:
        await store.runtime.sleep(pause(attempt))


async def may_send(store: ObjectStore, attempt: int, silent: int, until: float = math.inf) -> bool:
    """Waits as `before` does; False when a write is not to be sent again.

    That is the case from `until` on, by the store's `now`, and when enough of the earlier sendings met with silence.
    Not when time has passed in another way: a large body on a slow link takes many timeouts, and flows all the while.
    """
    if attempt and (silent >= SILENT_SENDINGS or store.runtime.monotonic() >= until):
        return False
    await before(store, attempt)
    return True


def pause(attempt: int) -> float:
    """Seconds to wait before the attempt of that number, from 1.

    Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog): contenders spread out.
    """
    import random

    return random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 16)))


@dataclass(frozen=True, slots=True)
class WriteIds:
    """By what a write is recognised: `own` is in its body and in no other, `replaced` in that of the write it replaces.

    `prefix_bytes` is how many bytes from the front show them; None is all.
    """

    own: bytes
    replaced: bytes | None = None
    prefix_bytes: int | None = None


async def conditional_put(
    store: ObjectStore,
    path: str,
    body: bytes,
    write_ids: WriteIds,
    *,
    over: str | None,
    removable: bool = False,
    within: float | None = None,
) -> Applied | Rejected:
    """Writes the object over the ETag `over`, or where there is none when `over` is None; takes effect at most once.

    `removable` says that others may delete the object. Then `If-None-Match` is not sent again after an unanswered
    request: "never written" and "written, and removed since" look the same, and in the second case it would come back.
    After `within` seconds it is not sent again either. Requests: 1 when it wins, 2 when it loses. Raises
    UncertainOutcomeError when answers were lost and nothing can tell, ConflictError when the store kept answering 409,
    UnavailableError when no request took effect.
    """
    began, silent = store.runtime.monotonic(), 0
    until = math.inf if within is None else began + within
    failure: Error | None = None
    lost: Error | None = None
    for attempt in range(SENDINGS):
        if not await may_send(store, attempt, silent, until):
            break
        try:
            answer = await store.put(path, body, if_match=over, if_none_match=over is None)
        except Error as error:
            failure, lost = error, error if maybe_applied(error) else lost
            silent += isinstance(error, RequestTimeoutError)
            if over is None and removable and lost is not None:
                # What is still under way has time to arrive, and then to be recognised.
                await before(store, 1)
                return await _resolve_ambiguity(store, path, write_ids, began, lost)
            _raise_unless_retryable(error, lost)
            continue
        if isinstance(answer, PutResult):
            return Applied(answer.etag)
        if isinstance(answer, PreconditionFailed):
            return await _resolve_ambiguity(store, path, write_ids, began, lost)
        failure = None
    raise _final_error(failure, lost)


async def conditional_delete(store: ObjectStore, path: str, over: str) -> DeleteOutcome:
    """Deletes the object where it still has the ETag `over`. 1 request. Raises as `conditional_put` does."""
    silent = 0
    failure: Error | None = None
    lost: Error | None = None
    for attempt in range(SENDINGS):
        if not await may_send(store, attempt, silent):
            break
        try:
            answer = await store.delete(path, if_match=over)
        except Error as error:
            failure, lost = error, error if maybe_applied(error) else lost
            silent += isinstance(error, RequestTimeoutError)
            _raise_unless_retryable(error, lost)
            continue
        if not isinstance(answer, (PreconditionFailed, Conflict)):
            return DeleteOutcome.APPLIED
        if isinstance(answer, PreconditionFailed):
            return DeleteOutcome.REJECTED if lost is None else DeleteOutcome.UNKNOWN
        failure = None
    raise _final_error(failure, lost)


def maybe_applied(error: Error) -> bool:
    """Whether a request that ended so may have taken effect: a lost answer does not tell, and neither does a 500."""
    return isinstance(error, UnavailableError) and error.maybe_applied


def _raise_unless_retryable(error: Error, lost: Error | None) -> None:
    if not isinstance(error, UnavailableError):
        raise _final_error(error, lost)


def _final_error(failure: Error | None, lost: Error | None) -> Error:
    """What to raise after the last attempt. Nothing is said to have failed that may have taken place.

    `failure` is how the last sending ended, None where that was a 409; `lost`, how the last ended that may have taken
    effect, None where none may have.
    """
    if lost is not None:
        why = failure or lost
        uncertain = UncertainOutcomeError(f"No answer came: the request may or may not have taken effect. {why}")
        uncertain.__cause__ = why
        return uncertain
    return failure or ConflictError("Conditional requests for the same object kept colliding: try again later")


async def _resolve_ambiguity(
    store: ObjectStore, path: str, write_ids: WriteIds, began: float, lost: Error | None
) -> Applied | Rejected:
    """Whether a write that was refused or not answered took place; `lost` as in `_final_error`."""
    try:
        found = await get_object(store, path, write_ids.prefix_bytes)
    except Error as error:
        if lost is None:
            raise
        raise _final_error(error, lost) from error
    if found is not None and write_ids.own in found.body:
        return Applied(found.etag)
    if lost is None or _predates_attempt(store, found, write_ids, began):
        return Rejected(found)
    raise UncertainOutcomeError(
        "An answer was lost, and the object is another or gone: the write may or may not have taken place in between. "
        f"{lost}"
    ) from lost


def _predates_attempt(store: ObjectStore, found: StoredObject | None, write_ids: WriteIds, began: float) -> bool:
    """Whether what is there was there before the write began, and so was neither replaced by it nor replaced it."""
    if found is None:
        return False
    if write_ids.replaced is not None and write_ids.replaced in found.body:
        return True
    # Both times are the store's own: its clock now, less what has passed here since.
    return found.server_time.is_older_than(
        found.last_modified, CLOCK_STEP + timedelta(seconds=store.runtime.monotonic() - began)
    )


async def get_object(store: ObjectStore, path: str, prefix_bytes: int | None = None) -> StoredObject | None:
    """The object, or its first `prefix_bytes` bytes."""
    found = await store.get(path, byte_range=None if prefix_bytes is None else (0, prefix_bytes - 1))
    assert not isinstance(found, NotModified)
    return found
