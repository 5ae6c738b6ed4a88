"""Directory buckets (S3 Express): every driver opens a session, renews it, and sends nothing that they refuse."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from s3dict import Client, Dict
from s3dict._stores.base import PreconditionFailed, PutResult, StoredObject, monotonic_seconds
from s3dict._stores.boto.resolver import resolve_with_botocore
from s3dict._stores.shared.connection import Connection, ConnectionSettings
from s3dict._stores.shared.sessions import SessionCredentials, Sessions
from s3dict._stores.shared.threads import run_blocking
from s3dict.errors import Error, InvalidError, PermissionDeniedError, UnavailableError

from ..support.directory_server import DirectoryServer, Principal
from ..support.retries import quick
from ..support.s3_responses import RefusedError
from ..support.zonal_front import ZonalFront

BUCKET = "dicts--use1-az4--x-s3"
HOST = f"{BUCKET}.s3express-use1-az4.us-east-1.amazonaws.com"
KEY, BIG = "s3dict/a/k", b"v" * (3 << 20)
WAYS = ("boto3", "boto3 in asyncio", "boto3 in threads", "obstore", "obstore in asyncio")


@pytest.fixture
def server() -> Iterator[DirectoryServer]:
    with DirectoryServer() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if "threads" in request.param:
        monkeypatch.setattr("s3dict._client.is_installed", lambda package: package != "aioboto3")
    return str(request.param)


def client_of(way: str, **options: Any) -> Client:
    client = Client(BUCKET, driver="obstore" if "obstore" in way else "boto3", timeout=timedelta(seconds=5), **options)
    quick(client)
    return client


def perform(client: Client, way: str, *requests: Callable[[Any], Any]) -> list[Any]:
    """Send requests through the client's store, and return their results or errors."""

    async def send() -> list[Any]:
        store, results = client._store(aio=" in " in way), []
        for request in requests:
            try:
                results.append(await request(store))
            except Error as failure:
                results.append(failure)
        await client.aclose() if " in " in way else client.close()
        return results

    return asyncio.run(send()) if " in " in way else run_blocking(send())


def get(store: Any) -> Any:
    return store.get(KEY)


def put(store: Any) -> Any:
    return store.put(KEY, b"v")


def put_big(store: Any) -> Any:
    return store.put(KEY, BIG)


def delete(store: Any) -> Any:
    return store.delete(KEY)


def delete_many(store: Any) -> Any:
    return store.delete_many([KEY])


def list_page(store: Any) -> Any:
    return store.list_page("s3dict/a/")


async def copy(store: Any) -> Any:
    etag = (await store.put(KEY, b"v")).etag
    return await store.copy(KEY, source_if_match=etag, if_match=etag)


def requests_of(server: DirectoryServer) -> list[Any]:
    seen: list[Any] = []
    server.before = seen.append
    return seen


def test_every_driver_sends_the_same_to_the_zonal_endpoint(
    way: str, server: DirectoryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = requests_of(server)
    with ZonalFront(server.url, tmp_path) as front:
        monkeypatch.setenv("HTTPS_PROXY", front.url)
        client = client_of(way, verify=str(front.authority), expected_bucket_owner="123456789012")
        results = perform(client, way, put, get, copy, list_page, delete, put_big, delete_many)
        assert set(front.hosts) == {f"{HOST}:443"}
    assert [result for result in results if isinstance(result, Error)] == []
    assert len(server.sessions) == 1
    session, *others = [call for call in seen if call.method != "HEAD"]
    assert ("session" in session.query, session.headers["host"]) == (True, HOST)
    kinds = ["PUT", "GET", "PUT", "COPY", "GET", "DELETE", "PUT", "POST"]
    assert ["COPY" if "x-amz-copy-source" in call.headers else call.method for call in others] == kinds
    for call in others:
        signed_by_session = "x-amz-s3session-token" in call.headers
        assert signed_by_session == ("x-amz-copy-source" not in call.headers)
        assert not {"content-md5", "x-amz-security-token", "x-amz-acl", "x-amz-request-payer"} & call.headers.keys()
        assert call.headers["x-amz-expected-bucket-owner"] == "123456789012"
    assert all(call.headers["x-amz-tagging-directive"] == "REPLACE" for call in others if "copy" in str(call.headers))


@pytest.mark.parametrize("over", ["expire_sessions", "forget_sessions"])
def test_session_that_is_not_accepted_is_replaced(way: str, over: str, server: DirectoryServer) -> None:
    client, seen = client_of(way, endpoint_url=server.url), requests_of(server)

    async def end_session(_: Any) -> None:
        getattr(server, over)()
        seen.clear()

    for request in (put, get, list_page, delete, delete_many):
        *_, result = perform(client, way, get, end_session, request)
        assert not isinstance(result, Error), request
        opened = [call for call in seen if "session" in call.query]
        assert len(opened) == 1


def test_session_of_another_caller_that_expires_meanwhile_is_replaced_too(way: str, server: DirectoryServer) -> None:
    """The request begins without a session, and is denied when another caller has discarded its session."""
    client, pending = client_of(way, endpoint_url=server.url), ["the first request"]
    sessions = client._connection().sessions

    def before(call: Any) -> None:
        if call.key and pending:
            pending.clear()
            server.expire_sessions()
            sessions.discard(sessions.number)

    server.before = before
    [written] = perform(client, way, put)
    assert isinstance(written, PutResult)
    assert len(server.sessions) == 2


@pytest.mark.parametrize(("later", "sessions"), [(200, 1), (250, 2)])
def test_session_is_renewed_when_a_fifth_of_it_is_left(
    way: str, later: int, sessions: int, server: DirectoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(way, endpoint_url=server.url)

    async def wait(_: Any) -> None:
        monkeypatch.setattr("s3dict._stores.shared.sessions.monotonic_seconds", lambda: monotonic_seconds() + later)

    perform(client, way, put, get, wait, get, get)
    assert len(server.sessions) == sessions


@pytest.mark.parametrize("ahead", [-600, 600])
def test_wrong_wall_clock_does_not_multiply_sessions(way: str, ahead: int, server: DirectoryServer) -> None:
    server.clock = ahead
    results = perform(client_of(way, endpoint_url=server.url), way, put, get, get, list_page)
    assert isinstance(results[1], StoredObject)
    assert len(server.sessions) == 1


def test_session_that_cannot_be_renewed_is_used_to_its_end(
    way: str, server: DirectoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, seen = client_of(way, endpoint_url=server.url), requests_of(server)

    def refuse(call: Any) -> None:
        seen.append(call)
        refuse_session(call)

    async def wait(_: Any) -> None:
        monkeypatch.setattr("s3dict._stores.shared.sessions.monotonic_seconds", lambda: monotonic_seconds() + 250)
        server.before = refuse

    results = perform(client, way, put, wait, get, get)
    assert [type(result) for result in results[2:]] == [StoredObject, StoredObject]
    assert len([call for call in seen if "session" in call.query]) == 2


def refuse_session(call: Any) -> None:
    if "session" in call.query:
        raise RefusedError(503, "ServiceUnavailable", "Reduce your request rate")


def test_failed_session_applies_nothing(way: str, server: DirectoryServer) -> None:
    server.before = refuse_session
    for request in (put, get, list_page, delete):
        [failure] = perform(client_of(way, endpoint_url=server.url), way, request)
        assert isinstance(failure, UnavailableError)
        assert not failure.maybe_applied
        assert "CreateSession" in str(failure)
        assert "90 days" in str(failure)
    assert server.buckets[BUCKET].objects == {}


def test_writes_go_on_after_a_failed_session(way: str, server: DirectoryServer) -> None:
    seen: list[Any] = []

    def refuse_first(call: Any) -> None:
        if "session" in call.query:
            seen.append(call)
            if len(seen) == 1:
                refuse_session(call)

    server.before = refuse_first
    client = client_of(way, endpoint_url=server.url)
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
    if " in " in way:

        async def use() -> int | None:
            async with client:
                await d.put.aio("k", 1)
                return await d.get.aio("k")

        assert asyncio.run(use()) == 1
    else:
        d["k"] = 1
        assert d["k"] == 1
    assert len(server.sessions) == 1


def test_callers_share_one_session(way: str, server: DirectoryServer) -> None:
    client = client_of(way, endpoint_url=server.url)

    async def many(store: Any) -> list[Any]:
        return [result async for result in store.runtime.map(lambda n: store.put(f"s3dict/a/{n}", b""), range(24), 12)]

    [results] = perform(client, way, many)
    assert [type(result) for result in results] == [PutResult] * 24
    assert len(server.sessions) == 1


def test_callers_that_waited_for_a_failed_attempt_fail_with_it() -> None:
    seen: list[float] = []

    def fail(timeout: float) -> SessionCredentials:
        seen.append(timeout)
        raise UnavailableError("no", maybe_applied=False)

    sessions = Sessions(fail)
    attempts_before = sessions._attempts
    for _ in range(3):
        with pytest.raises(UnavailableError):
            sessions._renewed(attempts_before, 5)
    assert seen == [5]
    with pytest.raises(UnavailableError):
        sessions.get(5)
    assert seen == [5, 5]


def test_denied_session_names_the_action(way: str, server: DirectoryServer) -> None:
    server.principals = {"tests-access-key": Principal(mode=None)}
    [failure] = perform(client_of(way, endpoint_url=server.url), way, get)
    assert isinstance(failure, PermissionDeniedError)
    assert (failure.action, failure.policy) == ("s3express:CreateSession", "reader")
    assert failure.resource == f"arn:aws:s3express:us-east-1:123456789012:bucket/{BUCKET}"


def test_read_only_session_reads_and_does_not_write(way: str, server: DirectoryServer) -> None:
    client = client_of(way, endpoint_url=server.url)
    perform(client, way, put)
    server.principals = {"tests-access-key": Principal(mode="ReadOnly")}
    found, page, *failures = perform(client_of(way, endpoint_url=server.url), way, get, list_page, put, delete, copy)
    assert (found.body, len(page.objects)) == (b"v", 1)
    for failure in failures:
        assert isinstance(failure, PermissionDeniedError)
        assert (failure.action, failure.policy) == ("s3express:CreateSession", "writer")
        assert "s3express:SessionMode" in str(failure)


def test_rotated_credentials_open_a_new_session(
    way: str, server: DirectoryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    def write(key: str) -> None:
        text = f"[default]\naws_access_key_id={key}\naws_secret_access_key={key}-secret\n"
        (tmp_path / "credentials").write_text(text)

    async def rotate(_: Any) -> None:
        write("new")
        server.principals = {"new": Principal("new", "new-secret")}
        server.expire_sessions()

    write("old")
    server.principals = {"old": Principal("old", "old-secret")}
    results = perform(client_of(way, endpoint_url=server.url), way, put, rotate, put, get)
    assert isinstance(results[3], StoredObject)
    assert len(server.sessions) == 2


def test_temporary_credentials_open_the_session_alone(
    way: str, server: DirectoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "TOKEN0")
    server.principals = {"tests-access-key": Principal(token="TOKEN0")}
    seen = requests_of(server)
    results = perform(client_of(way, endpoint_url=server.url), way, put, get, copy)
    assert isinstance(results[2], PutResult)
    with_token = ["session" in call.query for call in seen if "x-amz-security-token" in call.headers]
    assert with_token == [True, False]  # the copy


def test_events_and_log_show_the_session_and_no_secret(
    way: str, server: DirectoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "s3dict")
    events: list[Any] = []
    perform(client_of(way, endpoint_url=server.url, on_request=events.append), way, put, get)
    assert [(event.operation, event.status) for event in events if event.operation != "HeadBucket"] == [
        *(("CreateSession", 200), ("PutObject", 200), ("GetObject", 200)),
    ]
    assert "CreateSession s3://dicts--use1-az4--x-s3/: 200" in caplog.text
    for token, session in server.sessions.items():
        assert token not in caplog.text
        assert session.secret_key not in caplog.text


def test_regional_requests_have_no_expected_owner(server: DirectoryServer) -> None:
    client = client_of("boto3", endpoint_url=server.url, expected_bucket_owner="123456789012")
    store: Any = client._store(aio=False)
    store._client().put_bucket_policy(Bucket=BUCKET, Policy='{"Statement": []}')
    assert server.buckets[BUCKET].policy == '{"Statement": []}'
    client.close()


@pytest.mark.parametrize("options", [{"sse": "AES256"}, {"requester_pays": True}])
def test_settings_that_directory_buckets_lack_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="directory bucket"):
        Client(BUCKET, **options)


def test_encryption_of_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "AES256")
    with pytest.raises(InvalidError, match="AWS_SERVER_SIDE_ENCRYPTION"):
        Client(BUCKET)._connection()


def test_region_has_to_be_configured(way: str, server: DirectoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    for credentials in (True, False):
        if not credentials:
            monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        [failure] = perform(client_of(way), way, get)
        assert isinstance(failure, InvalidError)
        assert "zone use1-az4" in str(failure)
        assert "S3DICT_REGION" in str(failure)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests-access-key")
    assert perform(client_of(way, endpoint_url=server.url), way, get) == [None]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"endpoint_url": "http://127.0.0.1:9000"},
        {"endpoint_url": "http://[::1]:9000"},
        {"endpoint_url": "https://express.example.com"},
        {"endpoint_url": "https://express.example.com", "addressing_style": "path"},
        {"addressing_style": "path"},
    ],
)
def test_fast_path_and_botocore_agree(options: dict[str, Any]) -> None:
    arguments = Client(BUCKET, **options)._connection().arguments
    fast = Connection(arguments).settings
    assert fast.credentials is not None
    slow = resolve_with_botocore(arguments, boto3.Session())
    names = [name for name in ConnectionSettings.__match_args__ if name not in ("credentials", "addressing_style")]
    assert [getattr(fast, name) for name in names] == [getattr(slow, name) for name in names]


def test_general_purpose_buckets_load_nothing_of_sessions() -> None:
    assert os.environ["AWS_DEFAULT_REGION"]
    connection = Client("bucket")._connection()
    assert (connection.zone, connection.must_open_session(), connection.current_session()) == (None, False, None)
    assert connection._resolution.sessions is None


def test_condition_that_fails_in_a_response_with_status_200_is_no_error(way: str, server: DirectoryServer) -> None:
    # API_CopyObject: "If the error occurs during the copy operation, the error response is embedded in the 200 OK
    # response"; apache/opendal#8135 saw it for conditions in directory buckets.
    def fail_copy(call: Any) -> None:
        if "x-amz-copy-source" in call.headers:
            raise RefusedError(200, "PreconditionFailed", "At least one of the pre-conditions did not hold")

    server.before = fail_copy
    assert perform(client_of(way, endpoint_url=server.url), way, copy) == [PreconditionFailed()]
