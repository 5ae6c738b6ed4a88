"""Requests with obstore, whose core is Rust: they take a tenth of the CPU time of boto3.

One implementation for blocking and asyncio; the stores in `blocking` and `aio` differ in how they call obstore. obstore
sends every request once: retries happen here, where the error of each attempt is known.

What obstore cannot do goes through boto3, which is imported then, and runs in threads for asyncio: conditional deletes
and copies, listings with names that obstore does not accept (those of s3dict are), and the complete list of failures of
a bulk deletion. obstore does not return response headers either, so the server's time is read apart when it matters:
see `server_clock`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..._record import Record
from ..._retry import SINGLE_ATTEMPT, RetryState
from ...errors import InvalidError, PermissionDeniedError, UnavailableError
from ..base import (
    PAGE_SIZE,
    Body,
    DeleteFailure,
    DeleteResult,
    NotModified,
    ObjectMeta,
    ObjectStore,
    Page,
    PutResult,
    Refusal,
    Runtime,
    ServerTime,
    StoredObject,
    monotonic_seconds,
)
from ..shared import request_log as log
from ..shared.connection import MAX_RENEWALS
from ..shared.errors import listing_error
from ..shared.messages import (
    EPOCH_YEAR,
    WEAK,
    ExpectedFailure,
    S3Request,
    common_folder,
    require_conflict,
    require_not_found,
    require_time,
    to_precondition_result,
    unexpected_response,
)
from ..shared.rate_control import HasPacedView, Slot
from ..shared.timeouts import HasTimeoutVariants
from .errors import (
    BareRedirectError,
    UnrecognisedResponseError,
    is_panic,
    log_status,
    panic_error,
    translate_obstore_exception,
)

if TYPE_CHECKING:
    import obstore
    from obstore import GetOptions, ListStream, PutMode

    from .clients import ObstoreClients

    Listing = ListStream[Sequence[obstore.ObjectMeta]]

R = TypeVar("R")

_READS = frozenset({"get_object", "head_object", "list_objects_v2"})
WRONG_REGION = "AuthorizationHeaderMalformed"
"""The error of AWS for a signature for another region than the bucket's, where it does not redirect."""
NO_OPTIONS: Mapping[str, object] = {}
STREAM_ABOVE = 1 << 20
"""A body of more bytes is put together from its parts here; obstore would hold it twice, and this process once more."""
MAX_PREALLOCATED = 16 << 20
"""A response may claim any length."""


class LargeBody:
    """A body that arrives in parts.

    That of a later range of an object goes to memory that is allocated once. The beginning of an object is joined to
    `bytes`: it may be all of it, which the read cache keeps.

    Args:
        span: The range of the object that the response claims to contain.
    """

    __slots__ = ("_joined", "_parts", "_size")

    def __init__(self, span: tuple[int, int]) -> None:
        self._parts: list[bytes] | None = None if span[0] else []
        self._joined = bytearray(min(span[1] - span[0], MAX_PREALLOCATED) if span[0] else 0)
        self._size = 0

    def append(self, part: bytes) -> None:
        if self._parts is not None:
            self._parts.append(part)
            return
        end = self._size + len(part)
        if end > len(self._joined):
            self._joined.extend(bytes(max(end, 2 * len(self._joined)) - len(self._joined)))
        # Through a view: the slice of a bytearray would be assigned a copy.
        memoryview(self._joined)[self._size : end] = memoryview(part)
        self._size = end

    def finish(self) -> Body:
        """Return what was received, which is shorter than claimed if the response was."""
        if self._parts is not None:
            return b"".join(self._parts)
        del self._joined[self._size :]
        return self._joined


class ObstoreRequests(HasTimeoutVariants, HasPacedView):
    """The requests of the protocol, over blocking and asyncio calls of obstore.

    Args:
        clients: The connections, which blocking and asyncio stores share.
        make_boto_fallback: Returns the store for the requests that obstore cannot send.
        runtime: Threads or tasks.
    """

    def __init__(
        self, clients: ObstoreClients, make_boto_fallback: Callable[[], ObjectStore], runtime: Runtime
    ) -> None:
        connection = clients.connection
        HasTimeoutVariants.__init__(self, clients.timeout)
        HasPacedView.__init__(self, connection.rates, connection.retries.within(clients.timeout))
        self.runtime = runtime
        self._clients = clients
        self._make_boto_fallback = make_boto_fallback
        self._boto_fallback: ObjectStore | None = None

    async def _get(self, path: str, options: GetOptions) -> StoredObject:
        raise NotImplementedError

    async def _head(self, path: str) -> obstore.ObjectMeta:
        raise NotImplementedError

    async def _put(self, path: str, body: Body, mode: PutMode) -> obstore.PutResult:
        raise NotImplementedError

    async def _delete(self, paths: Sequence[str]) -> None:
        raise NotImplementedError

    def _listing(self, prefix: str, start_after: str | None) -> Listing:
        """Return a stream of the pages of a listing. It sends a request when a page is read from it."""
        raise NotImplementedError

    async def _next_page(self, listing: Listing) -> Sequence[obstore.ObjectMeta]:
        raise NotImplementedError

    async def _list_folder(self, prefix: str) -> obstore.ListResult[Sequence[obstore.ObjectMeta]]:
        """Return what is directly under a prefix, with a request for each thousand."""
        raise NotImplementedError

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> StoredObject | NotModified | None:
        options: GetOptions = {}
        if if_none_match is not None:
            options["if_none_match"] = if_none_match
        if byte_range is not None:
            options["range"] = (byte_range[0], byte_range[1] + 1)
        try:
            response = await self._send("get_object", path, lambda: self._get(path, options), options)
        except UnrecognisedResponseError:
            return await self._boto_store().get(path, if_none_match=if_none_match, byte_range=byte_range)
        if isinstance(response, StoredObject):
            return response
        if response.status == 416 and byte_range is not None:
            # The object ends before the range begins, so it is not a valid entry. The caller finds that out.
            return await self.get(path, if_none_match=if_none_match)
        if response.status == 304 and if_none_match is not None:
            return NotModified()
        require_not_found(response, path)
        return None

    async def head(self, path: str) -> StoredObject | None:
        try:
            response = await self._send("head_object", path, lambda: self._head(path))
        except UnrecognisedResponseError:
            return await self._boto_store().head(path)
        if isinstance(response, ExpectedFailure):
            require_not_found(response, path)
            return None
        return self._stored_object(b"", response)

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        mode: PutMode = "create" if if_none_match else "overwrite" if if_match is None else {"e_tag": if_match}
        conditions: Mapping[str, object] = NO_OPTIONS if if_match is None else {"IfMatch": if_match}
        if if_none_match:
            conditions = {"IfNoneMatch": "*"}
        response = await self._send(
            "put_object", path, lambda: self._put(path, body, mode), conditions, no_retry=True, bytes_sent=len(body)
        )
        if isinstance(response, ExpectedFailure):
            if mode == "overwrite":
                require_conflict(response, path)
            return to_precondition_result(response)
        etag = response["e_tag"]
        if not etag:
            raise unexpected_response("without ETag", self._clients.connection.where)
        return PutResult(etag.removeprefix(WEAK))

    async def delete(self, path: str, *, if_match: str | None = None) -> DeleteResult | Refusal:
        if if_match is not None:
            return await self._boto_store().delete(path, if_match=if_match)
        if self._clients.connection.zone is None:
            # obstore deletes one object by DeleteObjects too, but in a directory bucket.
            for failure in await self.delete_many([path]):
                raise failure.error
            return DeleteResult()
        response = await self._send("delete_object", path, lambda: self._delete([path]))
        if isinstance(response, ExpectedFailure) and response.status != 404:
            raise UnavailableError(f"{self._request('delete_object', path)} failed: {response}")
        return DeleteResult()

    async def delete_many(
        self, paths: Sequence[str], *, if_match: Sequence[str] | None = None
    ) -> tuple[DeleteFailure, ...]:
        if if_match is not None or self._clients.connection.zone is not None:
            return await self._boto_store().delete_many(paths, if_match=if_match)
        folder = common_folder(paths)
        try:
            response = await self._send("delete_objects", folder, lambda: self._delete(paths))
        except UnrecognisedResponseError:
            # Some were not deleted, and obstore reports one of them. Deleting again is harmless, and reports all.
            return await self._boto_store().delete_many(paths)
        if isinstance(response, ExpectedFailure):
            raise UnavailableError(f"{self._request('delete_objects', folder)} failed: {response}")
        return ()

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> PutResult | Refusal:
        return await self._boto_store().copy(path, source_if_match=source_if_match, if_match=if_match)

    async def list_page(
        self,
        prefix: str,
        token: object = None,
        *,
        folders: bool = False,
        start_after: str = "",
        end_before: str | None = None,
    ) -> Page:
        position = token if isinstance(token, _Position) else None
        after = start_after if position is None else position.after

        def list_with_boto() -> Awaitable[Page]:
            rest = None if position is not None else token
            return self._boto_store().list_page(prefix, rest, folders=folders, start_after=after, end_before=end_before)

        # obstore takes a prefix for the name of a folder. It does not sign the token of a session in its listings.
        if not prefix.endswith("/") or isinstance(token, str) or self._clients.connection.zone is not None:
            return await list_with_boto()
        try:
            if folders:
                return await self._folder_page(prefix) or await list_with_boto()
            stream = None if position is None else position.listing
            listing, objects = await self._list(prefix, stream, after or None)
        except BareRedirectError:
            raise
        except (InvalidError, UnrecognisedResponseError):
            # obstore does not accept one of the times, or one of the names, which is not of s3dict; boto3 does.
            return await list_with_boto()
        listed = _object_metas(objects, prefix)
        if len(listed) < len(objects) or (position is None and not objects):
            # obstore takes any XML document for an empty listing, and does not decode names. boto3 checks and decodes.
            return await list_with_boto()
        wanted = listed if end_before is None else tuple(item for item in listed if item.path < end_before)
        # obstore does not report whether a full page is the last one. If it is, the next one is empty.
        is_truncated = len(objects) == PAGE_SIZE and len(wanted) == len(listed)
        next_token = _Position(listing, listed[-1].path) if is_truncated else None
        return Page(wanted, is_truncated, self._server_time(), next_token)

    async def _list(
        self, prefix: str, listing: Listing | None, start_after: str | None
    ) -> tuple[Listing, Sequence[obstore.ObjectMeta]]:
        """Return the next page of a listing, or the first of a new one, and the listing."""

        async def list_first() -> tuple[Listing, Sequence[obstore.ObjectMeta]]:
            first = self._listing(prefix, start_after)
            return first, await self._next_page(first)

        async def list_next(listing: Listing) -> tuple[Listing, Sequence[obstore.ObjectMeta]]:
            return listing, await self._next_page(listing)

        # A stream ends with its first error, so that a repetition would find it complete.
        is_first = listing is None
        call = list_first if listing is None else partial(list_next, listing)
        response = await self._send("list_objects_v2", prefix, call, no_retry=not is_first, once=not is_first)
        if isinstance(response, ExpectedFailure):
            raise listing_error(self._request("list_objects_v2", prefix), response, self._clients.connection.where)
        return response

    async def _folder_page(self, prefix: str) -> Page | None:
        """Return all that is directly under a prefix; None where nothing is, or something that is elsewhere."""
        response = await self._send("list_objects_v2", prefix, lambda: self._list_folder(prefix))
        if isinstance(response, ExpectedFailure):
            raise listing_error(self._request("list_objects_v2", prefix), response, self._clients.connection.where)
        listed = _object_metas(response["objects"], prefix)
        folders = tuple(f"{folder}/" for folder in response["common_prefixes"] if folder.startswith(prefix))
        found, received = (len(listed), len(folders)), (len(response["objects"]), len(response["common_prefixes"]))
        return Page(listed, False, self._server_time(), folders=folders) if any(found) and found == received else None

    async def _send(
        self,
        method: str,
        path: str,
        call: Callable[[], Awaitable[R]],
        parameters: Mapping[str, object] = NO_OPTIONS,
        *,
        no_retry: bool = False,
        once: bool = False,
        bytes_sent: int = 0,
    ) -> R | ExpectedFailure:
        """Call obstore, with retries unless `no_retry` is set, and return the response.

        A request that was certainly not applied is repeated also then, unless `call` can be called `once` only.

        Raises:
            Error: No attempt got a response, or the response is an unexpected failure.
        """
        connection = self._clients.connection
        send = partial(self._send_with_retries, method, path, call, parameters, no_retry)
        if connection.observer is not None:
            send = partial(self._send_observed, bytes_sent, method, path, call, parameters, no_retry)
        for _ in range(MAX_RENEWALS):
            generation, session = connection.generation, connection.session_number
            try:
                await self._check_redirects(method)
                return await send()
            except BareRedirectError:
                # Nothing was applied, so the same request may be retried; the same holds for what was denied.
                if once or not await self._run(partial(self._clients.follow_region, generation)):
                    raise
            except PermissionDeniedError as error:
                renew = partial(connection.renew_after_denial, generation, session)
                if WRONG_REGION in str(error) and connection.settings.endpoint_url is None:
                    renew = partial(self._clients.follow_region, generation)
                if once or error.action is not None or not await self._run(renew):
                    raise
        await self._check_redirects(method)
        return await send()

    async def _check_redirects(self, method: str) -> None:
        if self._clients.must_check_redirects(reading=method in _READS):
            await self._run(lambda: self._clients.refuse_redirects(reading=method in _READS))

    async def _run(self, function: Callable[[], R]) -> R:
        """Call a function that may block on a request of its own."""
        return function()

    async def _send_with_retries(
        self, method: str, path: str, call: Callable[[], Awaitable[R]], parameters: Mapping[str, object], no_retry: bool
    ) -> R | ExpectedFailure:
        retry: RetryState | None = None  # until an attempt has failed
        started, status = log.start_timer(), log.NO_RESPONSE
        try:
            while retry is None or await retry.next_attempt():
                slot = await self.reserve_slot(method)
                try:
                    if self._clients.connection.must_open_session():
                        await self._run(self._clients.connection.session_credentials)
                    response = await call()
                    slot.accepted()
                    status = _success_status(parameters) if started else status
                    return response
                except BaseException as error:
                    failure = self._failure(error, method, path)
                try:
                    status = log_status(failure) if started else status
                    # Outside of the handler, so that the new error has no __context__: an exception of the driver that
                    # must not be shown would be shown with it.
                    return self._expected(failure, self._request(method, path, parameters), slot)
                except UnrecognisedResponseError:
                    raise
                except UnavailableError as unavailable:
                    retry = retry or await self._retry_after_first(no_retry=no_retry)
                    retry.record(unavailable)
                finally:
                    # Its traceback refers to this frame: the cycle would keep the body until it is collected.
                    del failure
        finally:
            if started:
                request = self._request(method, path)
                log.log_request(request.operation, request.url, started, status, 0 if retry is None else retry.retries)
        assert retry is not None
        raise retry.final_error()

    def _expected(self, failure: Exception, request: S3Request, slot: Slot) -> ExpectedFailure:
        """Return what the failure means if the protocol expects that; otherwise raise an `Error` from it."""
        try:
            expected = translate_obstore_exception(failure, request)
        except UnavailableError as unavailable:
            slot.failed(unavailable)
            raise
        # The store answered, if only that there is no such object.
        slot.accepted()
        return expected

    async def _retry_after_first(self, *, no_retry: bool) -> RetryState:
        """Return the attempts of a request of which one has been made."""
        retry = RetryState(SINGLE_ATTEMPT if no_retry else self.retries.requests, self.runtime)
        await retry.next_attempt()
        return retry

    def _failure(self, error: BaseException, method: str, path: str) -> Exception:
        """Return the error of a call, and an Exception for a panic of Rust; raise others, such as a cancellation."""
        if isinstance(error, Exception):
            return error
        if not is_panic(error):
            raise error
        return panic_error(error, self._request(method, path))

    async def _send_observed(
        self,
        bytes_sent: int,
        method: str,
        path: str,
        call: Callable[[], Awaitable[R]],
        parameters: Mapping[str, object],
        no_retry: bool,
    ) -> R | ExpectedFailure:
        """Do what `_send_with_retries` does, and report each attempt."""
        observer, success = self._clients.connection.observer, _success_status(parameters)
        assert observer is not None
        observed = observer.watching(
            call,
            self._request(method, path).operation,
            path,
            bytes_sent=bytes_sent,
            result=lambda response: (success, len(response.body) if isinstance(response, StoredObject) else 0),
            error_status=log_status,
        )
        return await self._send_with_retries(method, path, observed, parameters, no_retry)

    def _stored_object(self, body: Body, meta: obstore.ObjectMeta) -> StoredObject:
        etag, last_modified = meta["e_tag"], meta["last_modified"]
        if not etag or last_modified.year == EPOCH_YEAR:
            # Each read comes here, and only an error needs the endpoint.
            require_time(last_modified, self._clients.connection.where)
            raise unexpected_response("without ETag", self._clients.connection.where)
        return StoredObject(body, etag.removeprefix(WEAK), meta["size"], last_modified, self._server_time())

    def _server_time(self) -> ServerTime:
        return ServerTime(clock=self._clients.clock, moment=monotonic_seconds())

    def _request(self, method: str, path: str, parameters: Mapping[str, object] = NO_OPTIONS) -> S3Request:
        where = self._clients.connection.where
        return S3Request(method, self._clients.bucket, path, parameters, endpoint=where)

    def _boto_store(self) -> ObjectStore:
        if self._boto_fallback is None:
            self._boto_fallback = self._make_boto_fallback().with_timeout(self.timeout)
        return self._boto_fallback.paced() if self.is_paced else self._boto_fallback


class _Position(Record):
    """Where a listing continues: in the stream of its pages, or, for boto3, after the name of an object."""

    listing: Listing
    after: str


def _success_status(parameters: Mapping[str, object]) -> int:
    return 206 if "range" in parameters else 200


def _object_metas(items: Sequence[obstore.ObjectMeta], prefix: str) -> tuple[ObjectMeta, ...]:
    return tuple(
        ObjectMeta(item["path"], item["e_tag"] or "", item["size"], item["last_modified"])
        for item in items
        if item["path"].startswith(prefix)
    )
