"""The read cache: no request within its window, one without a body after it, and nothing stale after our own writes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, InvalidError
from s3dict._core import read_cache
from s3dict._core.conditional import get_object
from s3dict._stores.shared.tasks import TaskRuntime
from s3dict._stores.shared.threads import ThreadRuntime

from ..support.modes import Harness, Mode, client_at
from ..support.proxy import Fault, Proxy
from ..support.time_travel import TimeTravel

WINDOW = timedelta(seconds=10)


pytestmark = pytest.mark.backends("moto", "seaweedfs")


@pytest.fixture
def client(client: Client, proxy: Proxy) -> Client:
    """A client with a cache. What others do goes through `others`."""
    return Client(client.bucket, prefix=client.prefix, endpoint_url=proxy.url, driver=client.driver, cache=WINDOW)


@pytest.fixture
def others(harness: Harness, d: Any) -> Any:
    """The same dict in another process."""
    client = harness.client
    uncached = client_at(str(client.endpoint_url), client)
    return Harness(uncached, harness.mode).named("d", create_if_missing=True)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Move the clock by which the window is measured."""
    passed = [0.0]
    for kind in (ThreadRuntime, TaskRuntime):
        now = kind.monotonic
        monkeypatch.setattr(kind, "monotonic", lambda store, now=now: now(store) + passed[0])

    def move(time: timedelta) -> None:
        passed[0] += time.total_seconds()

    return move


async def requests_of(proxy: Proxy, call: Any) -> tuple[Any, list[int | None]]:
    """What a call gives, and the statuses of the requests it made."""
    with proxy.recording() as sent:
        result = await call
    return result, [request.status for request in sent]


async def test_read_within_max_age_makes_no_request(d: Any, proxy: Proxy) -> None:
    await d.put("k", [1])
    assert await requests_of(proxy, d.get("k")) == ([1], [206])
    assert await requests_of(proxy, d.get("k")) == ([1], [])
    assert await requests_of(proxy, d.get_many(["k"])) == ({"k": [1]}, [])


async def test_read_after_max_age_revalidates_without_a_body(
    d: Any, proxy: Proxy, later: Callable[[timedelta], None]
) -> None:
    await d.put("k", 1)
    await d.get("k")
    for _ in range(2):
        later(WINDOW)
        assert await requests_of(proxy, d.get("k")) == (1, [304])
        assert await requests_of(proxy, d.get("k")) == (1, [])


async def test_writes_of_other_clients_are_visible_after_max_age(
    d: Any, others: Any, later: Callable[[timedelta], None]
) -> None:
    await d.put("k", 1)
    await d.get("k")
    await others.put("k", 2)
    assert await d.get("k") == 1
    later(WINDOW)
    assert await d.get("k") == 2
    await others.pop("k")
    later(WINDOW)
    assert await d.get("k") is None


WRITES: dict[str, Callable[[Any], Any]] = {
    "put": lambda d: d.put("k", 2),
    "update": lambda d: d.update(k=2),
    "pop": lambda d: d.pop("k"),
    "pop_many": lambda d: d.pop_many(["k"]),
    "modify": lambda d: d.modify("k", lambda n: n + 1),
    "clear": lambda d: d.clear(),
}


@pytest.mark.parametrize("write", list(WRITES))
async def test_own_writes_are_visible_immediately(d: Any, harness: Harness, write: str) -> None:
    await d.put("k", 1)
    assert await d.get("k") == 1
    # Another handle of the same client has the same cache.
    await WRITES[write](harness.named("d"))
    assert await d.get("k") == (2 if write in ("put", "update", "modify") else None)


async def test_atomic_operations_bypass_the_cache(d: Any, others: Any) -> None:
    await d.put("k", 1)
    await d.get("k")
    await others.put("k", 5)
    assert await d.get("k") == 1
    assert await d.modify("k", lambda n: n + 1) == 6
    await d.get("k")
    await others.put("k", 7)
    assert (await d.entry("k")).value == 7
    assert await d.setdefault("k", 0) == 7
    assert await d.get_or_compute("k", lambda: 0) == 7
    await others.pop("k")
    assert not await d.contains("k")
    assert await d.put("k", 8, skip_if_exists=True)


async def test_missing_keys_are_not_cached(d: Any, others: Any) -> None:
    assert await d.get("k") is None
    await others.put("k", 1)
    assert await d.get("k") == 1


async def test_value_from_the_cache_is_a_copy(d: Any) -> None:
    await d.put("k", [1])
    (await d.get("k")).append(2)
    (await d.get("k")).append(3)
    assert await d.get("k") == [1]


@pytest.mark.unthrottled
async def test_cached_entry_expires_and_is_renewed_like_any_other(
    d: Any, others: Any, proxy: Proxy, later: Callable[[timedelta], None], jumping_clock: None
) -> None:
    clock = TimeTravel(proxy)

    def wait(time: timedelta) -> None:
        clock.advance(time)
        later(time)

    await d.put("k", 1)
    await d.get("k")
    for _ in range(4):
        # The other's renewals leave the ETag as it is, and a 304 does not contain an age.
        wait(timedelta(days=5))
        assert await others.get("k") == 1
    assert await d.get("k") == 1
    wait(timedelta(days=9))
    assert await d.get("k") is None


async def test_slow_stale_response_does_not_replace_a_newer_one(d: Any, others: Any, harness: Harness) -> None:
    await d.put("k", "old")
    held = harness.client._cache()
    assert held is not None
    store, path = harness.client._store(aio=harness.mode is Mode.ASYNCIO), (await entry_paths(d))[0]
    with held.begin_fetch(path) as token:
        began, answer = store.runtime.monotonic(), await get_object(store, path)
        await others.put("k", "new")
        assert await d.get("k") == "new"
        held.put(path, answer, began, token)
    assert await d.get("k") == "new"


async def entry_paths(d: Any) -> list[str]:
    entries = await d.wrapped._open()
    page = await entries.store.list_page(entries.paths.entries)
    return [line.path for line in page.objects]


async def test_reader_that_may_not_renew_still_has_its_cache(
    d: Any, proxy: Proxy, later: Callable[[timedelta], None]
) -> None:
    clock = TimeTravel(proxy)
    await d.put("k", 1)
    clock.advance(timedelta(days=2))
    proxy.faults = [Fault("denied", when=lambda request: request.method == "PUT")]
    assert await d.get("k") == 1
    assert await requests_of(proxy, d.get("k")) == (1, [])
    later(WINDOW)
    assert await requests_of(proxy, d.get("k")) == (1, [304])


async def test_response_in_flight_does_not_hide_an_own_write(
    d: Any, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await d.put("k", "old")
    keep_really = read_cache.ReadCache.put
    wrote: list[bool] = []

    def put(held: read_cache.ReadCache, path: str, found: Any, read_at: float, token: object) -> None:
        # As a thread does that writes after our answer was sent, and is done before it arrives.
        if not wrote:
            wrote.append(True)
            held.invalidate(path)
        keep_really(held, path, found, read_at, token)

    monkeypatch.setattr(read_cache.ReadCache, "put", put)
    await d.get("k")
    assert held_paths(harness.client) == []
    await d.get("k")
    assert len(held_paths(harness.client)) == 1


def held_paths(client: Client) -> list[str]:
    held = client._cache()
    assert held is not None
    return list(held._cached)


async def test_cache_is_bounded_in_bytes(
    d: Any, harness: Harness, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await d.update((n, bytes(800)) for n in range(5))
    await d.get(0)
    held = harness.client._cache()
    assert held is not None
    monkeypatch.setattr(read_cache, "MAX_BYTES", held._bytes * 7 // 2)
    for n in (1, 2, 0, 3):
        await d.get(n)
    assert len(held_paths(harness.client)) == 3
    assert [(await requests_of(proxy, d.get(n)))[1] for n in (0, 1)] == [[], [206]]
    await d.put("large", bytes(10_000))
    await d.get("large")
    assert len(held_paths(harness.client)) == 3


@pytest.mark.parametrize("window", [timedelta(0), timedelta(seconds=-1), "60"])
def test_invalid_max_age_is_rejected(window: Any) -> None:
    with pytest.raises(InvalidError):
        Client("b", cache=window)
