"""Expiry: what no process read or wrote for the ttl is absent everywhere, and what is read lives on.

Time moves by what the store reports: the memory store has a clock, and a proxy rewrites the times of moto and
SeaweedFS. What neither can show is a lifecycle that really deletes: `tests/ceph` has that.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3dict import Client, Dict, LockLostError, LockTimeoutError, UnavailableError, memoize
from s3dict._core import expiry, ranged_get
from s3dict._core.entries import Entries
from s3dict._stores.base import ServerTime, StoredObject
from s3dict._stores.memory import MemoryStore, memory_bucket
from s3dict._stores.shared.threads import run_blocking
from s3dict._stores.shared.validation import zone_of

from ..support.modes import Harness, client_at, collect
from ..support.proxy import Fault, FaultKind, Proxy, Request
from ..support.time_travel import TimeTravel

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1))
WEEK = 7 * DAY
Advance = Callable[[timedelta], None]


@pytest.fixture
def clock_proxy(backend: str, request: pytest.FixtureRequest) -> Proxy | None:
    """The proxy that moves the clock, where the back end is a server."""
    return None if backend.startswith("memory") else request.getfixturevalue("proxy")


@pytest.fixture
def client(client: Client, clock_proxy: Proxy | None) -> Client:
    return client_at(clock_proxy.url, client) if clock_proxy else client


@pytest.fixture
def advance(client: Client, clock_proxy: Proxy | None, jumping_clock: None) -> Advance:
    return TimeTravel(clock_proxy).advance if clock_proxy else memory_bucket(client.bucket).advance


def asked(sent: list[Request]) -> list[Request]:
    """Without the looks at the store's clock, which obstore's driver takes apart, and each time if it is jumping."""
    return [request for request in sent if request.operation != "HeadBucket"]


on_servers = pytest.mark.backends("moto", "seaweedfs", "seaweedfs-rust")


READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda d: d.get("k"),
    "contains": lambda d: d.contains("k"),
    "entry": lambda d: d.entry("k"),
    "get_many": lambda d: d.get_many(["k"]),
    "setdefault": lambda d: d.setdefault("k", "other"),
    "get_or_compute": lambda d: d.get_or_compute("k", lambda: "other"),
    "values": lambda d: collect(d.values()),
    "items": lambda d: collect(d.items()),
}


async def test_unread_entry_expires_for_every_operation(d: Any, advance: Advance) -> None:
    await d.update({"k": "v", "k" * 300: "long key"})
    advance(8 * DAY + MINUTE)
    await d.put("new", "w")
    assert await d.get("k") is None
    assert not await d.contains("k")
    assert await d.entry("k") is None
    assert await d.get_many(["k"]) == {}
    assert await d.len() == 1
    assert await collect(d.keys()) == ["new"]
    assert await collect(d.values()) == ["w"]
    assert await collect(d.items()) == [("new", "w")]
    assert await d.pop_many(["k"]) == {}
    with pytest.raises(KeyError):
        await d.pop("k")
    with pytest.raises(KeyError):
        await d.modify("k", str.upper)
    with pytest.raises(KeyError):
        del d.wrapped["k"]


async def test_expired_entry_stays_in_the_bucket_until_swept(d: Any, advance: Advance) -> None:
    await d.put("k", "v")
    advance(9 * DAY)
    await d.get("k")
    await d.pop("k", None)
    assert len(await objects_of(d)) == 1
    await d.clear()
    assert await objects_of(d) == []


async def objects_of(d: Any) -> list[str]:
    """The paths of all entries in the bucket, over or not."""
    handle: Any = d.wrapped
    entries: Entries = run_blocking(handle._open())
    page = run_blocking(entries.store.list_page(entries.paths.entries))
    return [line.path for line in page.objects]


WRITES_OVER: dict[str, Callable[[Any], Any]] = {
    "put": lambda d: d.put("k", "new"),
    "put with skip_if_exists": lambda d: d.put("k", "new", skip_if_exists=True),
    "setdefault": lambda d: d.setdefault("k", "new"),
    "modify": lambda d: d.modify("k", lambda _: "new", default=None),
    "get_or_compute": lambda d: d.get_or_compute("k", lambda: "new"),
}


@pytest.mark.parametrize("write", list(WRITES_OVER))
async def test_expired_entry_can_be_overwritten(d: Any, advance: Advance, write: str) -> None:
    await d.put("k", "old")
    advance(8 * DAY + MINUTE)
    assert await WRITES_OVER[write](d) in (True, "new")
    assert await d.get("k") == "new"
    assert not await d.put("k", "third", skip_if_exists=True)
    advance(7 * DAY)
    assert await d.get("k") == "new"


@pytest.mark.parametrize("read", list(READS))
@pytest.mark.unthrottled
async def test_entry_read_within_its_ttl_never_expires(d: Any, advance: Advance, read: str) -> None:
    await d.put("k", "v")
    for _ in range(6):
        advance(WEEK)
        await READS[read](d)
    assert await d.get("k") == "v"
    advance(8 * DAY + MINUTE)
    assert not await d.contains("k")


@pytest.mark.parametrize("look", ["keys", "len"])
async def test_listing_the_keys_is_not_reading_the_entries(d: Any, advance: Advance, look: str) -> None:
    await d.put("k", "v")
    for _ in range(2):
        advance(4 * DAY + MINUTE)
        await (collect(d.keys()) if look == "keys" else d.len())
    assert not await d.contains("k")


@on_servers
@pytest.mark.parametrize("read", list(READS))
@pytest.mark.unthrottled
async def test_read_renews_at_a_seventh_of_the_ttl_and_once(d: Any, proxy: Proxy, advance: Advance, read: str) -> None:
    await d.put("k", "v")
    listings = 1 if read in ("values", "items") else 0
    for wait, requests in ((DAY - MINUTE, 1), (2 * MINUTE, 2), (DAY - MINUTE, 1), (2 * MINUTE, 2), (MINUTE, 1)):
        advance(wait)
        with proxy.recording() as sent:
            await READS[read](d)
        shown = [request.operation for request in asked(sent)]
        # Where a store cannot copy on a condition, `contains` has to fetch the body that it puts.
        fetched = 1 if requests == 2 and read == "contains" and "CopyObject" not in shown else 0
        assert requests + listings + fetched == len(shown), shown


@on_servers
@pytest.mark.unthrottled
async def test_renewal_is_on_the_condition_that_nothing_has_changed(d: Any, proxy: Proxy, advance: Advance) -> None:
    for key, read in (("k", d.get), ("l", d.contains)):
        await d.put(key, "v")
        for wait in (2 * DAY, WEEK + HOUR):
            advance(wait)
            with proxy.recording() as sent:
                await read(key)
            assert asked(sent)[-1].if_match
            assert asked(sent)[-1].operation == "PutObject" or asked(sent)[-1].copy_source_if_match


@on_servers
@pytest.mark.removes_by_delete
@pytest.mark.unthrottled
async def test_pop_and_modify_do_not_renew_what_they_change(d: Any, proxy: Proxy, advance: Advance) -> None:
    await d.update(a=1, b=2)
    advance(2 * DAY)
    with proxy.recording() as sent:
        await d.pop("a")
        await d.modify("b", lambda n: n + 1)
    assert [request.operation for request in asked(sent)] == ["GetObject", "DeleteObject", "GetObject", "PutObject"]


@on_servers
@pytest.mark.unthrottled
async def test_large_values_are_renewed_in_place_where_the_store_can(d: Any, proxy: Proxy, advance: Advance) -> None:
    value = bytes(expiry.LARGE_BYTES)
    await d.put("k", value)
    before = (await d.entry("k")).version
    advance(2 * DAY)
    with proxy.recording() as sent:
        assert await d.get("k") == value
    copies = d.wrapped._state.loaded.manifest.capabilities.conditional_copy
    assert [request.operation for request in asked(sent)] == ["GetObject", "CopyObject" if copies else "PutObject"]
    # A body that is repeated may arrive after the end, under an ETag on which no other process can have acted.
    after = (await d.entry("k")).version
    if zone_of(d.wrapped.client.bucket) is not None:
        # There a copy gets an ETag of its own. Versions are compared by the write id then.
        before, after = before.partition(".")[0], after.partition(".")[0]
    assert (before == after) == copies
    advance(WEEK)
    assert await d.get("k") == value


@on_servers
@pytest.mark.parametrize(
    "kind", ["lost-request", "lost-response", "internal-error", "internal-error-after", "slow-down"]
)
@pytest.mark.unthrottled
async def test_failed_renewal_never_fails_the_read(
    d: Any, proxy: Proxy, advance: Advance, kind: FaultKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    await d.put("k", "v")
    advance(2 * DAY)
    proxy.faults = [Fault(kind, when=lambda request: request.method == "PUT")]
    with proxy.recording() as sent:
        assert await d.get("k") == "v"
        assert await d.contains("k")
        assert await collect(d.items()) == [("k", "v")]
    # After one has failed, the next is not tried at once.
    assert sum(request.method == "PUT" for request in sent) == 1
    proxy.faults = []
    monkeypatch.setattr(expiry, "RENEWAL_BACKOFF_FAILED", timedelta(0))
    d.wrapped._entries = d.wrapped._async_view._entries = None
    assert await d.get("k") == "v"
    advance(WEEK)
    assert await d.get("k") == "v"


@on_servers
async def test_conflicting_renewal_is_left_to_the_concurrent_one(d: Any, proxy: Proxy, advance: Advance) -> None:
    await d.put("k", "v")
    advance(2 * DAY)
    proxy.faults = [Fault("conflict", when=lambda request: request.method == "PUT")]
    assert await d.get("k") == "v"


@on_servers
async def test_reader_without_write_permission_backs_off_renewals(d: Any, proxy: Proxy, advance: Advance) -> None:
    await d.update({"k": "v", "l": "w"})
    advance(2 * DAY)
    proxy.faults = [Fault("denied", when=lambda request: request.method == "PUT")]
    with proxy.recording() as sent:
        assert [await d.get("k"), await d.get("l")] == ["v", "w"]
        assert await d.contains("k")
    assert sum(request.method == "PUT" for request in sent) == 1


@pytest.mark.parametrize("age", [2 * DAY, WEEK + HOUR], ids=["due", "nearly over"])
async def test_renewal_is_not_a_change(d: Any, advance: Advance, age: timedelta) -> None:
    await d.put("k", 1)
    before = await d.entry("k")
    advance(age)
    assert await d.get("k") == 1
    assert await d.put("k", 2, if_version=before.version)
    assert not await d.put("k", 3, if_version=before.version)
    assert await d.get("k") == 2


@on_servers
@pytest.mark.unthrottled
async def test_version_returned_by_a_renewing_entry_call_is_current(d: Any, proxy: Proxy, advance: Advance) -> None:
    await d.put("k", 1)
    advance(WEEK + HOUR)
    seen = await d.entry("k")
    with proxy.recording() as sent:
        assert await d.put("k", 2, if_version=seen.version)
    assert len(asked(sent)) == 1


async def test_entries_without_ttl_neither_expire_nor_renew(harness: Harness, advance: Advance) -> None:
    kept = harness.named("kept", create_if_missing=True, ttl=None)
    await kept.put("k", "v")
    path = (await objects_of(kept))[0]
    written = last_modified(kept, path)
    advance(10_000 * DAY)
    assert await kept.get("k") == "v"
    assert await kept.contains("k")
    assert await kept.len() == 1
    assert not await kept.put("k", "w", skip_if_exists=True)
    assert last_modified(kept, path) == written


def last_modified(d: Any, path: str) -> Any:
    found = run_blocking(d.wrapped.client._store(aio=False).head(path))
    assert found is not None
    return found.last_modified


@pytest.mark.unthrottled
async def test_shortest_ttl_is_kept_to_the_second(harness: Harness, advance: Advance) -> None:
    brief = harness.named("brief", create_if_missing=True, ttl=MINUTE)
    await brief.put("k", "v")
    for _ in range(3):
        advance(59 * SECOND)
        assert await brief.get("k") == "v"
    advance(MINUTE * 8 / 7)
    assert await brief.get("k") is None
    assert await brief.put("k", "w", skip_if_exists=True)


async def test_expired_result_is_computed_again(harness: Harness, advance: Advance) -> None:
    handle = harness.named("memo", create_if_missing=True, ttl=HOUR)
    calls: list[int] = []

    @memoize(handle.wrapped)
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    for wait in (MINUTE, 30 * MINUTE, 30 * MINUTE, 2 * HOUR):
        assert double(2) == 4
        advance(wait)
    assert double(2) == 4
    assert calls == [2, 2]


def test_lock_outlives_the_entries_as_long_as_its_lease(client: Client, advance: Advance) -> None:
    d = Dict.from_name("brief", create_if_missing=True, client=client, ttl=MINUTE)

    def taken_by_another() -> bool:
        try:
            with d.lock("l", lease=3600, timeout=0):
                return True
        except LockTimeoutError:
            return False

    with ThreadPoolExecutor(1) as other, pytest.raises(LockLostError), d.lock("l", lease=3600):
        advance(30 * MINUTE)
        assert not other.submit(taken_by_another).result()
        # As if this holder had died: its next heartbeat is twenty minutes away.
        advance(HOUR)
        assert other.submit(taken_by_another).result()


@pytest.mark.parametrize("skew", [-2 * DAY, 2 * DAY], ids=["behind", "ahead"])
@pytest.mark.unthrottled
async def test_client_clock_that_is_two_days_off_loses_and_resurrects_nothing(
    harness: Harness, advance: Advance, skew: timedelta
) -> None:
    # Only the difference between the store's clock and ours could do harm, and that is made here.
    advance(skew)
    hourly = harness.named("hourly", create_if_missing=True, ttl=HOUR)
    await hourly.put("k", "v")
    assert not await hourly.put("k", "w", skip_if_exists=True)
    for _ in range(3):
        advance(HOUR)
        assert await hourly.get("k") == "v"
        assert await collect(hourly.items()) == [("k", "v")]
    assert await hourly.len() == 1
    advance(70 * MINUTE)
    assert await hourly.get("k") is None
    assert await hourly.len() == 0
    assert await hourly.put("k", "w", skip_if_exists=True)
    assert await hourly.get("k") == "w"


def renewed_between_look_and_write(monkeypatch: pytest.MonkeyPatch) -> tuple[bool, Any]:
    """A reader's renewal arrives just after a creator has seen the entry over, and before the creator writes."""
    name = f"boundary-{id(monkeypatch)}"
    client, bucket = Client(name, driver="memory"), memory_bucket(name)
    d = Dict.from_name("d", create_if_missing=True, client=client)
    d["k"] = "old"
    entries: Entries = run_blocking(d._open())
    path = entries.path(entries.codec.keys.encode("k"))
    bucket.advance(8 * DAY - MINUTE)
    seen = run_blocking(entries.store.get(path))
    bucket.advance(2 * MINUTE)
    looked: list[Any] = []
    look = MemoryStore.get

    async def and_renew(store: MemoryStore, asked: str, **options: Any) -> Any:
        found = await look(store, asked, **options)
        if not looked and asked == path:
            looked.append(found)
            # It was sent when the entry was still alive, and arrives now.
            await entries.expiry._renew(path, seen, seen.server_time)  # type: ignore[arg-type, union-attr]
        return found

    monkeypatch.setattr(MemoryStore, "get", and_renew)
    return d.put("k", "new", skip_if_exists=True), d.get("k")


def test_renewal_in_flight_at_expiry_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert renewed_between_look_and_write(monkeypatch) == (False, "old")


def test_renewal_test_detects_an_unchanged_etag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "with_new_etag", lambda body: body)
    assert renewed_between_look_and_write(monkeypatch) == (True, "new")


def test_entry_expiring_during_a_delayed_read_is_not_resurrected() -> None:
    client, bucket = Client("held-up", driver="memory"), memory_bucket("held-up")
    d = Dict.from_name("d", create_if_missing=True, client=client)
    d["k"] = "old"
    entries: Entries = run_blocking(d._open())
    path = entries.path(entries.codec.keys.encode("k"))
    bucket.advance(8 * DAY - MINUTE)
    began = entries.store.runtime.monotonic()
    seen = run_blocking(entries.store.get(path))
    bucket.advance(2 * MINUTE)
    run_blocking(entries.expiry.renew_if_due(path, seen, began))  # type: ignore[arg-type]
    assert "k" not in d


class SilentClock:
    """A server clock that does not respond."""

    def time_at(self, moment: float) -> datetime:
        raise UnavailableError("planted")

    def latest_at(self, moment: float) -> datetime:
        return datetime.now(UTC)

    def has_passed(self, deadline: datetime, moment: float) -> bool:
        raise UnavailableError("planted")


def test_unavailable_clock_fails_no_read_due_for_renewal() -> None:
    client = Client("silent-clock", driver="memory")
    d = Dict.from_name("d", create_if_missing=True, client=client)
    entries: Entries = run_blocking(d._open())
    written = datetime.now(UTC) - 2 * DAY
    found = StoredObject(b"body", '"etag"', 4, written, ServerTime(clock=SilentClock()))
    assert run_blocking(entries.expiry.renew_if_due("path", found, entries.store.runtime.monotonic())) == '"etag"'


class Normalised:
    """Changes an array of its own as it is loaded."""

    def __init__(self, weights: np.ndarray[Any, Any]) -> None:
        self.weights = weights

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.weights /= 2


@pytest.mark.parametrize("age", [2 * DAY, WEEK + HOUR], ids=["due", "nearly over"])
async def test_value_mutating_its_buffers_is_renewed_unchanged(
    d: Any, advance: Advance, age: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged_get, "FIRST_RANGE_BYTES", 1000)
    await d.put("k", Normalised(np.ones(1000)))
    advance(age)
    for _ in range(2):
        assert (await d.get("k")).weights.sum() == 500


def test_create_succeeds_when_the_entry_is_swept_after_the_rejection(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("sweep-race", driver="memory")
    d = Dict.from_name("d", create_if_missing=True, client=client)
    d["k"] = "old"
    entries: Entries = run_blocking(d._open())
    path = entries.path(entries.codec.keys.encode("k"))
    memory_bucket("sweep-race").advance(8.5 * DAY)
    swept: list[str] = []
    look = MemoryStore.get

    async def after_the_sweep(store: MemoryStore, asked: str, **options: Any) -> Any:
        if asked == path and not swept:
            swept.append(asked)
            await store.delete(path)
        return await look(store, asked, **options)

    monkeypatch.setattr(MemoryStore, "get", after_the_sweep)
    assert d.put("k", "new", skip_if_exists=True)
    assert swept == [path]


def found_by_modify(d: Any, _: int) -> bool:
    modified: str = d.modify("k", lambda value: "missing" if value is None else "found", default=None)
    return modified == "found"


# Each returns whether it found the entry; those that write did write when they did not.
LOOKS: dict[str, Callable[[Any, int], bool]] = {
    "get": lambda d, _: d.get("k") is not None,
    "contains": lambda d, _: d.contains("k"),
    "entry": lambda d, _: d.entry("k") is not None,
    "get_many": lambda d, _: bool(d.get_many(["k"])),
    "values": lambda d, _: bool(list(d.values())),
    "items": lambda d, _: bool(list(d.items())),
    "len": lambda d, _: bool(d.len()),
    "keys": lambda d, _: bool(list(d.keys())),
    "create": lambda d, n: not d.put("k", n, skip_if_exists=True),
    "setdefault": lambda d, n: d.setdefault("k", n) != n,
    "get_or_compute": lambda d, n: d.get_or_compute("k", lambda: n) != n,
    "modify": found_by_modify,
}
CREATING = frozenset({"create", "setdefault", "get_or_compute"})
NOT_READING = frozenset({"len", "keys", "create"})
_numbers = count()
STEPS = st.lists(st.tuples(st.floats(0, 1.3), st.sampled_from(list(LOOKS))), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([MINUTE, HOUR, DAY, WEEK, 367 * DAY]), STEPS)
def test_every_read_schedule_neither_loses_nor_resurrects(ttl: timedelta, steps: list[tuple[float, str]]) -> None:
    """An entry lives for the ttl after its last read or write, and is not given later than 8/7 of it."""
    client = Client(f"schedule-{next(_numbers)}", driver="memory")
    d = Dict.from_name("d", create_if_missing=True, client=client, ttl=ttl)
    d["k"] = "v"
    idle = 0.0
    for number, (wait, look) in enumerate(steps):
        memory_bucket(client.bucket).advance(ttl * wait)
        idle += wait
        found = LOOKS[look](d, number)
        if idle <= 1 - SECOND / ttl:
            assert found
        if idle > 8 / 7:
            assert not found
        if look == "modify" or (look in CREATING if not found else look not in NOT_READING):
            idle = 0.0
        elif not found:
            idle = float("inf")
