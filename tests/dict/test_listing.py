"""Ranges of the hash space: all of it, once, in few requests."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from s3dict import Client, Dict
from s3dict._core.listing import MAX_RANGES, scan, split
from s3dict._stores.base import PAGE_SIZE, ObjectMeta, Page, ServerTime
from s3dict._stores.memory import MemoryStore, memory_bucket
from s3dict._stores.shared.threads import run_blocking

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def page_until(name: str) -> Page:
    return Page((ObjectMeta(f"p/{name}", "", 100, NOW),), True, ServerTime(NOW))


@given(st.integers(0, 16**8 - 2))
def test_ranges_follow_each_other_to_the_end(last: int) -> None:
    ranges = split("p/", page_until(f"{last:08x}{'0' * 24}"))
    assert 1 <= len(ranges) <= MAX_RANGES
    assert (ranges[0].start_after, ranges[-1].end_before) == (f"p/{last:08x}{'0' * 24}", None)
    for before, after in pairwise(ranges):
        assert before.end_before == after.start_after
        assert before.start_after < after.start_after


def test_common_folder_of_unexpected_names_is_one_range() -> None:
    for name in ("a_000999.json", "-0000001.json", "scores.json", "ABCDEF00.json", ""):
        assert len(split("p/", page_until(name))) == 1


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([0, 1, 999, 1000, 1001, 2500, 7000]), st.booleans(), st.integers(0, 2**32))
def test_scan_yields_every_object_once(count: int, even: bool, seed: int) -> None:
    bucket = memory_bucket(f"scan-{count}-{even}-{seed}")
    names = {f"{(n * 0x9E3779B97F4A7C15 + seed) % 2**64:016x}{n:016x}" if even else f"{n:032x}" for n in range(count)}
    for name in names:
        bucket.write(f"p/{name}", b"")
    requests = 0

    class Counting(MemoryStore):
        async def list_page(self, prefix: str, *, start_after: str = "", end_before: str | None = None) -> Page:
            nonlocal requests
            requests += 1
            return await super().list_page(prefix, start_after=start_after, end_before=end_before)

    async def all_of_them() -> list[str]:
        return [line.path[2:] async for page in scan(Counting(bucket), "p/") for line in page.objects]

    found = run_blocking(all_of_them())
    assert sorted(found) == sorted(names)
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
