"""What servers, proxies and credential providers say, and which error of ours it becomes."""

from __future__ import annotations

import asyncio
import gc
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ResponseStreamingError, SSOTokenLoadError
from botocore.utils import parse_timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from s3dict import (
    Client,
    ConflictError,
    Dict,
    Error,
    InvalidError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
    UncertainOutcomeError,
    UnsupportedStoreError,
)
from s3dict._core.conditional import WriteIds, conditional_put
from s3dict._retry import RetryPolicies
from s3dict._stores.boto.errors import translate_exception
from s3dict._stores.boto.requests import S3Requests
from s3dict._stores.boto.session import parse_time
from s3dict._stores.shared.connection import Connection, ConnectionArguments
from s3dict._stores.shared.errors import broken_connection_error, classify_status, connect_error, timeout_error
from s3dict._stores.shared.messages import (
    ExpectedFailure,
    S3Request,
    S3Response,
    parse_date,
    parse_retry_after,
    to_precondition_result,
)
from s3dict._stores.shared.threads import ThreadRuntime, run_blocking

from ..support.modes import Driver, Endpoint, Harness, Mode, collect
from ..support.retries import quick

CALL = S3Request("get_object", "bucket", "path", {})


def said(status: int, code: str, operation: str = "GetObject") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "so it says"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, "NoSuchKey"),
        (304, "304"),
        (412, "PreconditionFailed"),
        (416, "InvalidRange"),
        (409, "ConditionalRequestConflict"),
        (409, "OperationAborted"),
    ],
)
def test_expected_failure_is_a_response(status: int, code: str) -> None:
    assert translate_exception(said(status, code), CALL) == ExpectedFailure(status, code)


@pytest.mark.parametrize("code", ["ConcurrentModification", "Conflict", "ObjectAlreadyExists", ""])
@pytest.mark.parametrize("method", ["put_object", "copy_object", "delete_object"])
def test_409_of_any_code_to_a_write_of_an_object_is_a_conflict(method: str, code: str) -> None:
    """Only AWS documents one code for it. Hitachi Content Platform and DataCore Swarm document the status alone."""
    assert classify_status(409, code, "", S3Request(method, "bucket", "path", {})) == ExpectedFailure(409, code)


@pytest.mark.parametrize(
    ("method", "code", "message"),
    [
        ("put_object", "InvalidBucketState", ""),
        ("put_object", "FileImmutable", "The object is immutable"),
        ("create_bucket", "BucketAlreadyExists", ""),
        ("get_object", "Conflict", ""),
    ],
)
def test_409_that_lasts_is_an_error(method: str, code: str, message: str) -> None:
    assert type(classify_status(409, code, message, S3Request(method, "bucket", "path", {}))) is Error


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), ("-1", -1.0), ("1.5", None), ("soon", None), ("9" * 400, math.inf), ("9" * 9999, None)],
)
def test_retry_after_of_any_form_is_read(header: str, seconds: float | None) -> None:
    assert parse_retry_after(header) == seconds


def test_retry_after_may_be_a_time_without_a_zone() -> None:
    assert parse_retry_after("Mon, 09 Nov 1998 16:16:12 -0000") == 0.0


@pytest.mark.parametrize("zone", [" GMT", " -0000", " +0000", ""])
def test_date_without_a_zone_is_in_utc(zone: str) -> None:
    assert parse_date(f"Mon, 09 Nov 2026 16:16:12{zone}") == datetime(2026, 11, 9, 16, 16, 12, tzinfo=UTC)


@pytest.mark.parametrize("date", [None, "0", "Mon, 09 Nov 2026 16:16:12 +99999999999999"])
def test_date_that_is_none_is_an_error(date: str | None) -> None:
    with pytest.raises(UnsupportedStoreError, match="valid Date header"):
        parse_date(date)


@pytest.mark.parametrize("fields", [{}, {"CopyObjectResult": {}}])
def test_copy_response_without_etag_is_unexpected(fields: dict[str, Any]) -> None:
    """`rclone serve s3` gives one: the copy is there, but under an unknown ETag."""

    class Telling(S3Requests):
        async def send(self, request: S3Request) -> S3Response | ExpectedFailure:
            return S3Response(fields)

    with pytest.raises(UnavailableError, match="Unexpected response"):
        run_blocking(
            Telling(Connection(ConnectionArguments("bucket")), ThreadRuntime(1)).copy(
                "path", source_if_match="e", if_match="e"
            )
        )


@pytest.mark.parametrize(
    ("status", "code", "kind", "maybe_applied"),
    [
        (404, "NoSuchBucket", NotFoundError, None),
        (403, "AccessDenied", PermissionDeniedError, None),
        (403, "403", PermissionDeniedError, None),
        (401, "Unauthorized", PermissionDeniedError, None),
        (400, "ExpiredToken", PermissionDeniedError, None),
        (400, "InvalidToken", PermissionDeniedError, None),
        (400, "AuthorizationHeaderMalformed", PermissionDeniedError, None),
        (301, "PermanentRedirect", InvalidError, None),
        (400, "IllegalLocationConstraintException", InvalidError, None),
        (501, "NotImplemented", UnsupportedStoreError, None),
        (500, "InternalError", UnavailableError, True),
        (503, "ServiceUnavailable", UnavailableError, True),
        (503, "SlowDown", UnavailableError, False),
        (429, "TooManyRequests", UnavailableError, False),
        (503, "TotalQpsLimitExceeded", UnavailableError, False),
        (503, "UploadTrafficRateLimitExceeded", UnavailableError, False),
        (400, "RequestTimeout", UnavailableError, True),
        (408, "", UnavailableError, True),
        (400, "BadDigest", UnavailableError, True),
        (400, "InvalidArgument", Error, None),
    ],
)
def test_every_failure_is_an_s3dict_error(
    status: int, code: str, kind: type[Error], maybe_applied: bool | None
) -> None:
    with pytest.raises(kind) as caught:
        translate_exception(said(status, code), CALL)
    assert isinstance(caught.value, kind)
    assert isinstance(caught.value.__cause__, ClientError)
    assert getattr(caught.value, "maybe_applied", None) == maybe_applied


@pytest.mark.parametrize("aio", [False, True])
def test_host_that_botocore_does_not_take_is_invalid_and_nothing_was_sent(aio: bool) -> None:
    d: Dict[str, int] = Dict.from_name("d", client=Client("b", endpoint_url="http://my_host:9000", driver="boto3"))
    with pytest.raises(InvalidError, match="Invalid endpoint: http://my_host:9000"):
        asyncio.run(d.get.aio("k")) if aio else d.get("k")


def test_clock_skew_is_named() -> None:
    """The credentials are not what has to be looked at."""
    with pytest.raises(PermissionDeniedError, match="The clock here differs too much from the store's"):
        translate_exception(said(403, "RequestTimeTooSkewed"), CALL)


def test_error_without_a_message_has_none() -> None:
    """botocore reads an empty element as None."""
    answer: Any = {"Error": {"Code": "AccessDenied", "Message": None}, "ResponseMetadata": {"HTTPStatusCode": 403}}
    error = ClientError(answer, "GetObject")
    with pytest.raises(PermissionDeniedError) as caught:
        translate_exception(error, CALL)
    assert "None" not in str(caught.value)


def test_credential_provider_error_is_not_a_store_response() -> None:
    """SSO answers 404 when a role is not assigned: that is no missing key."""
    with pytest.raises(PermissionDeniedError, match="no usable credentials"):
        translate_exception(said(404, "ResourceNotFoundException", "GetRoleCredentials"), CALL)
    with pytest.raises(PermissionDeniedError, match="no usable credentials"):
        translate_exception(SSOTokenLoadError(error_msg="log in first"), CALL)


def test_truncated_body_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match="the connection broke"):
        translate_exception(ResponseStreamingError(error="gone"), CALL)


def test_programming_error_is_propagated() -> None:
    with pytest.raises(ZeroDivisionError):
        translate_exception(ZeroDivisionError(), CALL)


def test_response_without_date_gives_no_server_time() -> None:
    cut_off = ({"date": "Sat, 28 Nov 2026 06:01:4"}, {"date": "Sat, 28 Nov 2026 06:01"})
    for headers in ({}, {"date": "yesterday"}, *cut_off):
        with pytest.raises(UnsupportedStoreError, match="lack a valid Date"):
            _ = S3Response({"ResponseMetadata": {"HTTPHeaders": headers}}).date


@contextmanager
def speaking(answer: bytes) -> Iterator[str]:
    """A server that gives one and the same answer to everything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_speak, args=(listener, answer))
        thread.start()
        yield "http://{}:{}".format(*listener.getsockname())
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _speak(listener: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(1 << 16)
            if answer:
                connection.sendall(answer)
            else:
                # A reset instead of an end: what a server that is killed, or a firewall, leaves of a connection.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def http(status: str, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
async def test_error_names_dict_and_key_and_keeps_the_vendors_as_its_cause(
    mode: Mode, driver: Driver, seaweedfs: Endpoint
) -> None:
    client = Client(seaweedfs.bucket, prefix="causes", endpoint_url=seaweedfs.url, driver=driver)
    d = Harness(client, mode).named("d", create_if_missing=True)
    await d.hydrate()
    client._settings = replace(client._settings, bucket="gone")
    client._stores = type(client._stores)()
    uses: list[Callable[[], Any]] = [
        lambda: d.get("k"),
        lambda: d.put("k", 1),
        lambda: d.put("k", 1, skip_if_exists=True),
    ]
    for use in uses:
        with pytest.raises(NotFoundError, match=r"bucket 'gone' does not exist.*\(Dict 'd', key 'k'\)") as caught:
            await use()
        assert isinstance(caught.value.__cause__, ClientError if driver == "boto3" else FileNotFoundError)


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
class TestBehindSomethingElse:
    """A handle that has found its dict, and something that is not S3 in its place from then on."""

    async def _handle(self, url: str, mode: Mode, driver: Driver, seaweedfs: Endpoint) -> Any:
        made: Dict[Any, Any] = Dict.from_name(
            "d", create_if_missing=True, client=Client(seaweedfs.bucket, prefix="behind", endpoint_url=seaweedfs.url)
        )
        made.hydrate()
        behind = quick(Client(seaweedfs.bucket, prefix="behind", endpoint_url=url, driver=driver), writes=2, requests=1)
        late = Harness(behind, mode).named("d")
        late.wrapped._state.remember(behind, made._state.loaded)
        return late

    async def test_proxy_404_is_not_a_successful_put(
        self, mode: Mode, driver: Driver, seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with speaking(http("404 Not Found", "404 page not found")) as url:
            d = await self._handle(url, mode, driver, seaweedfs)
            with pytest.raises(UnavailableError, match="does not respond like S3"):
                await d.put("k", 1)

    async def test_archived_object_is_not_a_missing_key(
        self, mode: Mode, driver: Driver, seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = "<Error><Code>OperationAborted</Code><Message>try again</Message></Error>"
        with speaking(http("409 Conflict", body)) as url:
            d = await self._handle(url, mode, driver, seaweedfs)
            with pytest.raises(UnavailableError, match="failed: 409 OperationAborted"):
                await d.get("k", "default")

    async def test_html_404_is_not_a_missing_key(
        self, mode: Mode, driver: Driver, seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with speaking(http("200 OK", "<html><br>welcome</html>", "Date: Sun, 22 Nov 2026 00:00:00 GMT")) as url:
            d = await self._handle(url, mode, driver, seaweedfs)
            for use in (
                lambda: d.put("k", 1),
                lambda: d.get("k"),
                lambda: d.contains("k"),
                d.len,
                lambda: collect(d.keys()),
            ):
                with pytest.raises(UnavailableError):
                    await use()

    async def test_connection_reset_after_the_request_is_ambiguous(
        self, mode: Mode, driver: Driver, seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with speaking(b"") as url:
            d = await self._handle(url, mode, driver, seaweedfs)
            with pytest.raises(UncertainOutcomeError):
                await d.put("k", 1, skip_if_exists=True)


def test_conditional_request_is_sent_without_asking_first(seaweedfs: Endpoint) -> None:
    """`Expect: 100-continue` would cost a round trip for each put."""
    client = Client(seaweedfs.bucket, prefix="expect", endpoint_url=seaweedfs.url, driver="boto3")
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
    d["k"] = 1
    seen: list[Any] = []
    store: Any = client._store(aio=False)
    store._client().meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: seen.append(dict(request.headers))
    )
    d["k"] = 2
    d.put("k", 3, skip_if_exists=True)
    assert len(seen) == 2
    assert not [headers for headers in seen if "expect" in map(str.lower, headers)]

    async def aio() -> None:
        await d.put.aio("k", 4)
        store: Any = client._store(aio=True)
        (await store._client()).meta.events.register(
            "before-send.s3.PutObject", lambda request, **_: seen.append(dict(request.headers))
        )
        await d.put.aio("k", 5)

    asyncio.run(aio())
    assert len(seen) == 3
    assert "expect" not in map(str.lower, seen[-1])


@given(st.integers(10**11, 7 * 10**15), st.integers(0, 9))
@example(1_772_323_199_999_000, 3)
def test_times_are_read_as_botocore_reads_them(microseconds: int, digits: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
    fraction = f".{moment.microsecond:06}000"[: digits + 1] if digits else ""
    iso = f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}"
    http = format_datetime(moment, usegmt=True)
    for text in (f"{iso}Z", f"{iso}+00:00", f"{iso}-05:30", http, str(int(moment.timestamp()))):
        assert parse_timestamp(text) == parse_time(text)


def test_time_without_a_zone_is_in_utc() -> None:
    assert parse_time("2026-02-28T12:00:00") == datetime(2026, 2, 28, 12, tzinfo=UTC)


def test_invalid_time_is_rejected_as_by_botocore() -> None:
    with pytest.raises(ValueError, match="never"):
        parse_time("never")


@pytest.fixture
def collected(frozen_heap: None) -> Iterator[Callable[[], list[object]]]:
    """Stop the garbage collector; return all that it would have had to find since then."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)

    def collect() -> list[object]:
        gc.collect()
        return list(gc.garbage)

    yield collect
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def test_rejected_request_is_freed_without_garbage_collection(
    d: Any, collected: Callable[[], list[object]]
) -> None:
    """An exception that a variable of its own traceback leads to would keep the request with it, 100 MiB perhaps."""
    await d.put("k", 1)
    await d.get("missing")
    collected()
    gc.garbage.clear()
    assert await d.get("missing") is None
    assert not await d.put("k", b"v" * 1000, skip_if_exists=True)
    assert [found for found in collected() if type(found) is S3Request or _is_of_a_driver(found)] == []


def _is_of_a_driver(found: object) -> bool:
    kind = type(found)
    from_driver = kind.__module__.startswith(("botocore.", "obstore.")) or kind is FileNotFoundError
    return issubclass(kind, BaseException) and from_driver


AT = S3Request("put_object", "bucket", "path", {}, endpoint="http://127.0.0.1:9 (S3DICT_ENDPOINT_URL)")


@pytest.mark.parametrize(
    ("reason", "endpoint", "is_hinted"),
    [
        ("connection refused", AT.endpoint, True),
        ("connection refused", "https://localhost:9 (AWS_ENDPOINT_URL)", False),
        ("connection refused", f"{AT.endpoint} through the proxy http://127.0.0.1:3128", False),
        ('Failed to connect to proxy URL: "http://127.0.0.1:3128"', AT.endpoint, False),
        ("TLS: the server's certificate has expired", AT.endpoint, False),
    ],
)
def test_local_server_is_offered_where_nothing_else_is_there(reason: str, endpoint: str, is_hinted: bool) -> None:
    request = replace(AT, endpoint=endpoint)
    assert ("s3dict dev" in str(connect_error(request, reason))) is is_hinted
    assert "s3dict dev" not in str(connect_error(request, reason, timed_out=True))


def test_errors_name_the_endpoint_and_what_to_do() -> None:
    throttled = classify_status(503, "SlowDown", "Reduce your rate.", AT)
    advice = "Retry later, or make fewer requests at a time: all in all, or of this key"
    assert str(throttled).endswith(f"503 SlowDown Reduce your rate. {advice}")
    failures = [
        timeout_error(AT),
        broken_connection_error(AT, "reset"),
        *(
            classify_status(403, code, "", AT)
            for code in ("InvalidAccessKeyId", "ExpiredToken", "RequestTimeTooSkewed")
        ),
        classify_status(500, "InternalError", "", AT),
    ]
    assert [failure for failure in failures if f" at {AT.endpoint}" not in str(failure)] == []


def test_conflict_names_the_code_of_the_store() -> None:
    class Rejecting:
        retries = RetryPolicies()
        runtime = ThreadRuntime(1)

        async def put(self, *_: Any, **__: Any) -> Any:
            failure = classify_status(409, "KeyTooBusy", "", AT)
            assert isinstance(failure, ExpectedFailure)
            return to_precondition_result(failure)

    store: Any = Rejecting()
    store.retries = RetryPolicies(writes=replace(RetryPolicies().writes, max_attempts=2, initial_backoff=0.0))
    with pytest.raises(ConflictError, match=r"409 \(KeyTooBusy\)"):
        run_blocking(conditional_put(store, "path", b"", WriteIds(b"id"), if_match="etag"))
