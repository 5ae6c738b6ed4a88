"""Requests with obstore, whose core is Rust: they take a tenth of the CPU that boto3 needs for the same.

One text for blocking and asyncio; the two stores (the other is in `rust_aio`) differ in how they call obstore. It sends
everything once: what may be sent again is sent again here, where each sending's error is seen.

What obstore cannot do goes through boto3 or aioboto3, which are imported then: to delete and to copy on a condition (it
takes none), to list what has names that it refuses (all of ours are allowed), to tell all that a bulk deletion left.
It gives no response headers either, so the time is asked for apart, by those few who want to know: see `clock`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import obstore

from ..._retry import DEFAULT_POLICIES, RetryPolicies, RetryState
from ...errors import InvalidError, UnavailableError
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
from ..boto.requests import (
    ExpectedFailure,
    S3Request,
    common_folder,
    require_conflict,
    require_not_found,
    to_precondition_result,
)
from ..shared import request_log as log
from ..shared.threads import ThreadRuntime
from ..shared.timeouts import TimeoutVariants
from .errors import UnrecognisedResponseError, log_status, translate_obstore_exception

if TYPE_CHECKING:
    from obstore import GetOptions, PutMode

    from .clients import ObstoreClients

R = TypeVar("R")

NO_OPTIONS: Mapping[str, object] = {}
STREAM_ABOVE = 1 << 20
"""A body of more bytes is put together from its parts here; obstore would hold it twice meanwhile, and we once more."""


class ObstoreRequests:
    """The requests of the protocol over either way of calling obstore."""

    def __init__(
        self,
        connection: ObstoreClients,
        make_boto_store: Callable[[], ObjectStore],
        runtime: Runtime,
        retries: RetryPolicies = DEFAULT_POLICIES,
    ) -> None:
        self.runtime = runtime
        self.retries = retries
        self._connection = connection
        self._make_boto_fallback = make_boto_store
        self._boto_fallback: ObjectStore | None = None
        self.timeout = connection.timeout

    async def _get(self, path: str, options: GetOptions) -> StoredObject:
        raise NotImplementedError

    async def _head(self, path: str) -> obstore.ObjectMeta:
        raise NotImplementedError

    async def _put(self, path: str, body: Body, mode: PutMode) -> obstore.PutResult:
        raise NotImplementedError

    async def _delete(self, paths: Sequence[str]) -> None:
        raise NotImplementedError

    async def _list(self, prefix: str, start_after: str | None) -> Sequence[obstore.ObjectMeta]:
        raise NotImplementedError

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> StoredObject | NotModified | None:
        options: GetOptions = {}
        if if_none_match is not None:
            options["if_none_match"] = if_none_match
        if byte_range is not None:
            options["range"] = (byte_range[0], byte_range[1] + 1)
        answer = await self._request("get_object", path, lambda: self._get(path, options), options)
        if isinstance(answer, StoredObject):
            return answer
        if answer.status == 416:
            # The object ends before the range begins: it is shorter than anything of ours, and the caller judges that.
            return await self.get(path, if_none_match=if_none_match)
        if answer.status == 304:
            return NotModified()
        require_not_found(answer, path)
        return None

    async def head(self, path: str) -> StoredObject | None:
        answer = await self._request("head_object", path, lambda: self._head(path))
        if isinstance(answer, ExpectedFailure):
            require_not_found(answer, path)
            return None
        return self._found(b"", answer)

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        mode: PutMode = "create" if if_none_match else "overwrite" if if_match is None else {"e_tag": if_match}
        server_time = NO_OPTIONS if if_match is None else {"IfMatch": if_match}
        answer = await self._request(
            "put_object", path, lambda: self._put(path, body, mode), server_time, no_retry=True
        )
        if isinstance(answer, ExpectedFailure):
            if mode == "overwrite":
                require_conflict(answer, path)
            return to_precondition_result(answer)
        assert answer["e_tag"] is not None
        return PutResult(answer["e_tag"])

    async def delete(self, path: str, *, if_match: str | None = None) -> DeleteResult | Refusal:
        if if_match is not None:
            return await self._boto_store().delete(path, if_match=if_match)
        # obstore asks for it as for the deletion of many.
        answer = await self._request("delete_objects", path, lambda: self._delete([path]))
        if isinstance(answer, ExpectedFailure):
            raise UnavailableError(f"{self._call('delete_objects', path)} was answered {answer}")
        return DeleteResult()

    async def delete_many(self, paths: Sequence[str]) -> tuple[DeleteFailure, ...]:
        try:
            answer = await self._request("delete_objects", common_folder(paths), lambda: self._delete(paths))
        except UnrecognisedResponseError:
            # Some were not deleted, of which obstore names one. To delete again does no harm, and names them all.
            return await self._boto_store().delete_many(paths)
        if isinstance(answer, ExpectedFailure):
            raise UnavailableError(f"DeleteObjects was answered {answer}")
        return ()

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> PutResult | Refusal:
        return await self._boto_store().copy(path, source_if_match=source_if_match, if_match=if_match)

    async def list_page(self, prefix: str, *, start_after: str = "", end_before: str | None = None) -> Page:
        if not prefix.endswith("/"):
            # obstore takes a prefix for a folder's name.
            return await self._boto_store().list_page(prefix, start_after=start_after, end_before=end_before)
        try:
            answer = await self._request("list_objects_v2", prefix, lambda: self._list(prefix, start_after or None))
        except InvalidError:
            # A name among them that obstore does not take, which is none of ours; boto3 takes any.
            return await self._boto_store().list_page(prefix, start_after=start_after, end_before=end_before)
        if isinstance(answer, ExpectedFailure):
            raise UnavailableError(f"ListObjectsV2 was answered {answer}")
        listed = tuple(_listed(line) for line in answer if line["path"].startswith(prefix))
        wanted = listed if end_before is None else tuple(line for line in listed if line.path < end_before)
        # A page that is full may be the last: obstore does not say. The next one is empty then.
        is_truncated = len(answer) == PAGE_SIZE and len(wanted) == len(listed)
        if is_truncated and not wanted:
            raise UnavailableError(f"A listing of {prefix!r} shows what is elsewhere: what stands between is not S3")
        return Page(wanted, is_truncated, self._server_time())

    async def _request(
        self,
        method: str,
        path: str,
        request: Callable[[], Awaitable[R]],
        server_time: Mapping[str, object] = NO_OPTIONS,
        *,
        no_retry: bool = False,
    ) -> R | ExpectedFailure:
        """Return the response to the request, which is repeated unless `no_retry` is set.

        Raises:
            Error: no attempt got a response, or the response is a failure.
        """
        retry = RetryState(self.retries.requests, self.runtime, max_attempts=1 if no_retry else None)
        began, status = log.start(), log.NO_ANSWER
        try:
            while await retry.next_attempt():
                try:
                    answer = await request()
                    status = 206 if "range" in server_time else 200
                    return answer
                except Exception as error:
                    failure = error
                try:
                    status = log_status(failure) if began else status
                    # Out here ours has no context: an exception that cannot be shown must not hang on there either.
                    return translate_obstore_exception(failure, self._call(method, path, server_time))
                except UnrecognisedResponseError:
                    raise
                except UnavailableError as unavailable:
                    retry.record(unavailable)
                finally:
                    # Its traceback leads back here: together they would keep the body until the next collection.
                    del failure
        finally:
            if began:
                call = self._call(method, path)
                log.write(call.operation, call.url, began, status, retry.retries)
        raise retry.final_error()

    def _found(self, body: bytes, meta: obstore.ObjectMeta) -> StoredObject:
        etag, last_modified = meta["e_tag"], meta["last_modified"]
        if etag is None or last_modified.year == 1970:
            raise UnavailableError("An answer without ETag or Last-Modified is not one of S3: what stands between?")
        return StoredObject(body, etag, meta["size"], last_modified, self._server_time())

    def _server_time(self) -> ServerTime:
        return ServerTime(clock=self._connection.clock, moment=monotonic_seconds())

    def _call(self, method: str, path: str, server_time: Mapping[str, object] = NO_OPTIONS) -> S3Request:
        return S3Request(method, self._connection.bucket, path, server_time)

    def _boto_store(self) -> ObjectStore:
        if self._boto_fallback is None:
            self._boto_fallback = self._make_boto_fallback()
        return self._boto_fallback


def _listed(line: obstore.ObjectMeta) -> ObjectMeta:
    return ObjectMeta(line["path"], line["e_tag"] or "", line["size"], line["last_modified"])


class ObstoreStore(ObstoreRequests):
    """One bucket through obstore, for blocking calls."""

    def __init__(
        self,
        connection: ObstoreClients,
        make_boto_store: Callable[[], ObjectStore],
        *,
        concurrency: int,
        retries: RetryPolicies = DEFAULT_POLICIES,
    ) -> None:
        super().__init__(connection, make_boto_store, ThreadRuntime(concurrency), retries)
        self._concurrency = concurrency
        self._hurried = TimeoutVariants[ObstoreStore]()

    def with_timeout(self, seconds: float) -> ObstoreStore:
        return self if seconds >= self.timeout else self._hurried.of(seconds, self._with_timeout)

    def _with_timeout(self, timeout: float) -> ObstoreStore:
        connection = self._connection.with_timeout(timeout)
        return ObstoreStore(connection, self._make_boto_fallback, concurrency=self._concurrency, retries=self.retries)

    async def _get(self, path: str, options: GetOptions) -> StoredObject:
        result = obstore.get(self._connection.store(), path, options=options)
        meta = result.meta
        body = b"".join(result.stream(STREAM_ABOVE)) if meta["size"] > STREAM_ABOVE else result.bytes().to_bytes()
        return self._found(body, meta)

    async def _head(self, path: str) -> obstore.ObjectMeta:
        return obstore.head(self._connection.store(), path)

    async def _put(self, path: str, body: Body, mode: PutMode) -> obstore.PutResult:
        return obstore.put(self._connection.store(len(body)), path, body, mode=mode, use_multipart=False)

    async def _delete(self, paths: Sequence[str]) -> None:
        obstore.delete(self._connection.store(), paths)

    async def _list(self, prefix: str, start_after: str | None) -> Sequence[obstore.ObjectMeta]:
        lines = obstore.list(self._connection.store(), prefix, offset=start_after, chunk_size=PAGE_SIZE)
        return next(lines, ())
