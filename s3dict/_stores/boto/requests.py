"""The requests of the protocol in botocore's terms, for boto3 and aioboto3.

Nothing here does I/O: a store sends an `S3Request` and returns an `S3Response`, or raises the vendor's exception, which
`errors` translates.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from ..._record import replace
from ..._retry import SINGLE_ATTEMPT, RetryState
from ...errors import ConflictError, PermissionDeniedError, UnavailableError
from ..base import (
    PAGE_SIZE,
    Body,
    DeleteFailure,
    DeleteResult,
    NotModified,
    ObjectMeta,
    Page,
    PutResult,
    Refusal,
    Runtime,
    ServerTime,
    StoredObject,
)
from ..shared import request_log as log
from ..shared.connection import MAX_RENEWALS, Connection
from ..shared.errors import error_for_status, listing_error, safe_error_code
from ..shared.messages import (
    ExpectedFailure,
    S3Request,
    S3Response,
    common_folder,
    require_conflict,
    require_not_found,
    require_time,
    to_precondition_result,
    unexpected_response,
)
from ..shared.rate_control import HasPacedView
from ..shared.timeouts import HasTimeoutVariants
from .errors import log_status, log_status_of_error, translate_exception

R = TypeVar("R")

_ABSENT_CODES = frozenset({"NoSuchKey", "NotFound", "404 Not Found"})
_REJECTED_DELETE_CODES = frozenset({"PreconditionFailed", "NoSuchKey", "NotFound", "ConditionalRequestConflict"})
_LISTING_FIELDS = frozenset({"IsTruncated", "Name", "MaxKeys", "KeyCount", "Contents"})
"""At least one is in each page of a listing. Some stores leave `IsTruncated` out of the last page."""
_STATUS_LINE = re.compile(r"([45][0-9]{2}) (.+)")
"""What directory buckets have in place of a code: ``412 Precondition Failed``."""
_STATUS_BY_CODE = {
    "AccessDenied": 403,
    "InternalError": 500,
    **dict.fromkeys(("ServiceUnavailable", "SlowDown", "SlowDownWrite"), 503),
}
"""DeleteObjects reports a code without a status for each object that it could not delete."""
_SESSION_METHODS = frozenset(
    {"get_object", "head_object", "put_object", "delete_object", "delete_objects", "copy_object", "list_objects_v2"}
)
"""What is sent in a session of a directory bucket. A bucket and its settings take credentials of IAM."""
PARTIAL_CONTENT = 206
_PART = re.compile(r"(?i:bytes)[ =]([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19})")


class S3Requests(HasTimeoutVariants, HasPacedView):
    """The requests of the protocol, over any way of sending an `S3Request`."""

    def __init__(self, connection: Connection, runtime: Runtime) -> None:
        HasTimeoutVariants.__init__(self, connection.timeout)
        HasPacedView.__init__(self, connection.rates, connection.retries.within(connection.timeout))
        self.bucket = connection.bucket
        self.runtime = runtime
        self._connection = connection

    async def _execute(self, request: S3Request) -> S3Response:
        """Send the request once and return a 2xx response. Raises the vendor's exception for anything else."""
        raise NotImplementedError

    async def send(self, request: S3Request) -> S3Response | ExpectedFailure:
        """Send the request, with retries unless it has `no_retry`, and return its response.

        Raises:
            Error: No attempt got a response, or the response is an unexpected failure.
        """
        connection = self._connection
        for _ in range(MAX_RENEWALS):
            generation = connection.generation
            session = connection.session_number if request.method in _SESSION_METHODS else None
            try:
                return await self._send_with_retries(request)
            except PermissionDeniedError as error:
                # What was denied was not applied, so the same request may be retried.
                renew = partial(connection.renew_after_denial, generation, session)
                if error.action is not None or not await self._run(renew):
                    raise
        return await self._send_with_retries(request)

    async def _run(self, function: Callable[[], R]) -> R:
        """Call a function that may block on a request of its own."""
        return function()

    async def _send_with_retries(self, request: S3Request) -> S3Response | ExpectedFailure:
        retry = RetryState(SINGLE_ATTEMPT if request.no_retry else self.retries.requests, self.runtime)
        execute = self._observed(request) if self._connection.observer else lambda: self._execute(request)
        started, status = log.start_timer(), log.NO_RESPONSE
        try:
            while await retry.next_attempt():
                slot = await self.reserve_slot(request.method)
                try:
                    if request.method in _SESSION_METHODS and self._connection.must_open_session():
                        await self._run(self._connection.session_credentials)
                    response = await execute()
                    slot.accepted()
                    status = log_status(response.fields)
                    return response
                except Exception as error:
                    failure = error
                try:
                    status = log_status_of_error(failure)
                    # Outside of the handler, so that the new error has no __context__: an exception of the driver that
                    # must not be shown would be shown with it.
                    # The endpoint is known once a request has been made.
                    expected = translate_exception(failure, replace(request, endpoint=self._connection.where))
                    # The store answered, if only that there is no such object.
                    slot.accepted()
                    return expected
                except UnavailableError as unavailable:
                    slot.failed(unavailable)
                    retry.record(unavailable)
                finally:
                    # Its traceback refers to this frame: the cycle would keep the request's body until it is collected.
                    del failure
        finally:
            if started:
                log.log_request(request.operation, request.url, started, status, retry.retries)
        raise retry.final_error()

    def _observed(self, request: S3Request) -> Callable[[], Awaitable[S3Response]]:
        assert self._connection.observer is not None
        body = request.parameters.get("Body")
        return self._connection.observer.watching(
            lambda: self._execute(request),
            request.operation,
            request.path,
            bytes_sent=0 if body is None else memoryview(body).nbytes,
            result=lambda response: (log_status(response.fields), len(response.body)),
            error_status=log_status_of_error,
        )

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> StoredObject | NotModified | None:
        parameters: dict[str, Any] = {}
        if if_none_match is not None:
            parameters["IfNoneMatch"] = if_none_match
        if byte_range is not None:
            parameters["Range"] = f"bytes={byte_range[0]}-{byte_range[1]}"
        response = await self._send("get_object", path, parameters)
        if isinstance(response, S3Response):
            return _stored_object(response, byte_range)
        if response.status == 416 and byte_range is not None:
            # The object ends before the range begins, so it is not a valid entry. The caller finds that out.
            return await self.get(path, if_none_match=if_none_match)
        if response.status == 304 and if_none_match is not None:
            return NotModified()
        require_not_found(response, path)
        return None

    async def head(self, path: str) -> StoredObject | None:
        response = await self._send("head_object", path, {})
        if isinstance(response, S3Response):
            return _stored_object(response)
        require_not_found(response, path)
        return None

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        parameters: dict[str, Any] = {"Body": body}
        if if_match is not None:
            parameters["IfMatch"] = if_match
        if if_none_match:
            parameters["IfNoneMatch"] = "*"
        response = await self._send("put_object", path, parameters, no_retry=True)
        if isinstance(response, S3Response):
            return PutResult(response.etag)
        if if_match is None and not if_none_match:
            require_conflict(response, path)
        return to_precondition_result(response)

    async def delete(self, path: str, *, if_match: str | None = None) -> DeleteResult | Refusal:
        if if_match is None:
            response = await self._send("delete_object", path, {})
            if isinstance(response, ExpectedFailure) and response.status == 409:
                raise UnavailableError(f"DeleteObject on s3://{self.bucket}/{path} failed: {response}")
            return DeleteResult()
        response = await self._send("delete_object", path, {"IfMatch": if_match}, no_retry=True)
        return DeleteResult() if isinstance(response, S3Response) else to_precondition_result(response)

    async def delete_many(
        self, paths: Sequence[str], *, if_match: Sequence[str] | None = None
    ) -> tuple[DeleteFailure, ...]:
        objects = [{"Key": path} for path in paths]
        for item, etag in zip(objects, if_match or (), strict=False):
            item["ETag"] = etag
        response = await self._send(
            "delete_objects",
            None,
            {"Delete": {"Objects": objects, "Quiet": True}},
            prefix=common_folder(paths),
            no_retry=if_match is not None,
        )
        if isinstance(response, ExpectedFailure):
            raise UnavailableError(f"DeleteObjects on s3://{self.bucket}/{common_folder(paths)} failed: {response}")
        errors = response.fields.get("Errors", ())
        if not {_text(item, "Key") for item in errors} <= set(paths):
            raise unexpected_response("about other objects than those to delete", response.endpoint)
        if if_match is None:
            # Some stores report what was not there to delete.
            errors = [item for item in errors if _text(item, "Code") not in _ABSENT_CODES]
        return tuple(_delete_failure(item, self.bucket) for item in errors)

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> PutResult | Refusal:
        parameters = {
            "CopySource": {"Bucket": self.bucket, "Key": path},
            "CopySourceIfMatch": source_if_match,
            "IfMatch": if_match,
            "MetadataDirective": "REPLACE",
            # The tags of a scanner would take permissions of their own to copy.
            "TaggingDirective": "REPLACE",
        }
        response = await self._send("copy_object", path, parameters, no_retry=True)
        if isinstance(response, S3Response):
            return PutResult(S3Response(response.field("CopyObjectResult"), endpoint=response.endpoint).field("ETag"))
        return to_precondition_result(response)

    async def list_page(
        self,
        prefix: str,
        token: object = None,
        *,
        folders: bool = False,
        start_after: str = "",
        end_before: str | None = None,
    ) -> Page:
        parameters: dict[str, Any] = {"Prefix": prefix}
        if token is not None:
            parameters["ContinuationToken"] = token
        if folders:
            parameters["Delimiter"] = "/"
        if start_after:
            parameters["StartAfter"] = start_after
        response = await self._send("list_objects_v2", None, parameters, prefix=prefix)
        if isinstance(response, ExpectedFailure):
            raise listing_error(S3Request("list_objects_v2", self.bucket, prefix, {}), response, self._connection.where)
        listed = tuple(_object_meta(item, prefix) for item in response.fields.get("Contents", ()))
        wanted = listed if end_before is None else tuple(item for item in listed if item.path < end_before)
        next_token = _text(response.fields, "NextContinuationToken") or None
        is_truncated = _is_truncated(response, len(listed), next_token)
        prefixes = tuple(_checked(item.get("Prefix", ""), prefix) for item in response.fields.get("CommonPrefixes", ()))
        if is_truncated and not (listed or next_token):
            raise UnavailableError(f"A listing of s3://{self.bucket}/{prefix} is truncated, but empty")
        is_continued = is_truncated and len(wanted) == len(listed)
        return Page(wanted, is_continued, ServerTime(response.date), next_token if is_continued else None, prefixes)

    async def _send(
        self, method: str, path: str | None, parameters: dict[str, Any], *, prefix: str = "", no_retry: bool = False
    ) -> S3Response | ExpectedFailure:
        """Send a request about the object `path`, or, if it is None, about the objects under `prefix`."""
        target = {"Bucket": self.bucket} if path is None else {"Bucket": self.bucket, "Key": path}
        where = self._connection.where
        return await self.send(S3Request(method, self.bucket, path or prefix, target | parameters, no_retry, where))


def _stored_object(response: S3Response, byte_range: tuple[int, int] | None = None) -> StoredObject:
    fields, body = response.fields, response.body
    etag, last_modified = response.etag, require_time(response.field("LastModified"), response.endpoint)
    size = fields.get("ContentLength", len(body))
    if log_status(fields) == PARTIAL_CONTENT:
        size = _full_size(response, byte_range)
    elif byte_range is not None and byte_range[0]:
        # A response with all of the object to a request for a part of it.
        body = body[byte_range[0] : byte_range[1] + 1]
    return StoredObject(body, etag, size, last_modified, ServerTime(response.date))


def _full_size(response: S3Response, byte_range: tuple[int, int] | None) -> int:
    """Return the size of the object of which the response has a part. Raises an error if it is another part."""
    part = _PART.fullmatch(response.fields.get("ContentRange", ""))
    if byte_range is None or part is None or int(part[1]) != byte_range[0]:
        raise unexpected_response("with another part of the object", response.endpoint)
    return int(part[2])


def _delete_failure(item: Mapping[str, Any], bucket: str) -> DeleteFailure:
    path, code = _text(item, "Key"), _text(item, "Code")
    line = _STATUS_LINE.fullmatch(code)
    code = safe_error_code(code if line is None else line[2].replace(" ", ""))
    request = S3Request("delete_objects", bucket, path, {})
    if code in _REJECTED_DELETE_CODES:
        return DeleteFailure(path, ConflictError(f"{request} was rejected: {code}"), rejected=True)
    status = _STATUS_BY_CODE.get(code, 400) if line is None else int(line[1])
    return DeleteFailure(path, error_for_status(status, code, _text(item, "Message"), request))


def _is_truncated(response: S3Response, listed: int, next_token: str | None) -> bool:
    """Return whether more follows a page. Raises as `S3Response.field` does where it is not a page of a listing."""
    if response.fields.keys().isdisjoint(_LISTING_FIELDS):
        response.field("IsTruncated")
    flag = response.fields.get("IsTruncated")
    # A full page with a token is not the last one, whatever the store says.
    is_full = listed >= PAGE_SIZE and (next_token is not None or flag is None)
    return is_full or (next_token is not None if flag is None else bool(flag))


def _text(item: Mapping[str, Any], name: str) -> str:
    """Return the text of an element; empty if there is none, or if it is repeated."""
    text = item.get(name)
    return text if isinstance(text, str) else ""


def _object_meta(item: Mapping[str, Any], prefix: str) -> ObjectMeta:
    try:
        meta = ObjectMeta(item["Key"], _text(item, "ETag"), item["Size"], item["LastModified"])
    except KeyError as error:
        raise UnavailableError(f"Unexpected listing without {error}: a proxy or gateway may be in between") from None
    _checked(meta.path, prefix)
    return meta


def _checked(path: str, prefix: str) -> str:
    if not isinstance(path, str) or not path.startswith(prefix):
        raise UnavailableError(f"Unexpected listing of {prefix!r} with {path!r}: a proxy or gateway may be in between")
    return path
