"""The read cache: no request within its window, one without a body after it, and nothing stale after our own writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, InvalidError
from s3dict._core import read_cache
from s3dict._core.conditional import get_object
from s3dict._stores.shared.tasks import TaskRuntime
from s3dict._stores.shared.threads import ThreadRuntime

from ..support.modes import Endpoint, Harness, Mode, client_at
from ..support.proxy import Fault, Proxy
from ..support.time_travel import TimeTravel

WINDOW = timedelta(seconds=10)


pytestmark = pytest.mark.backends("moto", "seaweedfs")


@pytest.fixture
def proxy(endpoint: Endpoint) -> Iterator[Proxy]:
    with Proxy(endpoint.url) as counting:
        yield counting


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
    """Moves the clock by which the window is measured."""
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


async def test_within_the_window_a_read_makes_no_request(d: Any, proxy: Proxy) -> None:
    await d.put("k", [1])
    assert ([1], [206]) == await requests_of(proxy, d.get("k"))
    assert ([1], []) == await requests_of(proxy, d.get("k"))
    assert ({"k": [1]}, []) == await requests_of(proxy, d.get_many(["k"]))


async def test_after_the_window_an_answer_without_a_body_will_do(
    d: Any, proxy: Proxy, later: Callable[[timedelta], None]
) -> None:
    await d.put("k", 1)
    await d.get("k")
    for _ in range(2):
        later(WINDOW)
        assert (1, [304]) == await requests_of(proxy, d.get("k"))
        assert (1, []) == await requests_of(proxy, d.get("k"))


async def test_what_others_write_shows_up_when_the_window_is_over(
    d: Any, others: Any, later: Callable[[timedelta], None]
) -> None:
    await d.put("k", 1)
    await d.get("k")
    await others.put("k", 2)
    assert 1 == await d.get("k")
    later(WINDOW)
    assert 2 == await d.get("k")
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
async def test_what_this_client_writes_it_sees_at_once(d: Any, harness: Harness, write: str) -> None:
    await d.put("k", 1)
    assert 1 == await d.get("k")
    # Another handle of the same client has the same cache.
    await WRITES[write](harness.named("d"))
    assert await d.get("k") == (2 if write in ("put", "update", "modify") else None)


async def test_nothing_atomic_uses_the_cache(d: Any, others: Any) -> None:
    await d.put("k", 1)
    await d.get("k")
    await others.put("k", 5)
    assert 1 == await d.get("k")
    assert 6 == await d.modify("k", lambda n: n + 1)
    await d.get("k")
    await others.put("k", 7)
    assert 7 == (await d.entry("k")).value
    assert 7 == await d.setdefault("k", 0)
    assert 7 == await d.get_or_compute("k", lambda: 0)
    await others.pop("k")
    assert not await d.contains("k")
    assert await d.put("k", 8, skip_if_exists=True)


async def test_what_is_missing_is_asked_for_each_time(d: Any, others: Any) -> None:
    assert await d.get("k") is None
    await others.put("k", 1)
    assert 1 == await d.get("k")


async def test_a_value_from_the_cache_is_a_copy(d: Any) -> None:
    await d.put("k", [1])
    (await d.get("k")).append(2)
    (await d.get("k")).append(3)
    assert [1] == await d.get("k")


async def test_a_cached_entry_expires_and_is_renewed_like_any_other(
    d: Any, others: Any, proxy: Proxy, later: Callable[[timedelta], None], jumping_clock: None
) -> None:
    clock = TimeTravel(proxy)

    def wait(time: timedelta) -> None:
        clock.advance(time)
        later(time)

    await d.put("k", 1)
    await d.get("k")
    for _ in range(4):
        # The other's renewals leave the ETag as it is, and a 304 tells no age.
        wait(timedelta(days=5))
        assert 1 == await others.get("k")
    assert 1 == await d.get("k")
    wait(timedelta(days=9))
    assert await d.get("k") is None


async def test_a_slow_older_answer_does_not_replace_a_newer_one(d: Any, others: Any, harness: Harness) -> None:
    await d.put("k", "old")
    held = harness.client._cache()
    assert held is not None
    store, path = harness.client._store(aio=harness.mode is Mode.ASYNCIO), (await entry_paths(d))[0]
    with held.begin_fetch(path) as token:
        began, answer = store.runtime.monotonic(), await get_object(store, path)
        await others.put("k", "new")
        assert "new" == await d.get("k")
        held.put(path, answer, began, token)
    assert "new" == await d.get("k")


async def entry_paths(d: Any) -> list[str]:
    entries = await d.wrapped._open()
    page = await entries.store.list_page(entries.paths.entries)
    return [line.path for line in page.objects]


async def test_a_reader_that_may_not_renew_still_has_its_cache(
    d: Any, proxy: Proxy, later: Callable[[timedelta], None]
) -> None:
    clock = TimeTravel(proxy)
    await d.put("k", 1)
    clock.advance(timedelta(days=2))
    proxy.faults = [Fault("denied", when=lambda request: request.method == "PUT")]
    assert 1 == await d.get("k")
    assert (1, []) == await requests_of(proxy, d.get("k"))
    later(WINDOW)
    assert (1, [304]) == await requests_of(proxy, d.get("k"))


async def test_an_answer_under_way_does_not_hide_a_write_of_ours(
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
    assert 1 == len(held_paths(harness.client))


def held_paths(client: Client) -> list[str]:
    held = client._cache()
    assert held is not None
    return list(held._cached)


async def test_the_cache_holds_so_many_bytes_and_no_more(
    d: Any, harness: Harness, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await d.update((n, bytes(800)) for n in range(5))
    await d.get(0)
    held = harness.client._cache()
    assert held is not None
    monkeypatch.setattr(read_cache, "MAX_BYTES", held._bytes * 7 // 2)
    for n in (1, 2, 0, 3):
        await d.get(n)
    assert 3 == len(held_paths(harness.client))
    assert [[], [206]] == [(await requests_of(proxy, d.get(n)))[1] for n in (0, 1)]
    await d.put("large", bytes(10_000))
    await d.get("large")
    assert 3 == len(held_paths(harness.client))


@pytest.mark.parametrize("window", [timedelta(0), timedelta(seconds=-1), 60])
def test_a_window_that_is_none_is_refused(window: Any) -> None:
    with pytest.raises(InvalidError):
        Client("b", cache=window)
