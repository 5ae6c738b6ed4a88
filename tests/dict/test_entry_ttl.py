"""The ttl of one entry: absent from ttl + 1 s on, never early, and never extended by a read.

Time moves as in `test_expiry`: the memory store has a clock, and a proxy rewrites the times of servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, Dict, IntegrityError, InvalidError, memoize
from s3dict._format.entry import TOMBSTONE_BYTES, ExpiryKind, read_prelude
from s3dict._stores.memory import memory_bucket
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import Harness, client_at, collect
from ..support.proxy import Proxy
from ..support.time_travel import TimeTravel

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
Advance = Callable[[timedelta], None]

TTL = timedelta(minutes=10)
"""Long beside what a test takes on a loaded machine, so that only `advance` makes it pass."""
PAST = TTL + 2 * SECOND
"""One second is the resolution of the clocks; another passes while the test runs."""

on_servers = pytest.mark.backends("moto", "seaweedfs", "seaweedfs-rust")
in_memory = pytest.mark.memory_only


@pytest.fixture
def proxy(backend: str, request: pytest.FixtureRequest) -> Iterator[Proxy | None]:
    if backend.startswith("memory"):
        yield None
        return
    with Proxy(request.getfixturevalue("endpoint").url) as rewriting:
        yield rewriting


@pytest.fixture
def client(client: Client, proxy: Proxy | None) -> Client:
    return client_at(proxy.url, client) if proxy else client


@pytest.fixture
def advance(client: Client, proxy: Proxy | None, jumping_clock: None) -> Advance:
    return TimeTravel(proxy).advance if proxy else memory_bucket(client.bucket).advance


@pytest.fixture
def wire(proxy: Proxy | None) -> Proxy:
    assert proxy is not None
    return proxy


def stored(d: Any, key: Any = "k") -> bytes:
    """The object of the key, as it is in the bucket."""
    entries: Any = run_blocking(d.wrapped._open())
    found = run_blocking(entries.store.get(entries.path(entries.codec.keys.encode(key))))
    return b"" if found is None else bytes(found.body)


def expiry_kind(d: Any) -> ExpiryKind | None:
    expiry = read_prelude(stored(d)).expiry
    return None if expiry is None else expiry.kind


WRITES: dict[str, Callable[[Any, Any], Any]] = {
    "put": lambda d, ttl: d.put("k", "v", ttl=ttl),
    "put skip_if_exists": lambda d, ttl: d.put("k", "v", skip_if_exists=True, ttl=ttl),
    "put_many": lambda d, ttl: d.put_many({"k": "v"}, ttl=ttl),
    "put_many of pairs": lambda d, ttl: d.put_many(iter([("k", "u"), ("k", "v")]), ttl=ttl),
    "setdefault": lambda d, ttl: d.setdefault("k", "v", ttl=ttl),
    "modify": lambda d, ttl: d.modify("k", lambda _: "v", None, ttl=ttl),
    "get_or_compute": lambda d, ttl: d.get_or_compute("k", lambda: "v", ttl=ttl),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_entry_with_a_ttl_expires_whatever_wrote_it(write: Any, d: Any, advance: Advance) -> None:
    await write(d, TTL)
    assert await d.get("k") == "v"
    advance(TTL - SECOND * 60)
    assert await d.get("k") == "v"
    advance(SECOND * 62)
    assert await d.get("k") is None


READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda d: d.get("k", "absent"),
    "contains": lambda d: d.contains("k"),
    "entry": lambda d: d.entry("k"),
    "get_many": lambda d: d.get_many(["k"]),
    "items": lambda d: collect(d.items()),
    "values": lambda d: collect(d.values()),
    "pop": lambda d: d.pop("k", "absent"),
    "pop_many": lambda d: d.pop_many(["k"]),
    "touch": lambda d: d.touch("k", TTL),
    "modify": lambda d: d.modify("k", lambda value: value, "absent"),
}
ABSENT: dict[str, Any] = {
    "contains": False,
    "entry": None,
    "get_many": {},
    "items": [],
    "values": [],
    "pop_many": {},
    "touch": False,
}


@pytest.mark.parametrize("name", READS)
async def test_expired_entry_is_absent_for_every_read(name: str, d: Any, advance: Advance) -> None:
    await d.put("k", "v", ttl=TTL)
    advance(PAST)
    assert await READS[name](d) == ABSENT.get(name, "absent")


async def test_expired_entry_is_replaced_as_if_it_were_absent(d: Any, advance: Advance) -> None:
    await d.put("k", 1, ttl=TTL)
    assert not await d.put("k", 2, skip_if_exists=True)
    advance(PAST)
    assert await d.put("k", 2, skip_if_exists=True)
    assert await d.get("k") == 2
    assert (await d.entry("k")).expires_at is None
    await d.put("k", 3, ttl=TTL)
    advance(PAST)
    assert await d.setdefault("k", 4) == 4
    await d.put("k", 5, ttl=TTL)
    advance(PAST)
    with pytest.raises(KeyError):
        await d.modify("k", lambda value: value)
    with pytest.raises(KeyError):
        del d.wrapped["k"]
    assert await d.get_or_compute("k", lambda: 6) == 6


@in_memory
async def test_entry_is_present_until_its_ttl_and_a_second_have_passed(d: Any, client: Client) -> None:
    await d.put("k", "v", ttl=90)
    bucket = memory_bucket(client.bucket)
    written = next(o for path, o in bucket.objects.items() if "/entries/" in path).last_modified

    def read_at(age: float) -> Any:
        bucket.clock_offset += written + timedelta(seconds=age) - bucket.date()
        return d.wrapped.get("k"), d.wrapped.contains("k"), list(d.wrapped.values())

    assert read_at(89) == read_at(90) == ("v", True, ["v"])
    assert read_at(91) == read_at(92) == (None, False, [])


async def test_reads_do_not_extend_a_ttl(harness: Harness, advance: Advance) -> None:
    d = harness.named("weekly", create_if_missing=True, ttl=7 * DAY)
    await d.put("k", "v", ttl=6 * DAY)
    before = stored(d)
    for _ in range(5):
        advance(DAY)
        assert await d.get("k") == "v"
        assert await d.contains("k")
        assert await d.get_many(["k"]) == {"k": "v"}
        assert await collect(d.items()) == [("k", "v")]
    assert stored(d) == before
    advance(DAY + PAST)
    assert await d.get("k") is None


async def test_put_and_update_without_a_ttl_remove_it(d: Any, advance: Advance) -> None:
    writes: list[Callable[[], Any]] = [
        lambda: d.put("k", "v"),
        lambda: d.update({"k": "v"}),
        lambda: d.put_many({"k": "v"}),
        lambda: d.touch("k", None),
        lambda: d.modify("k", lambda _: "v", ttl=None),
    ]
    for write in writes:
        await d.put("k", "v", ttl=TTL)
        await write()
        assert stored(d)[4] == 1
        advance(PAST)
        assert await d.get("k") == "v"


async def test_modify_without_a_ttl_keeps_the_deadline(d: Any, advance: Advance) -> None:
    await d.put("k", 0, ttl=TTL)
    expires_at = (await d.entry("k")).expires_at
    for _ in range(5):
        advance(TTL / 6)
        await d.modify("k", lambda n: n + 1)
        assert expiry_kind(d) is ExpiryKind.DEADLINE
        assert (await d.entry("k")).expires_at == expires_at
    assert await d.get("k") == 5
    advance(TTL / 6 + 3 * SECOND)
    assert await d.get("k") is None
    assert await d.modify("k", lambda n: n + 1, 0) == 1
    assert (await d.entry("k")).expires_at is None


async def test_modify_with_a_ttl_begins_it_again(d: Any, advance: Advance) -> None:
    await d.put("k", 0, ttl=TTL)
    advance(TTL / 2)
    await d.modify("k", lambda n: n + 1, ttl=TTL)
    assert expiry_kind(d) is ExpiryKind.TTL
    advance(TTL * 3 / 4)
    assert await d.get("k") == 1
    advance(TTL / 2)
    assert await d.get("k") is None


async def test_setdefault_and_get_or_compute_keep_the_ttl_of_what_exists(d: Any) -> None:
    await d.put("k", 1, ttl=TTL)
    before = stored(d)
    assert await d.setdefault("k", 2, ttl=TTL * 2) == 1
    assert await d.get_or_compute("k", lambda: 2, ttl=TTL * 2) == 1
    assert stored(d) == before


async def test_touch_writes_a_new_version_with_the_new_ttl(d: Any, advance: Advance) -> None:
    assert not await d.touch("k", TTL)
    await d.put("k", ["v"], ttl=TTL)
    first = await d.entry("k")
    advance(TTL / 2)
    assert await d.touch("k", TTL)
    second = await d.entry("k")
    assert second.value == first.value
    assert second.version != first.version
    assert not await d.put("k", "other", if_version=first.version)
    advance(TTL * 3 / 4)
    assert await d.get("k") == ["v"]
    advance(TTL / 2)
    assert await d.get("k") is None


async def test_touch_gives_an_entry_without_a_ttl_one(d: Any, advance: Advance) -> None:
    await d.put("k", "v")
    assert await d.touch("k", TTL)
    advance(PAST)
    assert not await d.contains("k")


@in_memory
async def test_touch_need_not_read_the_value(d: Any) -> None:
    await d.put("k", _Unreadable())
    assert await d.touch("k", TTL)
    assert expiry_kind(d) is ExpiryKind.TTL


def _fail() -> None:
    raise RuntimeError("this value cannot be read")


class _Unreadable:
    def __reduce__(self) -> Any:
        return _fail, ()


async def test_expires_at_is_the_end_of_the_entrys_own_ttl(d: Any) -> None:
    await d.put("k", "v", ttl=TTL)
    entry = await d.entry("k")
    assert entry.expires_at == entry.last_modified + TTL
    await d.put("k", "v")
    assert (await d.entry("k")).expires_at is None


async def test_len_and_keys_may_count_an_expired_entry_until_it_is_overwritten(d: Any, advance: Advance) -> None:
    await d.put("k", "v", ttl=TTL)
    advance(PAST)
    assert await d.len() == 1
    assert await collect(d.keys()) == ["k"]
    assert await collect(d.items()) == []
    await d.clear()
    assert await d.len() == 0


async def test_key_that_is_read_from_its_entry_is_not_listed_when_expired(d: Any, advance: Advance) -> None:
    await d.put("long " * 100, "v", ttl=TTL)
    assert await collect(d.keys()) == ["long " * 100]
    advance(PAST)
    assert await collect(d.keys()) == []


@pytest.mark.parametrize(
    "ttl", [0, -1, -SECOND, timedelta(0), True, "60", b"1", float("nan"), float("inf"), [1]], ids=repr
)
async def test_invalid_ttl_is_refused_by_every_write(ttl: Any, d: Any) -> None:
    for name, write in WRITES.items():
        with pytest.raises(InvalidError, match="Invalid ttl"):
            await write(d, ttl)
        assert not await d.contains("k"), name
    with pytest.raises(InvalidError, match="Invalid ttl"):
        await d.touch("k", ttl)


@in_memory
async def test_ttl_is_at_most_that_of_the_dict(harness: Harness) -> None:
    d = harness.named("hourly", create_if_missing=True, ttl=timedelta(hours=1))
    for ttl in (3600, 3600.0, timedelta(hours=1)):
        assert await d.put("k", "v", ttl=ttl)
    with pytest.raises(InvalidError, match="1:00:00"):
        await d.put("k", "v", ttl=3601)
    endless = harness.named("endless", create_if_missing=True, ttl=None)
    await endless.put("k", "v", ttl=timedelta(days=36_500))
    assert await endless.get("k") == "v"
    with pytest.raises(InvalidError):
        await endless.put("k", "v", ttl=timedelta(days=73_000))


@in_memory
async def test_fraction_of_a_second_is_rounded_up(d: Any) -> None:
    for ttl, seconds in ((0.001, 1), (1.5, 2), (2.0, 2), (timedelta(milliseconds=2001), 3)):
        await d.put("k", "v", ttl=ttl)
        expiry = read_prelude(stored(d)).expiry
        assert expiry is not None
        assert expiry.seconds == seconds


async def test_entry_is_absent_also_when_the_dicts_ttl_has_passed(harness: Harness, advance: Advance) -> None:
    d = harness.named("weekly", create_if_missing=True, ttl=7 * DAY)
    await d.put("k", "v", ttl=7 * DAY)
    advance(7 * DAY + PAST)
    assert await d.get("k") is None


async def test_version_of_an_expired_entry_can_be_replaced(d: Any, advance: Advance) -> None:
    await d.put("k", "v", ttl=TTL)
    version = (await d.entry("k")).version
    advance(PAST)
    assert await d.put("k", "w", if_version=version)
    assert await d.get("k") == "w"


async def test_entries_without_a_ttl_and_tombstones_are_written_as_before(d: Any) -> None:
    await d.put("k", "v")
    assert stored(d)[4] == 1
    await d.put("k", "v", ttl=TTL)
    assert stored(d)[4] == 2
    assert await d.pop("k") == "v"
    tombstone = stored(d)
    assert len(tombstone) in (0, TOMBSTONE_BYTES)
    assert tombstone == b"" or tombstone[4] == 1


@in_memory
async def test_signature_covers_the_ttl(client: Client) -> None:
    signing = Client(client.bucket, driver="memory", signing_keys=[b"a-key-of-16-byte"])
    d: Dict[str, str] = Dict.from_name("signed", create_if_missing=True, client=signing)
    d.put("k", "v", ttl=90)
    assert d.get("k") == "v"
    bucket = memory_bucket(client.bucket)
    path = next(path for path in bucket.objects if "/entries/" in path)
    body = bytearray(bucket.objects[path].body)
    prelude = read_prelude(body)
    assert prelude.expiry is not None
    longer = replace(prelude, expiry=replace(prelude.expiry, seconds=10_000))
    bucket.write(path, longer.encode() + body[prelude.size :])
    with pytest.raises(IntegrityError):
        d.get("k")


@in_memory
def test_read_cache_checks_the_ttl_on_every_hit(client: Client) -> None:
    reader = Client(client.bucket, driver="memory", cache=timedelta(hours=1))
    d: Dict[str, str] = Dict.from_name("cached", create_if_missing=True, client=reader)
    d.put("k", "v", ttl=90)
    assert d.get("k") == "v"
    memory_bucket(client.bucket).advance(timedelta(seconds=92))
    assert d.get("k") is None


@in_memory
def test_memoized_result_is_computed_again_after_its_ttl(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("results", create_if_missing=True, client=client)
    calls: list[int] = []

    @memoize(d, ttl=90)
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    assert [double(4), double(4)] == [8, 8]
    memory_bucket(client.bucket).advance(timedelta(seconds=92))
    assert double(4) == 8
    assert calls == [4, 4]


@in_memory
async def test_dict_is_a_source_of_put_many(harness: Harness, d: Any) -> None:
    source = harness.named("source", create_if_missing=True)
    await source.update({n: n for n in range(10)})
    await d.put_many(source.wrapped, ttl=TTL)
    assert await d.get_many(range(10)) == {n: n for n in range(10)}
    assert (await d.entry(3)).expires_at is not None


@on_servers
@pytest.mark.unthrottled
async def test_ttl_costs_no_request_but_the_servers_clock(d: Any, wire: Proxy) -> None:
    await d.hydrate()
    calls: list[tuple[Callable[[], Any], list[str]]] = [
        (lambda: d.put("k", 1, ttl=TTL), ["PutObject"]),
        (lambda: d.get("k"), ["GetObject"]),
        (lambda: d.contains("k"), ["GetObject"]),
        (lambda: d.modify("k", lambda n: n + 1), ["GetObject", "PutObject"]),
        (lambda: d.touch("k", TTL), ["GetObject", "PutObject"]),
        (lambda: d.touch("missing", TTL), ["GetObject"]),
        (lambda: d.put_many({"k": 1, "l": 2}, ttl=TTL), ["PutObject", "PutObject"]),
    ]
    for call, expected in calls:
        with wire.recording() as requests:
            await call()
        sent = [request.operation for request in requests]
        # obstore's driver reads the store's clock once a minute and process.
        assert [operation for operation in sent if operation != "HeadBucket"] == expected
        assert sent.count("HeadBucket") <= 2


async def test_second_put_begins_its_own_ttl(d: Any, advance: Advance) -> None:
    """The first ttl is not a timer that goes on: aio-libs/aiocache#423."""
    await d.put("k", 1, ttl=TTL)
    advance(TTL * 3 / 4)
    await d.put("k", 2, ttl=TTL)
    advance(TTL / 2)
    assert await d.get("k") == 2


async def test_counter_begins_again_after_its_window(d: Any, advance: Advance) -> None:
    """An expired count is not continued (elixir-nebulex/nebulex#162); counting does not extend it (django#26619)."""
    for expected in (1, 2):
        assert await d.modify("hits", lambda n: n + 1, 0) == expected
        await d.touch("hits", TTL)
    for expected in (3, 4):
        advance(TTL / 3)
        assert await d.modify("hits", lambda n: n + 1, 0) == expected
    advance(TTL / 3 + 2 * SECOND)
    assert await d.modify("hits", lambda n: n + 1, 0) == 1
