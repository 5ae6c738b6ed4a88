"""How many requests each operation makes: counted on the wire, between the library and a real server."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import pytest

from s3dict import Client, Dict, memoize
from s3dict._stores.shared.validation import zone_of

from ..support.modes import Endpoint, Harness, Mode, client_at, collect
from ..support.proxy import Proxy, Request

GET, PUT, DELETE, LIST, BULK = (
    "GetObject",
    "PutObject",
    "DeleteObject",
    "ListObjectsV2",
    "DeleteObjects",
)


pytestmark = [pytest.mark.backends("moto", "seaweedfs", "seaweedfs-rust"), pytest.mark.unthrottled]


@pytest.fixture
def client(client: Client, proxy: Proxy) -> Client:
    return client_at(proxy.url, client)


def deletion(harness: Harness) -> str:
    """How one object is deleted: obstore takes the request that could delete a thousand."""
    return BULK if _by_obstore(harness) else DELETE


def empty_listing(harness: Harness) -> list[str]:
    """Return the requests for an empty page, which obstore takes any XML document for: boto3 confirms it."""
    return [LIST, LIST] if _by_obstore(harness) else [LIST]


def _by_obstore(harness: Harness) -> bool:
    """Return whether obstore lists and deletes: it does not in directory buckets."""
    return harness.client.driver == "obstore" and zone_of(harness.client.bucket) is None


def operations(requests: list[Request]) -> list[str]:
    return [request.operation for request in requests]


async def test_handle_makes_no_request_until_it_is_used(harness: Harness, proxy: Proxy) -> None:
    with proxy.recording() as requests:
        Dict.from_id("di-01ARZ3NDEKTSV4RRFFQ69G5FAV", harness.client)
        harness.named("d", create_if_missing=True)
    assert operations(requests) == []


async def test_hydrate_takes_one_request_once(harness: Harness, d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    handle = harness.named("d")
    with proxy.recording() as requests:
        await handle.hydrate()
        await handle.hydrate()
        await handle.info()
        await harness.in_mode(handle.wrapped).get("k")
    assert operations(requests) == [GET, GET]


async def test_creating_a_dict_takes_three_requests_after_the_first(harness: Harness, d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    with proxy.recording() as requests:
        await harness.named("second", create_if_missing=True).hydrate()
    assert operations(requests) == [GET, GET, PUT]
    with proxy.recording() as requests:
        await harness.objects.create("third", client=harness.client)
    assert operations(requests) == [GET, PUT]


@pytest.mark.unprobed
async def test_first_creation_under_a_prefix_probes_the_store_once(harness: Harness, proxy: Proxy) -> None:
    with proxy.recording() as requests:
        await harness.named("first", create_if_missing=True).hydrate()
    assert operations(requests)[:2] == [GET, GET]
    assert operations(requests)[-2:] == [PUT, PUT]
    probing = [
        request
        for request in requests
        if "/sweep-1d/probe/" in request.path + unquote(request.query) or request.operation == BULK
    ]
    # The check that a custom endpoint does not redirect, before the first write of a process.
    assert [request for request in requests[2:-2] if request.operation != "HeadBucket"] == probing
    assert len(probing) <= 19
    with proxy.recording() as requests:
        await harness.named("second", create_if_missing=True).hydrate()
    assert operations(requests) == [GET, GET, PUT]


async def test_get_contains_and_put_take_one_request(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: d.put("k", 1), PUT),
        (lambda: d.get("k"), GET),
        (lambda: d.get("missing"), GET),
        (lambda: d.contains("k"), GET),
        (lambda: d.contains("missing"), GET),
    ]
    for call, expected in calls:
        with proxy.recording() as requests:
            await call()
        assert operations(requests) == [expected]


@pytest.mark.removes_by_delete
def test_operators_make_the_requests_of_their_methods(client: Client, proxy: Proxy) -> None:
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    with proxy.recording() as requests:
        d["k"] = 1
        assert "k" in d
        assert d["k"] == 1
        del d["k"]
    assert operations(requests) == [PUT, GET, GET, GET, DELETE]


async def test_skip_if_exists_takes_one_request_to_win_and_two_to_lose(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    with proxy.recording() as requests:
        assert await d.put("k", "v" * 10_000, skip_if_exists=True)
    assert [(request.operation, request.if_none_match) for request in requests] == [(PUT, "*")]
    with proxy.recording() as requests:
        assert not await d.put("k", 2, skip_if_exists=True)
    assert operations(requests) == [PUT, GET]
    assert requests[1].byte_range == "bytes=0-38"


@pytest.mark.removes_by_delete
async def test_pop_takes_two_requests_or_one_for_a_missing_key(d: Any, proxy: Proxy) -> None:
    await d.put("k", 1)
    with proxy.recording() as requests:
        assert await d.pop("k") == 1
    assert operations(requests) == [GET, DELETE]
    assert requests[1].if_match is not None
    with proxy.recording() as requests:
        assert await d.pop("k", None) is None
    assert operations(requests) == [GET]


async def test_compare_and_set_takes_one_request_to_win_and_two_to_lose(d: Any, proxy: Proxy) -> None:
    await d.put("k", 1)
    with proxy.recording() as requests:
        version = (await d.entry("k")).version
        assert await d.put("k", 2, if_version=version)
    assert operations(requests) == [GET, PUT]
    assert requests[1].if_match is not None
    with proxy.recording() as requests:
        assert not await d.put("k", 3, if_version=version)
    assert operations(requests) == [PUT, GET]


async def test_setdefault_takes_one_request_for_an_existing_key(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    for expected in ([GET, PUT], [GET]):
        with proxy.recording() as requests:
            assert await d.setdefault("k", 1) == 1
        assert operations(requests) == expected


async def test_modify_takes_two_requests_and_two_per_conflict(d: Any, proxy: Proxy) -> None:
    await d.put("k", 0)
    with proxy.recording() as requests:
        await d.modify("k", lambda n: n + 1)
    assert operations(requests) == [GET, PUT]
    interferences = iter([True, True, False])

    def interfered(value: int) -> int:
        if next(interferences):
            d.wrapped.put("k", value + 10)
        return value + 1

    with proxy.recording() as requests:
        assert await d.modify("k", interfered) == 22
    assert operations(requests) == [GET, PUT, PUT, GET, PUT, PUT, GET, PUT]


@pytest.mark.removes_by_delete
async def test_bulk_methods_make_the_requests_of_single_ones(d: Any, proxy: Proxy) -> None:
    await d.update({number: number for number in range(10)})
    with proxy.recording() as requests:
        assert len(await d.get_many(range(12))) == 10
    assert operations(requests) == [GET] * 12
    with proxy.recording() as requests:
        assert len(await d.pop_many(range(12))) == 10
    assert sorted(operations(requests)) == [DELETE] * 10 + [GET] * 12


async def test_lock_takes_two_requests_and_one_to_release_it(d: Any, mode: Mode, proxy: Proxy) -> None:
    await d.hydrate()
    lock = d.wrapped.lock("job")
    with proxy.recording() as requests:
        if mode is Mode.SYNC:
            with lock:
                pass
        else:
            async with lock:
                pass
    assert operations(requests) == [GET, PUT, PUT]


async def test_get_or_compute_takes_six_requests_and_one_once_computed(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    for expected in ([GET, GET, PUT, GET, PUT, PUT], [GET]):
        with proxy.recording() as requests:
            assert await d.get_or_compute("k", lambda: 5) == 5
        assert operations(requests) == expected


async def test_value_that_is_due_takes_six_requests_and_two_for_the_others(
    harness: Harness, d: Any, proxy: Proxy
) -> None:
    await d.put("k", 1, ttl=60)
    other = Dict.from_name("d", client=harness.client)
    other["other"] = 1

    def compute() -> int:
        with proxy.recording() as requests, ThreadPoolExecutor(1) as pool:
            assert pool.submit(other.get_or_compute, "k", lambda: 3, ttl=60, stale=60).result() == 1
        assert operations(requests) == [GET, GET]
        return 2

    with proxy.recording() as requests:
        assert await d.get_or_compute("k", compute, ttl=60, stale=60) == 2
    assert operations(requests)[:4] + operations(requests)[-2:] == [GET, GET, PUT, GET, PUT, PUT]
    assert len(requests) == 8


async def test_refresh_takes_five_requests_and_forget_two(harness: Harness, d: Any, proxy: Proxy) -> None:
    await d.hydrate()

    @memoize(d.wrapped)
    def square(n: int) -> int:
        return n * n

    for _ in range(2):
        with proxy.recording() as requests:
            assert await harness.in_mode(square).refresh(3) == 9
        assert operations(requests) == [GET, PUT, GET, PUT, PUT]
    for expected in ([GET, DELETE], [GET]):
        with proxy.recording() as requests:
            await harness.in_mode(square).forget(3)
        assert operations(requests) == expected


async def test_update_of_n_takes_n_requests(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    with proxy.recording() as requests:
        await d.update({number: number for number in range(50)})
    assert operations(requests) == [PUT] * 50


async def test_iterating_a_small_dict_takes_one_listing(d: Any, proxy: Proxy) -> None:
    await d.update({number: number for number in range(30)})
    with proxy.recording() as requests:
        assert len(await collect(d.keys())) == 30
        assert await d.len() == 30
    assert operations(requests) == [LIST, LIST]
    for iterate in (d.values, d.items):
        with proxy.recording() as requests:
            assert len(await collect(iterate())) == 30
        assert operations(requests) == [LIST] + [GET] * 30


async def test_key_too_long_for_a_name_costs_keys_one_ranged_get(d: Any, proxy: Proxy) -> None:
    await d.put("long " * 100, "v" * 100_000)
    with proxy.recording() as requests:
        assert await collect(d.keys()) == ["long " * 100]
    assert operations(requests) == [LIST, GET]
    assert requests[1].byte_range == "bytes=0-16383"


async def test_huge_key_costs_keys_a_second_get(d: Any, proxy: Proxy) -> None:
    await d.put("long " * 10_000, 1)
    with proxy.recording() as requests:
        assert await collect(d.keys()) == ["long " * 10_000]
    assert operations(requests) == [LIST, GET, GET]


async def test_clear_takes_the_listing_and_one_request_a_thousand(harness: Harness, d: Any, proxy: Proxy) -> None:
    await d.update({number: number for number in range(30)})
    with proxy.recording() as requests:
        await d.clear()
    assert operations(requests) == [LIST, BULK]
    with proxy.recording() as requests:
        await d.clear()
    assert operations(requests) == empty_listing(harness)


@pytest.mark.parametrize(("backend", "mode"), [("seaweedfs", Mode.SYNC), ("moto", Mode.ASYNCIO)])
async def test_listing_thousands_takes_one_request_a_page_and_at_most_sixteen_more(
    d: Any, proxy: Proxy, endpoint: Endpoint, harness: Harness
) -> None:
    await d.hydrate()
    # Written without the proxy, and with the driver that takes the least time.
    writer = Client(endpoint.bucket, prefix=harness.client.prefix, endpoint_url=endpoint.url)
    Dict.from_name("d", client=writer).update((number, None) for number in range(1100))
    for call, deletions in ((d.len, 0), (lambda: collect(d.keys()), 0), (d.clear, 2)):
        with proxy.recording() as requests:
            await call()
        assert 2 <= operations(requests).count(LIST) <= 2 + 16
        assert operations(requests).count(BULK) == deletions
        assert {LIST, BULK} >= set(operations(requests))
    assert await d.len() == 0


@pytest.mark.removes_by_delete
async def test_deleting_takes_two_requests_two_listings_and_one_a_thousand(
    harness: Harness, d: Any, proxy: Proxy
) -> None:
    await d.update({number: number for number in range(30)})
    with proxy.recording() as requests:
        await harness.objects.delete("d", client=harness.client)
    assert operations(requests) == [GET, DELETE, LIST, BULK, *empty_listing(harness)]


async def test_listing_dicts_takes_a_listing_and_one_request_each(harness: Harness, proxy: Proxy) -> None:
    for name in "abc":
        await harness.objects.create(name, client=harness.client)
    with proxy.recording() as requests:
        handles = await harness.objects.list(client=harness.client)
        assert {(await harness.in_mode(handle).info()).name for handle in handles} == {"a", "b", "c"}
    assert operations(requests) == [LIST, GET, GET, GET]


async def test_ephemeral_dict_takes_two_requests_to_open(harness: Harness, d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    with proxy.recording() as requests:
        async with harness.ephemeral() as passing:
            await passing.put("k", 1)
    assert operations(requests) == [GET, PUT, PUT, deletion(harness), LIST, BULK, *empty_listing(harness)]
