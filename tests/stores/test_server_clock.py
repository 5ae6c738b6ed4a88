"""The store's clock, read by a request of its own: never ahead of the true one, and seldom requested."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any

import boto3
import pytest

from s3dict import Client, UnavailableError, UnsupportedStoreError
from s3dict._stores.base import ServerTime, monotonic_seconds
from s3dict._stores.obstore import server_clock
from s3dict._stores.obstore.server_clock import ServerClock

from ..support.faulty_server import MisbehavingServer
from ..support.http_wire import HttpResponse
from ..support.modes import Endpoint
from ..support.proxy import Fault, Proxy, Request

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as misbehaving:
        boto3.client("s3", endpoint_url=misbehaving.url).create_bucket(Bucket="b")
        yield misbehaving


@pytest.fixture
def proxied_url(server: MisbehavingServer) -> str:
    return server.url


@pytest.fixture
def clock(proxy: Proxy) -> ServerClock:
    return ServerClock(f"{proxy.url}/b", lambda: f"{proxy.url}/b/signed")


def shown(server: MisbehavingServer) -> datetime:
    return datetime.fromtimestamp(time.time() + server.clock, UTC)


@pytest.mark.parametrize("ahead", [-2 * DAY, timedelta(0), 2 * DAY])
def test_server_clock_follows_the_store(server: MisbehavingServer, clock: ServerClock, ahead: timedelta) -> None:
    server.clock = ahead.total_seconds()
    server_time = clock.time_at(monotonic_seconds())
    assert timedelta(0) <= shown(server) - server_time < 2 * SECOND


def test_server_clock_syncs_once_a_minute(clock: ServerClock, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    now = monotonic_seconds()
    with proxy.recording() as requests:
        first = clock.time_at(now)
        assert first + 10 * SECOND - SECOND < clock.time_at(now + 10) < first + 10 * SECOND
        assert first - 10 * SECOND - SECOND < clock.time_at(now - 10) < first - 10 * SECOND
    assert [request.operation for request in requests] == ["HeadBucket"]
    with proxy.recording() as requests:
        monkeypatch.setattr(server_clock, "monotonic_seconds", lambda: monotonic_seconds() + 61)
        clock.time_at(now)
    assert len(requests) == 1


@pytest.mark.parametrize("name", ["monotonic", "wall"])
def test_server_clock_resyncs_after_local_clock_divergence(
    clock: ServerClock, proxy: Proxy, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept, and its steady clock with it; or the wall clock was set."""
    clock.time_at(monotonic_seconds())
    real = time.time
    if name == "wall":
        monkeypatch.setattr(time, "time", lambda: real() + 5)
    else:
        monkeypatch.setattr(server_clock, "monotonic_seconds", lambda: monotonic_seconds() + 5)
    with proxy.recording() as requests:
        clock.time_at(monotonic_seconds())
    assert len(requests) == 1


def test_server_clock_skips_ages_ruled_out_by_the_signature(clock: ServerClock, proxy: Proxy) -> None:
    now, answered = datetime.now(UTC), ServerTime(clock=clock, moment=monotonic_seconds())
    with proxy.recording() as requests:
        assert not answered.is_older_than(now - DAY, 2 * DAY)
        assert not answered.is_older_than(now, HOUR)
        assert not answered.is_older_than(now - DAY, timedelta.max)
    assert requests == []
    with proxy.recording() as requests:
        assert answered.is_older_than(now - DAY, HOUR)
        assert not answered.is_older_than(now, 5 * SECOND)
        assert (answered + 10 * SECOND).is_older_than(now, 5 * SECOND)
    assert len(requests) == 1


def test_clock_that_is_days_off_ages_nothing_too_early(server: MisbehavingServer, clock: ServerClock) -> None:
    """Ours is two days ahead of the store's."""
    server.clock = -2 * DAY.total_seconds()
    answered = ServerTime(clock=clock, moment=monotonic_seconds())
    assert not answered.is_older_than(shown(server), HOUR)
    assert answered.is_older_than(shown(server) - 2 * HOUR, HOUR)


def test_server_clock_is_read_again_when_a_deadline_is_within_its_error(
    server: MisbehavingServer, clock: ServerClock, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Date omits the fraction of a second, which decides whether an entry has just expired."""
    monkeypatch.setattr(server_clock, "REREAD_AFTER", -1)
    server.clock = 0.9 - time.time() % 1
    answered = ServerTime(clock=clock, moment=monotonic_seconds())
    date = answered.date().replace(microsecond=0)
    server.clock += 1.2
    assert answered.has_passed(date + SECOND) is True
    with proxy.recording() as requests:
        assert answered.has_passed(date + HOUR) is False
        assert answered.has_passed(date - HOUR) is True
    assert requests == []


def test_server_clock_is_not_read_again_for_each_of_many_deadlines(
    clock: ServerClock, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_clock, "REREAD_AFTER", 60)
    answered = ServerTime(clock=clock, moment=monotonic_seconds())
    date = answered.date()
    with proxy.recording() as requests:
        assert [answered.has_passed(date + 1.2 * SECOND) for _ in range(3)] == [False] * 3
    assert requests == []


def test_deadline_has_not_certainly_passed_if_the_store_does_not_respond(
    clock: ServerClock, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_clock, "REREAD_AFTER", -1)
    answered = ServerTime(clock=clock, moment=monotonic_seconds())
    date = answered.date()
    proxy.faults = [Fault("internal-error")]
    assert answered.has_passed(date + 1.2 * SECOND) is False


def test_server_clock_retries_after_one_failure(clock: ServerClock, proxy: Proxy) -> None:
    proxy.script(Fault("internal-error"))
    with proxy.recording() as requests:
        server_time = clock.time_at(monotonic_seconds())
    assert [request.status == 500 for request in requests] == [True, False]
    assert timedelta(0) <= datetime.now(UTC) - server_time < HOUR


@pytest.mark.skipif(find_spec("obstore") is None, reason="obstore is for Python 3.11 and later")
def test_server_clock_falls_back_to_a_signed_request(seaweedfs: Endpoint) -> None:
    with Proxy(seaweedfs.url) as dropping:
        dropping.faults = [Fault("lost-request", "HeadBucket")]
        client = Client(seaweedfs.bucket, prefix="signed-clock", endpoint_url=dropping.url, driver="obstore")
        store: Any = client._store(aio=False)
        with dropping.recording() as requests:
            server_time = store._clients.clock.time_at(monotonic_seconds())
        assert [(sent.operation, sent.status) for sent in requests] == [("HeadBucket", None), ("HeadObject", 404)]
        assert abs(datetime.now(UTC) - server_time) < 3 * SECOND


def test_unreachable_server_clock_is_unavailable(clock: ServerClock, proxy: Proxy) -> None:
    for kind in ("lost-response", "internal-error"):
        proxy.faults = [Fault(kind)]
        with pytest.raises(UnavailableError, match="clock cannot be read"):
            clock.time_at(monotonic_seconds())


def test_server_clock_retries_a_response_without_its_last_headers(clock: ServerClock, proxy: Proxy) -> None:
    """The connection broke within them, which http.client does not notice."""
    with proxy.recording() as requests:
        proxy.script(Fault("cut-response", cut=0.15))
        assert abs(clock.time_at(monotonic_seconds()) - datetime.now(UTC)) < HOUR
    assert [request.fault for request in requests] == ["cut-response", None]


def test_deadline_has_not_certainly_passed_if_the_response_is_cut_off(
    clock: ServerClock, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_clock, "REREAD_AFTER", -1)
    answered = ServerTime(clock=clock, moment=monotonic_seconds())
    date = answered.date()
    proxy.faults = [Fault("cut-response", cut=0.15)]
    assert answered.has_passed(date + 1.2 * SECOND) is False


def test_missing_date_header_is_unsupported(clock: ServerClock, proxy: Proxy) -> None:
    def timeless(_: Request, answer: HttpResponse) -> HttpResponse:
        headers = tuple(header for header in answer.headers if header[0].lower() != "date")
        return HttpResponse(answer.status, answer.reason, headers, answer.body)

    proxy.rewrite = timeless
    with pytest.raises(UnsupportedStoreError, match="lack a valid Date"):
        clock.time_at(monotonic_seconds())
