"""S3 as calls and answers: what each request of the protocol is in botocore's words, written once for boto3 and
aioboto3.

Nothing here does I/O: a store made of this sends an `S3Request` and returns an `S3Response`, or the vendor's exception,
which is translated into one of ours in this one place.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import md5
from typing import Any

from ..._retry import DEFAULT_POLICIES, RequestTimeoutError, RetryPolicies, RetryState
from ...errors import Error, InvalidError, NotFoundError, UnavailableError, UnsupportedStoreError
from ..base import (
    Body,
    Conflict,
    DeleteFailure,
    DeleteResult,
    NotModified,
    ObjectMeta,
    Page,
    PreconditionFailed,
    PutResult,
    Refusal,
    Runtime,
    ServerTime,
    StoredObject,
)
from ..shared import request_log as log

CONNECT_SECONDS = 5.0
"""How long a connection is waited for, at most; an answer, for the client's `timeout`."""
MAX_CODE_LENGTH = 48

_CONFLICT_CODES = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"})
_INCOMPLETE_REQUEST_CODES = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest"})
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"}
    | {"SSOError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "LoginRefreshRequired", "NoAuthTokenError"}
)
_CONNECT_EXCEPTIONS = frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"})
_TIMEOUT_EXCEPTIONS = frozenset(
    {"ReadTimeoutError", "AioReadTimeoutError", "SocketTimeoutError", "ServerTimeoutError", "TimeoutError"}
)
_STATUS_BY_CODE = {
    "AccessDenied": 403,
    "InternalError": 500,
    **dict.fromkeys(("ServiceUnavailable", "SlowDownWrite"), 503),
}
_SIZE = re.compile(r"[0-9]{1,19}")
_MALFORMED_RESPONSE_EXCEPTIONS = frozenset({"ResponseParserError", "FlexibleChecksumError"})


@dataclass(frozen=True, slots=True)
class S3Request:
    """One request: botocore's name for the method, its parameters, and whether it must not be sent twice."""

    method: str
    bucket: str
    path: str
    parameters: Mapping[str, Any] = field(repr=False)
    no_retry: bool = False

    @property
    def operation(self) -> str:
        return "".join(word.capitalize() for word in self.method.split("_"))

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.path}"

    def __str__(self) -> str:
        return f"{self.operation} on {self.url}"


@dataclass(frozen=True, slots=True)
class S3Response:
    """A 2xx answer: botocore's parsed fields, and the body read to its end."""

    fields: Mapping[str, Any] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def date(self) -> datetime:
        return parse_date(self.fields.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))

    def field(self, name: str) -> Any:
        """A field that every S3 server sends. Raises UnavailableError for an answer that is none of S3's."""
        try:
            return self.fields[name]
        except KeyError:
            raise UnavailableError(f"An answer without {name} is not one of S3: what stands between?") from None


@dataclass(frozen=True, slots=True)
class ExpectedFailure:
    """An answer that is no failure, only not a 2xx: nothing there, not modified, a condition that did not hold."""

    status: int
    code: str

    def __str__(self) -> str:
        return f"{self.status} {self.code}".rstrip()


def parse_date(header: str | None) -> datetime:
    """The time in a Date header. Raises UnsupportedStoreError when there is none."""
    try:
        return _parse_http_date(header or "")
    except (ValueError, TypeError):
        raise UnsupportedStoreError("The store tells no time: leases and ages are counted by its Date header") from None


def options(*, custom_endpoint: bool, concurrency: int, timeout: float) -> dict[str, Any]:
    """Arguments of botocore's Config. AWS keeps botocore's defaults; many other servers cannot take two of them.

    botocore retries nothing: it would repeat what must not be repeated, and hide how often it did.
    """
    chosen: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": 1},
        "max_pool_connections": concurrency,
        "connect_timeout": min(CONNECT_SECONDS, timeout),
        "read_timeout": timeout,
        "parameter_validation": False,
        "user_agent_extra": "s3dict",
    }
    if custom_endpoint:
        chosen["s3"] = {"addressing_style": "path"}
        chosen["request_checksum_calculation"] = "when_required"
        chosen["response_checksum_validation"] = "when_required"
    return chosen


def region(chosen: str | None, session: Any, *, custom_endpoint: bool) -> str | None:
    """The region to sign for. A server of one's own seldom cares, but a signature names one."""
    known: str | None = chosen or session.region_name
    return known or ((os.environ.get("AWS_REGION") or "us-east-1") if custom_endpoint else None)


def disable_expect_continue(client: Any) -> None:
    """Lets a PUT carry its body along, instead of asking the server first (Expect: 100-continue) and waiting."""
    from botocore.handlers import add_expect_header

    client.meta.events.unregister("before-call.s3", add_expect_header)


def speed_up(session: Any) -> None:
    """Makes a botocore session of our own quicker, in two ways that it has hooks for.

    All sessions of this process share its model of S3: to read it is nine tenths of what a client costs to make (80
    ms), and each event loop needs a client of its own. And it reads times by `parse_time`, since they are two thirds of
    what a page of a listing costs.
    """
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse_time)


def parse_time(value: Any) -> datetime:
    """The time in one of the forms that S3 uses; botocore's own parser, slow and thorough, for any other."""
    try:
        if value.endswith("GMT"):
            return _parse_http_date(value)
        time = datetime.fromisoformat(value.replace("Z", "+00:00"))
        if time.tzinfo is not None:
            return time
    except (ValueError, TypeError, AttributeError):
        pass
    from botocore.utils import parse_timestamp

    parsed: datetime = parse_timestamp(value)
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


@lru_cache(maxsize=256)
def _parse_http_date(value: str) -> datetime:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(value)


@lru_cache(maxsize=4)
def _loader(data_path: str | None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(data_path)


class S3Requests:
    """The requests of the protocol over any way of sending a `S3Request`."""

    def __init__(
        self, bucket: str, runtime: Runtime, timeout: float, retries: RetryPolicies = DEFAULT_POLICIES
    ) -> None:
        self.bucket = bucket
        self.runtime = runtime
        self.timeout = timeout
        self.retries = retries

    async def _execute(self, call: S3Request) -> S3Response:
        """Send the request once and return a 2xx response. Raises the vendor's exception for any other."""
        raise NotImplementedError

    async def send(self, call: S3Request) -> S3Response | ExpectedFailure:
        """Return the response to the request, which is repeated where `call` allows that.

        Raises:
            Error: no attempt got a response, or the response is a failure.
        """
        retry = RetryState(self.retries.requests, self.runtime, max_attempts=1 if call.no_retry else None)
        began, status = log.start(), log.NO_ANSWER
        try:
            while await retry.next_attempt():
                try:
                    answer = await self._execute(call)
                    status = _log_status(answer.fields)
                    return answer
                except Exception as error:
                    failure = error
                try:
                    status = _log_status_of_error(failure)
                    # Out here ours has no context: a driver's exception that cannot be shown must not hang on there
                    # either.
                    return translate_exception(failure, call)
                except UnavailableError as unavailable:
                    retry.record(unavailable)
                finally:
                    # Its traceback leads back here: together they would keep the request's body until the next
                    # collection.
                    del failure
        finally:
            if began:
                log.write(call.operation, call.url, began, status, retry.retries)
        raise retry.final_error()

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> StoredObject | NotModified | None:
        parameters: dict[str, Any] = {}
        if if_none_match is not None:
            parameters["IfNoneMatch"] = if_none_match
        if byte_range is not None:
            parameters["Range"] = f"bytes={byte_range[0]}-{byte_range[1]}"
        answer = await self._send("get_object", path, parameters)
        if isinstance(answer, S3Response):
            return _found(answer)
        if answer.status == 416:
            # The object ends before the range begins: it is shorter than anything of ours, and the caller judges that.
            return await self.get(path, if_none_match=if_none_match)
        if answer.status == 304:
            return NotModified()
        require_not_found(answer, path)
        return None

    async def head(self, path: str) -> StoredObject | None:
        answer = await self._send("head_object", path, {})
        if isinstance(answer, S3Response):
            return _found(answer)
        require_not_found(answer, path)
        return None

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> PutResult | Refusal:
        # Without a digest, SeaweedFS takes a PUT whose sender dies between head and body for one of an empty object.
        parameters: dict[str, Any] = {"Body": body, "ContentMD5": _content_md5(body)}
        if if_match is not None:
            parameters["IfMatch"] = if_match
        if if_none_match:
            parameters["IfNoneMatch"] = "*"
        answer = await self._send("put_object", path, parameters, no_retry=True)
        if isinstance(answer, S3Response):
            return PutResult(answer.field("ETag"))
        if if_match is None and not if_none_match:
            require_conflict(answer, path)
        return to_precondition_result(answer)

    async def delete(self, path: str, *, if_match: str | None = None) -> DeleteResult | Refusal:
        if if_match is None:
            answer = await self._send("delete_object", path, {})
            if isinstance(answer, ExpectedFailure) and answer.status == 409:
                raise UnavailableError(f"DeleteObject on s3://{self.bucket}/{path} was answered {answer}")
            return DeleteResult()
        answer = await self._send("delete_object", path, {"IfMatch": if_match}, no_retry=True)
        return DeleteResult() if isinstance(answer, S3Response) else to_precondition_result(answer)

    async def delete_many(self, paths: Sequence[str]) -> tuple[DeleteFailure, ...]:
        objects = [{"Key": path} for path in paths]
        answer = await self._send(
            "delete_objects", None, {"Delete": {"Objects": objects, "Quiet": True}}, where=common_folder(paths)
        )
        if isinstance(answer, ExpectedFailure):
            raise UnavailableError(f"DeleteObjects was answered {answer}")
        return tuple(_not_deleted(line, self.bucket) for line in answer.fields.get("Errors", ()))

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> PutResult | Refusal:
        parameters = {
            "CopySource": {"Bucket": self.bucket, "Key": path},
            "CopySourceIfMatch": source_if_match,
            "IfMatch": if_match,
            "MetadataDirective": "REPLACE",
        }
        answer = await self._send("copy_object", path, parameters, no_retry=True)
        if isinstance(answer, S3Response):
            return PutResult(S3Response(answer.field("CopyObjectResult")).field("ETag"))
        return to_precondition_result(answer)

    async def list_page(self, prefix: str, *, start_after: str = "", end_before: str | None = None) -> Page:
        parameters = {"Prefix": prefix, "StartAfter": start_after} if start_after else {"Prefix": prefix}
        answer = await self._send("list_objects_v2", None, parameters, where=prefix)
        if isinstance(answer, ExpectedFailure):
            raise UnavailableError(f"ListObjectsV2 was answered {answer}")
        listed = tuple(_listed(line, prefix) for line in answer.fields.get("Contents", ()))
        wanted = listed if end_before is None else tuple(line for line in listed if line.path < end_before)
        truncated = answer.field("IsTruncated")
        if truncated and not listed:
            raise UnavailableError(
                f"A listing of s3://{self.bucket}/{prefix} says that more follows, and shows nothing"
            )
        return Page(wanted, truncated and len(wanted) == len(listed), ServerTime(answer.date))

    async def _send(
        self, method: str, path: str | None, parameters: dict[str, Any], *, where: str = "", no_retry: bool = False
    ) -> S3Response | ExpectedFailure:
        """Sends a request about an object, or, where there is no `path`, about what lies at `where`."""
        addressed = {"Bucket": self.bucket} if path is None else {"Bucket": self.bucket, "Key": path}
        return await self.send(S3Request(method, self.bucket, path or where, addressed | parameters, no_retry))


def common_folder(paths: Sequence[str]) -> str:
    """Where the objects of a bulk deletion lie."""
    return paths[0].rpartition("/")[0] + "/" if paths else ""


def _content_md5(body: Body) -> str:
    return b64encode(md5(body, usedforsecurity=False).digest()).decode()


def _found(answer: S3Response) -> StoredObject:
    fields = answer.fields
    whole = fields.get("ContentRange", "").rpartition("/")[2]
    size = int(whole) if _SIZE.fullmatch(whole) else fields.get("ContentLength", len(answer.body))
    return StoredObject(answer.body, answer.field("ETag"), size, answer.field("LastModified"), ServerTime(answer.date))


def require_not_found(answer: ExpectedFailure, path: str) -> None:
    """Only a 404 says that nothing is there; a 409 or 412 to a read says nothing of the kind."""
    if answer.status != 404:
        raise UnavailableError(f"A read of {path!r} was answered {answer}")


def _not_deleted(line: Mapping[str, Any], bucket: str) -> DeleteFailure:
    path, code = line.get("Key", ""), safe_error_code(line.get("Code", ""))
    call = S3Request("delete_objects", bucket, path, {})
    return DeleteFailure(path, error_for_status(_STATUS_BY_CODE.get(code, 400), code, line.get("Message", ""), call))


def require_conflict(answer: ExpectedFailure, path: str) -> None:
    """Nothing was asked that could fail to hold: other than a 409, this is not S3 speaking, but what stands before."""
    if answer.status != 409:
        raise UnavailableError(f"A put of {path!r} was answered {answer}", maybe_applied=False)


def _listed(line: Mapping[str, Any], prefix: str) -> ObjectMeta:
    try:
        listed = ObjectMeta(line["Key"], line.get("ETag", ""), line["Size"], line["LastModified"])
    except KeyError as error:
        raise UnavailableError(f"A listing without {error} is not one of S3: what stands between?") from None
    if not listed.path.startswith(prefix):
        raise UnavailableError(f"A listing of {prefix!r} shows {listed.path!r}: what stands between is not S3")
    return listed


def to_precondition_result(answer: ExpectedFailure) -> Refusal:
    # "If-Match on a missing object" is 404 on some servers and 412 on others; both mean that it is not there.
    return Conflict() if answer.status == 409 else PreconditionFailed()


def _log_status(fields: Mapping[str, Any]) -> log.Status:
    status: log.Status = fields.get("ResponseMetadata", {}).get("HTTPStatusCode", log.UNKNOWN)
    return status


def _log_status_of_error(error: Exception) -> log.Status:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return _log_status(response)
    return log.NOT_SENT if type(error).__name__ in _NO_CREDENTIALS else log.NO_ANSWER


def translate_exception(error: Exception, call: S3Request) -> ExpectedFailure:
    """What the vendor's exception says where it is no failure. Raises one of ours, from it, for everything else."""
    verdict = _classify_exception(error, call)
    if verdict is None:
        raise error
    if isinstance(verdict, ExpectedFailure):
        return verdict
    from ..shared.redaction import sanitised

    raise verdict from sanitised(error)


def _classify_exception(error: Exception, call: S3Request) -> ExpectedFailure | Error | None:
    """None for what is no vendor's exception but a mistake of somebody's."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict) or "Error" not in response:
        return _transport_error(error, call)
    if getattr(error, "operation_name", call.operation) not in (call.operation, "CreateSession", "HeadBucket"):
        # A provider of credentials (SSO, STS) asked a service of its own: its 404 is not the store's.
        from ..shared.access_denied import missing_credentials_error

        return missing_credentials_error(call, str(error))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return classify_status(
        status, str(response["Error"].get("Code", "")), str(response["Error"].get("Message", "")), call
    )


def classify_status(status: int, code: str, message: str, call: S3Request) -> ExpectedFailure | Error:
    """What an answer other than 2xx is: no failure, or this error of ours."""
    code = safe_error_code(code)
    missing = status == 404 and code != "NoSuchBucket"
    if status in (304, 412, 416) or missing or (status == 409 and code in _CONFLICT_CODES):
        return ExpectedFailure(status, code)
    return error_for_status(status, code, message, call)


def safe_error_code(code: str) -> str:
    """An error's code as S3 has them, such as NoSuchKey; empty for what is none, whatever that may be."""
    is_valid_name = code[:1].isupper() and not code.isupper() and code.replace(".", "").isalnum()
    return code if (is_valid_name and len(code) <= MAX_CODE_LENGTH) or (code.isdigit() and len(code) == 3) else ""


def error_for_status(status: int, code: str, message: str, call: S3Request) -> Error:
    """An answer that says no, as one of ours."""
    from ..shared.access_denied import CREDENTIAL_ERRORS, access_denied_error
    from ..shared.redaction import redacted

    if status in (401, 403) or code in CREDENTIAL_ERRORS:
        return access_denied_error(call, status, code, message)
    said = f"{call}: {status} {code} {redacted(message)}".rstrip()
    if code == "NoSuchBucket":
        return NotFoundError(
            f"There is no bucket {call.bucket!r} at this endpoint: create it, or mend S3DICT_BUCKET. {said}"
        )
    if status in (405, 501) or code == "NotImplemented":
        return UnsupportedStoreError(f"The store cannot do what was asked. {said}")
    if status in (301, 307):
        return InvalidError(f"The bucket {call.bucket!r} is in another region or behind another endpoint. {said}")
    if status == 429 or code in _THROTTLED:
        return UnavailableError(f"The store asks to slow down. {said}", maybe_applied=False)
    if status >= 500 or status == 408 or code in _INCOMPLETE_REQUEST_CODES:
        return UnavailableError(f"The store failed to answer. {said}")
    return Error(f"The store refused the request. {said}")


def _transport_error(error: Exception, call: S3Request) -> Error | None:
    """No answer at all, as one of ours; None for what is no vendor's exception but a mistake of somebody's."""
    from ..shared.access_denied import missing_credentials_error
    from ..shared.redaction import redacted

    kind = type(error).__name__
    if kind in _NO_CREDENTIALS:
        return missing_credentials_error(call, str(error))
    if kind in _TIMEOUT_EXCEPTIONS:
        return timeout_error(call)
    if kind in _CONNECT_EXCEPTIONS and _never_connected(error):
        failed = RequestTimeoutError if kind == "ConnectTimeoutError" else UnavailableError
        return failed(f"{call}: the store cannot be reached: {redacted(str(error))}", maybe_applied=False)
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("aiohttp", "urllib3"):
        return UnavailableError(f"{call}: the connection broke: {redacted(repr(error))}")
    if type(error).__module__.startswith(("botocore.", "boto3.", "aiobotocore.")):
        return _botocore_failure(error, call)
    if isinstance(error, ValueError):
        said = redacted(str(error))
        if said.startswith("Invalid endpoint"):
            # botocore takes fewer host names than others do: none with an underscore.
            return InvalidError(f"{call}: {said}")
        # So botocore says that a number or a time in an answer is none.
        return UnavailableError(f"{call}: an answer that is not one of S3: what stands between? {said}")
    return None


def timeout_error(call: S3Request) -> RequestTimeoutError:
    """The error for a request that was sent, and got no answer, or no more of it, for as long as it was waited for."""
    return RequestTimeoutError(
        f"{call}: no answer in time. Client(timeout=...) or S3DICT_TIMEOUT sets how long is waited"
    )


def _never_connected(error: Exception) -> bool:
    """aiobotocore says "cannot connect" also of a connection that broke later; the cause tells them apart."""
    cause = getattr(error, "kwargs", {}).get("error")
    if type(error).__name__ != "EndpointConnectionError" or not type(cause).__module__.startswith("aiohttp"):
        return True
    from aiohttp import ClientConnectorError

    return isinstance(cause, ClientConnectorError)


def _botocore_failure(error: Exception, call: S3Request) -> Error:
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    from ..shared.redaction import redacted

    broken = isinstance(error, (HTTPClientError, NoConnection, IncompleteReadError))
    if broken or type(error).__name__ in _MALFORMED_RESPONSE_EXCEPTIONS:
        return UnavailableError(f"{call}: the connection broke: {redacted(str(error))}")
    return InvalidError(f"{call}: {redacted(str(error))}")
