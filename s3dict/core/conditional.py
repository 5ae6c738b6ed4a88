"""Conditional writes that know their own refusals.

When the answer to a conditional PUT is lost and the request is sent again, the store refuses a write that has already
succeeded: a 412 may be our own. So every conditional write carries a mark (a write id) by which it is recognised, and
the store sends it only once at a time; sending it again is decided here, where it is known how often that happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from ..errors import ConflictError, UnavailableError, UncertainOutcomeError
from ..stores.base import Found, NotModified, Reason, Refused, Store, Written

SENDINGS = 8
"""How often a conditional request is sent before giving up."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
CLOCK_STEP = timedelta(seconds=2)
"""Last-Modified and Date are cut to whole seconds, so only what is two apart is surely in order."""


@dataclass(frozen=True, slots=True)
class Won:
    """The write took effect, once."""

    etag: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The write had no effect. ``found`` is what stood there instead; None when that was gone when looked at."""

    found: Found | None


class Removal(Enum):
    DELETED = "by us"
    REFUSED = "not by us: the object had changed or was gone"
    UNKNOWN = "the answer was lost, and what came next does not tell"


async def pauses(store: Store, attempts: int) -> AsyncIterator[int]:
    """Counts attempts from 0, with a pause before each but the first: jittered, and longer each time."""
    for attempt in range(attempts):
        if attempt:
            await store.sleep(pause(attempt))
        yield attempt


def pause(attempt: int) -> float:
    """Seconds to wait before the attempt of that number, from 1.

    Full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog): contenders spread out.
    """
    import random

    return random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 16)))


async def put_if(
    store: Store,
    path: str,
    body: bytes,
    *,
    mark: bytes,
    over: str | None,
    peek: int | None = None,
    replaced: bytes | None = None,
) -> Won | Lost:
    """Writes the object over the ETag `over`, or where there is none when `over` is None; takes effect at most once.

    `mark` is in `body` and in no other write; `peek` is how many bytes from the front show it (None: all of them).
    `replaced` is the mark of the write that has the ETag `over`.
    Requests: 1 when it wins, 2 when it loses. Raises UncertainOutcomeError when answers were lost and nothing can tell,
    ConflictError when the store kept answering 409, UnavailableError when no request arrived.
    """
    began, unanswered, failure = store.now(), False, None
    async for _ in pauses(store, SENDINGS):
        try:
            answer = await store.put(path, body, if_match=over, if_none_match=over is None)
        except UnavailableError as error:
            # A 500 is an answer, but says nothing about whether the write took place.
            unanswered, failure = unanswered or error.sent, error
            continue
        if isinstance(answer, Written):
            return Won(answer.etag)
        if answer.reason is Reason.CONDITION:
            return await _verdict(store, path, mark, replaced, peek, began if unanswered else None)
        failure = None
    if unanswered:
        raise UncertainOutcomeError(
            "The store stopped answering: the write may or may not have taken place"
        ) from failure
    raise failure or ConflictError("Conditional requests for the same object kept colliding: try again later")


async def _verdict(
    store: Store, path: str, mark: bytes, replaced: bytes | None, peek: int | None, began: float | None
) -> Won | Lost:
    """Whether a refused write had already taken place. `began` is None when it was surely sent for the first time."""
    found = await read(store, path, peek)
    if found is not None and mark in found.body:
        return Won(found.etag)
    if began is None:
        return Lost(found)
    # What we were to replace is still there, under a new ETag: so nothing has replaced it.
    if found is not None and replaced is not None and replaced in found.body:
        return Lost(found)
    # What stood there before we began cannot have overwritten us. Both times are the store's own: its clock now, less
    # what has passed here since.
    if found is not None and found.last_modified + CLOCK_STEP <= found.date - timedelta(seconds=store.now() - began):
        return Lost(found)
    raise UncertainOutcomeError(
        "An answer was lost, and the object has changed since: the write may or may not have taken place in between"
    )


async def read(store: Store, path: str, peek: int | None = None) -> Found | None:
    """The object, or its first `peek` bytes."""
    found = await store.get(path, byte_range=None if peek is None else (0, peek - 1))
    assert not isinstance(found, NotModified)
    return found


async def delete_if(store: Store, path: str, over: str) -> Removal:
    """Deletes the object where it still has the ETag `over`. 1 request."""
    unanswered, failure = False, None
    async for _ in pauses(store, SENDINGS):
        try:
            answer = await store.delete(path, if_match=over)
        except UnavailableError as error:
            unanswered, failure = unanswered or error.sent, error
            continue
        if not isinstance(answer, Refused):
            return Removal.DELETED
        if answer.reason is Reason.CONDITION:
            return Removal.UNKNOWN if unanswered else Removal.REFUSED
        failure = None
    if unanswered:
        raise UncertainOutcomeError("The store stopped answering: it may or may not have been removed") from failure
    raise failure or ConflictError("Conditional requests for the same object kept colliding: try again later")
