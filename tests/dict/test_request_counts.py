"""How many requests each operation makes: counted on the wire, between the library and a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3dict import Client, Dict

from ..support.modes import Endpoint, Harness, Mode, client_at, collect
from ..support.proxy import Proxy, Request

GET, HEAD, PUT, DELETE, LIST, BULK = (
    "GetObject",
    "HeadObject",
    "PutObject",
    "DeleteObject",
    "ListObjectsV2",
    "DeleteObjects",
)


pytestmark = pytest.mark.backends("moto", "seaweedfs", "seaweedfs-rust")


@pytest.fixture
def proxy(endpoint: Endpoint) -> Iterator[Proxy]:
    with Proxy(endpoint.url) as counting:
        yield counting


@pytest.fixture
def client(client: Client, proxy: Proxy) -> Client:
    return client_at(proxy.url, client)


def deletion(harness: Harness) -> str:
    """How one object is deleted: obstore takes the request that could delete a thousand."""
    return BULK if harness.client.driver == "obstore" else DELETE


def operations(requests: list[Request]) -> list[str]:
    return [request.operation for request in requests]


async def test_a_handle_makes_no_request_until_it_is_used(harness: Harness, proxy: Proxy) -> None:
    with proxy.recording() as requests:
        Dict.from_id("di-01ARZ3NDEKTSV4RRFFQ69G5FAV", harness.client)
        harness.named("d", create_if_missing=True)
    assert [] == operations(requests)


async def test_hydrating_takes_one_request_and_is_done_once(harness: Harness, d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    handle = harness.named("d")
    with proxy.recording() as requests:
        await handle.hydrate()
        await handle.hydrate()
        await handle.info()
        await harness.in_mode(handle.wrapped).get("k")
    assert [GET, GET] == operations(requests)


async def test_creating_a_dict_takes_three_requests_after_the_first(harness: Harness, d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    with proxy.recording() as requests:
        await harness.named("second", create_if_missing=True).hydrate()
    assert [GET, GET, PUT] == operations(requests)
    with proxy.recording() as requests:
        await harness.objects.create("third", client=harness.client)
    assert [GET, PUT] == operations(requests)


async def test_the_first_creation_under_a_prefix_probes_the_store_once(harness: Harness, proxy: Proxy) -> None:
    with proxy.recording() as requests:
        await harness.named("first", create_if_missing=True).hydrate()
    assert [GET, GET] == operations(requests)[:2]
    assert [PUT, PUT] == operations(requests)[-2:]
    probing = [request for request in requests if "/sweep-1d/probe/" in request.path or request.operation == BULK]
    assert requests[2:-2] == probing
    assert len(probing) <= 16
    with proxy.recording() as requests:
        await harness.named("second", create_if_missing=True).hydrate()
    assert [GET, GET, PUT] == operations(requests)


async def test_get_contains_and_put_take_one_request(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: d.put("k", 1), PUT),
        (lambda: d.get("k"), GET),
        (lambda: d.get("missing"), GET),
        (lambda: d.contains("k"), HEAD),
        (lambda: d.contains("missing"), HEAD),
    ]
    for call, expected in calls:
        with proxy.recording() as requests:
            await call()
        assert [expected] == operations(requests)


@pytest.mark.removes_by_delete
def test_the_operators_take_what_their_methods_take(client: Client, proxy: Proxy) -> None:
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    with proxy.recording() as requests:
        d["k"] = 1
        assert "k" in d
        assert 1 == d["k"]
        del d["k"]
    assert [PUT, HEAD, GET, GET, DELETE] == operations(requests)


async def test_skip_if_exists_takes_one_request_to_win_and_two_to_lose(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    with proxy.recording() as requests:
        assert await d.put("k", "v" * 10_000, skip_if_exists=True)
    assert [(PUT, "*")] == [(request.operation, request.if_none_match) for request in requests]
    with proxy.recording() as requests:
        assert not await d.put("k", 2, skip_if_exists=True)
    assert [PUT, GET] == operations(requests)
    assert "bytes=0-29" == requests[1].byte_range


@pytest.mark.removes_by_delete
async def test_pop_takes_two_requests_or_one_for_a_missing_key(d: Any, proxy: Proxy) -> None:
    await d.put("k", 1)
    with proxy.recording() as requests:
        assert 1 == await d.pop("k")
    assert [GET, DELETE] == operations(requests)
    assert requests[1].if_match is not None
    with proxy.recording() as requests:
        assert await d.pop("k", None) is None
    assert [GET] == operations(requests)


async def test_compare_and_set_takes_one_request_to_win_and_two_to_lose(d: Any, proxy: Proxy) -> None:
    await d.put("k", 1)
    with proxy.recording() as requests:
        version = (await d.entry("k")).version
        assert await d.put("k", 2, if_version=version)
    assert [GET, PUT] == operations(requests)
    assert requests[1].if_match is not None
    with proxy.recording() as requests:
        assert not await d.put("k", 3, if_version=version)
    assert [PUT, GET] == operations(requests)


async def test_setdefault_takes_one_request_for_what_is_there(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    for expected in ([GET, PUT], [GET]):
        with proxy.recording() as requests:
            assert 1 == await d.setdefault("k", 1)
        assert expected == operations(requests)


async def test_modify_takes_two_requests_and_two_more_each_time_another_was_faster(d: Any, proxy: Proxy) -> None:
    await d.put("k", 0)
    with proxy.recording() as requests:
        await d.modify("k", lambda n: n + 1)
    assert [GET, PUT] == operations(requests)
    interferences = iter([True, True, False])

    def interfered(value: int) -> int:
        if next(interferences):
            d.wrapped.put("k", value + 10)
        return value + 1

    with proxy.recording() as requests:
        assert 22 == await d.modify("k", interfered)
    assert [GET, PUT, PUT, GET, PUT, PUT, GET, PUT] == operations(requests)


@pytest.mark.removes_by_delete
async def test_many_keys_take_what_each_takes(d: Any, proxy: Proxy) -> None:
    await d.update({number: number for number in range(10)})
    with proxy.recording() as requests:
        assert 10 == len(await d.get_many(range(12)))
    assert [GET] * 12 == operations(requests)
    with proxy.recording() as requests:
        assert 10 == len(await d.pop_many(range(12)))
    assert [DELETE] * 10 + [GET] * 12 == sorted(operations(requests))


async def test_a_lock_takes_two_requests_and_one_to_release_it(d: Any, mode: Mode, proxy: Proxy) -> None:
    await d.hydrate()
    lock = d.wrapped.lock("job")
    with proxy.recording() as requests:
        if mode is Mode.SYNC:
            with lock:
                pass
        else:
            async with lock:
                pass
    assert [GET, PUT, PUT] == operations(requests)


async def test_computing_takes_six_requests_and_one_once_it_is_done(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    for expected in ([GET, GET, PUT, GET, PUT, PUT], [GET]):
        with proxy.recording() as requests:
            assert 5 == await d.get_or_compute("k", lambda: 5)
        assert expected == operations(requests)


async def test_update_of_n_takes_n_requests(d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    with proxy.recording() as requests:
        await d.update({number: number for number in range(50)})
    assert [PUT] * 50 == operations(requests)


async def test_iterating_a_small_dict_takes_one_listing(d: Any, proxy: Proxy) -> None:
    await d.update({number: number for number in range(30)})
    with proxy.recording() as requests:
        assert 30 == len(await collect(d.keys()))
        assert 30 == await d.len()
    assert [LIST, LIST] == operations(requests)
    for iterate in (d.values, d.items):
        with proxy.recording() as requests:
            assert 30 == len(await collect(iterate()))
        assert [LIST] + [GET] * 30 == operations(requests)


async def test_a_key_too_long_for_a_name_costs_keys_one_ranged_get(d: Any, proxy: Proxy) -> None:
    await d.put("long " * 100, "v" * 100_000)
    with proxy.recording() as requests:
        assert ["long " * 100] == await collect(d.keys())
    assert [LIST, GET] == operations(requests)
    assert "bytes=0-16383" == requests[1].byte_range


async def test_a_huge_key_costs_keys_a_second_get(d: Any, proxy: Proxy) -> None:
    await d.put("long " * 10_000, 1)
    with proxy.recording() as requests:
        assert ["long " * 10_000] == await collect(d.keys())
    assert [LIST, GET, GET] == operations(requests)


async def test_clear_takes_the_listing_and_one_request_a_thousand(d: Any, proxy: Proxy) -> None:
    await d.update({number: number for number in range(30)})
    with proxy.recording() as requests:
        await d.clear()
    assert [LIST, BULK] == operations(requests)
    with proxy.recording() as requests:
        await d.clear()
    assert [LIST] == operations(requests)


@pytest.mark.parametrize(("backend", "mode"), [("seaweedfs", Mode.SYNC), ("moto", Mode.ASYNCIO)])
async def test_thousands_take_a_page_each_and_sixteen_more_at_most(d: Any, proxy: Proxy) -> None:
    await d.update((number, None) for number in range(1100))
    for call, deletions in ((d.len, 0), (lambda: collect(d.keys()), 0), (d.clear, 2)):
        with proxy.recording() as requests:
            await call()
        assert 2 <= operations(requests).count(LIST) <= 2 + 16
        assert deletions == operations(requests).count(BULK)
        assert {LIST, BULK} >= set(operations(requests))
    assert 0 == await d.len()


@pytest.mark.removes_by_delete
async def test_deleting_takes_two_requests_two_listings_and_one_a_thousand(
    harness: Harness, d: Any, proxy: Proxy
) -> None:
    await d.update({number: number for number in range(30)})
    with proxy.recording() as requests:
        await harness.objects.delete("d", client=harness.client)
    assert [GET, DELETE, LIST, BULK, LIST] == operations(requests)


async def test_listing_dicts_takes_a_listing_and_one_request_each(harness: Harness, proxy: Proxy) -> None:
    for name in "abc":
        await harness.objects.create(name, client=harness.client)
    with proxy.recording() as requests:
        handles = await harness.objects.list(client=harness.client)
        assert {"a", "b", "c"} == {(await harness.in_mode(handle).info()).name for handle in handles}
    assert [LIST, GET, GET, GET] == operations(requests)


async def test_an_ephemeral_dict_takes_two_requests_to_open(harness: Harness, d: Any, proxy: Proxy) -> None:
    await d.hydrate()
    with proxy.recording() as requests:
        async with harness.ephemeral() as passing:
            await passing.put("k", 1)
    assert [GET, PUT, PUT, deletion(harness), LIST, BULK, LIST] == operations(requests)
