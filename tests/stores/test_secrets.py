"""No credential is in what s3dict shows, keeps or sends on, whatever a store says; and the search for one finds one."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.exceptions import (
    CredentialRetrievalError,
    EndpointConnectionError,
    ProxyConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from s3dict import Client, Dict, Error, InvalidError, NotFoundError, UnavailableError
from s3dict._stores.boto.errors import translate_exception
from s3dict._stores.boto.requests import S3Requests
from s3dict._stores.obstore.server_clock import ServerClock
from s3dict._stores.shared.connection import Connection, ConnectionArguments
from s3dict._stores.shared.errors import safe_error_code
from s3dict._stores.shared.messages import S3Request, S3Response
from s3dict._stores.shared.redaction import MAX_LENGTH, redacted, sanitised
from s3dict._stores.shared.threads import ThreadRuntime, run_blocking
from s3dict._stores.shared.validation import validate_endpoint

from ..support.commands import answer
from ..support.faulty_server import MisbehavingServer
from ..support.modes import Driver, Harness, Mode, collect, hold
from ..support.retries import quick_policies
from ..support.secret_scan import Evidence, forms

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJHMEUCIQD9qZ8+Vb0k=="
SIGNING_KEYS = ("9f86d081884c7d659a2feaa0c55ad015", "a3bf4f1b2b0b822cd15d6c15b0f00a08")
PASSWORD = "hunter2-of-the-endpoint-0042"

Hostility = Callable[[Mapping[str, str]], tuple[str, str]]


def sent(headers: Mapping[str, str]) -> str:
    """Everything secret that the server received, and the same as others would write it."""
    received = [headers.get(name, "") for name in ("HTTP_AUTHORIZATION", "HTTP_X_AMZ_SECURITY_TOKEN", "QUERY_STRING")]
    signed_by = [*re.findall(r"Credential=([^/]+)/", received[0]), *re.findall(r"Signature=(\w+)", received[0])]
    return " ".join(spelled for secret in (*received, *signed_by) if secret for spelled in sorted(forms(secret)))


def error(code: str, message: str, *more: str) -> str:
    return f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>{''.join(more)}</Error>"


def as_aws_does(headers: Mapping[str, str]) -> tuple[str, str]:
    """AWS gives the token back when it has expired, and shows what it signed when a signature is wrong."""
    said = escape(sent(headers))
    more = ("Token-0", "AWSAccessKeyId", "SignatureProvided", "StringToSign", "CanonicalRequest", "StringToSignBytes")
    return "400 Bad Request", error("ExpiredToken", "so it says", *(f"<{name}>{said}</{name}>" for name in more))


HOSTILITIES: dict[str, Hostility] = {
    "as AWS does": as_aws_does,
    "message of a 403": lambda headers: ("403 Forbidden", error("SignatureDoesNotMatch", sent(headers))),
    "code of a 403": lambda headers: ("403 Forbidden", error(headers.get("HTTP_X_AMZ_SECURITY_TOKEN", ""), "no")),
    "message of a 404": lambda headers: ("404 Not Found", error("NoSuchBucket", sent(headers))),
    "message of a 409": lambda headers: ("409 Conflict", error(headers.get("HTTP_AUTHORIZATION", ""), sent(headers))),
    "message of a 500": lambda headers: ("500 Internal Server Error", error("InternalError", sent(headers))),
    "message of a 501": lambda headers: ("501 Not Implemented", error("NotImplemented", sent(headers))),
    "a page": lambda headers: ("200 OK", f"<html><br>{sent(headers)}</html>"),
    "an error in a 200": lambda headers: ("200 OK", error("InternalError", sent(headers))),
    "lines of a deletion": lambda headers: (
        "200 OK",
        f"<DeleteResult>{error('AccessDenied', sent(headers), '<Key>k</Key>')}</DeleteResult>",
    ),
}


IN_BODIES = ("a page", "an error in a 200", "lines of a deletion")
"""What comes with a 200 is a value, for all that we can know: variables hold it."""
COMMON = ("as AWS does", "message of a 403", "message of a 500", "a page")


class EchoingServer(MisbehavingServer):
    """It remembers what it was sent, and may send it back."""

    def __init__(self) -> None:
        super().__init__()
        self.hostility: Hostility | None = None
        self.seen: dict[Hostility | None, str] = {}
        """The last signature that each was sent: for all of them, the search would take long."""

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self._remember(environ)
        if self.hostility is None:
            return super()._serve(environ, start_response)
        status, body = self.hostility(environ)
        start_response(status, [("Content-Type", "application/xml")])
        return [body.encode()]

    def _remember(self, environ: WSGIEnvironment) -> None:
        signature = re.search(r"Signature=(\w{64})", environ.get("HTTP_AUTHORIZATION", "") + environ["QUERY_STRING"])
        if signature is not None:
            self.seen[self.hostility] = signature[1]

    def objects(self) -> Iterator[tuple[str, bytes]]:
        for bucket in self._store.buckets.values():
            yield from ((path, found.body) for path, found in bucket.items())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EchoingServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("S3DICT_SIGNING_KEYS", ",".join(SIGNING_KEYS))
    monkeypatch.setattr("s3dict._client.DEFAULT_POLICIES", quick_policies(writes=2, requests=2))
    with EchoingServer() as echoing:
        client = boto3.client("s3", endpoint_url=echoing.url)
        client.create_bucket(Bucket="b")
        client.close()
        yield echoing


def secrets(server: EchoingServer) -> set[str]:
    assert server.seen, "no request was signed"
    return {ACCESS_KEY, SECRET_KEY, TOKEN, PASSWORD, *SIGNING_KEYS, *server.seen.values()}


def uses(harness: Harness, d: Any) -> dict[str, Callable[[], Any]]:
    return {
        "hydrate": lambda: harness.named("other").hydrate(),
        "create": lambda: harness.objects.create("new", client=harness.client),
        "list": lambda: harness.objects.list(client=harness.client),
        "get": lambda: d.get("k"),
        "contains": lambda: d.contains("k"),
        "put": lambda: d.put("k", 1),
        "put skip_if_exists": lambda: d.put("k", 1, skip_if_exists=True),
        "update": lambda: d.update(a=1, b=2),
        "get_many": lambda: d.get_many(["a", "b"]),
        "items": lambda: collect(d.items()),
        "len": d.len,
        "pop": lambda: d.pop("k", None),
        "lock": lambda: hold(d.lock("l"), harness.mode),
        "clear": d.clear,
        "delete": lambda: harness.objects.delete("d", client=harness.client),
    }


async def use(harness: Harness, d: Any, evidence: Evidence, where: str) -> None:
    for name, call in uses(harness, d).items():
        try:
            evidence.add_object(f"{where}: {name}", await call())
        except (Error, KeyError) as caught:
            evidence.add_error(f"{where}: {name}", caught, with_variables=where not in IN_BODIES)


def gather_handles(evidence: Evidence, harness: Harness, d: Any) -> None:
    handle: Dict[Any, Any] = d.wrapped
    store = harness.client._store(aio=False)
    things = (
        harness.client,
        handle,
        Dict.objects,
        handle.lock("l"),
        harness.client._settings,
        store,
        handle.as_mapping(),
    )
    for thing in things:
        evidence.add_object(type(thing).__name__, thing)
    for thing in (harness.client, handle):
        evidence.add_pickle(type(thing).__name__, thing)
    evidence.add_object("connection", getattr(store, "_connection", None))
    evidence.add_object("entries", handle._entries)


async def test_no_secret_is_anywhere(server: EchoingServer, driver: Driver, mode: Mode) -> None:
    evidence = Evidence()
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, TOKEN) if mode is Mode.ASYNCIO else None
    way_there: dict[str, Any] = {"endpoint_url": server.url, "driver": driver, "session": session}
    harness = Harness(Client("b", signing_keys=SIGNING_KEYS, **way_there), mode)
    with evidence.logging():
        await use(harness, harness.named("d", create_if_missing=True), evidence, "well")
        d = harness.named("d", create_if_missing=True)
        await d.put("k", 1)
        for name, server.hostility in HOSTILITIES.items():
            await use(harness, d, evidence, name)
        server.hostility = None
        for name, elsewhere in {
            "no such bucket": Client("nowhere", **way_there),
            "unreachable": Client("b", endpoint_url="http://127.0.0.1:9", driver=driver, session=session),
        }.items():
            await use(Harness(elsewhere, mode), Harness(elsewhere, mode).named("d"), evidence, name)
    info = await d.info()
    evidence.add_object("info", info)
    evidence.add_pickle("info", info)
    gather_handles(evidence, harness, d)
    for path, body in server.objects():
        evidence.add(f"object {path}", path.encode() + body)
    assert len(evidence.about("log")) > 100
    assert len(evidence.about("object")) >= 2
    assert evidence.leaks(secrets(server)) == []


def test_no_secret_is_in_what_commands_print(server: EchoingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", "b")
    monkeypatch.setenv("S3DICT_ENDPOINT_URL", server.url)
    commands = ("doctor", "init --dry-run", "create d", "put d k 1", "get d k", "items d", "list")
    tried: list[tuple[str, Hostility | None, str]] = [("well", None, command) for command in commands]
    tried += [(name, HOSTILITIES[name], command) for name in COMMON for command in commands[:2]]
    evidence = Evidence()
    for name, server.hostility, command in tried:
        done = answer("--debug", *command.split())
        assert " s3://b/" in done.stderr, "no request was shown"
        evidence.add(f"{name}: {command}: stdout", done.stdout)
        evidence.add(f"{name}: {command}: stderr", done.stderr)
        if done.error is not None:
            evidence.add_error(f"{name}: {command}", done.error)
    assert evidence.leaks(secrets(server)) == []


PLANTED_BUGS: dict[str, tuple[str, Callable[..., Any]]] = {
    "log": (
        "s3dict._stores.shared.request_log.log_request",
        lambda *_: __import__("logging").getLogger("s3dict").debug("signed with %s", SECRET_KEY),
    ),
    "Client": ("s3dict.Client.__repr__", lambda self: f"Client({TOKEN!r})"),
    "Client: pickle": ("s3dict.Client.__reduce__", lambda self: (str, (SIGNING_KEYS[0],))),
    "message of a 403: get: repr": ("s3dict._stores.shared.access_denied.redacted", lambda text: text),
    "object": ("s3dict._format.manifest.Manifest.encode", lambda self: f'{{"by": "{ACCESS_KEY}"}}'.encode()),
}


@pytest.mark.parametrize("where", PLANTED_BUGS)
def test_planted_secret_is_found(where: str, server: EchoingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = Evidence()
    client = Client("b", endpoint_url=server.url, driver="boto3")
    harness = Harness(client, Mode.SYNC)
    d = harness.named("d", create_if_missing=True)
    d.wrapped.put("k", 1)
    monkeypatch.setattr(*PLANTED_BUGS[where])

    async def live() -> None:
        server.hostility = HOSTILITIES["message of a 403"]
        with suppress(Error):
            await harness.objects.create("planted", client=client)
        await use(harness, d, evidence, "message of a 403")
        server.hostility = None
        await harness.objects.create("planted", client=client)

    with evidence.logging():
        asyncio.run(live())
    gather_handles(evidence, harness, d)
    for path, body in server.objects():
        evidence.add(f"object {path}", body)
    assert any(found.startswith(where) for found in evidence.leaks(secrets(server)))


@pytest.mark.parametrize("secret", [SECRET_KEY, TOKEN, ACCESS_KEY])
def test_secret_is_found_however_it_is_spelled(secret: str) -> None:
    for number, spelled in enumerate(sorted(forms(secret))):
        evidence = Evidence()
        evidence.add(str(number), f"before{spelled}after")
        assert evidence.leaks({secret}) == [str(number)]
    assert Evidence().leaks({secret}) == []


CALL = S3Request("get_object", "b", "p", {})
URL = f"http://user:{PASSWORD}@proxy.example.com:3128/b/k?X-Amz-Signature={'0f' * 32}&X-Amz-Security-Token={TOKEN}"


@pytest.mark.parametrize(
    "vendors",
    [
        EndpointConnectionError(endpoint_url=URL, error=OSError(f"no route to {URL}")),
        ReadTimeoutError(endpoint_url=URL, error=None),
        ProxyConnectionError(proxy_url=URL, error=OSError("refused")),
        ResponseStreamingError(error=f"gone: {URL}"),
        CredentialRetrievalError(provider="custom-process", error_msg=f"it said: {SECRET_KEY} {TOKEN}"),
        ConnectionResetError(104, f"reset by {URL}"),
    ],
    ids=lambda vendors: type(vendors).__name__,
)
def test_driver_connection_errors_contain_no_secret(vendors: Exception) -> None:
    evidence = Evidence()
    with pytest.raises(Error) as caught:
        translate_exception(vendors, CALL)
    evidence.add_object("error", caught.value)
    evidence.add("traceback", "".join(traceback.format_exception(caught.value)))
    assert evidence.leaks({SECRET_KEY, TOKEN, PASSWORD, "0f" * 32}) == []


def test_error_has_nothing_of_the_drivers_functions_behind_it() -> None:
    """Their variables hold the request, with its signature."""
    with pytest.raises(OSError, match="it broke") as drivers:
        raise OSError("it broke")
    with pytest.raises(UnavailableError) as caught:
        translate_exception(drivers.value, CALL)
    assert drivers.value is caught.value.__cause__
    assert drivers.value.__traceback__ is None


def test_signed_url_that_the_clock_asks_is_in_no_error_and_no_line() -> None:
    evidence, signed = Evidence(), f"http://127.0.0.1:9/b/s3dict-clock?X-Amz-Signature={'0f' * 32}"
    with evidence.logging(), pytest.raises(UnavailableError) as caught:
        ServerClock("http://127.0.0.1:9/b", lambda: signed).time_at(0)
    evidence.add_error("error", caught.value)
    assert len(evidence.about("log")) == 2
    assert evidence.leaks({"0f" * 32}) == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{PASSWORD}@127.0.0.1:9",
        f"https://{PASSWORD}@s3.example.com",
        f"https://s3.example.com/?X-Amz-Signature={PASSWORD}",
        f"https://s3.example.com#{PASSWORD}",
        f"s3.example.com?token={PASSWORD}",
        f"user:{PASSWORD}@s3.example.com",
    ],
)
def test_endpoint_with_a_secret_is_rejected_without_showing_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = Evidence()
    for refuse in (lambda: validate_endpoint(url), lambda: Client("b", endpoint_url=url)):
        with pytest.raises(InvalidError) as caught:
            refuse()
        evidence.add_object("argument", caught.value)
    for variable in ("S3DICT_ENDPOINT_URL", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv("S3DICT_BUCKET", "b")
        monkeypatch.setenv(variable, url)
        with pytest.raises(InvalidError) as caught:
            Dict.from_name("d").get("k")
        evidence.add_object(variable, caught.value)
        monkeypatch.delenv(variable)
    assert evidence.leaks({PASSWORD}) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("The provided token has expired.", "The provided token has expired."),
        (
            "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
            "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
        ),
        ("ConditionalRequestConflict: try again", "ConditionalRequestConflict: try again"),
        ("User: arn:aws:iam::123456789012:user/bob is not", "User: arn:aws:iam::123456789012:user/bob is not"),
        ('to "http://127.0.0.1:9/b/k?X=1" failed', 'to "http://127.0.0.1:9" failed'),
        ("at https://me:pw@host:1/b", "at https://[...]"),
        ("through http://me:p@ss/wo@rd@proxy:3128", "through http://[...]"),
        ("Authorization: Basic bWU6cHc=", "Authorization: Basic [...]"),
        (f"Credential={ACCESS_KEY}/20261122, Signature={'a1' * 32}", "Credential=[...], Signature=[...]"),
        (f"<Token-0>{TOKEN}</Token-0>", "<Token-0>[...]==</Token-0>"),
    ],
)
def test_foreign_messages_are_shown_without_secrets(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(redacted(text)) == shown


def test_foreign_messages_are_truncated() -> None:
    assert len(redacted("word " * 1000)) == MAX_LENGTH + 5


def test_cause_that_cannot_be_made_harmless_is_left_out() -> None:
    class StubbornError(Exception):
        def __str__(self) -> str:
            return TOKEN

    assert sanitised(StubbornError()) is None
    with pytest.raises(ValueError, match="outer") as caught:
        raise ValueError("outer") from StubbornError()
    assert sanitised(caught.value) is None


async def test_exception_that_the_caller_handles_is_not_redacted(driver: Driver, mode: Mode) -> None:
    """Its message and its traceback are those of the caller's program."""
    text = "batch-2026-11-28-0001 failed"
    with MisbehavingServer() as server:
        d = Harness(Client("missing", endpoint_url=server.url, driver=driver), mode).named("d", create_if_missing=True)
        handled: list[ValueError] = []
        try:
            raise ValueError(text)
        except ValueError as error:
            handled.append(error)
            with pytest.raises(NotFoundError):
                await d.put("failures", 1)
    assert [(str(error), error.__traceback__ is not None) for error in handled] == [(text, True)]


def test_cause_that_is_left_out_is_no_context_either() -> None:
    """Who logs the whole of an error finds its context, also where a traceback would not show it."""

    class StubbornError(OSError):
        def __str__(self) -> str:
            return TOKEN

    class Broken(S3Requests):
        async def _execute(self, request: S3Request) -> S3Response:
            raise StubbornError

    with pytest.raises(UnavailableError) as caught:
        run_blocking(Broken(Connection(ConnectionArguments("bucket")), ThreadRuntime(1)).get("path"))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        *((code, code) for code in ("NoSuchKey", "403", "KMS.DisabledException", "XAmzContentSHA256Mismatch")),
        *((code, "") for code in (ACCESS_KEY, SECRET_KEY, TOKEN, "0f" * 32, "no such key", "", "1234")),
    ],
)
def test_code_is_shown_if_it_looks_like_one(code: str, shown: str) -> None:
    assert safe_error_code(code) == shown
