"""Connections: every driver, sync and async, resolves each setting as botocore does, and sends the same."""

from __future__ import annotations

import asyncio
import gc
import pickle
import re
import subprocess
import traceback
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.session import get_session

from s3dict import Client
from s3dict._stores.boto.resolver import resolve_with_botocore
from s3dict._stores.shared.connection import Connection, ConnectionArguments, ConnectionSettings
from s3dict._stores.shared.proxies import proxy_for
from s3dict._stores.shared.threads import run_blocking
from s3dict._stores.shared.trust import host_names
from s3dict.errors import Error, InvalidError, PermissionDeniedError, UnavailableError

from ..support.connections import (
    REQUESTS,
    WAYS,
    clean_environment,
    copy,
    delete_many,
    get,
    list_page,
    perform,
    put,
    sent,
    server,
    signed_for,
)
from ..support.recording_server import Recorded, RecordingServer, Response, error, not_found, recording_server
from ..support.retries import quick

__all__ = ["clean_environment", "server"]

KEY = "arn:aws:kms:eu-west-1:123456789012:key/k"


WAYS_AND_THREADS = [*WAYS, ("threads", True)]
DIRECTORY = "dicts--use1-az4--x-s3"
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
    "empty variables": (
        {},
        {"AWS_ENDPOINT_URL_S3": "", "AWS_ENDPOINT_URL": "URL", "AWS_DEFAULT_REGION": "", "HTTP_PROXY": " "},
        "",
    ),
    "profile over empty variables": ({}, {"AWS_ENDPOINT_URL": ""}, "[default]\nendpoint_url=URL\n"),
    "comment with accents": ({"endpoint_url": "URL"}, {}, "[default]\n# größe\nregion=eu-west-1\n"),
    "slashes of the endpoint": ({"endpoint_url": "URL/a//b//"}, {}, ""),
    "characters of the path": ({"endpoint_url": "URL/~u/a.b-c_D/..e"}, {}, ""),
    "upper case": ({"endpoint_url": "HTTP://Store.INVALID"}, {"HTTP_PROXY": "URL"}, ""),
    "port that is the default": ({"endpoint_url": "http://store.invalid:80"}, {"HTTP_PROXY": "URL"}, ""),
    "virtual at an address": ({"endpoint_url": "URL", "addressing_style": "virtual"}, {}, ""),
    "proxy without scheme": ({"endpoint_url": "http://store.invalid"}, {"HTTP_PROXY": "HOST"}, ""),
    "upper-case scheme of the proxy": ({"endpoint_url": "http://store.invalid"}, {"HTTP_PROXY": "HTTP://HOST"}, ""),
    "password of the proxy": (
        {"endpoint_url": "http://store.invalid"},
        {"HTTP_PROXY": "http://u:p%40%23%C3%BC@HOST"},
        "",
    ),
    "token of the proxy": ({"endpoint_url": "http://store.invalid"}, {"HTTP_PROXY": "http://token@HOST"}, ""),
    "line break after the proxy": ({"endpoint_url": "http://store.invalid"}, {"HTTP_PROXY": "URL/\n"}, ""),
    "port without proxy": ({"endpoint_url": "URL"}, {"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "HOST"}, ""),
    "services of another service": (
        {"endpoint_url": "URL"},
        {},
        "[default]\nservices=local\n[services local]\nsts =\n  endpoint_url = http://127.0.0.1:1\n",
    ),
    "FIPS and dual-stack at an endpoint": (
        {"endpoint_url": "URL"},
        {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
        "",
    ),
    "directory bucket": ({"bucket": DIRECTORY, "endpoint_url": "URL"}, {}, ""),
    "directory bucket in the host name": (
        {"bucket": DIRECTORY, "endpoint_url": "http://store.invalid"},
        {"HTTP_PROXY": "URL"},
        "",
    ),
    "directory bucket and session token": (
        {"bucket": DIRECTORY, "endpoint_url": "URL", "expected_bucket_owner": "123456789012"},
        {"AWS_SESSION_TOKEN": "TOKEN0"},
        "",
    ),
    "directory bucket of the profile": (
        {"bucket": DIRECTORY},
        {},
        "[default]\nregion=eu-west-1\nendpoint_url=URL\n",
    ),
    "directory bucket and headers": (
        {"bucket": DIRECTORY, "endpoint_url": "URL", "headers": {"X-Tigris-Consistent": "true"}},
        {"AWS_DEFAULT_REGION": "eu-west-1"},
        "",
    ),
}
COMPARED = (
    "x-amz-s3session-token",
    *("host", "x-amz-security-token", "x-amz-request-payer", "x-amz-expected-bucket-owner", "x-tigris-consistent"),
    "proxy-authorization",
)
HONOURED = {
    *("profile", "region", "data_path", "config_file", "ca_bundle", "credentials_file", "use_dualstack_endpoint"),
    *("use_fips_endpoint", "ignore_configured_endpoint_urls", "user_agent_appid", "request_checksum_calculation"),
    *("addressing_style", "use_accelerate_endpoint", "use_arn_region", "us_east_1_regional_endpoint"),
    *("s3_disable_multiregion_access_points", "sts_regional_endpoints", "metadata_service_timeout"),
    *("metadata_service_num_attempts", "ec2_metadata_service_endpoint", "ec2_metadata_service_endpoint_mode"),
    *("ec2_metadata_v1_disabled", "imds_use_ipv6"),
}
"""Variables of botocore that decide where a request goes, how it is signed and whom it trusts, or where credentials are
found: all that a test here or in `test_credentials` sets, or that botocore's own credential chain reads."""
WITHOUT_EFFECT = {
    "AWS_RETRY_MODE": "adaptive",  # s3dict decides what may be repeated
    "AWS_MAX_ATTEMPTS": "9",
    "AWS_DEFAULTS_MODE": "standard",  # timeouts and retries are set, and the endpoint of us-east-1 is regional
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_supported",  # entries have a checksum of their own
    "AWS_AUTH_SCHEME_PREFERENCE": "sigv4a",  # S3 has it for Multi-Region Access Points, which are rejected
    "AWS_SIGV4A_SIGNING_REGION_SET": "*",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "required",  # no S3 endpoint contains the account
    "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",  # no request of S3 has a prefix in its host
    "AWS_ENDPOINT_DISCOVERY_ENABLED": "true",  # S3 has none
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES": "1",  # no request of S3 is compressed
    "AWS_DISABLE_REQUEST_COMPRESSION": "true",
    "AWS_CSM_ENABLED": "false",  # metrics, which boto3 reports over UDP
    "AWS_CSM_HOST": "127.0.0.1",
    "AWS_CSM_PORT": "9",
    "AWS_CSM_CLIENT_ID": "s3dict",
}
WITHOUT_VARIABLE = {
    "api_versions",  # S3 has one
    "parameter_validation",  # is off
    "payload_signing_enabled",  # bodies are signed, or have a checksum
}
"""Settings of botocore for which there is no variable."""


def test_every_setting_of_botocore_is_known() -> None:
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES, DEFAULT_S3_CONFIG_VARS

    known = {**BOTOCORE_DEFAUT_SESSION_VARIABLES, **DEFAULT_S3_CONFIG_VARS}
    ignored = {name for name, (_, variable, *_) in known.items() if str(variable) in WITHOUT_EFFECT}
    assert set(known) <= HONOURED | WITHOUT_VARIABLE | ignored


def test_settings_without_effect_change_no_request(server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for variables in ({}, WITHOUT_EFFECT):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for driver, aio in WAYS:
            server.requests.clear()
            perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, get_put_and_copy)
            seen.add(tuple(wire(recorded) for recorded in server.requests if "authorization" in recorded.headers))
    assert len(seen) == 1


def session_with(config: Config) -> boto3.Session:
    core: Any = get_session()
    core.set_default_client_config(config)
    return boto3.Session(botocore_session=core)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_default_config_of_a_session_decides_the_proxy_and_nothing_else(
    driver: Any, aio: bool, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "store.invalid")
    config = Config(
        proxies={"http": server.url},
        signature_version=UNSIGNED,
        region_name="a-1",
        read_timeout=0.001,
        s3={"addressing_style": "virtual"},
    )
    client = Client("bucket", endpoint_url="http://store.invalid", driver=driver, session=session_with(config))
    perform(client, aio, get_put_and_copy)
    assert [recorded.path for recorded in server.requests if "authorization" in recorded.headers] == (
        ["http://store.invalid/bucket/s3dict/k"] * 3
    )
    signed = {signed_for(recorded).split("/")[2] for recorded in server.requests if "authorization" in recorded.headers}
    assert signed == {"us-east-1"}


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_client_authenticates_with_the_certificate_of_its_session(
    driver: Any, aio: bool, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, authority = (
        (str(certificates / "server.pem"), str(certificates / "server.key")),
        certificates / "ca.pem",
    )
    with recording_server(certificate=certificate, client_authority=str(authority)) as server:
        options: dict[str, Any] = {"endpoint_url": server.url, "driver": driver, "verify": str(authority)}
        assert isinstance(perform(Client("bucket", **options), aio, get), UnavailableError)
        session = session_with(Config(client_cert=certificate))
        assert perform(Client("bucket", session=session, **options), aio, get) is None
    assert ("client_cert" in caplog.text) == (driver == "obstore")


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_app_id_is_part_of_the_user_agent(
    driver: Any, aio: bool, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "team0")
    assert "app/team0" in sent(server, aio, driver, get, endpoint_url=server.url).headers["user-agent"]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://bücher.example", "xn--"),
        ("http://my_host:9000", "host is invalid"),
        ("http://host/a%20b", "path is invalid"),
        ("http://host/é", "path is invalid"),
        ("http://host/a;b", "path is invalid"),
        ("http://host/a^b", "path is invalid"),
        ("http://host/a/../b", "path is invalid"),
        ("http://-host", "host is invalid"),
    ],
)
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_endpoint_that_one_driver_does_not_accept_is_refused_by_all(
    url: str, problem: str, driver: Any, aio: bool
) -> None:
    failure = perform(Client("bucket", endpoint_url=url, driver=driver), aio, get)
    assert isinstance(failure, InvalidError)
    assert problem in str(failure)


@pytest.mark.parametrize("proxy", ["socks5://user:PASSWORD0@127.0.0.1:1", "http://[bad:1", "http://host:port"])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_proxy_that_cannot_be_used_is_named(
    proxy: str, driver: Any, aio: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    failure = perform(Client("bucket", endpoint_url="http://store.invalid", driver=driver), aio, get)
    assert isinstance(failure, InvalidError)
    assert "Invalid HTTP_PROXY" in str(failure)
    assert "PASSWORD0" not in str(failure)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_proxy_that_does_not_respond_is_named(driver: Any, aio: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:PASSWORD0@127.0.0.1:9/")
    failure = perform(Client("bucket", endpoint_url="http://store.invalid", driver=driver), aio, put)
    assert isinstance(failure, UnavailableError)
    assert not failure.maybe_applied
    assert "through the proxy http://127.0.0.1:9: " in str(failure)
    assert "s3dict dev" not in str(failure)
    assert "PASSWORD0" not in str(failure)


@pytest.mark.parametrize("proxy", ["http://token@HOST", "http://u:p@HOST"])
def test_clock_authenticates_to_the_proxy_and_does_not_take_its_time(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recording_server(lambda _: (407, {"Proxy-Authenticate": "Basic"}, b"")) as refusing:
        monkeypatch.setenv("HTTP_PROXY", proxy.replace("HOST", refusing.url.removeprefix("http://")))
        client = Client("bucket", endpoint_url="http://store.invalid", driver="obstore")
        failure = perform(client, False, put)
        assert isinstance(failure, UnavailableError)
        assert "407" in str(failure)
        assert all("proxy-authorization" in request.headers for request in refusing.requests)
        clock: Any = client._store(aio=False)
        with pytest.raises(UnavailableError, match="407"):
            clock._clients.clock.time_at(0.0)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_server_at_an_ipv6_address_is_reached(driver: Any, aio: bool) -> None:
    with recording_server(host="::1") as server:
        assert perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, get) is None
        assert {request.headers["host"] for request in server.requests} == {server.url.removeprefix("http://")}


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_arn_at_an_address_is_refused(driver: Any, aio: bool, server: RecordingServer) -> None:
    arn = "arn:aws:s3:us-west-2:123456789012:accesspoint/team"
    failure = perform(Client(arn, endpoint_url=server.url, driver=driver), aio, get)
    assert isinstance(failure, InvalidError)
    assert "host name" in str(failure)


@pytest.mark.parametrize("name", ["PanicException", "RustPanic"])
def test_panic_is_an_error(name: str, server: RecordingServer) -> None:
    panic = type(name, (BaseException,), {})("unwrap on None")

    async def fail(_: Any, __: Any) -> Any:
        raise panic

    store: Any = quick(Client("bucket", endpoint_url=server.url, driver="obstore"))._store(aio=False)
    store._get = fail
    with pytest.raises(UnavailableError, match="unwrap on None"):
        run_blocking(store.get("s3dict/k"))


async def get_put_and_copy(store: Any) -> None:
    for request in (get, put, copy):
        with suppress(Error):
            await request(store)


def wire(recorded: Recorded) -> tuple[Any, ...]:
    """Return what all drivers must agree on."""
    encryption = sorted((name, value) for name, value in recorded.headers.items() if "encryption" in name)
    headers = tuple(recorded.headers.get(header) for header in COMPARED)
    # With a session, obstore signs for the service s3, and boto3 for s3express; S3 accepts both.
    signed = signed_for(recorded).replace("/s3express/", "/s3/")
    return recorded.method, recorded.path.partition("?")[0], signed, headers, tuple(encryption)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_driver_sends_the_same(
    name: str, server: RecordingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, variables, config = SETTINGS[name]
    place: dict[str, Any] = {}
    for key, value in options.items():
        place[key] = value.replace("URL", server.url) if isinstance(value, str) else value
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value.replace("URL", server.url).replace("HOST", server.url[len("http://") :]))
    (tmp_path / "config").write_text(config.replace("URL", server.url))
    seen = set()
    for driver, aio in WAYS_AND_THREADS:
        server.requests.clear()
        with monkeypatch.context() as patch:
            if driver == "threads":
                patch.setattr("s3dict._client.is_installed", lambda package: package != "aioboto3")
            used: Any = "boto3" if driver == "threads" else driver
            client = Client(**{"bucket": "bucket", **place}, driver=used, timeout=timedelta(seconds=3))
            perform(client, aio, get_put_and_copy)
        seen.add(tuple(wire(recorded) for recorded in server.requests if "authorization" in recorded.headers))
    assert len(seen) == 1, seen
    assert len(seen.pop()) == (4 if name.startswith("directory bucket") else 3)


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
    ("bucket", {}, "[default]\nregion=eu-west-1\ns3 =\n  use_dualstack_endpoint = true\n"),
    ("bucket", {"AWS_DEFAULT_REGION": "aws-global"}, ""),
    ("Bucket", {"AWS_DEFAULT_REGION": "eu-west-1"}, ""),
    ("arn:aws:s3:us-west-2:123456789012:accesspoint/team", {"AWS_DEFAULT_REGION": "eu-west-1"}, ""),
    (
        "bucket",
        {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "true"},
        "",
    ),
    (
        "bucket",
        {"AWS_DEFAULT_PROFILE": "p", "AWS_PROFILE": "q"},
        "[profile p]\nregion=eu-west-1\n[profile q]\nregion=eu-west-2\n",
    ),
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


@pytest.mark.parametrize("name", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_path_of_a_configuration_file_may_contain_a_variable(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore expands it, so that the file exists also for what does not import botocore."""
    (tmp_path / "file").write_text("[default]\nendpoint_url=http://127.0.0.1:1\n")
    monkeypatch.setenv("PLACE0", str(tmp_path))
    monkeypatch.setenv(name, "${PLACE0}/file")
    assert Connection(ConnectionArguments("bucket")).settings.endpoint_url == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("services = dev\nendpoint_url = http://127.0.0.1:1\n", "services dev"),
        ("services = dev\n[services dev]\ns3 =\n", "services dev"),
        ("services = dev\n[services dev]\ns3 = http://127.0.0.1:1\n", "services dev"),
        ("s3 = http://127.0.0.1:1\n", "s3 in the profile default"),
    ],
)
def test_section_that_is_not_one_is_named(config: str, named: str, tmp_path: Path) -> None:
    """boto3 raises too, an AttributeError; the request must not go to AWS, or to another endpoint."""
    (tmp_path / "config").write_text(f"[default]\n{config}")
    with pytest.raises(InvalidError, match=re.escape(named)):
        _ = Connection(ConnectionArguments("bucket")).settings


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
        ("[::1]", "http://[::1]:9000", True),
        ("[::1]:9000", "http://[::1]:9000", True),
        ("[::1]:9001", "http://[::1]:9000", False),
        ("other\n  store", "http://store:9000", True),
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
        ({"headers": {"If-None-Match": "*"}}, "must not contain 'If-None-Match'"),
        ({"headers": {"authorization": "Bearer t"}}, "must not contain 'authorization'"),
        ({"headers": {"X-Amz-Security-Token": "t"}}, "must not contain 'X-Amz-Security-Token'"),
        ({"headers": {"x-a": "v", "X-A": "w"}}, "twice"),
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
@pytest.mark.usefixtures("frozen_heap")
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
                assert f"redirects to {target}" in str(failure)
        assert other.requests == []
    gc.collect()


# botocore leaves the socket of a PUT that was answered before its body had arrived to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("frozen_heap")
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_bucket_in_another_region_than_that_of_its_endpoint_is_one_error(driver: Any, aio: bool) -> None:
    headers = {"x-amz-bucket-region": "eu-west-1"}
    with recording_server(lambda _: error(301, "PermanentRedirect", **headers)) as server:
        failure = perform(Client("bucket", endpoint_url=server.url, driver=driver), aio, get)
    assert isinstance(failure, InvalidError)
    assert "set S3DICT_REGION=eu-west-1" in str(failure)
    assert "During handling of" not in "".join(traceback.format_exception(failure))
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
        client._connection().boto_credentials().get_frozen_credentials()
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


@pytest.mark.parametrize(
    ("variables", "options"),
    [
        ({}, {"access_key_id": "a", "secret_access_key": "s"}),
        (
            {"AWS_SESSION_TOKEN": "t"},
            {"access_key_id": "a", "secret_access_key": "s", "session_token": "t"},
        ),
        # obstore would read these variables where it gets no token, even if boto3 finds none in them.
        ({"AWS_SESSION_TOKEN": ""}, None),
        ({"Aws_Session_Token": "t"}, None),
    ],
)
def test_static_credentials_are_passed_to_obstore_unless_it_could_add_a_token(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], options: dict[str, str] | None
) -> None:
    from s3dict._stores.obstore.credentials import credential_options

    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s", **variables}.items():
        monkeypatch.setenv(name, value)
    found = credential_options(Connection(ConnectionArguments("bucket", region_name="eu-west-1")), None)
    if options is None:
        assert found["credential_provider"]()["token"] is None
    else:
        assert found == options


@pytest.mark.parametrize("host", ["h", "127.0.0.1", "a-b.c", "-a", "a-", "a..b", ".", "h.", "H", "x" * 64])
@pytest.mark.parametrize("port", ["", ":80", ":443", ":9000", ":59999", ":65535", ":65536", ":0", ":01", ":"])
@pytest.mark.parametrize("scheme", ["http", "https", "HTTP"])
def test_normal_endpoints_are_those_that_the_parser_leaves_as_they_are(
    monkeypatch: pytest.MonkeyPatch, scheme: str, host: str, port: str
) -> None:
    from s3dict._stores.shared import validation

    url = f"{scheme}://{host}{port}"
    is_normal = validation._NORMAL_ENDPOINT.fullmatch(url) is not None
    monkeypatch.setattr(validation, "_NORMAL_ENDPOINT", re.compile("(?!)"))
    if is_normal:
        assert validation.normalise_endpoint(url, "endpoint_url") == url


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


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_certificate_of_a_proxy_is_verified_for_every_endpoint(
    trusted: bool, driver: Any, aio: bool, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates / "ca.pem"))
    certificate = str(certificates / "server.pem"), str(certificates / "server.key")
    with recording_server(certificate=certificate) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("https://", "https://user:PASSWORD0@"))
        result = perform(Client("bucket", endpoint_url="http://store.invalid", driver=driver), aio, get)
    assert bool(proxy.requests) == trusted
    if not trusted:
        assert isinstance(result, UnavailableError)
        assert not result.maybe_applied


@pytest.fixture(scope="module")
def own_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's certificate (s.pem, s.key) that is its own authority, as ``openssl req -x509`` makes it."""
    directory = tmp_path_factory.mktemp("own_authority")
    command = "req -x509 -newkey rsa:2048 -nodes -keyout s.key -out s.pem -days 9 -subj /CN=s3"
    openssl(directory, f"{command} -addext subjectAltName=IP:127.0.0.1")
    return directory


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_certificate_that_is_its_own_authority_is_accepted(
    driver: Any, aio: bool, own_authority: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(own_authority / "s.pem"))
    with recording_server(certificate=(str(own_authority / "s.pem"), str(own_authority / "s.key"))) as server:
        client = Client("bucket", endpoint_url=server.url, driver=driver)
        assert [perform(client, aio, request) for request in (get, get)][-1] is None
    assert len([record for record in caplog.records if "CA:TRUE" in record.message]) == (driver == "obstore") * (
        1 + aio
    )


@pytest.mark.parametrize("aio", [False, True])
def test_certificate_that_only_the_system_trusts_is_named(
    aio: bool, own_authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(own_authority / "s.pem"))
    with recording_server(certificate=(str(own_authority / "s.pem"), str(own_authority / "s.key"))) as server:
        failure = perform(Client("bucket", endpoint_url=server.url, driver="obstore"), aio, get)
    assert isinstance(failure, UnavailableError)
    assert "CA:TRUE" in str(failure)
    assert "s3dict dev" not in str(failure)


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_https_to_a_plain_port_is_named(driver: Any, aio: bool, server: RecordingServer) -> None:
    url = server.url.replace("http:", "https:")
    failure = perform(Client("bucket", endpoint_url=url, driver=driver), aio, put)
    assert isinstance(failure, UnavailableError)
    assert not failure.maybe_applied
    assert "does not speak TLS: try http instead of https" in str(failure)
    assert "s3dict dev" not in str(failure)


def test_authority_with_alternative_names_that_are_not_text_is_compared_by_the_others() -> None:
    """Most bundles contain one: of Izenpe, with the address of the company as a DirName."""
    address = ("DirName", ((("organizationName", "IZENPE S.A."),), (("streetAddress", "Etorbidea 14"),)))
    certificate = {
        "subject": ((("organizationName", "IZENPE S.A."),), (("commonName", "Izenpe.com"),)),
        "subjectAltName": (("email", "info@izenpe.com"), address, ("DNS", "Store"), ("IP Address", "127.0.0.1")),
    }
    assert host_names(certificate) == {"izenpe.com", "store", "127.0.0.1"}


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


def test_headers_of_the_environment_without_a_name_are_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", "bucket")
    monkeypatch.setenv("S3DICT_HEADERS", "X-A=1, SECRET0")
    with pytest.raises(InvalidError, match="Invalid S3DICT_HEADERS") as caught:
        Client.from_env()
    assert "SECRET0" not in str(caught.value)


def test_header_values_and_proxy_passwords_are_neither_shown_nor_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:PASSWORD0@proxy:1")
    client = Client("bucket", headers={"X-Key": "VALUE0"}, sse="AES256")
    shown = f"{client!r} {client._settings!r} {client._connection().settings!r} {client._connection().arguments!r}"
    for secret in ("PASSWORD0", "VALUE0", "secret"):
        assert secret not in shown
        assert secret.encode() not in pickle.dumps(client)
    assert pickle.loads(pickle.dumps(client))._settings.sse == "AES256"


@pytest.mark.parametrize("aio", [False, True])
def test_connection_without_tls_loads_no_certificates(
    server: RecordingServer, aio: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aioboto3")  # which loads some when it is imported
    loaded: list[object] = []
    monkeypatch.setattr("ssl.SSLContext.load_verify_locations", lambda *arguments: loaded.append(arguments))
    perform(Client("bucket", endpoint_url=server.url, driver="boto3"), aio, get)
    assert server.requests
    assert loaded == []


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
