"""Ranges of the hash space: all of it, once, in few requests."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3dict import Client, Dict
from s3dict._core.listing import MAX_RANGES, scan, split_points
from s3dict._stores.base import PAGE_SIZE, ObjectStore, Page
from s3dict._stores.memory import MemoryBucket, MemoryStore, memory_bucket
from s3dict._stores.shared.threads import run_blocking


@given(st.integers(0, 16**8 - 2), st.booleans())
def test_split_points_are_increasing_hashes_after_the_first_page(last: int, folders: bool) -> None:
    hashed = f"{last:08x}{'0' * 24}"
    points = split_points("p/", f"p/{hashed[:2]}/{hashed}" if folders else f"p/{hashed}")
    assert len(points) < MAX_RANGES
    paths = [f"p/{hashed[:2]}/{hashed}" if folders else f"p/{hashed}", *points]
    assert paths == sorted(set(paths))
    for point in points:
        folder, _, name = point.removeprefix("p/").rpartition("/")
        assert folder == (name[:2] if folders else "")


def test_names_that_are_not_hashes_have_no_split_points() -> None:
    for name in ("a_000999.json", "-0000001.json", "scores.json", "ABCDEF00.json", ""):
        assert split_points("p/", f"p/{name}") == []


class ShortPages(MemoryStore):
    """A store whose pages are shorter than a thousand objects although more follow, as S3 permits."""

    def __init__(self, bucket: MemoryBucket, seed: int) -> None:
        super().__init__(bucket)
        self._random = Random(seed)

    async def list_page(self, prefix: str, token: object = None, **options: Any) -> Page:
        page = await super().list_page(prefix, token, **options)
        size = self._random.randint(300, PAGE_SIZE)
        return replace(page, objects=page.objects[:size], is_truncated=page.is_truncated or len(page.objects) > size)


class InclusiveListings(ShortPages):
    """A store that lists the path itself after which a listing is to start, as some releases of SeaweedFS do."""

    async def list_page(self, prefix: str, token: object = None, *, start_after: str = "", **options: Any) -> Page:
        page = await super().list_page(prefix, token, start_after=start_after, **options)
        if not start_after:
            return page
        found = await MemoryStore.list_page(self, start_after)
        itself = [listed for listed in found.objects if listed.path == start_after]
        return replace(page, objects=(*itself, *page.objects))


def scanned(store: ObjectStore, concurrency: int) -> list[str]:
    async def all_of_them() -> list[str]:
        return [line.path for page in [page async for page in scan(store, "p/", concurrency)] for line in page.objects]

    return run_blocking(all_of_them())


@pytest.mark.parametrize("count", [999, 1000, 1001, 5000, 20_000])
@pytest.mark.parametrize("folders", [False, True])
def test_order_of_a_scan_depends_on_the_objects_alone(count: int, folders: bool) -> None:
    bucket = MemoryBucket()
    for number in range(count):
        hashed = f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"
        bucket.write(f"p/{hashed[:2]}/{hashed}" if folders else f"p/{hashed}", b"")
    expected = scanned(MemoryStore(bucket), 16)
    assert sorted(expected) == sorted(bucket.objects)
    for store, concurrency in (
        (MemoryStore(bucket), 1),
        (MemoryStore(bucket), 3),
        (ShortPages(bucket, 1), 16),
        (ShortPages(bucket, 2), 3),
        (InclusiveListings(bucket, 3), 16),
    ):
        assert scanned(store, concurrency) == expected


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([0, 1, 999, 1000, 1001, 2500, 7000]), st.booleans(), st.integers(0, 2**32))
def test_scan_gives_every_object_once(count: int, even: bool, seed: int) -> None:
    bucket = memory_bucket(f"scan-{count}-{even}-{seed}")
    names = {f"{(n * 0x9E3779B97F4A7C15 + seed) % 2**64:016x}{n:016x}" if even else f"{n:032x}" for n in range(count)}
    for name in names:
        bucket.write(f"p/{name}", b"")
    requests = 0

    class Counting(MemoryStore):
        async def list_page(self, prefix: str, token: object = None, **options: Any) -> Page:
            nonlocal requests
            requests += 1
            return await super().list_page(prefix, token, **options)

    async def all_of_them() -> list[str]:
        return [line.path[2:] async for page in scan(Counting(bucket), "p/") for line in page.objects]

    found = run_blocking(all_of_them())
    assert sorted(names) == sorted(found)
    assert requests <= -(-count // PAGE_SIZE) + MAX_RANGES


def test_thousand_dicts_are_listed_once_each() -> None:
    client = Client("a-thousand-dicts", driver="memory")
    Dict.objects.create("a_000000", client=client)
    bucket = memory_bucket("a-thousand-dicts")
    manifest = bucket.objects["s3dict/manifests/main/a_000000.json"].body
    for number in range(1, 1100):
        name = f"a_{number:06}"
        bucket.write(f"s3dict/manifests/main/{name}.json", manifest.replace(b"a_000000", name.encode()))
    names = [found.name for found in Dict.objects.list(client=client)]
    assert 1100 == len(names) == len(set(names))
