"""What does this store really honour? Asked of a scratch object in the very bucket, never guessed by a vendor's name.

Of fourteen S3-compatible servers tried, five let every contender win `If-None-Match: *`, one ignores `If-Match` on
PUT, one wants ETags without quotes, several delete on whatever `If-Match` says, and some ignore the conditions of
CopyObject.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from .._format.capabilities import Capabilities
from .._format.layout import Layout, new_ulid
from .._format.manifest import decode_store, encode_store_json
from .._retry import RetryState
from .._stores.base import Conflict, DeleteResult, ObjectStore, PreconditionFailed, PutResult, Refusal
from ..errors import Error, UnavailableError, UnsupportedStoreError
from .conditional import WriteIds, conditional_put, get_object

MISMATCHED_ETAG = '"00000000000000000000000000000000"'
MAX_PROBES = 4


async def load_or_probe(store: ObjectStore, layout: Layout) -> Capabilities:
    """Return the contents of `store.json`, after probing the store if it is missing.

    Requests: 1, and a dozen if it is missing.

    Raises UnsupportedStoreError for a store without conditional PUTs.
    """
    found = await get_object(store, layout.store)
    if found is not None:
        return decode_store(found.body, layout.store)
    scratch = layout.scratch(new_ulid(datetime.now(UTC)))
    seen = await probe(store, scratch)
    body = encode_store_json(seen)
    # Two first creations at once both probe, and see the same; the one that comes second leaves what is there.
    await conditional_put(store, layout.store, body, WriteIds(body), if_match=None)
    return seen


async def probe(store: ObjectStore, path: str) -> Capabilities:
    """Probes with objects whose paths begin with `path`, and removes them afterwards.

    A request that fails does not show what the store supports, and its retry could fail because it succeeded: the probe
    starts again with another object.
    """
    retry = RetryState(store.retries.writes, store.runtime, max_attempts=MAX_PROBES)
    while await retry.next_attempt():
        scratch = f"{path}-{retry.retries}"
        try:
            return await _probe(store, scratch)
        except UnavailableError as error:
            retry.record(error)
        finally:
            # What cannot be removed now is swept within two days.
            with suppress(Error):
                await store.delete(scratch)
    raise retry.final_error()


async def _probe(store: ObjectStore, path: str) -> Capabilities:
    await _check_creation(store, path)
    quoted = await _check_overwriting(store, path)
    etag = await _overwrite(store, path)
    format_etag = Capabilities(quoted, False, False).if_match
    copies = await _supports_conditional_copy(store, path, format_etag(etag), format_etag(MISMATCHED_ETAG))
    etag = await _overwrite(store, path)
    deletes = await _supports_conditional_delete(store, path, format_etag(etag), format_etag(MISMATCHED_ETAG))
    bulk_deletes = False
    if deletes:
        etag = await _overwrite(store, path)
        bulk_deletes = await _supports_conditional_bulk_delete(
            store, path, format_etag(etag), format_etag(MISMATCHED_ETAG)
        )
    return Capabilities(quoted, deletes, copies, conditional_bulk_delete=bulk_deletes)


async def _check_creation(store: ObjectStore, path: str) -> None:
    if not await _put(store, path, over=None):
        raise UnsupportedStoreError(
            "The store refused 'PUT If-None-Match: *' for an object that did not exist: nothing could be created in it"
        )
    if await _put(store, path, over=None):
        raise UnsupportedStoreError(
            "The store answered 200 to 'PUT If-None-Match: *' for an object that exists. It ignores the condition, so "
            "two concurrent writers would both succeed; use a store with conditional writes"
        )


async def _check_overwriting(store: ObjectStore, path: str) -> bool:
    """Whether If-Match takes the ETag with its quotes."""
    if await _put(store, path, over=MISMATCHED_ETAG):
        raise UnsupportedStoreError(
            "The store answered 200 to 'PUT If-Match' with an ETag that the object does not have. It ignores the "
            "condition, so an update could silently undo another's; use a store with conditional writes"
        )
    etag = await _overwrite(store, path)
    if await _put(store, path, over=etag):
        return True
    etag = await _overwrite(store, path)
    if await _put(store, path, over=MISMATCHED_ETAG.strip('"')) or not await _put(store, path, over=etag.strip('"')):
        raise UnsupportedStoreError(
            "The store refused 'PUT If-Match' with the very ETag it gave, with and without quotes: nothing could be "
            "updated"
        )
    return False


async def _supports_conditional_copy(store: ObjectStore, path: str, right: str, wrong: str) -> bool:
    for source, target in ((wrong, right), (right, wrong)):
        if not await _rejects_copy(store, path, source, target):
            return False
    return not await _rejects_copy(store, path, right, right)


async def _rejects_copy(store: ObjectStore, path: str, source: str, target: str) -> bool:
    try:
        return _refused(await store.copy(path, source_if_match=source, if_match=target))
    except UnavailableError:
        raise
    except Error:
        # A store that cannot copy on a condition (501, 400) does not honour it: entries are then refreshed by a PUT.
        return False


async def _supports_conditional_delete(store: ObjectStore, path: str, right: str, wrong: str) -> bool:
    try:
        if not _refused(await store.delete(path, if_match=wrong)) or _refused(await store.delete(path, if_match=right)):
            return False
        # A second deletion that "succeeds" would let two poppers both believe that they removed the entry.
        return _refused(await store.delete(path, if_match=right))
    except UnavailableError:
        raise
    except Error:
        return False


async def _supports_conditional_bulk_delete(store: ObjectStore, path: str, right: str, wrong: str) -> bool:
    async def is_rejected(etag: str) -> bool:
        return any(failure.rejected for failure in await store.delete_many([path], if_match=[etag]))

    try:
        # Also once it is gone: of two callers, only one may learn that it has removed the object.
        return await is_rejected(wrong) and not await is_rejected(right) and await is_rejected(right)
    except UnavailableError:
        raise
    except Error:
        return False


def _refused(answer: PutResult | DeleteResult | Refusal) -> bool:
    if isinstance(answer, Conflict):
        raise UnavailableError("The store responded with 409, which does not show whether it enforces the condition")
    return isinstance(answer, (PreconditionFailed, Conflict))


async def _overwrite(store: ObjectStore, path: str) -> str:
    written = await store.put(path, b"s3dict probes what this store honours")
    assert isinstance(written, PutResult)
    return written.etag


async def _put(store: ObjectStore, path: str, *, over: str | None) -> bool:
    attempts = RetryState(store.retries.writes, store.runtime)
    while await attempts.next_attempt():
        answer = await store.put(path, b"s3dict probes", if_match=over, if_none_match=over is None)
        if isinstance(answer, (PutResult, PreconditionFailed)):
            return isinstance(answer, PutResult)
    raise UnsupportedStoreError(
        "The store answers 409 to every conditional PUT, although there is no concurrent writer"
    )
