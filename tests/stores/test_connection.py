"""Connections: every driver, sync and async, resolves each setting as botocore does, and sends the same."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest

from s3dict import Client
from s3dict._stores.boto.resolver import resolve_with_botocore
from s3dict._stores.shared.connection import Connection, ConnectionArguments, ConnectionSettings
from s3dict._stores.shared.proxies import proxy_for
from s3dict._stores.shared.threads import run_blocking
from s3dict.errors import Error, InvalidError, PermissionDeniedError, UnavailableError

from ..support.recording_server import Recorded, RecordingServer, Response, error, not_found, recording_server
from ..support.retries import quick

DRIVERS: tuple[Literal["boto3", "obstore"], ...] = ("boto3", "obstore")
WAYS: list[tuple[Any, bool]] = [(driver, aio) for driver in DRIVERS for aio in (False, True)]
KEY = "arn:aws:kms:eu-west-1:123456789012:key/k"


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3DICT_")) or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID0EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with recording_server() as server:
        yield server


def perform(client: Client, aio: bool, request: Callable[[Any], Any]) -> Any:
    """Send one request through the client's store, and return its result or error."""

    quick(client)

    async def send() -> Any:
        try:
            return await request(client._store(aio=aio))
        except Error as failure:
            return failure

    return asyncio.run(send()) if aio else run_blocking(send())


def get(store: Any) -> Any:
    return store.get("s3dict/k")


def put(store: Any) -> Any:
    return store.put("s3dict/k", b"v")


def copy(store: Any) -> Any:
    return store.copy("s3dict/k", source_if_match='"e"', if_match='"e"')


def delete_if(store: Any) -> Any:
    return store.delete("s3dict/k", if_match='"e"')


def delete_many(store: Any) -> Any:
    return store.delete_many(["s3dict/k"])


def list_page(store: Any) -> Any:
    return store.list_page("s3dict/")


REQUESTS = (get, put, copy, delete_if, delete_many, list_page)


def signed_for(recorded: Recorded) -> str:
    return recorded.headers["authorization"].partition("Credential=")[2].split(",")[0]


def sent(server: RecordingServer, aio: bool, driver: Any, request: Any, **options: Any) -> Recorded:
    """Return the signed request that was recorded."""
    server.requests.clear()
    client = Client("bucket", driver=driver, timeout=timedelta(seconds=3), **options)
    perform(client, aio, request)
    return next(recorded for recorded in server.requests if "authorization" in recorded.headers)


SETTINGS: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "argument": ({"endpoint_url": "URL"}, {}, ""),
    "environment": ({}, {"AWS_ENDPOINT_URL": "URL"}, ""),
    "environment of s3": ({}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": "URL"}, ""),
    "profile": ({}, {}, "[default]\nregion=eu-west-1\nendpoint_url=URL\n"),
    "services": ({}, {}, "[default]\nservices=local\n[services local]\ns3 =\n  endpoint_url = URL\n"),
    "named profile": ({}, {"AWS_PROFILE": "p"}, "[profile p]\nregion=eu-north-1\nendpoint_url=URL\n"),
    "environment over profile": ({}, {"AWS_ENDPOINT_URL": "URL"}, "[default]\nendpoint_url=http://127.0.0.1:1\n"),
    "region of the environment": ({"endpoint_url": "URL"}, {"AWS_DEFAULT_REGION": "eu-west-2"}, ""),
    "AWS_REGION": ({"endpoint_url": "URL"}, {"AWS_REGION": "eu-west-3"}, ""),
    "profile over AWS_REGION": ({"endpoint_url": "URL"}, {"AWS_REGION": "eu-west-3"}, "[default]\nregion=eu-west-1\n"),
    "region of the argument": ({"endpoint_url": "URL", "region_name": "a-1"}, {"AWS_DEFAULT_REGION": "b-1"}, ""),
    "session token": ({"endpoint_url": "URL"}, {"AWS_SESSION_TOKEN": "TOKEN0"}, ""),
    "path of the endpoint": ({"endpoint_url": "URL/base"}, {}, ""),
    "proxy": ({"endpoint_url": "http://store.invalid"}, {"HTTP_PROXY": "URL"}, ""),
    "lower-case proxy": ({"endpoint_url": "http://store.invalid"}, {"http_proxy": "URL", "HTTP_PROXY": "http://x"}, ""),
    "excluded from the proxy": ({"endpoint_url": "URL"}, {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "*"}, ""),
    "network without proxy": (
        {"endpoint_url": "URL"},
        {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.0/8"},
        "",
    ),
    "virtual": ({"endpoint_url": "http://store.invalid", "addressing_style": "virtual"}, {"HTTP_PROXY": "URL"}, ""),
    "virtual of the profile": (
        {"endpoint_url": "http://store.invalid"},
        {"HTTP_PROXY": "URL"},
        "[default]\ns3 =\n  addressing_style = virtual\n",
    ),
    "requester pays": ({"endpoint_url": "URL", "requester_pays": True}, {}, ""),
    "owner": ({"endpoint_url": "URL", "expected_bucket_owner": "123456789012"}, {}, ""),
    "headers": ({"endpoint_url": "URL", "headers": {"X-Tigris-Consistent": "true"}}, {}, ""),
    "sse": ({"endpoint_url": "URL", "sse": "aws:kms", "kms_key_id": KEY}, {}, ""),
    "sse of the environment": ({"endpoint_url": "URL"}, {"AWS_SERVER_SIDE_ENCRYPTION": "AES256"}, ""),
}
COMPARED = ("host", "x-amz-security-token", "x-amz-request-payer", "x-amz-expected-bucket-owner", "x-tigris-consistent")


async def get_put_and_copy(store: Any) -> None:
    for request in (get, put, copy):
        with suppress(Error):
            await request(store)


def wire(recorded: Recorded) -> tuple[Any, ...]:
    """Return what all drivers must agree on."""
    encryption = sorted((name, value) for name, value in recorded.headers.items() if "encryption" in name)
    headers = tuple(recorded.headers.get(header) for header in COMPARED)
    return recorded.method, recorded.path.partition("?")[0], signed_for(recorded), headers, tuple(encryption)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_driver_sends_the_same(
    name: str, server: RecordingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, variables, config = SETTINGS[name]
    place: dict[str, Any] = {}
    for key, value in options.items():
        place[key] = value.replace("URL", server.url) if isinstance(value, str) else value
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value.replace("URL", server.url))
    (tmp_path / "config").write_text(config.replace("URL", server.url))
    seen = set()
    for driver, aio in WAYS:
        server.requests.clear()
        perform(Client("bucket", driver=driver, timeout=timedelta(seconds=3), **place), aio, get_put_and_copy)
        seen.add(tuple(wire(recorded) for recorded in server.requests if "authorization" in recorded.headers))
    assert len(seen) == 1, seen
    assert len(seen.pop()) == 3


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_writes_and_copies_are_encrypted_and_reads_are_not(driver: Any, aio: bool, server: RecordingServer) -> None:
    options = {"endpoint_url": server.url, "sse": "aws:kms", "kms_key_id": KEY}
    for request in REQUESTS:
        recorded = sent(server, aio, driver, request, **options)
        encrypted = recorded.headers.get("x-amz-server-side-encryption-aws-kms-key-id") == KEY
        assert encrypted == (request in (put, copy)), request


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_common_headers_are_part_of_every_request(driver: Any, aio: bool, server: RecordingServer) -> None:
    for request in REQUESTS:
        recorded = sent(
            server, aio, driver, request, endpoint_url=server.url, requester_pays=True, headers={"X-A": "1"}
        )
        assert (recorded.headers["x-amz-request-payer"], recorded.headers["x-a"]) == ("requester", "1")


@pytest.mark.parametrize("aio", [False, True])
def test_custom_endpoint_gets_content_md5_and_no_crc32(aio: bool, server: RecordingServer) -> None:
    for request in (put, delete_many):
        headers = sent(server, aio, "boto3", request, endpoint_url=server.url).headers
        assert "content-md5" in headers
        assert not [name for name in headers if name.startswith(("x-amz-checksum", "x-amz-sdk-checksum"))]


@pytest.mark.parametrize("aio", [False, True])
def test_when_supported_there_is_one_checksum(aio: bool, server: RecordingServer) -> None:
    headers = sent(server, aio, "boto3", put, endpoint_url=server.url, checksums="when_supported").headers
    assert "content-md5" not in headers
    assert headers["x-amz-sdk-checksum-algorithm"] == "CRC32"


@pytest.mark.parametrize("aio", [False, True])
def test_obstore_sends_no_checksum_header_when_required_only(aio: bool, server: RecordingServer) -> None:
    assert "x-amz-checksum-sha256" in sent(server, aio, "obstore", put, endpoint_url=server.url).headers
    headers = sent(server, aio, "obstore", put, endpoint_url=server.url, checksums="when_required").headers
    assert "x-amz-checksum-sha256" not in headers


@pytest.mark.parametrize("aio", [False, True])
def test_copies_replace_tags(aio: bool, server: RecordingServer) -> None:
    headers = sent(server, aio, "boto3", copy, endpoint_url=server.url).headers
    assert headers["x-amz-tagging-directive"] == "REPLACE"


AWS_CASES: list[tuple[str, dict[str, str], str]] = [
    ("bucket", {}, ""),
    ("bucket", {"AWS_DEFAULT_REGION": "eu-west-1"}, ""),
    ("bucket", {"AWS_DEFAULT_REGION": "cn-north-1"}, ""),
    ("bucket", {"AWS_DEFAULT_REGION": "us-gov-west-1"}, ""),
    ("bucket", {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_USE_FIPS_ENDPOINT": "true"}, ""),
    ("bucket", {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, ""),
    ("with.dots", {"AWS_DEFAULT_REGION": "eu-west-1"}, ""),
    ("bucket", {}, "[default]\nregion=eu-west-1\ns3 =\n  use_accelerate_endpoint = true\n"),
    ("bucket", {}, "[default]\nregion=eu-west-1\ns3 =\n  addressing_style = path\n"),
    ("bucket", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, ""),
    ("arn:aws:s3:us-west-2:123456789012:accesspoint/team", {"AWS_DEFAULT_REGION": "us-west-2"}, ""),
    ("team-abcdefghijklmnopqrstuvwxyz-s3alias", {"AWS_DEFAULT_REGION": "eu-west-1"}, ""),
    ("dicts--euw1-az1--x-s3", {"AWS_DEFAULT_REGION": "eu-west-1"}, ""),
    ("dicts--usw2-lax1-az1--x-s3", {"AWS_DEFAULT_REGION": "us-west-2"}, ""),
    ("team--euw1-az1--xa-s3", {"AWS_DEFAULT_REGION": "eu-west-1"}, ""),
    ("dicts--euw1-az1--x-s3", {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_USE_FIPS_ENDPOINT": "true"}, ""),
    ("dicts--euw1-az1--x-s3", {}, "[default]\nregion=eu-west-1\ns3 =\n  addressing_style = path\n"),
]


class NotSentError(Exception):
    """Ends a request before it is sent."""


def botocore_url(bucket: str) -> str:
    """Return the URL to which boto3 itself would send a request."""
    from botocore.config import Config

    session, seen = boto3.Session(), []

    def keep(request: Any, **_: Any) -> Any:
        seen.append(request.url)
        raise NotSentError

    # The global endpoint redirects for buckets of other regions; the one of the region does not.
    s3: Any = {"us_east_1_regional_endpoint": "regional"}
    client = session.client("s3", region_name=session.region_name or "us-east-1", config=Config(s3=s3))
    client.meta.events.register("before-send.s3", keep)
    with pytest.raises(NotSentError):
        client.head_bucket(Bucket=bucket)
    client.close()
    return str(seen[0]).partition("?")[0].rstrip("/")


@pytest.mark.parametrize(("bucket", "variables", "config"), AWS_CASES)
def test_aws_urls_are_those_of_botocore(
    bucket: str, variables: dict[str, str], config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "config").write_text(config)
    settings = Client(bucket)._connection().settings
    assert settings.bucket_url == botocore_url(bucket)
    assert settings.endpoint_url is None


FAST = [
    ({}, {}),
    ({}, {"AWS_DEFAULT_REGION": "eu-west-1"}),
    ({"region_name": "eu-central-1"}, {}),
    ({"endpoint_url": "http://localhost:9000/base/"}, {"AWS_REGION": "eu-west-1"}),
    ({"endpoint_url": "http://localhost:9000", "addressing_style": "virtual"}, {}),
    ({}, {"AWS_ENDPOINT_URL_S3": "https://s.example.com", "HTTPS_PROXY": "http://user:pw@proxy:3128"}),
    ({"verify": False, "checksums": "when_required"}, {}),
]


@pytest.mark.parametrize(("options", "variables"), FAST)
def test_fast_path_and_botocore_agree(
    options: dict[str, Any], variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    arguments = Client("bucket", **options)._connection().arguments
    fast = Connection(arguments).settings
    assert fast.credentials is not None
    slow = resolve_with_botocore(arguments, boto3.Session())

    def compared(settings: ConnectionSettings) -> list[Any]:
        names = [name for name in ConnectionSettings.__match_args__ if name != "credentials"]
        return [(name, getattr(settings, name)) for name in names]

    assert compared(fast) == compared(slow)


@pytest.mark.parametrize(
    ("no_proxy", "url", "bypassed"),
    [
        ("*", "http://store:9000", True),
        ("store", "http://store:9000", True),
        ("store:9000", "http://store:9000", True),
        ("store:9001", "http://store:9000", False),
        (".example.com", "https://s3.example.com", True),
        ("*.example.com", "https://s3.example.com", True),
        ("example.com", "https://s3.example.com", True),
        ("ample.com", "https://s3.example.com", False),
        ("other, example.com", "https://s3.example.com", True),
        ("EXAMPLE.com", "https://s3.Example.COM", True),
        ("10.0.0.0/8", "http://10.1.2.3:9000", True),
        ("10.0.0.0/8", "http://11.1.2.3:9000", False),
        ("127.0.0.1", "http://127.0.0.1:9000", True),
        ("::1", "http://[::1]:9000", True),
        ("fd00::/8", "http://[fd00::1]:9000", True),
        ("", "http://store:9000", False),
    ],
)
def test_no_proxy_accepts_every_form(no_proxy: str, url: str, bypassed: bool) -> None:
    environment = {"http_proxy": "http://proxy:1", "https_proxy": "proxy:2", "NO_PROXY": no_proxy}
    expected = None if bypassed else "http://proxy:1" if url.startswith("http:") else "http://proxy:2"
    assert proxy_for(url, environment) == expected


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("end", ["\n", " ", "\u2028"])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_blank_at_the_end_of_a_credential_is_named(
    variable: str, end: str, driver: Any, aio: bool, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, f"SECRET0VALUE{end}")
    failure = perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, get)
    assert isinstance(failure, InvalidError)
    assert variable in str(failure)
    assert "SECRET0VALUE" not in str(failure)
    assert server.requests == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"endpoint_url": "http://127.0.0.1:1\n"}, "endpoint_url"),
        ({"region_name": "eu-west-1\n"}, "region_name"),
        ({"kms_key_id": "k ", "sse": "aws:kms"}, "kms_key_id"),
        ({"expected_bucket_owner": "1\n"}, "expected_bucket_owner"),
        ({"headers": {"X-A": "v\n"}}, "X-A"),
        ({"headers": {"X A": "v"}}, "X A"),
        ({"addressing_style": "host"}, "addressing_style"),
        ({"checksums": "never"}, "checksums"),
        ({"sse": "rot13"}, "sse"),
        ({"kms_key_id": "k"}, "kms_key_id"),
        ({"verify": "/no/such/file"}, "verify"),
    ],
)
def test_invalid_setting_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidError, match=named):
        Client("bucket", **options)


@pytest.mark.parametrize(
    "bucket",
    [
        *("bucket\n", '"bucket"', "dicts--x-s3", "arn:aws:s3::123456789012:accesspoint/mrap.mrap"),
        *("dicts--use1--x-s3", "Dicts--use1-az4--x-s3", f"{'a' * 60}--use1-az4--x-s3"),
        "arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-1/accesspoint/team",
    ],
)
def test_bucket_that_cannot_work_is_refused(bucket: str) -> None:
    with pytest.raises(InvalidError):
        Client(bucket)


def test_endpoint_that_ends_with_the_bucket_is_refused(server: RecordingServer) -> None:
    failure = perform(Client("bucket", endpoint_url=f"{server.url}/bucket"), False, get)
    assert isinstance(failure, InvalidError)
    assert "ends with the bucket's name" in str(failure)


# botocore leaves the socket of a PUT that was answered before its body had arrived to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_redirect_is_refused_and_named(status: int, driver: Any, aio: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "TOKEN0")
    with recording_server() as other:
        target = other.url.replace("127.0.0.1", "localhost")
        with recording_server(lambda r: (status, {"Location": target + r.path}, b"")) as server:
            for request in REQUESTS:
                failure = perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, request)
                assert isinstance(failure, InvalidError), (request, failure)
                assert f"redirects to {target}" in str(failure) or (status == 303 and "redirects (303)" in str(failure))
        assert other.requests == []
    gc.collect()


@pytest.mark.parametrize(("driver", "aio"), WAYS)
@pytest.mark.parametrize(
    "body",
    [b"<html><body>blocked</body></html>", b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>", b"", b"{}"],
)
def test_listing_that_is_not_of_s3_is_an_error(body: bytes, driver: Any, aio: bool) -> None:
    with recording_server(lambda _: (200, {"Content-Type": "text/html"}, body)) as server:
        failure = perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, list_page)
        assert isinstance(failure, UnavailableError)
        assert server.url in str(failure)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
@pytest.mark.parametrize("request_of", [get, list_page, put, delete_many, copy])
def test_404_without_an_error_of_s3_names_the_endpoint(request_of: Any, driver: Any, aio: bool) -> None:
    with recording_server(lambda _: (404, {"Content-Type": "text/html"}, b"<h1>no</h1>")) as server:
        failure = perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, request_of)
        assert isinstance(failure, UnavailableError), failure
        assert f"{server.url} (Client(endpoint_url=...)) does not respond like S3" in str(failure)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("InvalidObjectState", Error, "archived"),
        ("QuotaExceeded", Error, "quota is exceeded"),
        ("SecondLevelDomainForbidden", PermissionDeniedError, "SecondLevelDomainForbidden"),
        ("AccessDenied", PermissionDeniedError, "Terraform"),
    ],
)
def test_403_says_what_it_is(code: str, kind: type[Error], text: str, driver: Any, aio: bool) -> None:
    with recording_server(lambda _: error(403, code, "no")) as server:
        failure = perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, get)
    assert isinstance(failure, kind)
    assert text in str(failure)
    assert ("Terraform" in str(failure)) == (code == "AccessDenied")


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_closed_port_names_endpoint_source_and_local_server(
    driver: Any, aio: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    failure = perform(Client("bucket", driver=driver), aio, put)
    assert isinstance(failure, UnavailableError)
    assert not failure.maybe_applied
    assert "http://127.0.0.1:9 (AWS_ENDPOINT_URL_S3)" in str(failure)
    assert "s3dict dev" in str(failure)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_proxy_that_requires_authentication_is_named(driver: Any, aio: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with recording_server(lambda _: (407, {"Proxy-Authenticate": "Basic"}, b"")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        failure = perform(Client("bucket", driver=driver), aio, put)
    assert isinstance(failure, UnavailableError)
    assert not failure.maybe_applied
    assert "407" in str(failure)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_rotated_credentials_are_found_again(
    driver: Any, aio: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id=AKIDOLD\naws_secret_access_key=s\n")

    def respond(recorded: Recorded) -> Response:
        old = "AKIDOLD" in recorded.headers.get("authorization", "")
        return error(400, "ExpiredToken") if old else not_found(recorded)

    with recording_server(respond) as server:
        client = Client("bucket", endpoint_url=server.url, driver=driver)
        assert client._connection().settings.credentials is None
        client._connection().boto_credentials()
        credentials.write_text("[default]\naws_access_key_id=AKIDNEW\naws_secret_access_key=s\n")
        assert perform(client, aio, get) is None
        signed = [signed_for(r).partition("/")[0] for r in server.requests if "authorization" in r.headers]
    assert signed == ["AKIDOLD", "AKIDNEW"]


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_rejected_credentials_are_not_retried_when_nothing_changed(driver: Any, aio: bool) -> None:
    with recording_server(lambda _: error(403, "InvalidAccessKeyId")) as server:
        failure = perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, get)
        assert isinstance(failure, PermissionDeniedError)
        assert len([r for r in server.requests if "authorization" in r.headers]) == 1


def test_provider_reports_the_real_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.credentials import RefreshableCredentials

    from s3dict._stores.obstore.credentials import credential_provider

    expiry = datetime.now(UTC) + timedelta(minutes=2)

    def refresh() -> dict[str, str]:
        return {"access_key": "a", "secret_key": "s", "token": "t", "expiry_time": expiry.isoformat()}

    session = boto3.Session()
    core: Any = session._session
    core._credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "test")
    provide = credential_provider(Connection(ConnectionArguments("bucket", session=session)))
    assert provide()["expires_at"] == expiry


def openssl(directory: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=directory)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority (ca.pem), and a server's certificate that it signed (server.pem, server.key)."""
    directory = tmp_path_factory.mktemp("certificates")
    openssl(directory, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 9 -subj /CN=ca")
    openssl(
        directory,
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=s3"
        " -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=CA:FALSE",
    )
    openssl(
        directory,
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -copy_extensions copy"
        " -out server.pem",
    )
    return directory


TRUST: dict[str, tuple[dict[str, Any], dict[str, str], str, bool]] = {
    "nothing": ({}, {}, "", False),
    "argument": ({"verify": "CA"}, {}, "", True),
    "argument over environment": ({"verify": "CA"}, {"AWS_CA_BUNDLE": "OTHER"}, "", True),
    "not verified": ({"verify": False}, {}, "", True),
    "variable of s3dict": ({}, {"S3DICT_VERIFY": "CA"}, "", True),
    "AWS_CA_BUNDLE": ({}, {"AWS_CA_BUNDLE": "CA"}, "", True),
    "AWS_CA_BUNDLE over REQUESTS_CA_BUNDLE": ({}, {"AWS_CA_BUNDLE": "CA", "REQUESTS_CA_BUNDLE": "OTHER"}, "", True),
    "REQUESTS_CA_BUNDLE": ({}, {"REQUESTS_CA_BUNDLE": "CA"}, "", True),
    "profile": ({}, {}, "[default]\nca_bundle=CA\n", True),
    "system": ({}, {"SSL_CERT_FILE": "CA"}, "", True),
    "another": ({}, {"AWS_CA_BUNDLE": "OTHER"}, "", False),
}


@pytest.mark.parametrize("name", TRUST)
@pytest.mark.parametrize(("driver", "aio"), WAYS)
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_every_driver_trusts_the_same(
    name: str, driver: Any, aio: bool, certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, variables, config, trusted = TRUST[name]
    files = {"CA": str(certificates / "ca.pem"), "OTHER": str(certificates / "server.pem")}
    if name == "another":
        openssl(tmp_path, "req -x509 -newkey rsa:2048 -nodes -keyout o.key -out o.pem -days 9 -subj /CN=other")
        files["OTHER"] = str(tmp_path / "o.pem")
    for variable, value in variables.items():
        monkeypatch.setenv(variable, files.get(value, value))
    (tmp_path / "config").write_text(config.replace("CA\n", f"{files['CA']}\n"))
    place: dict[str, Any] = {}
    for key, value in options.items():
        place[key] = files.get(value, value) if isinstance(value, str) else value
    certificate = str(certificates / "server.pem"), str(certificates / "server.key")
    with recording_server(certificate=certificate) as server:
        monkeypatch.setenv("S3DICT_BUCKET", "bucket")
        monkeypatch.setenv("S3DICT_ENDPOINT_URL", server.url)
        monkeypatch.setenv("S3DICT_DRIVER", driver)
        client = Client.from_env() if not options else Client("bucket", endpoint_url=server.url, driver=driver, **place)
        result = perform(client, aio, get)
        if trusted:
            assert result is None
        else:
            assert isinstance(result, UnavailableError)
            assert not result.maybe_applied
            assert "certificate is not trusted" in str(result)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_https_to_a_plain_port_is_named(driver: Any, aio: bool, server: RecordingServer) -> None:
    url = server.url.replace("http:", "https:")
    failure = perform(Client("bucket", endpoint_url=url, driver=driver), aio, put)
    assert isinstance(failure, UnavailableError)
    assert not failure.maybe_applied
    assert "does not speak TLS" in str(failure)


@pytest.mark.parametrize("content", ["not a certificate", None])
def test_bundle_without_certificates_is_named(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "bundle").write_text(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "bundle"))
    for driver, aio in WAYS:
        failure = perform(Client("bucket", endpoint_url="https://127.0.0.1:9", driver=driver), aio, get)
        assert isinstance(failure, InvalidError)
        assert "AWS_CA_BUNDLE" in str(failure)


def test_settings_of_the_environment(server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "S3DICT_BUCKET": "bucket",
        "S3DICT_ENDPOINT_URL": server.url,
        "S3DICT_REGION": "eu-west-1",
        "S3DICT_SSE": "aws:kms",
        "S3DICT_KMS_KEY_ID": KEY,
        "S3DICT_HEADERS": "X-Tigris-Consistent=true, X-B=2",
        "S3DICT_REQUESTER_PAYS": "true",
        "S3DICT_EXPECTED_BUCKET_OWNER": "123456789012",
        "S3DICT_CHECKSUMS": "when_required",
        "S3DICT_ADDRESSING_STYLE": "path",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for driver, aio in WAYS:
        monkeypatch.setenv("S3DICT_DRIVER", driver)
        server.requests.clear()
        perform(Client.from_env(), aio, put)
        recorded = next(r for r in server.requests if "authorization" in r.headers)
        assert "/eu-west-1/s3/" in signed_for(recorded)
        assert recorded.path.startswith("/bucket/")
        assert (recorded.headers["x-tigris-consistent"], recorded.headers["x-b"]) == ("true", "2")
        assert recorded.headers["x-amz-server-side-encryption-aws-kms-key-id"] == KEY
        assert recorded.headers["x-amz-expected-bucket-owner"] == "123456789012"
        assert recorded.headers["x-amz-request-payer"] == "requester"


def test_header_values_and_proxy_passwords_are_neither_shown_nor_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:PASSWORD0@proxy:1")
    client = Client("bucket", headers={"X-Key": "VALUE0"}, sse="AES256")
    shown = f"{client!r} {client._settings!r} {client._connection().settings!r} {client._connection().arguments!r}"
    for secret in ("PASSWORD0", "VALUE0", "secret"):
        assert secret not in shown
        assert secret.encode() not in pickle.dumps(client)
    assert pickle.loads(pickle.dumps(client))._settings.sse == "AES256"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_closed_loops_leave_no_session_open(server: RecordingServer, capfd: pytest.CaptureFixture[str]) -> None:
    client = Client("bucket", endpoint_url=server.url, driver="boto3")
    for _ in range(2):
        loop = asyncio.new_event_loop()
        store = loop.run_until_complete(_store_in_loop(client))
        loop.run_until_complete(store.get("s3dict/k"))
        del store
        loop.close()
        gc.collect()
    del client
    gc.collect()
    assert "Unclosed" not in capfd.readouterr().err


async def _store_in_loop(client: Client) -> Any:
    return client._store(aio=True)
