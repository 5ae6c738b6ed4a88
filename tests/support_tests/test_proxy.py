"""The proxy counts exactly, and each of its faults does what it says."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aioboto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError, ResponseStreamingError

from s3dict.testing.seaweedfs import LocalServer
from tests.support.faulty_server import MisbehavingServer
from tests.support.http_wire import HttpResponse
from tests.support.proxy import Fault, FaultKind, Proxy, Request
from tests.support.wsgi_server import AtomicServer

from .conftest import Connect, answer_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


@pytest.fixture
def proxied_url(server: MisbehavingServer) -> str:
    return server.url


@pytest.fixture
def client(proxy: Proxy, connect: Connect) -> Any:
    client = connect(proxy.url)
    client.create_bucket(Bucket="bucket")
    return client


@pytest.fixture
def direct(server: MisbehavingServer, connect: Connect) -> Any:
    """Goes around the proxy."""
    return connect(server.url)


def keys(client: Any) -> list[str]:
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket").get("Contents", [])]


class TestRecording:
    def test_requests_are_recorded_in_order_by_their_s3_names(self, proxy: Proxy, client: Any) -> None:
        with proxy.recording() as requests:
            client.create_bucket(Bucket="other")
            client.head_bucket(Bucket="bucket")
            client.put_object(Bucket="bucket", Key="a/b", Body=b"body")
            client.get_object(Bucket="bucket", Key="a/b")["Body"].read()
            client.head_object(Bucket="bucket", Key="a/b")
            client.copy_object(Bucket="bucket", Key="c", CopySource={"Bucket": "bucket", "Key": "a/b"})
            client.list_objects_v2(Bucket="bucket", Prefix="a")
            client.delete_object(Bucket="bucket", Key="c")
            client.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "a/b"}]})
        assert [request.operation for request in requests] == [
            "CreateBucket",
            "HeadBucket",
            "PutObject",
            "GetObject",
            "HeadObject",
            "CopyObject",
            "ListObjectsV2",
            "DeleteObject",
            "DeleteObjects",
        ]

    @pytest.mark.parametrize(
        ("method", "target", "operation"),
        [
            ("GET", "/", "ListBuckets"),
            ("GET", "/bucket", "ListObjects"),
            ("GET", "/bucket/?lifecycle", "GetBucketLifecycleConfiguration"),
            ("PUT", "/bucket?lifecycle=", "PutBucketLifecycleConfiguration"),
            ("PUT", "/bucket/key?partNumber=1&uploadId=x", "UploadPart"),
            ("POST", "/bucket/key?uploadId=x", "CompleteMultipartUpload"),
            ("PATCH", "/bucket/key", "PATCH object"),
        ],
    )
    def test_other_operations_have_their_names_too(
        self, proxy: Proxy, method: str, target: str, operation: str
    ) -> None:
        proxy.script(Fault("slow-down"))
        with proxy.recording() as requests, closing(HTTPConnection(urlsplit(proxy.url).netloc)) as connection:
            connection.request(method, target)
            connection.getresponse().read()
        assert [request.operation for request in requests] == [operation]

    def test_record_tells_the_conditions_and_the_status(self, proxy: Proxy, client: Any) -> None:
        client.put_object(Bucket="bucket", Key="key", Body=b"body")
        with proxy.recording() as requests, pytest.raises(ClientError):
            client.put_object(Bucket="bucket", Key="key", Body=b"", IfNoneMatch="*")
        expected = Request("PutObject", "PUT", "/bucket/key", "", if_none_match="*", status=412)
        assert requests == [expected]

    def test_recordings_nest_and_end(self, proxy: Proxy, client: Any) -> None:
        with proxy.recording() as outer:
            client.head_bucket(Bucket="bucket")
            with proxy.recording() as inner:
                client.list_objects_v2(Bucket="bucket")
        client.head_bucket(Bucket="bucket")
        assert [request.operation for request in outer] == ["HeadBucket", "ListObjectsV2"]
        assert [request.operation for request in inner] == ["ListObjectsV2"]

    def test_no_request_of_many_threads_is_missed(self, proxy: Proxy, client: Any) -> None:
        def put_many(thread: int) -> None:
            for number in range(25):
                client.put_object(Bucket="bucket", Key=f"{thread}/{number}", Body=b"")

        threads = [threading.Thread(target=put_many, args=(number,)) for number in range(8)]
        with proxy.recording() as requests:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        expected = sorted(f"/bucket/{thread}/{number}" for thread in range(8) for number in range(25))
        assert sorted(request.path for request in requests) == expected


class TestFaults:
    def test_lost_request_has_no_effect(self, proxy: Proxy, client: Any, direct: Any) -> None:
        proxy.script(Fault("lost-request"))
        with proxy.recording() as requests, pytest.raises(ConnectionClosedError):
            client.put_object(Bucket="bucket", Key="key", Body=b"")
        assert keys(direct) == []
        assert [(request.status, request.fault) for request in requests] == [(None, "lost-request")]

    def test_request_with_a_lost_response_takes_effect(self, proxy: Proxy, client: Any, direct: Any) -> None:
        proxy.script(Fault("lost-response"))
        with proxy.recording() as requests, pytest.raises(ConnectionClosedError):
            client.put_object(Bucket="bucket", Key="key", Body=b"")
        assert keys(direct) == ["key"]
        assert [(request.status, request.fault) for request in requests] == [(None, "lost-response")]

    def test_after_a_lost_response_a_client_may_be_rejected_by_its_own_write(
        self, proxy: Proxy, client: Any, connect: Connect
    ) -> None:
        proxy.script(Fault("lost-response", operation="PutObject"))
        with pytest.raises(ClientError) as refused:
            connect(proxy.url, attempts=2).put_object(Bucket="bucket", Key="key", Body=b"", IfNoneMatch="*")
        assert answer_of(refused.value) == (412, "PreconditionFailed", 1)
        assert keys(client) == ["key"]

    @pytest.mark.parametrize(
        ("kind", "status", "code", "takes_effect"),
        [
            ("internal-error", 500, "InternalError", False),
            ("internal-error-after", 500, "InternalError", True),
            ("slow-down", 503, "SlowDown", False),
            ("conflict", 409, "ConditionalRequestConflict", False),
        ],
    )
    def test_errors_are_answered_as_s3_does(
        self, proxy: Proxy, client: Any, kind: FaultKind, status: int, code: str, takes_effect: bool
    ) -> None:
        proxy.script(Fault(kind))
        with proxy.recording() as requests, pytest.raises(ClientError) as refused:
            client.put_object(Bucket="bucket", Key="key", Body=b"")
        assert answer_of(refused.value) == (status, code, 0)
        assert [(request.status, request.fault) for request in requests] == [(status, kind)]
        assert bool(keys(client)) == takes_effect

    def test_error_in_answer_to_head_has_no_body(self, proxy: Proxy, client: Any) -> None:
        proxy.script(Fault("internal-error"))
        with pytest.raises(ClientError, match="500"):
            client.head_bucket(Bucket="bucket")
        client.head_bucket(Bucket="bucket")

    def test_request_with_a_cut_response_takes_effect(self, proxy: Proxy, client: Any, direct: Any) -> None:
        proxy.script(Fault("cut-response", "PutObject", cut=0.0))
        with pytest.raises(ConnectionClosedError):
            client.put_object(Bucket="bucket", Key="key", Body=b"body" * 1000)
        assert keys(direct) == ["key"]
        proxy.script(Fault("cut-response", "GetObject", cut=0.9))
        with pytest.raises(ResponseStreamingError):
            client.get_object(Bucket="bucket", Key="key")["Body"].read()

    def test_delay_only_delays(self, proxy: Proxy, client: Any) -> None:
        proxy.script(Fault("delay", seconds=0.2))
        before = time.monotonic()
        client.put_object(Bucket="bucket", Key="key", Body=b"")
        assert time.monotonic() - before >= 0.2
        assert keys(client) == ["key"]

    def test_delayed_request_reaches_the_server_after_its_client_has_given_up(
        self, proxy: Proxy, client: Any, direct: Any, connect: Connect
    ) -> None:
        arrived = threading.Event()

        def tell(request: Request, answer: HttpResponse) -> HttpResponse:
            arrived.set()
            return answer

        proxy.rewrite = tell
        proxy.script(Fault("delay", seconds=0.5))
        with pytest.raises(ReadTimeoutError):
            connect(proxy.url, read_timeout=0.1).put_object(Bucket="bucket", Key="key", Body=b"")
        assert keys(direct) == []
        assert arrived.wait(10)
        assert keys(direct) == ["key"]

    def test_script_hits_the_next_matching_requests(self, proxy: Proxy, client: Any) -> None:
        proxy.script(Fault("conflict", "PutObject", when=lambda request: request.if_none_match == "*"), times=2)
        with proxy.recording() as requests:
            client.put_object(Bucket="bucket", Key="plain", Body=b"")
            for _ in range(2):
                with pytest.raises(ClientError, match="Conflict"):
                    client.put_object(Bucket="bucket", Key="key", Body=b"", IfNoneMatch="*")
            client.put_object(Bucket="bucket", Key="key", Body=b"", IfNoneMatch="*")
        assert [request.fault for request in requests] == [None, "conflict", "conflict", None]

    def test_same_seed_hits_the_same_requests(self, server: MisbehavingServer, direct: Any) -> None:
        direct.create_bucket(Bucket="bucket")
        first, again, other = (struck_requests(server.url, seed=seed) for seed in (1, 1, 2))
        assert first == again
        assert first != other
        assert 20 < first.count("slow-down") < 80

    def test_first_of_several_faults_counts(self, proxy: Proxy, client: Any) -> None:
        proxy.faults = [Fault("conflict", operation="GetObject"), Fault("slow-down"), Fault("internal-error")]
        with proxy.recording() as requests, pytest.raises(ClientError):
            client.head_bucket(Bucket="bucket")
        assert [request.fault for request in requests] == ["slow-down"]


def struck_requests(target: str, seed: int) -> list[FaultKind | None]:
    with Proxy(target, seed=seed) as proxy:
        proxy.faults = [Fault("slow-down", probability=0.25)]
        with proxy.recording() as requests, closing(HTTPConnection(urlsplit(proxy.url).netloc)) as connection:
            for _ in range(200):
                connection.request("HEAD", "/bucket")
                connection.getresponse().read()
    return [request.fault for request in requests]


class TestTransport:
    def test_signatures_stay_valid(self, tmp_path: Path, connect: Connect) -> None:
        with LocalServer(tmp_path, bucket="bucket") as seaweed, Proxy(seaweed.endpoint_url) as proxy:
            client = connect(proxy.url, seaweed.access_key, seaweed.secret_key)
            client.put_object(Bucket="bucket", Key="key +/é", Body=b"body")
            assert client.get_object(Bucket="bucket", Key="key +/é")["Body"].read() == b"body"
            assert keys(client) == ["key +/é"]
            with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
                connect(proxy.url, seaweed.access_key, "wrong").list_objects_v2(Bucket="bucket")

    @pytest.mark.parametrize("kind", ["delay", "lost-request", "lost-response", "slow-down"])
    def test_aioboto3_gets_through_every_fault(self, proxy: Proxy, client: Any, kind: FaultKind) -> None:
        proxy.script(Fault(kind))
        with proxy.recording() as requests:
            assert asyncio.run(put_and_get(proxy.url)) == b"body"
        sent = ["PutObject"] if kind == "delay" else ["PutObject", "PutObject"]
        assert [request.operation for request in requests] == [*sent, "GetObject"]

    def test_both_sides_are_kept_alive_and_the_host_is_passed_on(self) -> None:
        with (
            closing(AtomicServer(echo)) as upstream,
            Proxy(upstream.url) as proxy,
            closing(HTTPConnection(urlsplit(proxy.url).netloc)) as connection,
        ):
            answers = [ask(connection, headers={"Host": "bucket.example"}) for _ in range(3)]
        (answer,) = set(answers)
        assert answer.split(b" ")[0] == b"bucket.example"

    def test_large_body_passes_unharmed(self, proxy: Proxy, client: Any) -> None:
        body = bytes(range(256)) * (100 * 4096)
        client.put_object(Bucket="bucket", Key="key", Body=body)
        assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == body

    def test_client_that_waits_for_100_continue_is_told_to_go_on(self, proxy: Proxy, client: Any) -> None:
        before = time.monotonic()
        client.put_object(Bucket="bucket", Key="key", Body=io.BytesIO(b"body"))
        assert time.monotonic() - before < 0.9, "botocore waits a second for it"
        assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == b"body"

    def test_chunked_request_arrives_whole(self, proxy: Proxy, client: Any) -> None:
        with closing(HTTPConnection(urlsplit(proxy.url).netloc)) as connection:
            connection.request("PUT", "/bucket/key", body=iter([b"one", b"two"]), encode_chunked=True)
            assert connection.getresponse().status == 200
        assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == b"onetwo"

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x\r\nwho\r\n2\r\nle\r\n0\r\nX: \r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\nwhole",
            b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nwhole",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nwhole",
        ],
        ids=["chunked", "to the end", "HTTP/1.0", "after 100"],
    )
    def test_answer_arrives_whole_however_it_is_framed(self, answer: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            answering = threading.Thread(target=answer_twice, args=(listener, answer))
            answering.start()
            with (
                Proxy(f"http://127.0.0.1:{listener.getsockname()[1]}") as proxy,
                closing(HTTPConnection(urlsplit(proxy.url).netloc)) as connection,
            ):
                assert [ask(connection) for _ in range(2)] == [b"whole"] * 2
            answering.join()

    def test_answer_can_be_rewritten(self, proxy: Proxy, client: Any) -> None:
        def date_back(request: Request, answer: HttpResponse) -> HttpResponse:
            if request.operation != "GetObject":
                return answer
            dates = {"date", "last-modified"}
            kept = tuple(header for header in answer.headers if header[0].lower() not in dates)
            old = (("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT"),)
            return replace(answer, headers=kept + old, body=answer.body + b", and more")

        proxy.rewrite = date_back
        client.put_object(Bucket="bucket", Key="key", Body=b"body")
        answer = client.get_object(Bucket="bucket", Key="key")
        assert answer["Body"].read() == b"body, and more"
        assert answer["LastModified"].year == 2000

    def test_stopped_server_is_a_dropped_connection(self, connect: Connect) -> None:
        with MisbehavingServer() as server, Proxy(server.url) as proxy:
            server.close()
            with proxy.recording() as requests, pytest.raises(ConnectionClosedError):
                connect(proxy.url).head_bucket(Bucket="bucket")
        assert [(request.status, request.fault) for request in requests] == [(None, None)]

    def test_closing_ends_requests_in_flight(self, server: MisbehavingServer) -> None:
        proxy = Proxy(server.url)
        proxy.faults = [Fault("delay", seconds=600)]
        with closing(HTTPConnection(urlsplit(proxy.url).netloc)) as connection:
            connection.request("GET", "/bucket")
            proxy.close()
            with pytest.raises((RemoteDisconnected, ConnectionResetError)):
                connection.getresponse()


async def put_and_get(url: str) -> bytes:
    session = aioboto3.Session(aws_access_key_id="key", aws_secret_access_key="secret")
    async with session.client("s3", endpoint_url=url, region_name="us-east-1") as client:
        await client.put_object(Bucket="bucket", Key="key", Body=b"body")
        answer = await client.get_object(Bucket="bucket", Key="key")
        return await answer["Body"].read()


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Respond to the host that was asked for, and the port that asked."""
    start_response("200 OK", [])
    return ["{HTTP_HOST} {REMOTE_PORT}".format_map(environ).encode()]


def ask(connection: HTTPConnection, headers: dict[str, str] | None = None) -> bytes:
    connection.request("GET", "/", headers=headers or {})
    return connection.getresponse().read()


def answer_twice(listener: socket.socket, answer: bytes) -> None:
    """Answer two requests, on one connection each, with these bytes."""
    for _ in range(2):
        connection, _address = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)
