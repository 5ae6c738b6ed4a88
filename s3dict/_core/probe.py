"""What a store supports, found out with scratch objects in the bucket itself, and never guessed from a vendor's name.

Of fourteen S3-compatible servers tried, five let every contender win `If-None-Match: *`, one ignores `If-Match` on
PUT, one requires ETags without quotes, several delete whatever `If-Match` says, and some ignore the conditions of
CopyObject.

Only what the store itself rejects counts as unsupported, since the result is recorded for every client. A question that
cannot be answered (denied permission, a wrong profile, an unreachable or throttling store) raises, and nothing is
recorded. Each question has an object of its own: some stores accept one write of an object per second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from .._format.capabilities import Capabilities
from .._format.layout import Layout, new_ulid
from .._format.manifest import decode_store, encode_store_json
from .._record import replace
from .._retry import RetryState, ThrottledError, UnexpectedResponseError
from .._stores.base import Conflict, DeleteResult, ObjectStore, PreconditionFailed, PutResult, Refusal
from ..errors import (
    Error,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UnsupportedStoreError,
)
from .conditional import WriteIds, conditional_put, get_object

MISMATCHED_ETAG = '"00000000000000000000000000000000"'
MAX_PROBES = 4
MAX_UNEXPECTED_RESPONSES = 3
"""So many unexpected responses in a row to an optional request are the store's own, and not those of a proxy."""
_NAMES = "xcmfptkha"
SCRATCH_BODY = b"s3dict probes what this store supports"

_FormatETag = Callable[[str], str]


async def load_or_probe(store: ObjectStore, layout: Layout) -> Capabilities:
    """Return the contents of `store.json`, after probing the store if it is missing.

    Raises:
        UnsupportedStoreError: The store does not support conditional PUTs.
        PermissionDeniedError, NotFoundError, InvalidError, UnavailableError: The probe could not be completed; nothing
            is recorded.

    Requests: 1, and about twenty more if it is missing.
    """
    found = await get_object(store, layout.store)
    if found is not None:
        return decode_store(found.body, layout.store)
    seen = await probe(store, layout.scratch(new_ulid(datetime.now(UTC))))
    body = encode_store_json(seen)
    # Two clients that create the first dict at once both probe, with equal results; the first record stays.
    await conditional_put(store, layout.store, body, WriteIds(body), if_match=None)
    return seen


async def probe(store: ObjectStore, path: str) -> Capabilities:
    """Return what the store supports, using objects in folders that begin with `path`, which are removed afterwards.

    A failed request does not show what the store supports, and its retry could be rejected because it was applied: the
    probe starts again with other objects. Raises as `load_or_probe` does.
    """
    retry = RetryState(store.retries.writes, store.runtime, max_attempts=MAX_PROBES)
    while await retry.next_attempt():
        scratch = _Scratch(store, f"{path}-{retry.retries}")
        try:
            return await _probe(scratch)
        except UnavailableError as error:
            retry.record(error)
        finally:
            await scratch.remove()
    raise retry.final_error()


class _Scratch:
    """The objects of one probe."""

    def __init__(self, store: ObjectStore, path: str) -> None:
        self.store = store
        self.folder = f"{path}/"
        self.paths: list[str] = []
        self.written: set[str] = set()
        self._prepared: list[tuple[str, str]] = []

    def new_path(self) -> str:
        # Not in the order of their creation, in which a store may list them.
        path = f"{self.folder}{_NAMES[len(self.paths) % len(_NAMES)]}{len(self.paths)}"
        self.paths.append(path)
        return path

    async def new_object(self) -> tuple[str, str]:
        """Return the path and ETag of an object that no other question is about, written now or before."""
        if not self._prepared:
            await self.prepare_object()
        return self._prepared.pop()

    async def prepare_object(self) -> None:
        path = self.new_path()
        response = await self.send(lambda: self.store.put(path, SCRATCH_BODY))
        if not isinstance(response, PutResult):
            raise UnavailableError("The store responded with 409 to a PUT without a condition")
        self._prepared.append((path, response.etag))
        self.written.add(path)

    async def put(self, path: str, *, if_match: str | None) -> bool:
        """Return whether the store accepted a conditional PUT."""
        response = await self.send(
            lambda: self.store.put(path, b"s3dict probes", if_match=if_match, if_none_match=if_match is None)
        )
        if _accepted(response):
            self.written.add(path)
        return _accepted(response)

    async def send(
        self, request: Callable[[], Awaitable[PutResult | DeleteResult | Refusal]]
    ) -> PutResult | DeleteResult | Refusal:
        """Send the request and return its response. It is repeated only when certain not to have been applied."""
        retry = RetryState(self.store.retries.writes, self.store.runtime)
        while await retry.next_attempt():
            try:
                response = await request()
            except ThrottledError as error:
                retry.record(error)
                continue
            if not isinstance(response, Conflict):
                return response
            retry.record(None)
        failure = retry.final_error()
        if isinstance(failure, UnavailableError):
            raise failure
        raise UnsupportedStoreError(
            "The store responds with 409 to every conditional request, although there is no concurrent writer"
        )

    async def remove(self) -> None:
        # What cannot be removed now expires within two days.
        with suppress(Error):
            await self.store.delete_many(self.paths)


async def _probe(scratch: _Scratch) -> Capabilities:
    await _check_creation(scratch)
    quotes = await _check_replacement(scratch)
    format_etag = quotes.if_match
    copies = await _is_supported(scratch, lambda: _enforces_copy_conditions(scratch, format_etag))
    for _ in range(2):
        await scratch.prepare_object()
    ordered = await _is_supported(scratch, lambda: _lists_in_order(scratch))
    deletes = await _is_supported(scratch, lambda: _enforces_delete_condition(scratch, format_etag))
    bulk_deletes = deletes and await _is_supported(
        scratch, lambda: _enforces_bulk_delete_conditions(scratch, format_etag)
    )
    return replace(
        quotes,
        conditional_delete=deletes,
        conditional_copy=copies,
        ordered_listing=ordered,
        conditional_bulk_delete=bulk_deletes,
    )


async def _check_creation(scratch: _Scratch) -> None:
    path = scratch.new_path()
    if not await scratch.put(path, if_match=None):
        raise UnsupportedStoreError(
            "The store rejected 'PUT If-None-Match: *' for an object that did not exist: nothing could be created in it"
        )
    if await scratch.put(path, if_match=None):
        raise UnsupportedStoreError(
            "The store responded with 200 to 'PUT If-None-Match: *' for an object that exists. It ignores the "
            "condition, so two concurrent writers would both succeed; use a store with conditional writes, or a bucket "
            "without versioning and Object Lock if it has them: with them, some releases of Ceph ignore this condition"
        )


async def _check_replacement(scratch: _Scratch) -> Capabilities:
    """Return in which form If-Match accepts an ETag, without any optional capability."""
    path, etag = await scratch.new_object()
    if await scratch.put(path, if_match=MISMATCHED_ETAG):
        raise UnsupportedStoreError(
            "The store responded with 200 to 'PUT If-Match' with an ETag that the object does not have. It ignores the "
            "condition, so an update could silently overwrite a concurrent one; use a store with conditional writes"
        )
    returned = Capabilities(quoted_etags=True, conditional_delete=False, conditional_copy=False)
    if await scratch.put(path, if_match=etag):
        return returned
    path, etag = await scratch.new_object()
    other = returned.with_other_quotes(etag)
    if await scratch.put(path, if_match=other.if_match(MISMATCHED_ETAG)) or not await scratch.put(
        path, if_match=other.if_match(etag)
    ):
        raise UnsupportedStoreError(
            "The store rejected 'PUT If-Match' with the ETag that it returned, with and without quotes: nothing could "
            "be updated"
        )
    return other


async def _is_supported(scratch: _Scratch, enforces: Callable[[], Awaitable[bool]]) -> bool:
    """Return whether an optional condition is enforced; False where the store itself rejects the request.

    Raises:
        PermissionDeniedError, NotFoundError, InvalidError, UnavailableError: Another cause prevents an answer.
    """
    retry = RetryState(scratch.store.retries.writes, scratch.store.runtime, max_attempts=MAX_UNEXPECTED_RESPONSES)
    while await retry.next_attempt():
        try:
            return await enforces()
        except UnexpectedResponseError as error:
            retry.record(error)
        except (PermissionDeniedError, NotFoundError, InvalidError, UnavailableError):
            raise
        except Error:
            return False
    return False


async def _enforces_copy_conditions(scratch: _Scratch, format_etag: _FormatETag) -> bool:
    path, written = await scratch.new_object()
    etag, mismatched = format_etag(written), format_etag(MISMATCHED_ETAG)

    async def copy(source: str, target: str) -> bool:
        return _accepted(await scratch.send(lambda: scratch.store.copy(path, source_if_match=source, if_match=target)))

    return not await copy(mismatched, etag) and not await copy(etag, mismatched) and await copy(etag, etag)


async def _lists_in_order(scratch: _Scratch) -> bool:
    """Return whether a listing after a name that no object has is that of the following names, in their order.

    The objects are those that earlier questions have left and later ones need: five, so that one order of 24 is the
    right one by chance. If it is, `listing.scan` finds out when a listing is longer than a page.
    """
    first, *following = sorted(scratch.written)
    page = await scratch.store.list_page(scratch.folder, start_after=f"{first}-")
    listed = [meta.path for meta in page.objects if meta.path in scratch.written]
    # A page may be short although more follows.
    return listed == (following[: len(listed) or 1] if page.is_truncated else following)


async def _enforces_delete_condition(scratch: _Scratch, format_etag: _FormatETag) -> bool:
    path, written = await scratch.new_object()
    etag, mismatched = format_etag(written), format_etag(MISMATCHED_ETAG)

    async def delete(if_match: str) -> bool:
        return _accepted(await scratch.send(lambda: scratch.store.delete(path, if_match=if_match)))

    # If a second deletion succeeded, two callers of `pop` could both believe that they removed the entry.
    return not await delete(mismatched) and await delete(etag) and not await delete(etag)


async def _enforces_bulk_delete_conditions(scratch: _Scratch, format_etag: _FormatETag) -> bool:
    path, written = await scratch.new_object()
    etag, mismatched = format_etag(written), format_etag(MISMATCHED_ETAG)

    async def delete(if_match: str) -> bool:
        failures = await scratch.store.delete_many([path], if_match=[if_match])
        for failure in failures:
            if not failure.rejected:
                raise failure.error
        return not failures

    # As for a single deletion.
    return not await delete(mismatched) and await delete(etag) and not await delete(etag)


def _accepted(response: PutResult | DeleteResult | Refusal) -> bool:
    return not isinstance(response, (PreconditionFailed, Conflict))
