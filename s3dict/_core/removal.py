"""The removal of one version of an entry: a conditional delete, or a tombstone where the store has none."""

from __future__ import annotations

import os
from enum import Enum

from .._format.capabilities import Capabilities
from .._format.entry import MAX_PRELUDE_BYTES, WRITE_ID_BYTES, pack_tombstone, read_prelude
from .._record import replace
from .._retry import RetryState
from .._stores.base import ObjectStore
from ..errors import Error, UncertainOutcomeError
from .conditional import (
    Applied,
    DeleteOutcome,
    WriteIds,
    conditional_delete,
    conditional_put,
    get_object,
)

MAX_ATTEMPTS = 1000
INITIAL_BACKOFF = 0.005
MAX_BACKOFF = 0.05
"""In seconds. A removal competes with writers that never wait, and the longer it waits, the more of them come between;
with other removals it does not compete for long, since all but one then find nothing."""


_UNKNOWN = "The response to a removal was lost and the entry is gone: this call removed it, or another client did"


class RemovalState(Enum):
    NOT_SENT = "nothing was sent"
    UNKNOWN = "a request was sent, and may have removed the entry"
    REMOVED = "removed by this call"
    CHANGED = "not removed by this call: the entry has changed"
    PUT_BACK = "removed by this call, and put back"


class Removal:
    """One attempt to remove an entry.

    Args:
        store: The store.
        capabilities: What the store supports.
        path: The entry's path.
        etag: The ETag of the version to remove.
        write_id: Its write id.
    """

    __slots__ = ("capabilities", "etag", "path", "state", "store", "tombstone_etag", "write_id")

    def __init__(self, store: ObjectStore, capabilities: Capabilities, path: str, etag: str, write_id: bytes) -> None:
        self.store = store
        self.capabilities = capabilities
        self.path = path
        self.etag = etag
        self.write_id = write_id
        self.state = RemovalState.NOT_SENT
        self.tombstone_etag: str | None = None
        """The ETag of the tombstone that took the entry's place."""

    @property
    def is_value_missing(self) -> bool:
        """Whether this call has removed the value from the store, or may have."""
        return self.state in (RemovalState.UNKNOWN, RemovalState.REMOVED)

    async def run(self) -> None:
        """Remove the entry if it is still that version; `state` says what became of it.

        Does nothing where the call has been interrupted before.

        Raises:
            UncertainOutcomeError: A response was lost, and what is stored does not show the outcome.
        """
        if self.store.runtime.interrupted():
            return
        self.state = RemovalState.UNKNOWN
        remove = self._conditional_delete if self.capabilities.conditional_delete else self._write_tombstone
        removed = await remove(self.capabilities.if_match(self.etag))
        self.state = RemovalState.REMOVED if removed else RemovalState.CHANGED

    async def _write_tombstone(self, if_match: str) -> bool:
        """Remove by a write, which unlike a deletion can be recognised afterwards by its write id."""
        write_id = os.urandom(WRITE_ID_BYTES)
        write_ids = WriteIds(write_id, self.write_id, MAX_PRELUDE_BYTES)
        outcome = await conditional_put(self.store, self.path, pack_tombstone(write_id), write_ids, if_match=if_match)
        if not isinstance(outcome, Applied):
            return False
        self.tombstone_etag = outcome.etag
        return True

    async def _conditional_delete(self, if_match: str) -> bool:
        outcome = await conditional_delete(self.store, self.path, if_match)
        if outcome is not DeleteOutcome.UNKNOWN:
            return outcome is DeleteOutcome.APPLIED
        # If the same write is still stored, under a new ETag, it has not been removed. Otherwise this request may have
        # removed it, or that of another client: both look the same from here.
        try:
            found = await get_object(self.store, self.path, MAX_PRELUDE_BYTES)
            is_stored = found is not None and read_prelude(found.body).write_id == self.write_id
        except Error as error:
            raise UncertainOutcomeError(_UNKNOWN) from error
        if is_stored:
            return False
        raise UncertainOutcomeError(_UNKNOWN)


def removal_attempts(store: ObjectStore) -> RetryState:
    """Return the attempts of a loop that reads an entry and removes what it has read."""
    policy = replace(store.retries.writes, initial_backoff=INITIAL_BACKOFF, max_backoff=MAX_BACKOFF)
    return RetryState(policy, store.runtime, max_attempts=MAX_ATTEMPTS)
