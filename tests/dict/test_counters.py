"""Counters that many add to, and the numbers of a whole dict."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from s3dict import Client, Dict, DictStats, InvalidError

from ..support.modes import Harness, Mode, client_at
from ..support.proxy import Proxy


async def test_counter_is_the_sum_of_what_was_added(harness: Harness, d: Any) -> None:
    counter = harness.in_mode(d.wrapped.counter("hits", 4))
    assert await counter.value() == 0
    for amount in (1, 10, -3, 100, 1):
        await counter.add(amount)
    assert await counter.value() == 109
    assert await harness.in_mode(d.wrapped.counter("other", 4)).value() == 0


@pytest.mark.backends("memory")
def test_counter_has_its_name_and_shards(client: Client) -> None:
    counter = Dict.from_name("d", client=client).counter("hits", 4)
    assert (counter.name, counter.shards) == ("hits", 4)


async def test_another_number_of_shards_is_an_error(harness: Harness, d: Any) -> None:
    await harness.in_mode(d.wrapped.counter("hits", 1)).add()
    with pytest.raises(InvalidError, match="'hits' has 1 shard, and not 2"):
        await harness.in_mode(d.wrapped.counter("hits", 2)).value()


@pytest.mark.backends("memory")
def test_concurrent_additions_all_count(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: d.counter("hits", 3).add(), range(100)))
    assert d.counter("hits", 3).value() == 100


def test_counter_arguments_are_validated(configured: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", client=configured)
    with pytest.raises(InvalidError, match="Invalid counter name"):
        d.counter(5)  # type: ignore[arg-type]
    for wrong in (0, 1001, True, 1.5):
        with pytest.raises(InvalidError, match="Invalid number of shards"):
            d.counter("hits", wrong)  # type: ignore[arg-type]


async def test_amount_that_would_spoil_the_sum_is_rejected(harness: Harness, d: Any) -> None:
    counter = harness.in_mode(d.wrapped.counter("hits", 1))
    for wrong in (math.nan, -math.inf, 1j, "1", None, Decimal("NaN")):
        with pytest.raises(InvalidError, match="Invalid amount"):
            await counter.add(wrong)
    for amount in (-1, 2**2000, 0.5, Fraction(1, 2)):
        await counter.add(amount)
        await counter.add(-amount)
    assert await counter.value() == 0


@pytest.mark.backends("memory")
async def test_sum_that_a_float_cannot_hold_is_rejected(harness: Harness, d: Any) -> None:
    counter = harness.in_mode(d.wrapped.counter("hits", 1))
    await counter.add(1e308)
    for wrong in (1e308, 2**2000):
        with pytest.raises(InvalidError, match="exceeds the range"):
            await counter.add(wrong)
    assert await counter.value() == 1e308


@pytest.mark.backends("memory")
async def test_amounts_of_numpy_are_added_as_numbers_of_python(harness: Harness, d: Any) -> None:
    numpy = pytest.importorskip("numpy")
    counter = harness.in_mode(d.wrapped.counter("hits", 1))
    for amount in (numpy.int8(100), numpy.int8(100), numpy.float32(0.5)):
        await counter.add(amount)
    total = await counter.value()
    assert (type(total), total) == (float, 200.5)


async def test_stats_are_of_all_entries(d: Any) -> None:
    assert await d.stats() == DictStats(0, 0, None, None)
    await d.put("a", b"x" * 1000)
    await d.put("b", 1)
    stats = await d.stats()
    assert (stats.entries, stats.bytes > 1000, stats.oldest <= stats.newest) == (2, True, True)
    assert pickle.loads(pickle.dumps(stats)) == stats


@pytest.mark.backends("moto", "seaweedfs", "seaweedfs-rust")
async def test_counter_and_stats_make_the_requests_they_promise(client: Client, mode: Mode, proxy: Proxy) -> None:
    harness = Harness(client_at(proxy.url, client), mode)
    d = harness.named("d", create_if_missing=True)
    await d.hydrate()
    counter = harness.in_mode(d.wrapped.counter("hits", 4))
    for call, expected in (
        (counter.add, ["GetObject", "PutObject"]),
        (counter.value, ["GetObject"] * 4),
        (d.stats, ["ListObjectsV2"]),
    ):
        with proxy.recording() as requests:
            await call()
        assert [request.operation for request in requests] == expected
