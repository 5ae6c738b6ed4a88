"""What does this store really honour? Asked of a scratch object in the very bucket, never guessed by a vendor's name.

Of fourteen S3-compatible servers tried, five let every contender win `If-None-Match: *`, one ignores `If-Match` on
PUT, one wants ETags without quotes, several delete on whatever `If-Match` says, and some ignore the conditions of
CopyObject.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone

from .._format.capabilities import Capabilities
from .._format.layout import Layout, new_ulid
from .._format.manifest import decode_store, encode_store
from .._stores.base import Deleted, Reason, Refused, Store, Written
from ..errors import Error, UnavailableError, UnsupportedStoreError
from .conditional import Marks, before, put_if, read

_WRONG = '"00000000000000000000000000000000"'
_ASKINGS = 8
_PROBES = 4


async def capabilities(store: Store, layout: Layout) -> Capabilities:
    """What `store.json` says, after probing the store if nobody has yet. 1 request, and a dozen for the first.

    Raises UnsupportedStoreError for a store without conditional PUTs.
    """
    found = await read(store, layout.store)
    if found is not None:
        return decode_store(found.body, layout.store)
    scratch = layout.scratch(new_ulid(datetime.now(timezone.utc)))
    seen = await probe(store, scratch)
    body = encode_store(seen)
    # Two first creations at once both probe, and see the same; the one that comes second leaves what is there.
    await put_if(store, layout.store, body, Marks(body), over=None)
    return seen


async def probe(store: Store, path: str) -> Capabilities:
    """Probes with objects whose paths begin with `path`, and removes them afterwards.

    A request that fails on the way says nothing about what the store honours, and to send it again could be refused by
    its own success: so the probe begins anew, with another object.
    """
    failure: Exception | None = None
    for attempt in range(_PROBES):
        await before(store, attempt)
        scratch = f"{path}-{attempt}"
        try:
            return await _probe(store, scratch)
        except UnavailableError as error:
            failure = error
        finally:
            # What cannot be removed now is swept within two days.
            with suppress(Error):
                await store.delete(scratch)
    raise failure or AssertionError("a probe that neither failed nor succeeded")


async def _probe(store: Store, path: str) -> Capabilities:
    await _check_creation(store, path)
    quoted = await _check_overwriting(store, path)
    etag = await _renew(store, path)
    spell = Capabilities(quoted, False, False).if_match
    copies = await _copies_on_condition(store, path, spell(etag), spell(_WRONG))
    etag = await _renew(store, path)
    deletes = await _deletes_on_condition(store, path, spell(etag), spell(_WRONG))
    return Capabilities(quoted, deletes, copies)


async def _check_creation(store: Store, path: str) -> None:
    if not await _put(store, path, over=None):
        raise UnsupportedStoreError(
            "The store refused 'PUT If-None-Match: *' for an object that did not exist: nothing could be created in it"
        )
    if await _put(store, path, over=None):
        raise UnsupportedStoreError(
            "The store answered 200 to 'PUT If-None-Match: *' for an object that exists. It ignores the condition, so "
            "two processes that race would both be told that they won; use a store with conditional writes"
        )


async def _check_overwriting(store: Store, path: str) -> bool:
    """Whether If-Match takes the ETag with its quotes."""
    if await _put(store, path, over=_WRONG):
        raise UnsupportedStoreError(
            "The store answered 200 to 'PUT If-Match' with an ETag that the object does not have. It ignores the "
            "condition, so an update could silently undo another's; use a store with conditional writes"
        )
    etag = await _renew(store, path)
    if await _put(store, path, over=etag):
        return True
    etag = await _renew(store, path)
    if await _put(store, path, over=_WRONG.strip('"')) or not await _put(store, path, over=etag.strip('"')):
        raise UnsupportedStoreError(
            "The store refused 'PUT If-Match' with the very ETag it gave, with and without quotes: nothing could be "
            "updated"
        )
    return False


async def _copies_on_condition(store: Store, path: str, right: str, wrong: str) -> bool:
    for source, target in ((wrong, right), (right, wrong)):
        if not await _refuses_copy(store, path, source, target):
            return False
    return not await _refuses_copy(store, path, right, right)


async def _refuses_copy(store: Store, path: str, source: str, target: str) -> bool:
    try:
        return _refused(await store.copy(path, source_if_match=source, if_match=target))
    except UnavailableError:
        raise
    except Error:
        # A store that cannot copy on a condition (501, 400) does not honour it: entries are then refreshed by a PUT.
        return False


async def _deletes_on_condition(store: Store, path: str, right: str, wrong: str) -> bool:
    try:
        if not _refused(await store.delete(path, if_match=wrong)) or _refused(await store.delete(path, if_match=right)):
            return False
        # A second deletion that "succeeds" would let two poppers both believe that they removed the entry.
        return _refused(await store.delete(path, if_match=right))
    except UnavailableError:
        raise
    except Error:
        return False


def _refused(answer: Written | Deleted | Refused) -> bool:
    if isinstance(answer, Refused) and answer.reason is Reason.CONFLICT:
        raise UnavailableError("The store answered 409, which says nothing about the condition")
    return isinstance(answer, Refused)


async def _renew(store: Store, path: str) -> str:
    written = await store.put(path, b"s3dict probes what this store honours")
    assert isinstance(written, Written)
    return written.etag


async def _put(store: Store, path: str, *, over: str | None) -> bool:
    for attempt in range(_ASKINGS):
        await before(store, attempt)
        answer = await store.put(path, b"s3dict probes", if_match=over, if_none_match=over is None)
        if isinstance(answer, Written) or answer.reason is Reason.CONDITION:
            return isinstance(answer, Written)
    raise UnsupportedStoreError("The store answers 409 to every conditional PUT, though nobody else writes the object")
