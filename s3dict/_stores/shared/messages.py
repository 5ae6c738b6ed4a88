"""A request to S3 and its possible results, in the terms of botocore's operations, for every driver."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ..._record import Record, field
from ..._retry import UnexpectedResponseError
from ...errors import UnavailableError, UnsupportedStoreError
from ..base import Conflict, PreconditionFailed, Refusal

WEAK = "W/"
"""What proxies that may compress a body put before its ETag, which no `If-Match` would match then."""
EPOCH_YEAR = 1970
"""In place of a Last-Modified, of which some gateways and drivers make the beginning of Unix time."""


class S3Request(Record):
    """One request.

    Args:
        method: botocore's name of the method, such as ``get_object``.
        bucket: The bucket's name.
        path: The object's name; for a request about many objects, what their names begin with.
        parameters: botocore's parameters. Other drivers leave out what no error message depends on.
        no_retry: Whether the request must be sent only once.
        endpoint: The endpoint and where it was configured, for error messages.
    """

    method: str
    bucket: str
    path: str
    parameters: Mapping[str, Any] = field(repr=False)
    no_retry: bool = False
    endpoint: str = field(default="", repr=False)

    @property
    def operation(self) -> str:
        return "".join(word.capitalize() for word in self.method.split("_"))

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.path}"

    @property
    def at_endpoint(self) -> str:
        """Where it was sent, and where that was configured, for error messages; empty if it is not known."""
        return f" at {self.endpoint}" if self.endpoint else ""

    def __str__(self) -> str:
        return f"{self.operation} on {self.url}"


class S3Response(Record):
    """A 2xx response: botocore's parsed fields, the complete body, and the endpoint for error messages."""

    fields: Mapping[str, Any] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    endpoint: str = field(default="", repr=False)

    @property
    def date(self) -> datetime:
        return parse_date(self.fields.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))

    @property
    def etag(self) -> str:
        """The ETag in the headers, as the store made it. Raises as `field` does."""
        etag: str = self.field("ETag")
        return etag.removeprefix(WEAK)

    def field(self, name: str) -> Any:
        """Return a field that every S3 server sends, once and with a value.

        Raises:
            UnexpectedResponseError: The response lacks it, so it is not from an S3 server.
        """
        value = self.fields.get(name)
        if value is None or value == "" or isinstance(value, list):
            raise unexpected_response(f"without {name}", self.endpoint)
        return value


def unexpected_response(reason: str, endpoint: str) -> UnexpectedResponseError:
    """Return the error for a response that is not that of an S3 server."""
    return UnexpectedResponseError(
        f"Unexpected response {reason} from {endpoint or 'the endpoint'}: a proxy or gateway may be in between"
    )


def require_time(last_modified: datetime, endpoint: str) -> datetime:
    """Return the time of an object. Raises UnexpectedResponseError for what some gateways report in its place."""
    if last_modified.year == EPOCH_YEAR:
        raise unexpected_response("without Last-Modified, or with 1970 in its place,", endpoint)
    return last_modified


class ExpectedFailure(Record):
    """A response other than 2xx that the protocol expects: 304, 404, 409, 412 or 416."""

    status: int
    code: str

    def __str__(self) -> str:
        return f"{self.status} {self.code}".rstrip()


def parse_date(header: str | None) -> datetime:
    """Return the time in a Date header.

    Raises:
        UnsupportedStoreError: The header is missing or malformed.
    """
    try:
        return parse_http_date(header or "")
    except (ValueError, TypeError, OverflowError):
        raise UnsupportedStoreError(
            "The store's responses lack a valid Date header, by which leases and ages are counted"
        ) from None


@lru_cache(maxsize=256)
def parse_http_date(value: str) -> datetime:
    """Return the time in HTTP's date format. Raises ValueError, TypeError or OverflowError for any other."""
    from email.utils import parsedate_to_datetime

    if not re.search(r":\d\d:\d\d", value):
        raise ValueError(f"Cut off, or no time: {value!r}")
    parsed = parsedate_to_datetime(value)
    # The zone -0000 is UTC, of a server that does not report its own.
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)


def parse_retry_after(header: str | None) -> float | None:
    """Return the seconds in a Retry-After header, which contains a number or a time; None for anything else."""
    try:
        return float(int(header or ""))
    except ValueError:
        pass
    except OverflowError:
        return math.inf
    try:
        return max(0.0, (parse_http_date(header or "") - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def xml_text(name: str, document: str) -> str:
    """Return the text of the first element of that name in a document of S3; an empty string if there is none."""
    # No two parts that may match the same characters follow each other: a body of blanks would take minutes.
    tag, text = rf"(?:[\w.-]+:)?{name}", r"(?:\s*<!\[CDATA\[([^<]*?)\]\]>\s*|([^<]*))"
    found = re.search(rf"<{tag}(?:\s[^<>]*)?>{text}</{tag}\s*>", document)
    return (found[1] or found[2] or "").strip() if found else ""


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder of the objects of a bulk deletion."""
    return paths[0].rpartition("/")[0] + "/" if paths else ""


def require_not_found(failure: ExpectedFailure, path: str) -> None:
    """Accept a failed read as "no such object" only if it was a 404; a 409 or 412 does not mean that."""
    if failure.status != 404:
        raise UnavailableError(f"A read of {path!r} failed: {failure}")


def require_conflict(failure: ExpectedFailure, path: str) -> None:
    """Accept the failure of a put without a condition only if it was a 409: no other can come from S3."""
    if failure.status != 409:
        raise UnavailableError(
            f"A put of {path!r} failed: {failure}: a proxy or gateway may be in between", maybe_applied=False
        )


def to_precondition_result(failure: ExpectedFailure) -> Refusal:
    # If-Match on a missing object is 404 on some servers and 412 on others; both mean that the condition failed.
    return Conflict(failure.code) if failure.status == 409 else PreconditionFailed()
