"""Every source of botocore's credential chain, with every driver: refreshed, found again, and failures named."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from typing import Any

import aioboto3
import boto3
import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.session import get_session

from s3dict import Client
from s3dict.errors import InvalidError, PermissionDeniedError

from ..support.connections import WAYS, clean_environment, get, perform, signed_for
from ..support.recording_server import Recorded, RecordingServer, Response, error, not_found, recording_server

__all__ = ["clean_environment"]

ROLE = "arn:aws:iam::123456789012:role/r"
STS = "https://sts.amazonaws.com/doc/2011-06-15/"
START = "https://start.awsapps.com/start"


@dataclass
class Issuer:
    """Responds as STS, SSO, a container's and an instance's metadata service, and as a store without objects."""

    directory: Path
    server: RecordingServer = field(init=False)
    lifetimes: list[timedelta] = field(default_factory=list)
    """Those of the next credentials; an hour for all further ones."""
    failure: Response | None = None
    """The response in place of credentials."""
    issued: int = 0
    rejected: set[str] = field(default_factory=set)
    """Access keys that the store does not accept any more."""

    def respond(self, request: Recorded) -> Response:
        path = request.path.partition("?")[0]
        if path == "/latest/api/token":
            return 200, {}, b"token"
        if path == "/latest/meta-data/iam/security-credentials/":
            return 200, {}, b"r"
        if path in ("/", "/credentials", "/federation/credentials", "/latest/meta-data/iam/security-credentials/r"):
            return self.failure or self._issue(path)
        key = signed_for(request).partition("/")[0] if "authorization" in request.headers else ""
        return error(400, "ExpiredToken") if key in self.rejected else not_found(request)

    def next_credentials(self) -> tuple[str, datetime]:
        self.issued += 1
        lifetime = self.lifetimes.pop(0) if self.lifetimes else timedelta(hours=1)
        return f"AKID{self.issued}", datetime.now(UTC).replace(microsecond=0) + lifetime

    def _issue(self, path: str) -> Response:
        key, expiry = self.next_credentials()
        if path == "/":
            operation = "AssumeRoleWithWebIdentity" if self._has_web_identity else "AssumeRole"
            fields = (
                f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
            )
            credentials = f"<Credentials>{fields}<Expiration>{expiry.isoformat()}</Expiration></Credentials>"
            user = "<AssumedRoleUser><Arn>a</Arn><AssumedRoleId>i</AssumedRoleId></AssumedRoleUser>"
            result = f"<{operation}Result>{credentials}{user}</{operation}Result>"
            return 200, {}, f'<{operation}Response xmlns="{STS}">{result}</{operation}Response>'.encode()
        if path == "/federation/credentials":
            milliseconds = int(expiry.timestamp() * 1000)
            role = {"accessKeyId": key, "secretAccessKey": "s", "sessionToken": "t", "expiration": milliseconds}
            return 200, {"Content-Type": "application/json"}, json.dumps({"roleCredentials": role}).encode()
        found = {"Code": "Success", "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t"}
        return 200, {}, json.dumps({**found, "Expiration": expiry.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()

    @property
    def _has_web_identity(self) -> bool:
        return "AWS_WEB_IDENTITY_TOKEN_FILE" in os.environ

    @property
    def signed(self) -> list[str]:
        """The access keys of the requests to the store."""
        store = (request for request in self.server.requests if request.path.startswith("/bucket"))
        return [signed_for(request).partition("/")[0] for request in store if "authorization" in request.headers]


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    made = Issuer(tmp_path)
    with recording_server(made.respond) as made.server:
        yield made


Source = Callable[[Issuer, pytest.MonkeyPatch], Mapping[str, str]]
"""Configures botocore, and returns the environment variables that belong to it."""


def process(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    """A program that counts in a file how often it was called."""
    program = issuer.directory / "program.py"
    lifetimes = [int(lifetime.total_seconds()) for lifetime in issuer.lifetimes]
    program.write_text(
        "import json, os, sys, datetime as d\n"
        f"with open({str(issuer.directory / 'calls')!r}, 'a+') as calls:\n"
        "    calls.write('x'); calls.seek(0); n = len(calls.read())\n"
        f"seconds = dict(enumerate({lifetimes}, 1)).get(n, 3600)\n"
        "expiry = (d.datetime.now(d.timezone.utc) + d.timedelta(seconds=seconds)).isoformat()\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'AKID{n}', 'SecretAccessKey': 's', 'SessionToken': 't',"
        " 'Expiration': expiry}))\n"
    )
    write_config(issuer, f"credential_process = {python()} {program}")
    return {}


def python() -> str:
    import sys

    return f"{sys.executable} -S -E"


def assumed_role(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    base = "[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = s\n"
    write_config(issuer, f"region = us-east-1\nrole_arn = {ROLE}\nsource_profile = base\n{base}")
    return {"AWS_ENDPOINT_URL_STS": issuer.server.url}


def web_identity(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    token = issuer.directory / "token"
    token.write_text("jwt0")
    url = issuer.server.url
    return {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ROLE, "AWS_ENDPOINT_URL_STS": url}


def full_container_uri(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{issuer.server.url}/credentials"}


def relative_container_uri(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    # In a task of ECS it is an address of the network interface.
    address = issuer.server.url.removeprefix("http://")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.IP_ADDRESS", address)
    return {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/credentials"}


def instance(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    return {
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{issuer.server.url}/",
    }


def single_sign_on(issuer: Issuer, monkeypatch: pytest.MonkeyPatch, *, minutes: int = 60) -> Mapping[str, str]:
    cache = issuer.directory / "sso"
    cache.mkdir()
    for owner in ("botocore.credentials.SSOProvider", "botocore.tokens.SSOTokenProvider"):
        monkeypatch.setattr(f"{owner}._SSO_TOKEN_CACHE_DIR", str(cache))
    expiry = datetime.now(UTC) + timedelta(minutes=minutes)
    token = {"startUrl": START, "region": "us-east-1", "accessToken": "t", "expiresAt": expiry.isoformat()}
    name = sha1(b"s", usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps(token))
    session = f"[sso-session s]\nsso_region = us-east-1\nsso_start_url = {START}\n"
    role = "sso_session = s\nsso_account_id = 123456789012\nsso_role_name = r"
    write_config(issuer, f"region = us-east-1\n{role}\n{session}")
    return {"AWS_ENDPOINT_URL_SSO": issuer.server.url}


def write_config(issuer: Issuer, text: str) -> None:
    (issuer.directory / "config").write_text(f"[default]\n{text}\n")


def client_of(source: Source, issuer: Issuer, driver: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Client:
    for name, value in source(issuer, monkeypatch, **options).items():
        monkeypatch.setenv(name, value)
    return Client("bucket", endpoint_url=issuer.server.url, driver=driver)


PAIR: list[tuple[Any, bool]] = [("boto3", True), ("obstore", False)]
"""Each driver in one mode, for what depends on neither: all ask one object for credentials."""
SOURCES = (process, assumed_role, web_identity, full_container_uri, relative_container_uri, instance, single_sign_on)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_rejected_credentials_of_every_source_are_found_again(
    source: Source, driver: Any, aio: bool, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.rejected.add("AKID1")
    client = client_of(source, issuer, driver, monkeypatch)
    assert perform(client, aio, get) is None
    assert issuer.signed == ["AKID1", "AKID2"]


@pytest.mark.parametrize("source", SOURCES)
def test_rejected_credentials_of_a_session_are_found_again(
    source: Source, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer.rejected.add("AKID1")
    for name, value in source(issuer, monkeypatch).items():
        monkeypatch.setenv(name, value)
    client = Client("bucket", endpoint_url=issuer.server.url, driver="obstore", session=boto3.Session())
    assert perform(client, False, get) is None
    assert issuer.signed == ["AKID1", "AKID2"]


@pytest.mark.parametrize("method", ["sts-assume-role", "env"])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_credentials_that_a_program_put_into_a_session_are_refreshed_there(
    method: str, driver: Any, aio: bool, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may be of another identity: those of the environment assume the role of these, for example."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDBASE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")

    def assume_role() -> dict[str, str]:
        key, expiry = issuer.next_credentials()
        return {"access_key": key, "secret_key": "s", "token": "t", "expiry_time": expiry.isoformat()}

    issuer.rejected.add("AKID1")
    core: Any = get_session()
    core._credentials = RefreshableCredentials.create_from_metadata(assume_role(), assume_role, method)
    session = boto3.Session(botocore_session=core)
    assert perform(Client("bucket", endpoint_url=issuer.server.url, driver=driver, session=session), aio, get) is None
    assert issuer.signed == ["AKID1", "AKID2"]


@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_rejected_credentials_of_a_program_are_not_replaced_by_others(
    driver: Any, aio: bool, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDBASE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    issuer.rejected.add("AKIDROLE")
    core: Any = get_session()
    core._credentials = role = Credentials("AKIDROLE", "s", "t", method="assume-role")
    session = boto3.Session(botocore_session=core)
    failure = perform(Client("bucket", endpoint_url=issuer.server.url, driver=driver, session=session), aio, get)
    assert isinstance(failure, PermissionDeniedError)
    assert issuer.signed == ["AKIDROLE"]
    assert core._credentials is role


@pytest.mark.parametrize("source", [source for source in SOURCES if source is not instance])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_credentials_of_every_source_are_refreshed_before_they_expire(
    source: Source, driver: Any, aio: bool, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # botocore takes the expiry of an instance's credentials for later than it is, and says why: an outage of AWS.
    issuer.lifetimes.append(timedelta(minutes=5))
    client = client_of(source, issuer, driver, monkeypatch)
    assert [perform(client, aio, get) for _ in range(2)] == [None, None]
    assert issuer.signed[-1] == "AKID2"


def broken_process(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    write_config(issuer, f"credential_process = {python()} -c \"import sys; sys.exit('no card')\"")
    return {}


def process_without_json(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    write_config(issuer, f'credential_process = {python()} -c "print(0x)"')
    return {}


def missing_process(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    write_config(issuer, "credential_process = /no/such/program")
    return {}


def expired_process(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    issuer.lifetimes.extend([timedelta(minutes=-5)] * 9)
    return process(issuer, monkeypatch)


def missing_source_profile(issuer: Issuer, _: pytest.MonkeyPatch) -> Mapping[str, str]:
    write_config(issuer, f"role_arn = {ROLE}\nsource_profile = absent")
    return {}


def denied_role(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    body = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not for you</Message></Error></ErrorResponse>"
    issuer.failure = 403, {}, body
    return assumed_role(issuer, monkeypatch)


def unreachable_sts(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    return {**assumed_role(issuer, monkeypatch), "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}


def missing_token_file(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    return {**web_identity(issuer, monkeypatch), "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such/token"}


def foreign_container(_: Issuer, __: pytest.MonkeyPatch) -> Mapping[str, str]:
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/credentials"}


def expired_login(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    return single_sign_on(issuer, monkeypatch, minutes=-5)


def half_a_pair(_: Issuer, __: pytest.MonkeyPatch) -> Mapping[str, str]:
    return {"AWS_ACCESS_KEY_ID": "AKID"}


def nothing(_: Issuer, __: pytest.MonkeyPatch) -> Mapping[str, str]:
    return {}


FAILURES: dict[Source, str] = {
    broken_process: "no card",
    process_without_json: "custom-process",
    missing_process: "/no/such/program",
    expired_process: "still expired",
    missing_source_profile: "absent",
    denied_role: "not for you",
    unreachable_sts: "127.0.0.1:9",
    missing_token_file: "/no/such/token",
    foreign_container: "example.com",
    expired_login: "expired",
    half_a_pair: "AWS_SECRET_ACCESS_KEY",
    nothing: "set AWS_ACCESS_KEY_ID",
}


@pytest.mark.parametrize("source", FAILURES)
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_failure_of_a_provider_is_permission_denied_with_its_reason(
    source: Source, driver: Any, aio: bool, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = perform(client_of(source, issuer, driver, monkeypatch), aio, get)
    assert isinstance(failure, PermissionDeniedError)
    assert FAILURES[source] in str(failure)
    assert issuer.signed == []


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_provider_that_fails_later_is_named_and_works_again(
    driver: Any, aio: bool, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than botocore renews: each request needs the provider.
    issuer.lifetimes.extend([timedelta(minutes=5)] * 99)
    client = client_of(web_identity, issuer, driver, monkeypatch)
    token = issuer.directory / "token"
    assert perform(client, aio, get) is None
    token.unlink()
    time.sleep(0.11)  # Before that, obstore does not ask again.
    failure = perform(client, aio, get)
    assert isinstance(failure, PermissionDeniedError)
    assert "No such file" in str(failure)
    token.write_text("jwt1")
    assert perform(client, aio, get) is None


@pytest.mark.parametrize(("driver", "aio"), WAYS)
def test_empty_session_token_is_none(driver: Any, aio: bool, issuer: Issuer) -> None:
    keys = "aws_access_key_id=AKID\naws_secret_access_key=s\naws_session_token=\n"
    (issuer.directory / "credentials").write_text(f"[default]\n{keys}")
    assert perform(Client("bucket", endpoint_url=issuer.server.url, driver=driver), aio, get) is None
    assert all("x-amz-security-token" not in request.headers for request in issuer.server.requests)
    assert issuer.signed == ["AKID"]


BAD = [
    ('"AKID"', "secret", "is in quotes"),
    ("AKID", "'secret'", "is in quotes"),
    ("AKID\u200b", "secret", "not ASCII"),
]


@pytest.mark.parametrize(("key", "secret", "problem"), BAD)
@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(("driver", "aio"), PAIR)
def test_credentials_that_were_copied_wrongly_are_named(
    key: str, secret: str, problem: str, in_file: bool, driver: Any, aio: bool,
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if in_file:
        (issuer.directory / "credentials").write_text(
            f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
        )
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    failure = perform(Client("bucket", endpoint_url=issuer.server.url, driver=driver), aio, get)
    assert isinstance(failure, InvalidError)
    assert problem in str(failure)
    assert "AKID" not in str(failure)
    assert issuer.signed == []


def test_session_of_aioboto3_is_refused() -> None:
    session: Any = aioboto3.Session()
    with pytest.raises(InvalidError, match="also for asyncio"):
        Client("bucket", session=session)
