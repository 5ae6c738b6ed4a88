"""Dicts on stores that limit the rate of requests: of one key, or of all."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import boto3
import pytest

from s3dict import Client, Dict, UnavailableError
from s3dict._core.counters import MAX_SHARDS_TRIED
from s3dict._core.listing import delete_all
from s3dict._retry import ThrottledError
from s3dict._stores.shared.rate_limit import RateLimit
from s3dict._stores.shared.threads import run_blocking

from ..support.connections import WAYS as WAYS_OF_CONNECTIONS
from ..support.connections import get, perform, put
from ..support.faulty_server import MisbehavingServer
from ..support.limiter import KeyLimiter, RateLimiter
from ..support.modes import Driver, Harness, Mode, locked
from ..support.recording_server import Recorded, Response, error, not_found, recording_server
from ..support.retries import quick, soon_giving_up, throttled_policies, with_retries
from ..support.s3_responses import RefusedError
from .__main__ import limits_table, ratios_table
from .measure import WAYS, Job, compare, measure

SECONDS_PER_WRITE = 0.01
"""For one key: a second on Cloudflare R2 and Google Cloud Storage."""


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as limited:
        boto3.client("s3", endpoint_url=limited.url).create_bucket(Bucket="b")
        yield limited


@pytest.fixture
def harness(server: MisbehavingServer, driver: Driver, mode: Mode) -> Harness:
    return Harness(quick(Client("b", endpoint_url=server.url, driver=driver)), mode)


@pytest.fixture
def d(harness: Harness) -> Any:
    return harness.named("d", create_if_missing=True)


def _every_second_write_of_a_key() -> KeyLimiter:
    """Return a limiter that refuses a write which follows one of the same key, however long after it."""
    return KeyLimiter(2, clock=count().__next__)


async def test_dict_works_where_a_key_takes_one_write_at_a_time(server: MisbehavingServer, d: Any) -> None:
    server.limiter = _every_second_write_of_a_key()
    for n in range(3):
        await d.put("k", n)
    assert [await d.modify("k", lambda n: n + 1) for _ in range(3)] == [3, 4, 5]
    for _ in range(2):
        async with locked(d.wrapped.lock("job", lease=60, timeout=5), d._mode) as held:
            assert not held.lost
    assert await d.get_or_compute("computed", lambda: 7) == 7
    assert await d.pop("k") == 5
    assert server.limiter.refused


def test_concurrent_modify_makes_progress_where_a_key_takes_one_write_at_a_time(
    server: MisbehavingServer, driver: Driver
) -> None:
    client = quick(Client("b", endpoint_url=server.url, driver=driver))
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    server.limiter = KeyLimiter(SECONDS_PER_WRITE)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: d.modify("k", lambda n: n + 1, default=0), range(16)))
    assert d["k"] == 16


def test_contenders_all_make_progress_from_the_creation_of_the_dict_on(
    server: MisbehavingServer, driver: Driver
) -> None:
    server.limiter = _every_second_write_of_a_key()
    inside, computed = list[int](), list[int]()

    def compute() -> int:
        computed.append(7)
        return 7

    def contend(_: int) -> int:
        client = with_retries(Client("b", endpoint_url=server.url, driver=driver), throttled_policies())
        d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
        d.modify("k", lambda n: n + 1, default=0)
        with d.lock("job", lease=60) as held:
            inside.append(held.token)
            assert not held.lost
        return d.get_or_compute("computed", compute)

    with ThreadPoolExecutor(4) as pool:
        values = set(pool.map(contend, range(4)))
    client = Client("b", endpoint_url=server.url, driver=driver)
    assert Dict.from_name("d", client=client)["k"] == 4
    assert inside == sorted(set(inside))
    assert (len(inside), values, computed) == (4, {7}, [7])
    assert server.limiter.refused


async def test_addition_waits_for_no_shard_while_another_is_free(
    server: MisbehavingServer, harness: Harness, d: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await d.hydrate()
    monkeypatch.setattr("s3dict._core.counters.random.choice", min)
    server.limiter = limiter = _Full(1)
    counter = harness.in_mode(d.wrapped.counter("hits", 2))
    for _ in range(2):
        await counter.add()
    assert (len(limiter.full), limiter.refused) == (1, 2)
    assert await counter.value() == 2


async def test_addition_to_a_store_that_throttles_all_shards_tries_few(
    server: MisbehavingServer, harness: Harness, d: Any
) -> None:
    soon_giving_up(harness.client)
    await d.hydrate()
    server.limiter = limiter = _Full(100)
    with pytest.raises(UnavailableError, match="throttled") as caught:
        await harness.in_mode(d.wrapped.counter("hits", 100)).add()
    assert not caught.value.maybe_applied
    assert len(limiter.full) == MAX_SHARDS_TRIED


class _Full:
    """Admits no write of the first `count` keys that are written."""

    def __init__(self, count: int) -> None:
        self.full: set[str] = set()
        self.refused = 0
        self._count = count

    def __call__(self, method: str, path: str) -> bool:
        if method == "PUT" and len(self.full) < self._count:
            self.full.add(path)
        is_refused = method == "PUT" and path in self.full
        self.refused += is_refused
        return not is_refused


async def test_update_writes_all_entries_below_the_limit_of_the_store(server: MisbehavingServer, d: Any) -> None:
    await d.hydrate()
    server.limiter = RateLimiter(writes=100)
    values = {n: n for n in range(200)}
    await d.update(values)
    assert server.limiter.refused <= 0.5 * len(values)
    server.limiter = None
    assert dict([item async for item in d.items()]) == values


async def test_reads_are_paced_apart_from_writes(server: MisbehavingServer, d: Any) -> None:
    await d.update({n: n for n in range(150)})
    server.limiter = RateLimiter(reads=100)
    assert len(await d.get_many(range(150))) == 150
    refused = server.limiter.refused
    await d.update(dict.fromkeys(range(150), 0))
    assert server.limiter.refused == refused


async def test_only_bulk_operations_are_paced_and_only_their_throttling_counts(
    server: MisbehavingServer, harness: Harness, d: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved: list[RateLimit] = []
    reserve = RateLimit.reserve

    def recorded(limit: RateLimit) -> int:
        reserved.append(limit)
        return reserve(limit)

    monkeypatch.setattr(RateLimit, "reserve", recorded)
    await d.hydrate()
    rates = harness.client._store(aio=harness.mode is Mode.ASYNCIO)._rates  # type: ignore[attr-defined]
    server.limiter = _every_second_write_of_a_key()
    for n in range(2):
        await d.put("k", n)
    assert server.limiter.refused
    assert rates.writes.is_unlimited
    for limit in (rates.reads, rates.writes):
        limit.throttled(-math.inf)
    await d.modify("k", lambda n: n + 1)
    assert await d.get("k") == 2
    async with locked(d.wrapped.lock("job", lease=60), harness.mode):
        pass
    assert await d.pop("k") == 2
    assert not reserved
    await d.update({n: n for n in range(3)})
    await d.get_many(range(3))
    assert {rates.reads, rates.writes} == set(reserved)


async def test_store_that_always_throttles_is_unavailable_within_the_budget(
    server: MisbehavingServer, harness: Harness, d: Any
) -> None:
    soon_giving_up(harness.client)
    await d.put("k", 1)
    server.limiter = lambda method, _: method == "GET"
    with pytest.raises(UnavailableError, match="throttled") as caught:
        await d.put("k", 2)
    assert not caught.value.maybe_applied
    with pytest.raises(UnavailableError, match="throttled"):
        await d.modify("k", lambda n: n + 1)


_one_driver = pytest.mark.parametrize("driver", ["obstore"])
"""What a lock makes of throttling is the same for all."""


@pytest.fixture(params=["lock", "semaphore"])
def acquirable(request: pytest.FixtureRequest, d: Any, harness: Harness) -> Any:
    made = d.wrapped.lock("job") if request.param == "lock" else d.wrapped.semaphore("job", 2)
    return harness.in_mode(made)


@_one_driver
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_acquisition_that_is_throttled_to_the_end_does_not_say_that_the_lock_is_held(
    server: MisbehavingServer, harness: Harness, d: Any, acquirable: Any, method: str
) -> None:
    soon_giving_up(harness.client)
    await d.hydrate()
    server.limiter = lambda sent, _: sent != method
    for options in ({"blocking": False}, {"timeout": 0.1}, {}):
        with pytest.raises(UnavailableError, match="throttled"):
            await acquirable.acquire(**options)
    server.limiter = None
    assert await acquirable.acquire(blocking=False) is not None


@_one_driver
async def test_throttled_acquisition_that_does_not_wait_is_repeated(
    server: MisbehavingServer, d: Any, acquirable: Any
) -> None:
    await d.hydrate()
    refused = iter([False] * 6)
    server.limiter = lambda *_: next(refused, True)
    assert await acquirable.acquire(blocking=False) is not None
    assert next(refused, None) is None


@_one_driver
async def test_acquisition_that_is_throttled_after_a_lost_one_does_not_say_that_the_lock_is_held(
    server: MisbehavingServer, harness: Harness, d: Any, acquirable: Any
) -> None:
    soon_giving_up(harness.client)
    await d.hydrate()
    lost = iter([RefusedError(500, "InternalError", "We encountered an internal error")])

    def limiter(method: str, _: str) -> bool:
        if method == "PUT" and (error := next(lost, None)) is not None:
            raise error
        return method != "PUT"

    server.limiter = limiter
    with pytest.raises(UnavailableError, match="throttled"):
        await acquirable.acquire(blocking=False)


@_one_driver
async def test_throttled_question_for_the_holder_is_not_answered(
    server: MisbehavingServer, harness: Harness, d: Any
) -> None:
    soon_giving_up(harness.client)
    lock = harness.in_mode(d.wrapped.lock("job"))
    await d.hydrate()
    server.limiter = lambda method, _: method != "GET"
    for question in (lock.locked, lock.holder):
        with pytest.raises(UnavailableError, match="throttled"):
            await question()
    refused = iter([False] * 3)
    server.limiter = lambda *_: next(refused, True)
    assert await lock.locked() is False


@pytest.mark.parametrize("bursts", [True, False])
def test_measurement_counts_what_a_limit_refuses(bursts: bool) -> None:
    figures = measure(Job(WAYS[0], 1000, bursts, 500))
    assert figures.rate > 0
    assert figures.refused <= 1
    assert f"{figures.rate / 1000:.2f}" in limits_table(
        {Job(WAYS[0], 1000, bursts, 500): figures}, {WAYS[0]: 1}, [1000]
    )


def test_comparison_shows_that_pacing_makes_no_further_request() -> None:
    compared = compare(WAYS[0], 20)
    assert [each.requests for each in compared] == [1.0] * len(compared)
    assert "`update`" in ratios_table({WAYS[0]: compared})


@pytest.mark.parametrize(("driver", "aio"), WAYS_OF_CONNECTIONS)
def test_missing_entries_count_towards_the_rate_of_the_store(driver: Any, aio: bool) -> None:
    """A 404 is a response as any other: a rate measured without them would be too low."""
    with recording_server(not_found) as server:
        client = Client("bucket", endpoint_url=server.url, driver=driver)
        rates: list[Any] = []

        async def head() -> None:
            store: Any = client._store(aio=aio).paced()
            assert await store.head("p/k") is None
            rates.append(store._rates)

        if aio:
            asyncio.run(head())
        else:
            run_blocking(head())
        assert rates[0].reads.last_accepted_at > 0


THROTTLED: dict[str, Response] = {
    "Google Cloud Storage": error(429, "SlowDown", "Changing object too quickly, please slow down"),
    "Cloudflare R2": error(429, "TooManyRequests", "Reduce your concurrent request rate for the same object"),
    "Cloudflare's front": (429, {"Content-Type": "text/html"}, b"<html>error code: 971</html>"),
    "Ceph": error(503, "SlowDown", **{"Retry-After": "0"}),
    "a date that has passed": error(503, "SlowDown", **{"Retry-After": "Fri, 27 Nov 2020 10:00:00 GMT"}),
    "no number": error(429, "SlowDown", **{"Retry-After": "soon"}),
    "an account's limit": error(403, "RequestLimitExceeded"),
    "bandwidth": error(509, "BandwidthLimitExceeded"),
}
AMBIGUOUS: dict[str, Response] = {
    "Backblaze B2": error(503, "ServiceUnavailable", "c001_v0001113_t0035 is too busy"),
    "Wasabi": error(503, "TemporarilyUnavailable"),
    "a gateway": (503, {"Retry-After": "0"}, b""),
}


@pytest.mark.parametrize("name", [*THROTTLED, *AMBIGUOUS])
@pytest.mark.parametrize(("driver", "aio"), WAYS_OF_CONNECTIONS)
def test_only_what_says_so_counts_as_throttled(name: str, driver: Any, aio: bool) -> None:
    refusal = {**THROTTLED, **AMBIGUOUS}[name]
    gets: list[str] = []

    def respond(request: Recorded) -> Response:
        if request.method == "GET":
            gets.append(request.path)
        return not_found(request) if len(gets) > 2 else refusal

    with recording_server(respond) as server:
        client = Client("bucket", endpoint_url=server.url, driver=driver)
        failure = perform(client, aio, put)
        assert isinstance(failure, UnavailableError)
        assert failure.maybe_applied == (name in AMBIGUOUS)
        assert isinstance(failure, ThrottledError) == (name in THROTTLED)
        patient = with_retries(Client("bucket", endpoint_url=server.url, driver=driver), throttled_policies())

        async def read() -> Any:
            return await get(patient._store(aio=aio))

        assert (asyncio.run(read()) if aio else run_blocking(read())) is None
    assert len(gets) >= 3


LISTING = (
    b'<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>p/k</Key><Size>1</Size><ETag>"e"</ETag>'
    b"<LastModified>2026-11-27T10:00:00Z</LastModified></Contents></ListBucketResult>"
)


NOTHING_DELETED = {
    # Of single objects. https://github.com/awslabs/aws-sdk-rust/issues/873
    "throttled": b"<DeleteResult><Error><Key>p/k</Key><Code>SlowDown</Code></Error></DeleteResult>",
    "failed": b"<DeleteResult><Error><Key>p/k</Key><Code>InternalError</Code></Error></DeleteResult>",
    # https://github.com/apache/arrow-rs-object-store/issues/277
    "an error": b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
    # https://github.com/fsspec/s3fs/issues/484
    "a declaration alone": b'<?xml version="1.0" encoding="UTF-8"?>\n',
}


@pytest.mark.parametrize("body", NOTHING_DELETED)
def test_bulk_deletion_whose_response_of_200_says_that_nothing_was_deleted_is_repeated(
    body: str, driver: Driver
) -> None:
    deletions: list[str] = []

    def respond(request: Recorded) -> Response:
        if request.method == "GET":
            return 200, {}, LISTING
        if request.method != "POST":
            return not_found(request)
        deletions.append(request.path)
        done = b"<DeleteResult><Deleted><Key>p/k</Key></Deleted></DeleteResult>"
        return 200, {}, NOTHING_DELETED[body] if len(deletions) < 2 else done

    with recording_server(respond) as server:
        client = with_retries(Client("bucket", endpoint_url=server.url, driver=driver), throttled_policies())
        run_blocking(delete_all(client._store(aio=False), "p/"))
    assert len(deletions) in (2, 3)


@pytest.mark.parametrize(("driver", "aio"), WAYS_OF_CONNECTIONS)
def test_throttled_head_and_listing_are_repeated(driver: Any, aio: bool) -> None:
    """A HEAD has no error document. https://github.com/pgbackrest/pgbackrest/issues/2207, .../issues/2655"""
    methods: list[str] = []

    def respond(request: Recorded) -> Response:
        methods.append(request.method)
        if methods.count(request.method) == 1:
            return error(429, "TooManyRequests") if request.method == "GET" else (429, {}, b"")
        if request.method == "HEAD":
            return not_found(request)
        return 200, {}, LISTING

    async def requests() -> None:
        store: Any = client._store(aio=aio)
        assert await store.head("p/k") is None
        assert [found.path for found in (await store.list_page("p/")).objects] == ["p/k"]

    with recording_server(respond) as server:
        client = with_retries(Client("bucket", endpoint_url=server.url, driver=driver), throttled_policies())
        if aio:
            asyncio.run(requests())
        else:
            run_blocking(requests())
    assert (methods.count("HEAD"), methods.count("GET")) == (2, 2)
