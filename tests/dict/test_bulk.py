"""Bulk operations: as many requests in flight as allowed and no more, a window in memory, and nothing left behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

import pytest

from s3dict import Client, PermissionDeniedError
from s3dict._core.bulk import batched
from s3dict._stores.memory import AsyncMemoryStore, MemoryStore

from ..support.modes import Harness, Mode, collect

CONCURRENCY = 4
ENTRIES = 60


@dataclass
class Traffic:
    """The requests for entries that are in flight."""

    in_flight: int = 0
    most: int = 0
    begun: int = 0
    fails: Callable[[int], bool] = lambda _: False
    guard: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        with self.guard:
            self.begun += 1
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
            if self.fails(self.begun):
                self.in_flight -= 1
                raise PermissionDeniedError("planted")

    def end(self) -> None:
        with self.guard:
            self.in_flight -= 1


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Counts the requests of memory stores, each of which now takes a moment."""
    counted = Traffic()

    def count(kind: Any, name: str) -> None:
        request = getattr(kind, name)

        async def slow(store: Any, path: str, *args: Any, **options: Any) -> Any:
            if "/entries/" not in path:
                return await request(store, path, *args, **options)
            counted.begin()
            try:
                if kind is AsyncMemoryStore:
                    await asyncio.sleep(0.001)
                else:
                    time.sleep(0.001)  # noqa: ASYNC251 (there is no event loop)
                return await request(store, path, *args, **options)
            finally:
                counted.end()

        monkeypatch.setattr(kind, name, slow)

    for kind in (MemoryStore, AsyncMemoryStore):
        for name in ("get", "put", "delete"):
            count(kind, name)
    return counted


@pytest.fixture
def client(mode: Mode) -> Client:
    return Client(f"bulk-{uuid4()}", driver="memory", concurrency=CONCURRENCY)


@pytest.fixture
def d(client: Client, mode: Mode) -> Any:
    return Harness(client, mode).named("d", create_if_missing=True)


def pairs() -> Iterator[tuple[int, str]]:
    return ((n, f"value {n}") for n in range(ENTRIES))


BULK: dict[str, Callable[[Any], Any]] = {
    "update": lambda d: d.update(pairs()),
    "get_many": lambda d: d.get_many(range(ENTRIES)),
    "pop_many": lambda d: d.pop_many(range(ENTRIES)),
    "items": lambda d: collect(d.items()),
    "values": lambda d: collect(d.values()),
}


@pytest.mark.parametrize("operation", list(BULK))
async def test_requests_in_flight_reach_exactly_the_concurrency(d: Any, traffic: Traffic, operation: str) -> None:
    await d.update(pairs())
    traffic.most = 0
    await BULK[operation](d)
    assert traffic.most == CONCURRENCY
    assert traffic.in_flight == 0


async def test_update_takes_pairs_only_as_fast_as_they_are_written(d: Any, traffic: Traffic) -> None:
    taken = 0

    def counted() -> Iterator[tuple[int, str]]:
        nonlocal taken
        for pair in pairs():
            assert taken - (traffic.begun - traffic.in_flight) <= CONCURRENCY + CONCURRENCY // 4
            taken += 1
            yield pair

    await d.update(counted())
    assert taken == ENTRIES


@pytest.mark.parametrize("operation", list(BULK))
async def test_failure_leaves_no_request_in_flight(d: Any, traffic: Traffic, operation: str) -> None:
    await d.update(pairs())
    already = traffic.begun
    traffic.fails = lambda begun: begun == already + 10
    with pytest.raises(PermissionDeniedError) as caught:
        await BULK[operation](d)
    assert traffic.in_flight == 0
    # What was in flight was waited for, and the few taken ahead; each of `pop_many` makes two requests.
    assert traffic.begun <= already + 10 + 2 * (CONCURRENCY + CONCURRENCY // 4)
    if operation in ("update", "get_many", "pop_many"):
        assert len(caught.value.failed_keys) == 1
    if operation == "get_many":
        assert 0 < len(caught.value.completed) < ENTRIES


@pytest.mark.parametrize("operation", ["items", "values"])
async def test_breaking_out_of_an_iteration_ends_requests_in_flight(
    d: Any, mode: Mode, traffic: Traffic, operation: str
) -> None:
    await d.update(pairs())
    already = traffic.begun
    iterator = getattr(d.wrapped, operation)
    if mode is Mode.SYNC:
        for _ in iterator():
            break
    else:
        entries = iterator.aio()
        async for _ in entries:
            break
        await entries.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert traffic.in_flight == 0
    assert traffic.begun <= already + 2 * CONCURRENCY


@pytest.mark.parametrize("mode", [Mode.ASYNCIO])
async def test_bulk_operation_that_is_cancelled_leaves_no_task(d: Any, traffic: Traffic) -> None:
    await d.hydrate()
    task = asyncio.ensure_future(d.update((n, n) for n in range(10_000)))
    while traffic.begun < 20:  # noqa: ASYNC110 (nothing tells when so many requests have begun)
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert traffic.in_flight == 0


@pytest.mark.parametrize("mode", [Mode.SYNC])
async def test_threads_are_kept_and_never_more_than_the_concurrency(d: Any) -> None:
    before = set(threading.enumerate())
    for _ in range(3):
        await d.update(pairs())
        await d.get_many(range(ENTRIES))
    assert len(set(threading.enumerate()) - before) <= CONCURRENCY


class Reading:
    """A value that reads others as it is loaded."""

    dicts: ClassVar[dict[str, Any]] = {}

    def __init__(self, name: str) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        self.__dict__ = state
        self.others = Reading.dicts[self.name].get_many(range(3))


@pytest.mark.parametrize("mode", [Mode.SYNC])
async def test_value_that_reads_others_as_it_loads_does_not_wait_for_itself(d: Any, client: Client) -> None:
    Reading.dicts[client.bucket] = d.wrapped
    await d.update((n, n) for n in range(3))
    await d.update((f"reading {n}", Reading(client.bucket)) for n in range(3 * CONCURRENCY))
    loaded = await d.get_many(f"reading {n}" for n in range(3 * CONCURRENCY))
    assert [value.others for value in loaded.values()] == [{0: 0, 1: 1, 2: 2}] * len(loaded)


def test_bulk_operations_work_during_interpreter_exit() -> None:
    program = (
        "import threading\n"
        "from s3dict import Client, Dict\n"
        "d = Dict.from_name('d', create_if_missing=True, client=Client('b', driver='memory'))\n"
        "def late():\n"
        "    threading.main_thread().join()\n"
        "    d.update((n, n) for n in range(9))\n"
        "    print(len(d.get_many(range(9))), flush=True)\n"
        "threading.Thread(target=late).start()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("9\n", "")


async def test_batches_contain_what_comes_before_a_failure() -> None:
    async def items() -> AsyncIterator[int]:
        for item in range(1002):
            yield item
        raise LookupError("no more")

    batches: list[list[int]] = []
    with pytest.raises(LookupError, match="no more"):
        async for batch in batched(items()):
            batches += [batch]
    assert [len(batch) for batch in batches] == [1000, 2]
