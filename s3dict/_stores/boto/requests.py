"""S3 as calls and answers: what each request of the protocol is in botocore's words, written once for boto3 and
aioboto3.

Nothing here does I/O: a store made of this sends a `Call` and hands back an `Answer`, or the vendor's exception,
which is translated into one of ours in this one place.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from hashlib import md5
from typing import Any

from ...errors import Error, InvalidError, NotFoundError, UnavailableError, UnsupportedStoreError
from ..base import Body, Deleted, Found, Listed, NotDeleted, NotModified, Page, Reason, Refused, SilenceError, Written
from ..shared import request_log as log

SENDINGS = 4
"""How often a request without a condition is sent before the store counts as unavailable."""
CONNECT_SECONDS = 5.0
"""How long a connection is waited for, at most; an answer, for the client's `timeout`."""
FIRST_PAUSE = 0.25
LONGEST_CODE = 48

_TRY_AGAIN = frozenset({"ConditionalRequestConflict", "OperationAborted"})
_THROTTLED = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"})
_BROKEN_OFF = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest"})
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"}
    | {"SSOError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "LoginRefreshRequired", "NoAuthTokenError"}
)
_NEVER_SENT = frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ProxyConnectionError"})
_SILENCE = frozenset(
    {"ReadTimeoutError", "AioReadTimeoutError", "SocketTimeoutError", "ServerTimeoutError", "TimeoutError"}
)
_STATUS_OF_LINES = {
    "AccessDenied": 403,
    "InternalError": 500,
    **dict.fromkeys(("ServiceUnavailable", "SlowDownWrite"), 503),
}
_SIZE = re.compile(r"[0-9]{1,19}")
_NO_S3_ANSWER = frozenset({"ResponseParserError", "FlexibleChecksumError"})


@dataclass(frozen=True, slots=True)
class Call:
    """One request: botocore's name for the method, its parameters, and whether it must not be sent twice."""

    method: str
    bucket: str
    path: str
    parameters: Mapping[str, Any] = field(repr=False)
    once: bool = False

    @property
    def operation(self) -> str:
        return "".join(word.capitalize() for word in self.method.split("_"))

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.path}"

    def __str__(self) -> str:
        return f"{self.operation} on {self.url}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer: botocore's parsed fields, and the body read to its end, for which it was asked `again`."""

    fields: Mapping[str, Any] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    again: int = 0

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
class Declined:
    """An answer that is no failure, only not a 2xx: nothing there, not modified, a condition that did not hold."""

    status: int
    code: str

    def __str__(self) -> str:
        return f"{self.status} {self.code}".rstrip()


def pause(sending: int) -> float:
    """Seconds to wait before the sending of that number, from 0: none before the first, longer at random each time."""
    if sending == 0:
        return 0
    import random

    return random.uniform(0, FIRST_PAUSE * 2**sending)


def parse_date(header: str | None) -> datetime:
    """The time in a Date header. Raises UnsupportedStoreError when there is none."""
    try:
        return _parse_http_date(header or "")
    except (ValueError, TypeError):
        raise UnsupportedStoreError("The store tells no time: leases and ages are counted by its Date header") from None


def options(*, custom_endpoint: bool, concurrency: int, timeout: float, once: bool) -> dict[str, Any]:
    """Arguments of botocore's Config. AWS keeps botocore's defaults; many other servers cannot take two of them."""
    chosen: dict[str, Any] = {
        "retries": {"mode": "standard", "total_max_attempts": 1 if once else SENDINGS},
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


def send_at_once(client: Any) -> None:
    """Lets a PUT carry its body along, instead of asking the server first (Expect: 100-continue) and waiting."""
    from botocore.handlers import add_expect_header

    client.meta.events.unregister("before-call.s3", add_expect_header)


def count_sendings(client: Any) -> None:
    """Has exceptions know how often the request was sent; botocore tells that only with an answer."""
    client.meta.events.register("needs-retry.s3", _note_sendings)


def _note_sendings(attempts: int, caught_exception: Any, **_: Any) -> None:
    if caught_exception is not None:
        caught_exception.sendings = attempts


def tune(session: Any) -> None:
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
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=timezone.utc)


@lru_cache(maxsize=256)
def _parse_http_date(value: str) -> datetime:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(value)


@lru_cache(maxsize=4)
def _loader(data_path: str | None) -> Any:
    from botocore.loaders import create_loader

    return create_loader(data_path)


class S3Requests:
    """The requests of the protocol over any way of sending a `Call`."""

    bucket: str
    timeout: float

    async def exchange(self, call: Call) -> Answer:
        """Sends the request, and gives a 2xx answer. Raises the vendor's exception for any other, and for none."""
        raise NotImplementedError

    async def send(self, call: Call) -> Answer | Declined:
        """The answer to the request. Raises one of our errors where there is none, or one that will not do."""
        began, told = log.start(), (log.NO_ANSWER, 0)
        try:
            answer = await self.exchange(call)
            told = _told(answer.fields, answer.again) if began else told
            return answer
        except Exception as error:
            told = _told_by(error) if began else told
            failure = error
        finally:
            if began:
                log.write(call.operation, call.url, began, *told)
        try:
            # Out here ours has no context: a driver's exception that cannot be shown must not hang on there either.
            return decline(failure, call)
        finally:
            # Its traceback leads back here: together they would keep the request's body until the next collection.
            del failure

    async def get(
        self, path: str, *, if_none_match: str | None = None, byte_range: tuple[int, int] | None = None
    ) -> Found | NotModified | None:
        parameters: dict[str, Any] = {}
        if if_none_match is not None:
            parameters["IfNoneMatch"] = if_none_match
        if byte_range is not None:
            parameters["Range"] = f"bytes={byte_range[0]}-{byte_range[1]}"
        answer = await self._send("get_object", path, parameters)
        if isinstance(answer, Answer):
            return _found(answer)
        if answer.status == 416:
            # The object ends before the range begins: it is shorter than anything of ours, and the caller judges that.
            return await self.get(path, if_none_match=if_none_match)
        if answer.status == 304:
            return NotModified()
        check_absent(answer, path)
        return None

    async def head(self, path: str) -> Found | None:
        answer = await self._send("head_object", path, {})
        if isinstance(answer, Answer):
            return _found(answer)
        check_absent(answer, path)
        return None

    async def put(
        self, path: str, body: Body, *, if_match: str | None = None, if_none_match: bool = False
    ) -> Written | Refused:
        # Without a digest, SeaweedFS takes a PUT whose sender dies between head and body for one of an empty object.
        parameters: dict[str, Any] = {"Body": body, "ContentMD5": _content_md5(body)}
        if if_match is not None:
            parameters["IfMatch"] = if_match
        if if_none_match:
            parameters["IfNoneMatch"] = "*"
        answer = await self._send("put_object", path, parameters, once=True)
        if isinstance(answer, Answer):
            return Written(answer.field("ETag"))
        if if_match is None and not if_none_match:
            check_conflict(answer, path)
        return refused(answer)

    async def delete(self, path: str, *, if_match: str | None = None) -> Deleted | Refused:
        if if_match is None:
            answer = await self._send("delete_object", path, {})
            if isinstance(answer, Declined) and answer.status == 409:
                raise UnavailableError(f"DeleteObject on s3://{self.bucket}/{path} was answered {answer}")
            return Deleted()
        answer = await self._send("delete_object", path, {"IfMatch": if_match}, once=True)
        return Deleted() if isinstance(answer, Answer) else refused(answer)

    async def delete_many(self, paths: Sequence[str]) -> tuple[NotDeleted, ...]:
        objects = [{"Key": path} for path in paths]
        answer = await self._send(
            "delete_objects", None, {"Delete": {"Objects": objects, "Quiet": True}}, where=folder(paths)
        )
        if isinstance(answer, Declined):
            raise UnavailableError(f"DeleteObjects was answered {answer}")
        return tuple(_not_deleted(line, self.bucket) for line in answer.fields.get("Errors", ()))

    async def copy(self, path: str, *, source_if_match: str, if_match: str) -> Written | Refused:
        parameters = {
            "CopySource": {"Bucket": self.bucket, "Key": path},
            "CopySourceIfMatch": source_if_match,
            "IfMatch": if_match,
            "MetadataDirective": "REPLACE",
        }
        answer = await self._send("copy_object", path, parameters, once=True)
        if isinstance(answer, Answer):
            return Written(Answer(answer.field("CopyObjectResult")).field("ETag"))
        return refused(answer)

    async def list_page(self, prefix: str, *, after: str = "", until: str | None = None) -> Page:
        parameters = {"Prefix": prefix, "StartAfter": after} if after else {"Prefix": prefix}
        answer = await self._send("list_objects_v2", None, parameters, where=prefix)
        if isinstance(answer, Declined):
            raise UnavailableError(f"ListObjectsV2 was answered {answer}")
        listed = tuple(_listed(line, prefix) for line in answer.fields.get("Contents", ()))
        wanted = listed if until is None else tuple(line for line in listed if line.path < until)
        truncated = answer.field("IsTruncated")
        if truncated and not listed:
            raise UnavailableError(
                f"A listing of s3://{self.bucket}/{prefix} says that more follows, and shows nothing"
            )
        return Page(wanted, truncated and len(wanted) == len(listed), answer.date)

    async def _send(
        self, method: str, path: str | None, parameters: dict[str, Any], *, where: str = "", once: bool = False
    ) -> Answer | Declined:
        """Sends a request about an object, or, where there is no `path`, about what lies at `where`."""
        addressed = {"Bucket": self.bucket} if path is None else {"Bucket": self.bucket, "Key": path}
        return await self.send(Call(method, self.bucket, path or where, addressed | parameters, once))


def folder(paths: Sequence[str]) -> str:
    """Where the objects of a bulk deletion lie."""
    return paths[0].rpartition("/")[0] + "/" if paths else ""


def _content_md5(body: Body) -> str:
    return b64encode(md5(body, usedforsecurity=False).digest()).decode()


def _found(answer: Answer) -> Found:
    fields = answer.fields
    whole = fields.get("ContentRange", "").rpartition("/")[2]
    size = int(whole) if _SIZE.fullmatch(whole) else fields.get("ContentLength", len(answer.body))
    return Found(answer.body, answer.field("ETag"), size, answer.field("LastModified"), answer.date)


def check_absent(answer: Declined, path: str) -> None:
    """Only a 404 says that nothing is there; a 409 or 412 to a read says nothing of the kind."""
    if answer.status != 404:
        raise UnavailableError(f"A read of {path!r} was answered {answer}")


def _not_deleted(line: Mapping[str, Any], bucket: str) -> NotDeleted:
    path, code = line.get("Key", ""), checked_code(line.get("Code", ""))
    call = Call("delete_objects", bucket, path, {})
    return NotDeleted(path, refusal(_STATUS_OF_LINES.get(code, 400), code, line.get("Message", ""), call))


def check_conflict(answer: Declined, path: str) -> None:
    """Nothing was asked that could fail to hold: other than a 409, this is not S3 speaking, but what stands before."""
    if answer.status != 409:
        raise UnavailableError(f"A put of {path!r} was answered {answer}", sent=False)


def _listed(line: Mapping[str, Any], prefix: str) -> Listed:
    try:
        listed = Listed(line["Key"], line.get("ETag", ""), line["Size"], line["LastModified"])
    except KeyError as error:
        raise UnavailableError(f"A listing without {error} is not one of S3: what stands between?") from None
    if not listed.path.startswith(prefix):
        raise UnavailableError(f"A listing of {prefix!r} shows {listed.path!r}: what stands between is not S3")
    return listed


def refused(answer: Declined) -> Refused:
    # "If-Match on a missing object" is 404 on some servers and 412 on others; both mean that it is not there.
    return Refused(Reason.CONFLICT if answer.status == 409 else Reason.CONDITION)


def _told(fields: Mapping[str, Any], again: int = 0) -> tuple[log.Status, int]:
    """The status of an answer, and how often the request was sent again."""
    about = fields.get("ResponseMetadata", {})
    return about.get("HTTPStatusCode", log.NOT_CLEAR), about.get("RetryAttempts", 0) + again


def _told_by(error: Exception) -> tuple[log.Status, int]:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return _told(response)
    if type(error).__name__ in _NO_CREDENTIALS:
        return log.NOT_SENT, 0
    return log.NO_ANSWER, getattr(error, "sendings", 1) - 1


def decline(error: Exception, call: Call) -> Declined:
    """What the vendor's exception says where it is no failure. Raises one of ours, from it, for everything else."""
    verdict = _verdict(error, call)
    if verdict is None:
        raise error
    if isinstance(verdict, Declined):
        return verdict
    from ..shared.redaction import made_harmless

    raise verdict from made_harmless(error)


def _verdict(error: Exception, call: Call) -> Declined | Error | None:
    """None for what is no vendor's exception but a mistake of somebody's."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict) or "Error" not in response:
        return _failure(error, call)
    if getattr(error, "operation_name", call.operation) not in (call.operation, "CreateSession", "HeadBucket"):
        # A provider of credentials (SSO, STS) asked a service of its own: its 404 is not the store's.
        from ..shared.access_denied import no_credentials

        return no_credentials(call, str(error))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return judge(status, str(response["Error"].get("Code", "")), str(response["Error"].get("Message", "")), call)


def judge(status: int, code: str, message: str, call: Call) -> Declined | Error:
    """What an answer other than 2xx is: no failure, or this error of ours."""
    code = checked_code(code)
    missing = status == 404 and code != "NoSuchBucket"
    if status in (304, 412, 416) or missing or (status == 409 and code in _TRY_AGAIN):
        return Declined(status, code)
    return refusal(status, code, message, call)


def checked_code(code: str) -> str:
    """An error's code as S3 has them, such as NoSuchKey; empty for what is none, whatever that may be."""
    is_name = code[:1].isupper() and not code.isupper() and code.replace(".", "").isalnum()
    return code if (is_name and len(code) <= LONGEST_CODE) or (code.isdigit() and len(code) == 3) else ""


def refusal(status: int, code: str, message: str, call: Call) -> Error:
    """An answer that says no, as one of ours."""
    from ..shared.access_denied import NOT_ACCEPTED, denied
    from ..shared.redaction import redacted

    if status in (401, 403) or code in NOT_ACCEPTED:
        return denied(call, status, code, message)
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
        return UnavailableError(f"The store asks to slow down. {said}", sent=False)
    if status >= 500 or status == 408 or code in _BROKEN_OFF:
        return UnavailableError(f"The store failed to answer. {said}")
    return Error(f"The store refused the request. {said}")


def _failure(error: Exception, call: Call) -> Error | None:
    """No answer at all, as one of ours; None for what is no vendor's exception but a mistake of somebody's."""
    from ..shared.access_denied import no_credentials
    from ..shared.redaction import redacted

    kind = type(error).__name__
    if kind in _NO_CREDENTIALS:
        return no_credentials(call, str(error))
    if kind in _SILENCE:
        return silence(call)
    if kind in _NEVER_SENT and _never_connected(error):
        failed = SilenceError if kind == "ConnectTimeoutError" else UnavailableError
        return failed(f"{call}: the store cannot be reached: {redacted(str(error))}", sent=False)
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


def silence(call: Call) -> SilenceError:
    """The error for a request that was sent, and got no answer, or no more of it, for as long as it was waited for."""
    return SilenceError(f"{call}: no answer in time. Client(timeout=...) or S3DICT_TIMEOUT sets how long is waited")


def _never_connected(error: Exception) -> bool:
    """aiobotocore says "cannot connect" also of a connection that broke later; the cause tells them apart."""
    cause = getattr(error, "kwargs", {}).get("error")
    if type(error).__name__ != "EndpointConnectionError" or not type(cause).__module__.startswith("aiohttp"):
        return True
    from aiohttp import ClientConnectorError

    return isinstance(cause, ClientConnectorError)


def _botocore_failure(error: Exception, call: Call) -> Error:
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    from ..shared.redaction import redacted

    broken = isinstance(error, (HTTPClientError, NoConnection, IncompleteReadError))
    if broken or type(error).__name__ in _NO_S3_ANSWER:
        return UnavailableError(f"{call}: the connection broke: {redacted(str(error))}")
    return InvalidError(f"{call}: {redacted(str(error))}")
