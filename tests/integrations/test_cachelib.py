"""S3DictCache for cachelib, on every store and driver."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread

import pytest

from s3dict import Client
from s3dict.integrations.cachelib import S3DictCache
from s3dict.testing import Clock


@pytest.fixture
def cache(client: Client) -> S3DictCache:
    return S3DictCache("cache", client=client)


def test_cache_returns_what_was_set(cache: S3DictCache) -> None:
    assert cache.get("a") is None
    assert cache.set("a", {"x": [1]}) is True
    assert cache.set_many({"b": False, "c": None}) == ["b", "c"]
    assert cache.get_many("a", "b", "c", "missing") == [{"x": [1]}, False, None, None]
    assert cache.get_dict("b", "missing") == {"b": False, "missing": None}
    assert [cache.has("c"), cache.has("missing")] == [True, False]


def test_cache_deletes(cache: S3DictCache) -> None:
    cache.set_many({"a": 1, "b": 2, "c": 3})
    assert [cache.delete("a"), cache.delete("a")] == [True, False]
    assert cache.delete_many("b", "missing") == ["b", "missing"]
    assert cache.get_many("a", "b", "c") == [None, None, 3]
    assert cache.clear() is True
    assert cache.has("c") is False


def test_add_of_one_of_many_threads_succeeds(cache: S3DictCache) -> None:
    added: list[int] = []

    def add(number: int) -> None:
        if cache.add("a", number):
            added.append(number)

    threads = [Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(added) == 1
    assert cache.get("a") == added[0]


def test_inc_of_many_threads_loses_nothing(cache: S3DictCache) -> None:
    threads = [Thread(target=cache.inc, args=("n", 2)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.dec("n", 1) == 11


def test_prefixes_are_separate(client: Client) -> None:
    first, second = (S3DictCache("cache", key_prefix=prefix, client=client) for prefix in ("1:", "2:"))
    first.set("a", 1)
    second.set("a", 2)
    assert first.delete_many("a") == ["a"]
    assert [first.get("a"), second.get("a")] == [None, 2]


@pytest.mark.backends("memory")
def test_clear_leaves_other_prefixes(client: Client) -> None:
    first, second, whole = (S3DictCache("cache", key_prefix=prefix, client=client) for prefix in ("1:", "2:", ""))
    for cache in (first, second):
        cache.set("a", 1)
    assert first.clear() is True
    assert [first.has("a"), second.has("a")] == [False, True]
    whole.clear()
    assert second.has("a") is False


@pytest.mark.backends("memory")
def test_what_is_set_with_a_negative_timeout_has_expired(cache: S3DictCache) -> None:
    cache.set_many({"a": 1, "b": 1, "c": 1})
    assert cache.set("a", 2, timeout=-1) is True
    assert cache.set_many({"b": 2}, timeout=timedelta(seconds=-1)) == ["b"]
    assert [cache.add("c", 2, timeout=-1), cache.add("d", 2, timeout=-1)] == [False, True]
    assert cache.get_many("a", "b", "c", "d") == [None, None, 1, None]


@pytest.mark.backends("memory")
def test_entries_expire_after_their_timeout(client: Client) -> None:
    cache, clock = S3DictCache("cache", 60, client=client), Clock(client)
    cache.set("default", 1)
    cache.set("short", 1, timeout=timedelta(seconds=10))
    cache.set("unlimited", 1, timeout=0)
    cache.set("cut to the ttl of the Dict", 1, timeout=365 * 86400)
    clock.advance(timedelta(seconds=12))
    assert [cache.has("default"), cache.has("short")] == [True, False]
    assert cache.add("short", 2, timeout=10) is True
    clock.advance(timedelta(seconds=62))
    assert [cache.has("default"), cache.has("unlimited")] == [False, True]


@pytest.mark.backends("memory")
def test_inc_keeps_the_expiry(client: Client) -> None:
    cache, clock = S3DictCache("cache", 60, client=client), Clock(client)
    cache.set("n", 1)
    clock.advance(timedelta(seconds=40))
    assert cache.inc("n") == 2
    clock.advance(timedelta(seconds=30))
    assert cache.inc("n") == 1
