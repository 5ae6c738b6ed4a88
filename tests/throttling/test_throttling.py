"""Dicts on stores that limit the rate of requests: of one key, or of all."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from s3dict import Client, Dict, UnavailableError

from ..support.faulty_server import MisbehavingServer
from ..support.limiter import KeyLimiter, RateLimiter
from ..support.modes import Driver, Harness, Mode, locked
from ..support.retries import quick

SECONDS_PER_WRITE = 0.05
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


async def test_dict_works_where_a_key_takes_one_write_at_a_time(server: MisbehavingServer, d: Any) -> None:
    server.limiter = KeyLimiter(SECONDS_PER_WRITE)
    for n in range(3):
        await d.put("k", n)
    assert [await d.modify("k", lambda n: n + 1) for _ in range(3)] == [3, 4, 5]
    for _ in range(2):
        async with locked(d.wrapped.lock("job", lease=60, timeout=5), d._way) as held:
            assert not held.lost
    assert await d.get_or_compute("computed", lambda: 7) == 7
    assert await d.pop("k") == 5
    assert server.limiter.refused


def test_concurrent_modify_makes_progress_where_a_key_takes_one_write_at_a_time(
    server: MisbehavingServer, driver: Driver
) -> None:
    client = quick(Client("b", endpoint_url=server.url, driver=driver))
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    server.limiter = KeyLimiter(SECONDS_PER_WRITE / 5)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: d.modify("k", lambda n: n + 1, default=0), range(16)))
    assert d["k"] == 16


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


async def test_store_that_always_throttles_is_unavailable_within_the_budget(server: MisbehavingServer, d: Any) -> None:
    await d.put("k", 1)
    server.limiter = lambda method, _: method == "GET"
    with pytest.raises(UnavailableError, match="throttled") as caught:
        await d.put("k", 2)
    assert not caught.value.maybe_applied
    with pytest.raises(UnavailableError, match="throttled"):
        await d.modify("k", lambda n: n + 1)
