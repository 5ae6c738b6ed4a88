"""`Client(on_request=...)`: one event for each attempt of a request, the same from every driver."""

from __future__ import annotations

import logging
import multiprocessing
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from s3dict import Client, Dict, InvalidError, RequestEvent, UnavailableError
from s3dict._stores.shared.events import RequestObserver
from s3dict.testing import faults

from ..support.modes import Harness, Mode
from ..support.proxy import Fault, Proxy

pytestmark = pytest.mark.backends("memory", "moto", "seaweedfs", "seaweedfs-rust")


@pytest.fixture
def events() -> list[RequestEvent]:
    return []


@pytest.fixture
def observed(client: Client, mode: Mode, events: list[RequestEvent]) -> Any:
    """A dict whose requests are in `events`, of which none has been made yet since it was opened."""
    observing = observing_client(client, events)
    Dict.from_name("d", create_if_missing=True, client=observing).hydrate()
    events.clear()
    return Harness(observing, mode).named("d")


def observing_client(client: Client, events: list[RequestEvent], endpoint_url: str | None = None) -> Client:
    return Client(
        client.bucket,
        prefix=client.prefix,
        endpoint_url=endpoint_url or client.endpoint_url,
        driver=client.driver,
        on_request=events.append,
    )


async def test_nothing_is_observed_without_a_callable(d: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a request is observed")

    for name in ("__init__", "watching", "report"):
        monkeypatch.setattr(RequestObserver, name, fail)
    await d.put("k", 1)
    await d.get("k")
    await d.len()


async def test_each_request_is_an_event_with_its_status_and_sizes(observed: Any, events: list[RequestEvent]) -> None:
    await observed.put("a key", b"value")
    await observed.get("a key")
    await observed.get("another")
    await observed.put("a key", 1, skip_if_exists=True)
    await observed.len()
    events = [event for event in events if "/entries/" in event.object_name]
    operations = ["PutObject", "GetObject", "GetObject", "PutObject", "GetObject", "ListObjectsV2"]
    assert [event.operation for event in events] == operations
    put, get, missing, rejected = events[:4]
    assert (put.status, get.status, missing.status, rejected.status) == (200, get.status, 404, 412)
    assert get.status in (200, 206)
    assert put.bytes_sent == get.bytes_received > len(b"value")
    assert {(event.dict_name, event.environment_name, event.attempt) for event in events} == {("d", "main", 1)}
    assert all(0 < event.seconds < 60 for event in events)


async def test_callable_runs_in_the_context_of_the_call(client: Client, mode: Mode) -> None:
    """Where it starts a span of OpenTelemetry, for example: the parent is in a context variable."""
    span, spans = ContextVar("span", default="none"), list[str]()
    observing = Client(
        client.bucket,
        prefix=client.prefix,
        endpoint_url=client.endpoint_url,
        driver=client.driver,
        on_request=lambda _: spans.append(span.get()),
    )
    d = Harness(observing, mode).named("d", create_if_missing=True)
    span.set("current")
    await d.update({"a": 1, "b": 2})
    await d.get_many(["a", "b"])
    await d.pop_many(["a", "b"])
    assert len(spans) >= 9
    assert set(spans) == {"current"}


async def test_event_contains_no_key(observed: Any, events: list[RequestEvent]) -> None:
    await observed.put("secret-key", 1)
    await observed.get("secret-key")
    assert events
    assert not any("secret-key" in repr(event) or "c2VjcmV0" in repr(event) for event in events)


async def test_event_is_frozen(observed: Any, events: list[RequestEvent]) -> None:
    await observed.get("k")
    with pytest.raises(FrozenInstanceError):
        events[0].status = 200  # type: ignore[misc]


async def test_exception_of_the_callable_is_logged_once_and_fails_no_request(
    client: Client, mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: RequestEvent) -> None:
        raise ZeroDivisionError(event.operation)

    failing = Client(
        client.bucket, prefix=client.prefix, endpoint_url=client.endpoint_url, driver=client.driver, on_request=fail
    )
    d = Harness(failing, mode).named("d", create_if_missing=True)
    await d.put("k", 1)
    assert await d.get("k") == 1
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 1
    assert "on_request failed" in failures[0].getMessage()


@pytest.mark.backends("seaweedfs", "seaweedfs-rust")
async def test_each_attempt_is_an_event(
    client: Client, mode: Mode, proxy: Proxy, events: list[RequestEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    d = Harness(observing_client(client, events, proxy.url), mode).named("d", create_if_missing=True)
    await d.put("k", 1)
    events.clear()
    proxy.script(Fault("internal-error", "GetObject"))
    proxy.script(Fault("lost-response", "GetObject"))
    assert await d.get("k") == 1
    assert [(event.attempt, event.status) for event in events if event.operation == "GetObject"] == [
        (1, 500),
        (2, "no response"),
        (3, 206),
    ]


@contextmanager
def unreachable(client: Client) -> Iterator[None]:
    with faults(client, "unreachable"):
        yield


@pytest.mark.backends("memory")
def test_failed_request_is_an_event_in_memory(client: Client, events: list[RequestEvent]) -> None:
    observing = observing_client(client, events)
    d = Dict.from_name("d", create_if_missing=True, client=observing).hydrate()
    events.clear()
    with unreachable(observing), pytest.raises(UnavailableError):
        d["k"] = 1
    assert {event.status for event in events} == {"no response"}
    assert [event.attempt for event in events] == [1] * len(events)


def test_callable_is_not_pickled(client: Client, events: list[RequestEvent]) -> None:
    if client.driver == "memory":
        pytest.skip("a pickled client in memory is the same one")
    copy = pickle.loads(pickle.dumps(observing_client(client, events)))
    Dict.from_name("d", create_if_missing=True, client=copy).hydrate()
    assert events == []


def test_invalid_callable_is_rejected() -> None:
    with pytest.raises(InvalidError, match="on_request"):
        Client("b", on_request="print")  # type: ignore[arg-type]


def _driver_and_warnings(client: Client, results: Any) -> None:
    records: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    logging.getLogger("s3dict").addHandler(Recorder())
    drivers = [client.driver, client.driver]
    results.put((drivers, [message for message in records if "forked" in message]))


@pytest.mark.backends("seaweedfs-rust")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_losing_obstore_after_a_fork_is_logged_once(client: Client) -> None:
    Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_driver_and_warnings, args=(client, results))
    child.start()
    drivers, warnings = results.get()
    child.join()
    assert (drivers, len(warnings)) == (["boto3", "boto3"], 1)
