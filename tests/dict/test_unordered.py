"""Dicts in stores whose listings have no order, as of S3 Express: exact, and in one order, whatever their size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random
from threading import Thread
from typing import Any

import pytest

from s3dict import Client, Dict, UnavailableError, UnsupportedStoreError
from s3dict._admin.expired import dicts_of
from s3dict._admin.garbage import find_garbage, remove_garbage
from s3dict._admin.usage import held_locks, list_entries
from s3dict._core.listing import read_folder, scan
from s3dict._core.probe import probe
from s3dict._format.manifest import encode_store_json
from s3dict._stores.base import PAGE_SIZE, ObjectStore, Page
from s3dict._stores.memory import MemoryBucket, MemoryStore, memory_bucket
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import Harness, collect
from ..support.retries import quick_policies

IN_MEMORY = pytest.mark.parametrize("backend", ["memory-unordered"])
"""For tests that look into the bucket."""
FOLDERS = 256


@pytest.fixture
def bucket(client: Client) -> MemoryBucket:
    return memory_bucket(client.bucket)


def contents(count: int) -> dict[Any, int]:
    """Keys of which some are too long for an object's name, so that they are read from their entries."""
    return {f"k{n}" * (100 if n % 100 == 0 else 1): n for n in range(count)}


def hashed(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}{number:016x}"


def fill(bucket: MemoryBucket, folder: str, count: int) -> None:
    for number in range(count):
        bucket.write(f"{folder}{hashed(number)[:2]}/{hashed(number)}", b"not a tombstone, which has 30 bytes")


@IN_MEMORY
async def test_five_thousand_entries_are_listed_once_each_in_one_order(d: Any) -> None:
    await d.update(contents(5000))
    items = await collect(d.items())
    assert dict(items) == contents(5000)
    assert len(items) == await d.len() == (await d.stats()).entries == len(list_entries(d.wrapped)) == 5000
    assert await collect(d.keys()) == [key for key, _ in items]
    assert await d.get_many(contents(5000)) == contents(5000)
    await d.clear()
    assert await d.len() == 0


@IN_MEMORY
async def test_values_of_two_pages_agree_with_keys(d: Any) -> None:
    await d.update(contents(1200))
    assert dict(zip(await collect(d.keys()), await collect(d.values()), strict=True)) == contents(1200)


@IN_MEMORY
@pytest.mark.parametrize(("count", "expected"), [(0, 1), (999, 1), (1000, 1), (1001, 2 + FOLDERS), (5000, 2 + FOLDERS)])
def test_listing_takes_a_request_up_to_a_thousand_entries_and_then_one_a_folder(
    client: Client, count: int, expected: int
) -> None:
    requests: Counter[str] = Counter()
    observed = Client(
        client.bucket,
        prefix=client.prefix,
        driver="memory",
        on_request=lambda event: requests.update([event.operation]),
    )
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=observed).hydrate()
    fill(memory_bucket(client.bucket), run_blocking(d._open()).paths.entries, count)
    requests.clear()
    assert d.len() == count
    assert requests == {"ListObjectsV2": expected}
    requests.clear()
    d.clear()
    deletions = {"DeleteObjects": -(-count // PAGE_SIZE)} if count else {}
    assert requests == {"ListObjectsV2": expected} | deletions
    assert d.len() == 0


def scanned(store: ObjectStore, *, ordered: bool = False, concurrency: int = 16) -> list[str]:
    async def paths() -> list[str]:
        pages = [page async for page in scan(store, "p/", concurrency, ordered=ordered)]
        assert all(len(page.objects) == PAGE_SIZE for page in pages[:-1])
        return [listed.path for page in pages for listed in page.objects]

    return run_blocking(paths())


def unordered(count: int) -> MemoryBucket:
    bucket = MemoryBucket()
    bucket.ordered_listing = False
    fill(bucket, "p/", count)
    return bucket


@pytest.mark.parametrize("count", [0, 1, 1000, 1001, 20_000])
@pytest.mark.parametrize("concurrency", [1, 3, 16])
def test_scan_without_order_is_in_the_order_of_the_paths(count: int, concurrency: int) -> None:
    bucket = unordered(count)
    assert scanned(MemoryStore(bucket), concurrency=concurrency) == sorted(bucket.objects)


class Changing(MemoryStore):
    """A bucket in which other processes write and delete between any two requests of a listing."""

    def __init__(self, bucket: MemoryBucket, seed: int) -> None:
        super().__init__(bucket)
        self.random = Random(seed)
        self.passing: list[str] = []

    async def list_page(self, prefix: str, token: object = None, **options: Any) -> Page:
        page = await super().list_page(prefix, token, **options)
        for _ in range(20):
            name = f"{self.random.getrandbits(64):016x}passing"
            self.passing.append(f"p/{name[:2]}/{name}")
            self._bucket.write(self.passing[-1], b"")
            self._bucket.remove(self.random.choice(self.passing))
        self._bucket.write(self.random.choice(list(self._bucket.objects)), b"again")
        return page


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [900, 3000])
def test_entry_that_is_there_throughout_is_listed_once_while_others_change(count: int, seed: int) -> None:
    bucket = unordered(count)
    lasting = set(bucket.objects)
    listed = Counter(scanned(Changing(bucket, seed)))
    assert max(listed.values()) == 1
    assert lasting <= set(listed)


def test_write_to_the_bucket_waits_for_a_request_of_another_thread() -> None:
    bucket = unordered(0)
    with bucket.handling("list", "p/"):
        writer = Thread(target=bucket.write, args=("p/x", b""))
        writer.start()
        writer.join(0.05)
        assert bucket.objects == {}
    writer.join()
    assert set(bucket.objects) == {"p/x"}


def test_large_folder_is_listed_in_pages_while_others_change() -> None:
    bucket = unordered(0)
    for number in range(2500):
        bucket.write(f"p/ab/ab{number:030x}", b"")
    lasting = set(bucket.objects)
    listed = Counter(scanned(Changing(bucket, 0)))
    assert max(listed.values()) == 1
    assert lasting <= set(listed)


def test_foreign_objects_at_any_depth_are_listed_once() -> None:
    bucket = unordered(1500)
    for path in ("p/", "p/x", "p/ab/", "p/ab/c/d/e", "p/z/z/z", "p/0"):
        bucket.write(path, b"")
    assert sorted(scanned(MemoryStore(bucket))) == sorted(bucket.objects)


class Repeating(MemoryStore):
    """Lists an object of a folder twice, in so many listings."""

    times = 1

    async def list_page(self, prefix: str, token: object = None, **options: Any) -> Page:
        page = await super().list_page(prefix, token, **options)
        if prefix != "p/ab/" or not self.times:
            return page
        self.times -= 1
        return replace(page, objects=(*page.objects[:-1], page.objects[0]))


def test_folder_with_an_object_twice_is_listed_again() -> None:
    bucket = unordered(3000)
    store = Repeating(bucket, retries=quick_policies())
    assert scanned(store) == sorted(bucket.objects)
    store.times = 100
    with pytest.raises(UnavailableError, match="contains an object twice"):
        scanned(store)


@pytest.mark.parametrize("count", [1000, 1001, 5000])
def test_order_is_not_believed_where_the_first_page_shows_none(count: int) -> None:
    bucket = unordered(count)
    assert scanned(MemoryStore(bucket), ordered=True) == sorted(bucket.objects)


class PagesOfTwo(MemoryStore):
    async def list_page(self, prefix: str, token: object = None, **options: Any) -> Page:
        page = await super().list_page(prefix, token, **options)
        return replace(page, objects=page.objects[:2], is_truncated=len(page.objects) > 2)


def test_short_pages_are_in_order_where_their_names_are() -> None:
    assert run_blocking(probe(PagesOfTwo(MemoryBucket()), "p")).ordered_listing


class Reversed(MemoryStore):
    async def list_page(self, prefix: str, token: object = None, **options: Any) -> Page:
        page = await super().list_page(prefix, token, **options)
        return replace(page, objects=page.objects[::-1])


def test_probe_finds_another_order() -> None:
    assert not run_blocking(probe(Reversed(MemoryBucket()), "p")).ordered_listing


class OrderedAtFirst(MemoryStore):
    """Lists in order until it is asked for what follows a name."""

    async def list_page(self, prefix: str, token: object = None, **options: Any) -> Page:
        page = await super().list_page(prefix, token, **options)
        return replace(page, objects=page.objects[::-1]) if options.get("start_after") else page


def test_order_that_ends_after_the_first_page_is_an_error() -> None:
    bucket = unordered(3000)
    bucket.ordered_listing = True
    with pytest.raises(UnsupportedStoreError, match=r"not in the order of the paths.*s3dict doctor"):
        scanned(OrderedAtFirst(bucket), ordered=True)


@IN_MEMORY
async def test_dict_of_a_store_that_was_taken_for_ordered_is_exact(harness: Harness, bucket: MemoryBucket) -> None:
    first = harness.named("first", create_if_missing=True)
    await first.hydrate()
    capabilities = first.wrapped._state.loaded.manifest.capabilities
    store_json = encode_store_json(replace(capabilities, ordered_listing=True))
    bucket.write(f"{harness.client.prefix}/store.json", store_json)
    d = harness.named("d", create_if_missing=True)
    await d.update(contents(1200))
    assert d.wrapped._state.loaded.manifest.fanout == 0
    assert dict(zip(await collect(d.keys()), await collect(d.values()), strict=True)) == contents(1200)
    assert await d.len() == 1200
    await d.clear()
    assert await d.len() == 0


@IN_MEMORY
async def test_dicts_and_environments_of_a_thousand_are_listed(harness: Harness, bucket: MemoryBucket) -> None:
    for environment in ("main", "other"):
        await harness.objects.create("a_000000", client=harness.client, environment_name=environment)
    manifests = f"{harness.client.prefix}/manifests/main"
    manifest = bucket.objects[f"{manifests}/a_000000.json"].body
    for number in range(1, 1100):
        name = f"a_{number:06}"
        bucket.write(f"{manifests}/{name}.json", manifest.replace(b"a_000000", name.encode()))
    names = [found.name for found in await harness.objects.list(client=harness.client)]
    assert 1100 == len(names) == len(set(names))
    assert Counter(environment for environment, _ in dicts_of(harness.client, None, print, print)) == {
        "main": 1100,
        "other": 1,
    }


@IN_MEMORY
async def test_thousand_locks_are_listed(d: Any, bucket: MemoryBucket) -> None:
    with d.wrapped.lock("l"):
        [path] = [path for path in bucket.objects if "/locks/" in path]
        for number in range(1100):
            bucket.write(path[:-32] + f"{number:032x}", bucket.objects[path].body)
        assert len(held_locks(d.wrapped)) == 1101


def orphan(client: Client, name: str, count: int, *, in_folders: bool = True) -> str:
    """Leave the data of a dict whose manifest is gone; return its id."""
    d: Dict[Any, Any] = Dict.from_name(name, create_if_missing=True, client=client).hydrate()
    bucket, folder = memory_bucket(client.bucket), run_blocking(d._open()).paths.entries
    with d.lock("l"):
        pass
    for number in range(count):
        bucket.write(f"{folder}{hashed(number)[:2] + '/' if in_folders else ''}{hashed(number)}", b"-" * 40)
    bucket.remove(f"{client.prefix}/manifests/main/{name}.json")
    return str(d.object_id)


@IN_MEMORY
@pytest.mark.parametrize("in_folders", [True, False])
def test_garbage_among_thousands_is_found_and_removed(client: Client, bucket: MemoryBucket, in_folders: bool) -> None:
    kept: Dict[Any, Any] = Dict.from_name("kept", create_if_missing=True, client=client)
    kept.update(contents(50))
    before = set(bucket.objects)
    ids = [orphan(client, "gone", 1500, in_folders=in_folders), orphan(client, "gone", 3), orphan(client, "other", 2)]
    found = find_garbage(client)
    assert [(str(garbage.dict_id), garbage.objects) for garbage in found] == [
        (ids[0], 1501), (ids[1], 4), (ids[2], 3),
    ]  # fmt: skip
    assert find_garbage(client, "main") == found
    assert all(remove_garbage(client, garbage) for garbage in found)
    assert find_garbage(client) == []
    assert set(bucket.objects) == before


@IN_MEMORY
def test_gc_walks_folders_and_skips_what_dicts_contain(client: Client, bucket: MemoryBucket) -> None:
    d: Dict[Any, Any] = Dict.from_name("large", create_if_missing=True, client=client).hydrate()
    fill(bucket, run_blocking(d._open()).paths.entries, 20_000)
    listings: list[str] = []
    observed = Client(
        client.bucket,
        prefix=client.prefix,
        driver="memory",
        on_request=lambda event: listings.append(event.object_name) if event.operation == "ListObjectsV2" else None,
    )
    assert find_garbage(observed) == []
    assert len(listings) == 7 + 4


@IN_MEMORY
def test_folder_of_an_unfinished_upload_is_not_garbage(client: Client, bucket: MemoryBucket) -> None:
    orphan(client, "gone", 1500)
    foreign = f"{client.prefix}/sweep-8d/named/main/x/01ARZ3NDEKTSV4RRFFQ69G5FAV/upload"
    bucket.write(foreign, b"")
    assert [garbage.dict_id.name for garbage in find_garbage(client)] == ["gone"]


def test_read_folder_returns_folders_and_objects_in_either_kind_of_store() -> None:
    make: Callable[[], MemoryBucket] = lambda: unordered(3000)  # noqa: E731
    for ordered in (True, False):
        bucket = make()
        bucket.ordered_listing = ordered
        bucket.write("p/x", b"")
        folder = run_blocking(read_folder(MemoryStore(bucket), "p/"))
        assert [listed.path for listed in folder.objects] == ["p/x"]
        assert sorted(folder.folders) == [f"p/{number:02x}/" for number in range(256)]
