"""The order of iteration: keys, values and items agree, and do not change while the dict does not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from s3dict import Client, Dict

from ..support.modes import Harness, Mode, collect


def contents(count: int) -> dict[Any, int]:
    """Keys of which every seventh is too long for an object's name, so that it is read from its entry."""
    return {f"k{n}" * (100 if n % 7 == 0 else 1): n for n in range(count)}


async def test_keys_values_and_items_agree(d: Any) -> None:
    await d.update(contents(60))
    items = await collect(d.items())
    assert dict(items) == contents(60)
    for _ in range(2):
        assert await collect(d.keys()) == [key for key, _ in items]
        assert await collect(d.values()) == [value for _, value in items]
        assert await collect(d.items()) == items


@pytest.mark.backends("memory")
@pytest.mark.parametrize("count", [1500, 3000])
async def test_keys_values_and_items_of_thousands_agree(d: Any, count: int) -> None:
    await d.update(contents(count))
    items = await collect(d.items())
    assert dict(items) == contents(count)
    assert await collect(d.keys()) == [key for key, _ in items]
    assert await collect(d.values()) == [value for _, value in items]


@pytest.mark.backends("memory")
def test_mapping_pairs_its_keys_with_its_values(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    mapping = d.as_mapping()
    mapping.update(contents(300))
    assert dict(zip(mapping.keys(), mapping.values(), strict=True)) == contents(300)
    assert list(mapping) == list(mapping.keys()) == [key for key, _ in mapping.items()]


@pytest.mark.backends("memory")
def test_series_of_a_mapping_has_each_value_at_its_key(client: Client) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: see the extra test")
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    d.update(contents(300))
    assert pandas.Series(d.as_mapping()).to_dict() == contents(300)


@pytest.mark.backends("memory")
async def test_map_in_order_yields_results_in_the_order_of_its_items(harness: Harness) -> None:
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    started: list[int] = []

    async def work(number: int) -> int:
        started.append(number)
        await store.runtime.sleep(random.random() / 200)
        return number

    results = []
    async for number in store.runtime.map(work, range(100), 8, ordered=True):
        results.append(number)
        # However slow one call is, no more results than these wait for it.
        assert len(started) - len(results) <= 8 + 8 // 4
    assert results == list(range(100))
