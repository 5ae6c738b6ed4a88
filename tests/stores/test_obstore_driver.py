"""The obstore driver: its errors, its connection to the bucket, and what it leaves to boto3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

obstore = pytest.importorskip("obstore", reason="obstore is for Python 3.11 and later, and so not installed here")

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    InvalidPathError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.exceptions import PermissionDeniedError as ObstorePermissionDeniedError

from s3dict import Client, Dict, Error, InvalidError, NotFoundError, PermissionDeniedError, UnavailableError
from s3dict import UnsupportedStoreError as Unsupported
from s3dict._retry import DEFAULT_POLICIES, RequestTimeoutError
from s3dict._stores.base import PAGE_SIZE, ObjectStore, PreconditionFailed, PutResult, ServerTime, StoredObject
from s3dict._stores.obstore.clients import MEGABYTE, read_timeout
from s3dict._stores.obstore.errors import BareRedirectError, UnrecognisedResponseError, translate_obstore_exception
from s3dict._stores.shared.messages import ExpectedFailure, S3Request
from s3dict._stores.shared.threads import run_blocking

from ..support.http_wire import HttpResponse
from ..support.modes import Endpoint, Harness, Mode, client_at
from ..support.proxy import Fault, FaultKind, Proxy, Request
from ..support.retries import quick
from ..support.time_travel import TimeTravel

CALL = S3Request("put_object", "bucket", "path", {})


def said(kind: type[Exception], status: str, code: str, details: str = "") -> Exception:
    """An exception as obstore words it."""
    body = f"<Error><Code>{code}</Code><Message>so it says</Message></Error>" if code else ""
    text = f"Error performing PUT http://s/b/k in 1ms - Server returned non-2xx status code: {status}: {body}"
    return kind(f"Generic S3 error: {text}\n\nDebug source:\nGeneric {{ {details} }}")


def broken(details: str) -> Exception:
    text = "Error performing PUT http://s/b/k in 1ms - HTTP error: error sending request"
    return GenericError(f"Generic S3 error: {text}\n\nDebug source:\n{details}")


@pytest.mark.parametrize(
    ("kind", "status", "code", "number"),
    [
        (FileNotFoundError, "404 Not Found", "NoSuchKey", 404),
        (PreconditionError, "412 Precondition Failed", "PreconditionFailed", 412),
        (AlreadyExistsError, "412 Precondition Failed", "PreconditionFailed", 412),
        (AlreadyExistsError, "409 Conflict", "ConditionalRequestConflict", 409),
        (GenericError, "416 Range Not Satisfiable", "InvalidRange", 416),
    ],
)
def test_expected_failure_is_a_response(kind: type[Exception], status: str, code: str, number: int) -> None:
    assert translate_obstore_exception(said(kind, status, code), CALL) == ExpectedFailure(number, code)


@pytest.mark.parametrize(
    ("error", "kind", "maybe_applied"),
    [
        (said(FileNotFoundError, "404 Not Found", "NoSuchBucket"), NotFoundError, None),
        (said(ObstorePermissionDeniedError, "403 Forbidden", "AccessDenied"), PermissionDeniedError, None),
        (said(GenericError, "400 Bad Request", "ExpiredToken"), PermissionDeniedError, None),
        (said(GenericError, "501 Not Implemented", "NotImplemented"), Unsupported, None),
        (said(GenericError, "500 Internal Server Error", "InternalError"), UnavailableError, True),
        (said(GenericError, "503 Service Unavailable", "SlowDown"), UnavailableError, False),
        (said(GenericError, "503 Service Unavailable", ""), UnavailableError, True),
        (said(AlreadyExistsError, "409 Conflict", "InvalidBucketState"), Error, None),
        (GenericError("Received redirect without LOCATION, this normally indicates …"), BareRedirectError, None),
        (GenericError("Server returned error response: <Code>InternalError</Code>"), UnavailableError, True),
        (broken('client::legacy::Error(\n   Connect,\n  message: "Connection refused"'), UnavailableError, False),
        (
            broken("client::legacy::Error(\n   Connect,\n  Custom { kind: TimedOut, error: Elapsed"),
            RequestTimeoutError,
            False,
        ),
        (broken("client::legacy::Error(\n   SendRequest, hyper::Error( IncompleteMessage"), UnavailableError, True),
        (broken("kind: Timeout, source: TimedOut"), RequestTimeoutError, True),
        (GenericError("Unable to extract metadata from headers: ETag Header missing"), UnrecognisedResponseError, True),
        (InvalidPathError('Path "a//b" contained empty path segment'), InvalidError, None),
        (UnauthenticatedError("… External AWS credential provider: SSOError: log in"), PermissionDeniedError, None),
    ],
)
def test_every_obstore_failure_is_an_s3dict_error(
    error: Exception, kind: type[Error], maybe_applied: bool | None
) -> None:
    with pytest.raises(kind) as caught:
        translate_obstore_exception(error, CALL)
    assert isinstance(caught.value, kind)
    assert error is caught.value.__cause__
    assert getattr(caught.value, "maybe_applied", None) == maybe_applied


def test_programming_error_is_propagated() -> None:
    with pytest.raises(ZeroDivisionError):
        translate_obstore_exception(ZeroDivisionError(), CALL)


def test_larger_body_is_waited_for_longer() -> None:
    assert 60.0 == read_timeout(0, 60.0) == read_timeout(MEGABYTE, 60.0)
    assert 60.0 < read_timeout(MEGABYTE + 1, 60.0) < read_timeout(100 * MEGABYTE, 60.0)
    assert read_timeout(65 * MEGABYTE, 60.0) == read_timeout(100 * MEGABYTE, 60.0)
    assert 100 * 8 <= read_timeout(100 * MEGABYTE, 0.5) <= 100 * 8 * 4


def test_stray_variables_of_obstore_lead_nowhere_else(seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    stray = {
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_CONDITIONAL_PUT": "disabled",
        "AWS_S3_EXPRESS": "true",
        "AWS_REQUEST_PAYER": "true",
        "AWS_UNSIGNED_PAYLOAD": "true",
        "AWS_BUCKET": "other",
        "AWS_SESSION_TOKEN": "",
    }
    for name, value in stray.items():
        monkeypatch.setenv(name, value)
    client = Client(seaweedfs.bucket, prefix="stray", endpoint_url=seaweedfs.url, driver="obstore")
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
    assert d.put("k", 1, skip_if_exists=True)
    assert d["k"] == 1


class TestChoice:
    def test_obstore_is_taken_where_it_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Client("b").driver == "obstore"
        monkeypatch.setattr("s3dict._client.is_installed", lambda _: False)
        assert Client("b").driver == "boto3"

    def test_missing_obstore_is_reported_with_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("s3dict._config.is_installed", lambda _: False)
        with pytest.raises(InvalidError, match=r"pip install obstore"):
            Client("b", driver="obstore")

    def test_outdated_obstore_is_reported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(obstore, "__version__", "0.9.2")
        d: Dict[str, int] = Dict.from_name("d", client=Client("b", endpoint_url="http://127.0.0.1:1"))
        with pytest.raises(InvalidError, match=r"obstore 0\.9\.2 is too old"):
            d.get("k")


class TestOnTheWire:
    """What is sent, seen between the driver and a server."""

    @pytest.fixture
    def backend(self) -> str:
        return "moto-rust"

    @pytest.fixture
    def client(self, client: Client, proxy: Proxy) -> Client:
        proxied = quick(client_at(proxy.url, client))
        # A process's first write to a custom endpoint is preceded by a HEAD of the bucket.
        run_blocking(proxied._store(aio=False).put(f"{proxied.prefix}/first", b""))
        return proxied

    @pytest.fixture
    def store(self, client: Client, mode: Mode) -> Callable[[], ObjectStore]:
        return lambda: client._store(aio=mode is Mode.ASYNCIO)

    @pytest.mark.parametrize("kind", ["lost-request", "lost-response", "internal-error", "slow-down"])
    @pytest.mark.parametrize("condition", [{}, {"if_none_match": True}, {"if_match": '"e"'}])
    async def test_put_is_sent_once(
        self, store: Callable[[], ObjectStore], client: Client, proxy: Proxy, kind: FaultKind, condition: Any
    ) -> None:
        await store().head(f"{client.prefix}/k")  # a connection is open, and may be used again
        proxy.faults = [Fault(kind, operation="PutObject")]
        with proxy.recording() as requests, pytest.raises(UnavailableError) as caught:
            await store().put(f"{client.prefix}/k", b"1", **condition)
        assert [request.operation for request in requests] == ["PutObject"]
        assert (kind != "slow-down") is caught.value.maybe_applied

    async def test_safe_requests_are_retried(
        self, store: Callable[[], ObjectStore], client: Client, proxy: Proxy
    ) -> None:
        path = f"{client.prefix}/k"
        calls: list[Callable[[], Any]] = [
            lambda: store().get(path),
            lambda: store().head(path),
            lambda: store().list_page(f"{client.prefix}/"),
            lambda: store().delete(path),
            lambda: store().delete_many([path]),
        ]
        for call in calls:
            for kind in ("lost-response", "lost-request", "internal-error", "slow-down"):
                proxy.script(Fault(kind), times=DEFAULT_POLICIES.requests.max_attempts - 1)
                await call()
            proxy.script(Fault("lost-response"), times=DEFAULT_POLICIES.requests.max_attempts)
            with proxy.recording() as requests, pytest.raises(UnavailableError):
                await call()
            assert len(requests) == DEFAULT_POLICIES.requests.max_attempts

    async def test_large_body_is_one_put(self, store: Callable[[], ObjectStore], client: Client, proxy: Proxy) -> None:
        path, body = f"{client.prefix}/large", bytes(range(256)) * 4096 * 12
        with proxy.recording() as requests:
            assert isinstance(await store().put(path, body, if_none_match=True), PutResult)
            found: Any = await store().get(path)
        assert [request.operation for request in requests] == ["PutObject", "GetObject"]
        assert found.body == body

    async def test_page_is_one_request_and_nothing_is_read_ahead(
        self, store: Callable[[], ObjectStore], client: Client, proxy: Proxy
    ) -> None:
        paths = [f"{client.prefix}/in/{number:04}" for number in range(PAGE_SIZE + 1)]
        async for _ in store().runtime.map(lambda path: store().put(path, b""), paths, 16):
            pass
        with proxy.recording() as requests:
            page = await store().list_page(f"{client.prefix}/in/")
            assert (len(page.objects), page.is_truncated) == (PAGE_SIZE, True)
            rest = await store().list_page(f"{client.prefix}/in/", start_after=page.objects[-1].path)
            assert (len(rest.objects), rest.is_truncated) == (1, False)
        assert len(requests) == 2

    async def test_foreign_names_that_obstore_refuses_are_listed_all_the_same(
        self, store: Callable[[], ObjectStore], client: Client, proxy: Proxy
    ) -> None:
        raw = boto3.client("s3", endpoint_url=client.endpoint_url)
        names = ["a", "a//b", "a/../b", "ü %41"]
        for name in names:
            raw.put_object(Bucket=client.bucket, Key=f"{client.prefix}/in/{name}", Body=b"")
        page = await store().list_page(f"{client.prefix}/in/")
        assert {f"{client.prefix}/in/{name}" for name in names} == {line.path for line in page.objects}

    async def test_prefix_that_is_no_folder_is_one_all_the_same(
        self, store: Callable[[], ObjectStore], client: Client
    ) -> None:
        await store().put(f"{client.prefix}/inside", b"")
        assert [line.path for line in (await store().list_page(f"{client.prefix}/in")).objects] == [
            f"{client.prefix}/inside"
        ]

    async def test_failures_of_a_bulk_delete_are_reported_in_full(
        self, store: Callable[[], ObjectStore], client: Client, proxy: Proxy
    ) -> None:
        paths = [f"{client.prefix}/{name}" for name in "ab"]

        def refusing(request: Request, answer: HttpResponse) -> HttpResponse:
            lines = "".join(
                f"<Error><Key>{path}</Key><Code>AccessDenied</Code><Message>no</Message></Error>" for path in paths
            )
            body = f"<DeleteResult>{lines}</DeleteResult>".encode()
            return answer.with_body(body) if request.operation == "DeleteObjects" else answer

        proxy.rewrite = refusing
        kept = await store().delete_many(paths)
        assert [left.path for left in kept] == paths
        for left in kept:
            assert isinstance(left.error, PermissionDeniedError)
            assert left.error.resource == f"arn:aws:s3:::{client.bucket}/{left.path}"

    async def test_deletion_and_copy_on_a_condition_go_through_boto3(
        self, store: Callable[[], ObjectStore], client: Client, proxy: Proxy
    ) -> None:
        path = f"{client.prefix}/k"
        written: Any = await store().put(path, b"1")
        with proxy.recording() as requests:
            assert await store().delete(path, if_match='"wrong"') == PreconditionFailed()
            await store().copy(path, source_if_match=written.etag, if_match=written.etag)
        assert [(request.if_match, request.operation) for request in requests] == [
            ('"wrong"', "DeleteObject"),
            (written.etag, "CopyObject"),
        ]

    def test_connections_serve_threads_and_event_loops_alike(self, client: Client) -> None:
        d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
        for number in range(3):
            d[number] = number
            assert asyncio.run(d.get.aio(number)) == number
        clients: Any = client._stores.obstore_clients
        assert len(clients._prepared.stores) == 1

    def test_short_timeout_clients_share_credentials(self, client: Client) -> None:
        async def with_timeout() -> Any:
            store: Any = client._store(aio=True)
            return store.with_timeout(8.0)._clients

        quick: Any = client._store(aio=False).with_timeout(8.0)
        assert quick._clients is asyncio.run(with_timeout()) is asyncio.run(with_timeout())
        assert client._stores.obstore_clients is not None
        assert client._stores.obstore_clients.clock is quick._clients.clock

    async def test_date_is_the_stores_own(
        self, store: Callable[[], ObjectStore], client: Client, proxy: Proxy, jumping_clock: None
    ) -> None:
        clock = TimeTravel(proxy)
        await store().put(f"{client.prefix}/k", b"1")
        clock.advance(timedelta(days=3))
        found: Any = await store().get(f"{client.prefix}/k")
        page = await store().list_page(f"{client.prefix}/")
        for date in (found.date, page.date):
            assert timedelta(days=3) - timedelta(seconds=5) < date - found.last_modified < timedelta(days=3, seconds=5)


@pytest.mark.parametrize("code", ["AuthorizationHeaderMalformed", "IllegalLocationConstraintException"])
def test_bucket_is_found_in_its_region_where_aws_does_not_redirect(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    store: Any = quick(Client("bucket", driver="obstore", region_name="us-east-1"))._store(aio=False)
    clients, regions = store._clients, []

    async def get(*_: object) -> StoredObject:
        regions.append(clients.connection.settings.region)
        if regions[-1] == "us-east-1":
            raise said(GenericError, "400 Bad Request", code)
        return StoredObject(b"v", '"e"', 1, datetime.now(UTC), ServerTime(datetime.now(UTC)))

    store._get = get
    clients._clock = SimpleNamespace(check=lambda: (400, {"x-amz-bucket-region": "eu-west-1"}))
    assert run_blocking(store.get("s3dict/k")).body == b"v"
    assert regions == ["us-east-1", "eu-west-1"]


def test_response_text_is_not_in_the_cause_of_an_error() -> None:
    """AWS repeats a session token that has expired, and obstore repeats the answer, twice."""
    token = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQD9qZ8+Vb0k=="
    error = said(GenericError, "400 Bad Request", "ExpiredToken", f'body: Some("<Token-0>{token}</Token-0>")')
    error.args = (str(error).replace("</Error>", f"<Token-0>{token}</Token-0></Error>"),)
    with pytest.raises(PermissionDeniedError, match="400 ExpiredToken so it says") as caught:
        translate_obstore_exception(error, CALL)
    assert error is caught.value.__cause__
    assert token not in f"{caught.value} {error}"
    assert str(error).endswith("Server returned non-2xx status code: 400 Bad Request")


async def test_no_secret_is_in_an_error(mode: Mode, seaweedfs: Endpoint) -> None:
    session = boto3.Session(aws_access_key_id="unknown", aws_secret_access_key="hunter2", aws_session_token="tok3n")
    client = Client(seaweedfs.bucket, endpoint_url=seaweedfs.url, session=session, driver="obstore")
    with pytest.raises(PermissionDeniedError) as caught:
        await Harness(client, mode).named("d").get("k")
    assert isinstance(caught.value.__cause__, BaseError)
    for secret in ("hunter2", "tok3n"):
        assert secret not in f"{caught.value} {caught.value.__cause__}"
