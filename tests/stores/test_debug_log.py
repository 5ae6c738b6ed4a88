"""Debug logging: a line for each request, which names no key and no value; and nothing without a listener."""

from __future__ import annotations

import asyncio
import logging
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from s3dict import Client, Dict, UnavailableError
from s3dict._format.keys import KeyCodec, digest
from s3dict._retry import DEFAULT_POLICIES
from s3dict._stores.shared import request_log as log

from ..support.modes import Driver, Endpoint, Harness, Mode, collect
from ..support.proxy import Fault, FaultKind, Proxy, Request
from ..support.retries import quick

KEY, VALUE = "a-key-that-is-nobodys-business", "a-value-that-is-nobodys-business"


@pytest.fixture
def proxied_url(seaweedfs: Endpoint) -> str:
    return seaweedfs.url


@pytest.fixture
def harness(proxy: Proxy, seaweedfs: Endpoint, driver: Driver, mode: Mode) -> Harness:
    prefix = f"log-{driver}-{mode.value}"
    return Harness(quick(Client(seaweedfs.bucket, prefix=prefix, endpoint_url=proxy.url, driver=driver)), mode)


class Collector(logging.Handler):
    """Keeps the records of a test, whichever phase of it they are made in."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    logger, collector = log.logger(), Collector()
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG)
    yield collector.records
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(collector)


def asked(requests: list[Request]) -> list[tuple[str, Any]]:
    return [(request.operation, request.status) for request in requests]


def logged(lines: list[Any]) -> list[tuple[str, Any]]:
    return [(line.operation, line.status) for line in lines]


async def use_it(harness: Harness) -> None:
    d = harness.named("d", create_if_missing=True)
    await d.put(KEY, VALUE)
    await d.get(KEY)
    await d.get("missing")
    await d.contains(KEY)
    await d.put(KEY, VALUE, skip_if_exists=True)
    await d.entry(KEY)
    await collect(d.items())
    await d.pop(KEY)
    await d.clear()
    await harness.objects.delete("d", client=harness.client)


async def test_each_request_is_one_line_that_has_the_keys_hash_and_neither_key_nor_value(
    harness: Harness, proxy: Proxy, lines: list[Any]
) -> None:
    with proxy.recording() as requests:
        await use_it(harness)
    assert len(requests) > 10
    assert asked(requests) == logged(lines)
    assert {(line.name, line.levelno, line.retries) for line in lines} == {("s3dict", logging.DEBUG, 0)}
    hashed = digest(KeyCodec(True, str).encode(KEY).data)
    assert any(f"/entries/{hashed}: 200, " in line.getMessage() for line in lines)
    shown = "\n".join(f"{line.getMessage()} {line.__dict__}" for line in lines)
    for secret in (KEY, VALUE, KEY.encode().hex(), urlsafe_b64encode(KEY.encode()).decode().rstrip("=")[4:-4]):
        assert secret not in shown


@pytest.mark.parametrize("kind", ["internal-error", "lost-response"])
async def test_retried_request_is_one_line(kind: FaultKind, harness: Harness, proxy: Proxy, lines: list[Any]) -> None:
    d = await harness.named("d", create_if_missing=True).hydrate()
    lines.clear()
    proxy.script(Fault(kind, operation="GetObject"), times=2)
    await harness.in_mode(d).get("k")
    assert [(line.operation, line.status, line.retries) for line in lines] == [("GetObject", 404, 2)]


@pytest.mark.parametrize(("kind", "status"), [("internal-error", 500), ("lost-response", "no response")])
async def test_failed_request_is_logged_with_its_error(
    kind: FaultKind, status: object, harness: Harness, proxy: Proxy, lines: list[Any]
) -> None:
    d = await harness.named("d", create_if_missing=True).hydrate()
    lines.clear()
    proxy.faults = [Fault(kind)]
    with pytest.raises(UnavailableError):
        await harness.in_mode(d).get("k")
    assert [(line.operation, line.status, line.retries) for line in lines] == [
        ("GetObject", status, DEFAULT_POLICIES.requests.max_attempts - 1)
    ]


def test_abandoned_request_is_logged_without_response(
    proxy: Proxy, seaweedfs: Endpoint, driver: Driver, lines: list[Any]
) -> None:
    client = Client(seaweedfs.bucket, prefix="log-cancelled", endpoint_url=proxy.url, driver=driver)
    d: Dict[str, str] = Dict.from_name("d", create_if_missing=True, client=client)

    async def give_up() -> None:
        await d.get.aio("k")
        lines.clear()
        proxy.faults = [Fault("delay", seconds=60)]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(d.get.aio("k"), 0.1)

    asyncio.run(give_up())
    assert logged(lines) == [("GetObject", "no response")]


async def test_disabled_debug_log_formats_nothing(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="s3dict")
    monkeypatch.setattr("s3dict._stores.shared.request_log.log_request", lambda *_: pytest.fail("a line was written"))
    await use_it(harness)
    assert log.start_timer() == 0.0


def test_library_prints_nothing_by_itself() -> None:
    assert [type(handler) for handler in log.logger().handlers] == [logging.NullHandler]


@pytest.mark.parametrize(
    ("where", "shown", "key_hash"),
    [
        (f"s3://b/p/entries/{'ab' * 16}.aGVsbG8", f"s3://b/p/entries/{'ab' * 16}", "ab" * 16),
        (f"s3://b/p/entries/{'ab' * 16}", f"s3://b/p/entries/{'ab' * 16}", "ab" * 16),
        ("s3://b/p/manifests/main/d.json", "s3://b/p/manifests/main/d.json", None),
        ("s3://b/p/entries/", "s3://b/p/entries/", None),
    ],
)
def test_object_names_are_logged_as_hashes(where: str, shown: str, key_hash: str | None, lines: list[Any]) -> None:
    log.log_request("GetObject", where, log.start_timer(), 200, 1)
    assert (lines[0].where, lines[0].key_hash) == (shown, key_hash)
    assert lines[0].getMessage().startswith(f"GetObject {shown}: 200, ")
    assert lines[0].getMessage().endswith(" ms, 1 retry")
