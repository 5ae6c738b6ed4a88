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

from ...errors import InvalidError, UnavailableError
from ..base import (
    PAGE_SIZE,
    Body,
    Deleted,
    Found,
    Listed,
    NotDeleted,
    NotModified,
    Page,
    Refused,
    Store,
    Told,
    Written,
    steady_seconds,
)
from ..boto import requests as s3
from ..boto.requests import Call, Declined, check_absent, check_conflict, folder, refused
from ..shared import request_log as log
from ..shared.threads import Threads
from ..shared.timeouts import Hurried
from .errors import UnclearError, declined, status_of
from .server_clock import Answered

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta, PutMode, PutResult

    from .clients import Connection

R = TypeVar("R")

_NOTHING: Mapping[str, object] = {}
LARGE = 1 << 20
"""A body of more bytes is put together from its parts here; obstore would hold it twice meanwhile, and we once more."""


class RustRequests:
    """The requests of the protocol over either way of calling obstore."""

    def __init__(self, connection: Connection, make_boto_store: Callable[[], Store]) -> None:
        self._connection = connection
        self._make_boto_store = make_boto_store
        self._made_boto_store: Store | None = None
        self.timeout = connection.timeout

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    async def _get(self, path: str, options: GetOptions) -> Found:
        raise NotImplementedError

    async def _head(self, path: str) -> ObjectMeta:
        raise NotImplementedError

    async def _put(self, path: str, body: Body, mode: PutMode) -> PutResult:
        raise NotImplementedError

    async def _delete(self, paths: Sequence[str]) -> None:
        raise NotImplementedError

    async def _list(self, prefix: str, after: str | None) -> Sequence[ObjectMeta]:
        raise NotImplementedError

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> Found | NotModified | None:
        options: GetOptions = {}
        if if_none_match is not None:
            options["if_none_match"] = if_none_match
        if byte_range is not None:
            options["range"] = (byte_range[0], byte_range[1] + 1)
        answer = await self._ask("get_object", path, lambda: self._get(path, options), options)
        if isinstance(answer, Found):
            return answer
        if answer.status == 416:
            # The object ends before the range begins: it is shorter than anything of ours, and the caller judges that.
            return await self.get(path, if_none_match=if_none_match)
        if answer.status == 304:
            return NotModified()
        check_absent(answer, path)
        return None

    async def head(self, path: str) -> Found | None:
        answer = await self._ask("head_object", path, lambda: self._head(path))
        if isinstance(answer, Declined):
            check_absent(answer, path)
            return None
        return self._found(b"", answer)

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> Written | Refused:
        mode: PutMode = "create" if if_none_match else "overwrite" if if_match is None else {"e_tag": if_match}
        told = _NOTHING if if_match is None else {"IfMatch": if_match}
        answer = await self._ask("put_object", path, lambda: self._put(path, body, mode), told, once=True)
        if isinstance(answer, Declined):
            if mode == "overwrite":
                check_conflict(answer, path)
            return refused(answer)
        assert answer["e_tag"] is not None
        return Written(answer["e_tag"])

    async def delete(self, path: str, *, if_match: str | None = None) -> Deleted | Refused:
        if if_match is not None:
            return await self._boto_store().delete(path, if_match=if_match)
        # obstore asks for it as for the deletion of many.
        answer = await self._ask("delete_objects", path, lambda: self._delete([path]))
        if isinstance(answer, Declined):
            raise UnavailableError(f"{self._call('delete_objects', path)} was answered {answer}")
        return Deleted()

    async def delete_many(self, paths: Sequence[str]) -> tuple[NotDeleted, ...]:
        try:
            answer = await self._ask("delete_objects", folder(paths), lambda: self._delete(paths))
        except UnclearError:
            # Some were not deleted, of which obstore names one. To delete again does no harm, and names them all.
            return await self._boto_store().delete_many(paths)
        if isinstance(answer, Declined):
            raise UnavailableError(f"DeleteObjects was answered {answer}")
        return ()

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> Written | Refused:
        return await self._boto_store().copy(path, source_if_match=source_if_match, if_match=if_match)

    async def list_page(self, prefix: str, *, after: str = "", until: str | None = None) -> Page:
        if not prefix.endswith("/"):
            # obstore takes a prefix for a folder's name.
            return await self._boto_store().list_page(prefix, after=after, until=until)
        try:
            answer = await self._ask("list_objects_v2", prefix, lambda: self._list(prefix, after or None))
        except InvalidError:
            # A name among them that obstore does not take, which is none of ours; boto3 takes any.
            return await self._boto_store().list_page(prefix, after=after, until=until)
        if isinstance(answer, Declined):
            raise UnavailableError(f"ListObjectsV2 was answered {answer}")
        listed = tuple(_listed(line) for line in answer if line["path"].startswith(prefix))
        wanted = listed if until is None else tuple(line for line in listed if line.path < until)
        # A page that is full may be the last: obstore does not say. The next one is empty then.
        more = len(answer) == PAGE_SIZE and len(wanted) == len(listed)
        if more and not wanted:
            raise UnavailableError(f"A listing of {prefix!r} shows what is elsewhere: what stands between is not S3")
        return Page(wanted, more, self._told())

    async def _ask(
        self,
        method: str,
        path: str,
        request: Callable[[], Awaitable[R]],
        told: Mapping[str, object] = _NOTHING,
        *,
        once: bool = False,
    ) -> R | Declined:
        """The answer to a request. Raises one of our errors when no sending was answered, or one that will not do."""
        began, status, sending = log.start(), log.NO_ANSWER, 0
        try:
            while True:
                try:
                    answer = await request()
                    status = 206 if "range" in told else 200
                    return answer
                except Exception as error:
                    failure = error
                try:
                    status = status_of(failure) if began else status
                    is_last = once or sending + 1 >= s3.SENDINGS
                    # Out here ours has no context: an exception that cannot be shown must not hang on there either.
                    verdict = _verdict(failure, self._call(method, path, told), is_last)
                finally:
                    # Its traceback leads back here: together they would keep the body until the next collection.
                    del failure
                if verdict is not None:
                    return verdict
                sending += 1
                await self.sleep(s3.pause(sending))
        finally:
            if began:
                call = self._call(method, path)
                log.write(call.operation, call.url, began, status, sending)

    def _found(self, body: bytes, meta: ObjectMeta) -> Found:
        etag, last_modified = meta["e_tag"], meta["last_modified"]
        if etag is None or last_modified.year == 1970:
            raise UnavailableError("An answer without ETag or Last-Modified is not one of S3: what stands between?")
        return Found(body, etag, meta["size"], last_modified, self._told())

    def _told(self) -> Told:
        return Answered(self._connection.clock, steady_seconds())

    def _call(self, method: str, path: str, told: Mapping[str, object] = _NOTHING) -> Call:
        return Call(method, self._connection.bucket, path, told)

    def _boto_store(self) -> Store:
        if self._made_boto_store is None:
            self._made_boto_store = self._make_boto_store()
        return self._made_boto_store


def _verdict(error: Exception, call: Call, is_last: bool) -> Declined | None:
    """What the exception says where it is no failure; None where the request is to be sent again."""
    try:
        return declined(error, call)
    except UnavailableError as failure:
        if is_last or isinstance(failure, UnclearError):
            raise
    return None


def _listed(line: ObjectMeta) -> Listed:
    return Listed(line["path"], line["e_tag"] or "", line["size"], line["last_modified"])


class RustStore(Threads, RustRequests):
    """One bucket through obstore, for blocking calls."""

    def __init__(self, connection: Connection, make_boto_store: Callable[[], Store], *, concurrency: int) -> None:
        Threads.__init__(self, concurrency)
        RustRequests.__init__(self, connection, make_boto_store)
        self._hurried = Hurried[RustStore]()

    def hurried(self, seconds: float) -> RustStore:
        return self if seconds >= self.timeout else self._hurried.of(seconds, self._with_timeout)

    def _with_timeout(self, timeout: float) -> RustStore:
        connection = self._connection.with_timeout(timeout)
        return RustStore(connection, self._make_boto_store, concurrency=self._concurrency)

    async def _get(self, path: str, options: GetOptions) -> Found:
        result = obstore.get(self._connection.store(), path, options=options)
        meta = result.meta
        body = b"".join(result.stream(LARGE)) if meta["size"] > LARGE else result.bytes().to_bytes()
        return self._found(body, meta)

    async def _head(self, path: str) -> ObjectMeta:
        return obstore.head(self._connection.store(), path)

    async def _put(self, path: str, body: Body, mode: PutMode) -> PutResult:
        return obstore.put(self._connection.store(len(body)), path, body, mode=mode, use_multipart=False)

    async def _delete(self, paths: Sequence[str]) -> None:
        obstore.delete(self._connection.store(), paths)

    async def _list(self, prefix: str, after: str | None) -> Sequence[ObjectMeta]:
        lines = obstore.list(self._connection.store(), prefix, offset=after, chunk_size=PAGE_SIZE)
        return next(lines, ())
