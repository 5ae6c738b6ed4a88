"""CreateSession, the request that opens a session of a directory bucket (S3 Express).

It is sent here and not by the drivers, so that all share one session, report it in one way, and know that a failure of
it has applied nothing. obstore would open a session for each of its stores, and could not be made to discard one that
is not accepted; botocore counts the time to its end by the wall clock here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import Error, PermissionDeniedError, UnavailableError, UnsupportedStoreError
from . import request_log as log
from .errors import classify_status, connect_error, not_s3_error, redirect_error, tls_error
from .messages import ExpectedFailure, S3Request, parse_date, parse_retry_after, xml_text
from .sessions import SessionCredentials

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from .connection import Connection

_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_SERVICE = "s3express"
_MAX_RESPONSE = 1 << 16
_LIFETIME = 300.0
"""What AWS documents; used where the response does not say less."""


def create_session(connection: Connection, timeout: float) -> SessionCredentials:
    """Open a session that may write, or, if the policies do not allow that, one that may read.

    Raises:
        Error: It was not opened. What a session is needed for has not been sent.
    """
    try:
        return _create_session(connection, timeout, "ReadWrite")
    except PermissionDeniedError as error:
        if error.action is None:
            raise
    return _create_session(connection, timeout, "ReadOnly")


def _create_session(connection: Connection, timeout: float, mode: str) -> SessionCredentials:
    request = S3Request("create_session", connection.bucket, "", {}, endpoint=connection.settings.where)
    started, begin, result = log.start_timer(), time.perf_counter(), log.NO_RESPONSE
    try:
        headers, url = _signed(connection, mode)
        status, response_headers, body = _send(connection, request, url, headers, timeout)
        result = status
    finally:
        if started:
            log.log_request(request.operation, request.url, started, result, 0)
        if connection.observer is not None:
            connection.observer.report(request.operation, "", result, time.perf_counter() - begin)
    if not 200 <= status < 300:
        raise _failure(connection, request, status, response_headers, body)
    return _session(request, response_headers, body)


def _send(
    connection: Connection, request: S3Request, url: str, headers: Mapping[str, str], timeout: float
) -> tuple[int, Any, str]:
    from http.client import HTTPException
    from urllib.request import Request

    from .http import opener
    from .redaction import redacted

    settings = connection.settings
    open_url = opener(url, settings.trust, settings.proxy, timeout)
    try:
        response: HTTPResponse
        with open_url(Request(url, headers=dict(headers))) as response:  # noqa: S310 (http or https: validated)
            return response.status, response.headers, response.read(_MAX_RESPONSE).decode("utf-8", "replace")
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        text = str(reason)
        failure = _transport_error(connection, request, reason, redacted(text))
    raise failure


def _transport_error(connection: Connection, request: S3Request, reason: object, text: str) -> Error:
    if isinstance(reason, TimeoutError):
        return connect_error(request, "it did not respond in time", timed_out=True)
    if type(reason).__name__.startswith("SSL"):
        return tls_error(request, str(reason))
    if type(reason).__name__ == "gaierror" and connection.settings.endpoint_url is None:
        zone, region = connection.zone, connection.settings.region
        text = f"{text}. Is the zone {zone} of the bucket's name in the region {region}?"
    return connect_error(request, text)


def _failure(connection: Connection, request: S3Request, status: int, headers: Any, body: str) -> Error:
    if 300 <= status < 400:
        return redirect_error(connection, status, headers.get("Location"), headers.get("x-amz-bucket-region"))
    retry_after = parse_retry_after(headers.get("Retry-After"))
    failure = classify_status(
        status, xml_text("Code", body), xml_text("Message", body), request, retry_after=retry_after
    )
    if isinstance(failure, ExpectedFailure):
        failure = UnavailableError(f"{request} failed: {failure}")
    if isinstance(failure, UnavailableError):
        failure.maybe_applied = False
    return failure


def _session(request: S3Request, headers: Any, body: str) -> SessionCredentials:
    from datetime import datetime
    from xml.sax.saxutils import unescape

    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    access_key, secret_key, token = (unescape(xml_text(name, body)) for name in names)
    try:
        ends = datetime.fromisoformat(xml_text("Expiration", body).replace("Z", "+00:00"))
        lifetime = (ends - parse_date(headers.get("Date"))).total_seconds()
    except (ValueError, TypeError, UnsupportedStoreError):
        lifetime = _LIFETIME
    if not (access_key and secret_key and token):
        failure = not_s3_error(request, "its response to CreateSession has no session")
        failure.maybe_applied = False
        raise failure
    return SessionCredentials(access_key, secret_key, token, lifetime if 0 < lifetime < _LIFETIME else _LIFETIME)


def _signed(connection: Connection, mode: str) -> tuple[dict[str, str], str]:
    """Return the headers of the request and its URL, signed with the client's own credentials (AWS signature 4)."""
    import hmac
    from hashlib import sha256

    settings = connection.settings
    _, _, address = settings.bucket_url.partition("://")
    host, _, path = address.partition("/")
    access_key, secret_key, token = _credentials(connection)
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {name.lower(): value for name, value in connection.arguments.headers}
    headers |= {"host": host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": now}
    headers["x-amz-create-session-mode"] = mode
    if token:
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    lines = [f"{name}:{headers[name]}" for name in sorted(headers)]
    canonical = "\n".join(["GET", f"/{path}", "session=", *lines, "", names, _EMPTY_SHA256])
    scope = [now[:8], settings.region, _SERVICE, "aws4_request"]
    text = "\n".join(["AWS4-HMAC-SHA256", now, "/".join(scope), sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret_key}".encode()
    for part in (*scope, text):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{access_key}/{'/'.join(scope)}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return headers, f"{settings.bucket_url}{'' if path else '/'}?session"


def _credentials(connection: Connection) -> tuple[str, str, str | None]:
    static = connection.settings.credentials
    if static is not None:
        return static.access_key, static.secret_key, static.token
    frozen = connection.boto_credentials().get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token
