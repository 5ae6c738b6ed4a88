"""S3DictCache for Django, on every store and driver."""

from __future__ import annotations

import asyncio
import copy
import math
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.conf import settings

from s3dict import Client, Dict, InvalidError
from s3dict.integrations.django import S3DictCache
from s3dict.testing import Clock

if not settings.configured:
    settings.configure()


def cache_of(client: Client, **options: Any) -> S3DictCache:
    return S3DictCache("cache", {"TIMEOUT": 300, "OPTIONS": {"client": client, **options}})


@pytest.fixture
def cache(client: Client) -> S3DictCache:
    return cache_of(client)


def test_cache_returns_what_was_set(cache: S3DictCache) -> None:
    cache.set("a", None)
    assert cache.set_many({"b": 2, "c": [3]}) == []
    assert [cache.get("a", "default"), cache.get("missing", "default")] == [None, "default"]
    assert cache.get_many(["c", "b", "missing"]) == {"b": 2, "c": [3]}
    assert ["b" in cache, cache.has_key("missing")] == [True, False]


@pytest.mark.backends("memory")
def test_location_has_a_default(client: Client) -> None:
    S3DictCache("", {"OPTIONS": {"client": client}}).set("a", 1)
    assert Dict.from_name("django", client=client).len() == 1


def test_versions_are_separate(cache: S3DictCache) -> None:
    cache.set("a", 1)
    cache.set("a", 2, version=2)
    assert cache.incr_version("a", 5) == 6
    assert [cache.get("a"), cache.get("a", version=2), cache.get("a", version=6)] == [None, 2, 1]


def test_add_and_get_or_set_keep_what_exists(cache: S3DictCache) -> None:
    assert [cache.add("a", 1), cache.add("a", 2)] == [True, False]
    assert [cache.get_or_set("a", 3), cache.get_or_set("b", lambda: 4)] == [1, 4]


def test_incr_of_many_threads_loses_nothing(cache: S3DictCache) -> None:
    cache.set("n", 1)
    threads = [Thread(target=cache.incr, args=("n",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.decr("n", 2) == 5


def test_incr_of_a_missing_key_is_a_value_error(cache: S3DictCache) -> None:
    with pytest.raises(ValueError, match="missing"):
        cache.incr("missing")


@pytest.mark.backends("memory")
def test_incr_of_a_float_and_of_a_large_number_is_exact(cache: S3DictCache) -> None:
    cache.set_many({"float": 1.5, "large": 2**70})
    assert [cache.incr("float"), cache.incr("large"), asyncio.run(cache.aincr("float", 2))] == [2.5, 2**70 + 1, 4.5]


@pytest.mark.backends("memory")
def test_incr_keeps_the_timeout(client: Client) -> None:
    cache, clock = cache_of(client), Clock(client)
    cache.set("n", 1, timeout=60)
    clock.advance(timedelta(seconds=40))
    assert cache.incr("n") == 2
    clock.advance(timedelta(seconds=22))
    assert cache.get("n") is None


@pytest.mark.backends("memory")
def test_nothing_is_many_too(cache: S3DictCache) -> None:
    cache.delete_many([])
    assert [cache.set_many({}), cache.get_many([])] == [[], {}]


@pytest.mark.backends("memory")
def test_timeout_below_a_second_is_a_second_and_a_negative_one_has_passed(cache: S3DictCache) -> None:
    cache.set("short", 1, timeout=0.5)
    cache.set("past", 1, timeout=-1)
    assert [cache.get("short"), cache.get("past"), cache.add("past", 2, timeout=-1)] == [1, None, True]


@pytest.mark.backends("memory")
@pytest.mark.parametrize("ttl", [86400, timedelta(days=1), None])
def test_timeout_of_any_length_is_cut_to_what_is_possible(client: Client, ttl: Any) -> None:
    """The ttl of the Dict may be seconds, as in a file of settings."""
    cache = cache_of(client, ttl=ttl)
    for timeout in (60, 10**10, math.inf):
        cache.set("a", timeout, timeout)
        assert [cache.get("a"), cache.touch("a", timeout)] == [timeout, True]


def test_cache_deletes(cache: S3DictCache) -> None:
    cache.set_many({"a": 1, "b": 2, "c": 3, "d": 4})
    assert [cache.delete("a"), cache.delete("a")] == [True, False]
    cache.delete_many(["b", "missing"])
    cache.set("c", 5, timeout=0)
    assert cache.get_many("abcd") == {"d": 4}
    cache.clear()
    assert cache.has_key("d") is False


def test_asyncio_methods_are_native(cache: S3DictCache) -> None:
    async def use() -> None:
        await cache.aset("a", 1)
        await cache.aset_many({"b": 2, "c": 3})
        assert [await cache.aadd("a", 2), await cache.aadd("d", 4)] == [False, True]
        assert [await cache.aincr("a"), await cache.adecr("a")] == [2, 1]
        assert await cache.aget_many("abd") == {"a": 1, "b": 2, "d": 4}
        assert [await cache.atouch("a", 60), await cache.atouch("missing")] == [True, False]
        assert [await cache.adelete("a"), await cache.ahas_key("a")] == [True, False]
        await cache.adelete_many(["b"])
        assert [await cache.aget("b"), await cache.aget_or_set("c", 5)] == [None, 3]
        await cache.aclear()
        assert await cache.ahas_key("c") is False

    asyncio.run(use())


@pytest.mark.backends("memory")
def test_entries_expire_after_their_timeout(client: Client) -> None:
    cache, clock = cache_of(client), Clock(client)
    cache.set("short", 1, timeout=10)
    cache.set("touched", 1, timeout=10)
    cache.set("unlimited", 1, timeout=None)
    assert [cache.touch("touched", 100), cache.touch("missing")] == [True, False]
    clock.advance(timedelta(seconds=12))
    assert sorted(cache.get_many(["short", "touched", "unlimited"])) == ["touched", "unlimited"]
    assert [cache.add("short", 2), cache.touch("short", 0), cache.has_key("short")] == [True, True, False]


def test_unknown_option_is_an_invalid_error() -> None:
    with pytest.raises(InvalidError, match="colour"):
        S3DictCache("cache", {"OPTIONS": {"bucket": "b", "colour": "red"}})


@pytest.mark.parametrize("more", [{}, {"headers": {"x-team": "a"}}, {"signing_keys": [b"k" * 32]}])
def test_adapters_with_equal_options_share_a_client(more: dict[str, Any]) -> None:
    clients = [cache_with(bucket="b", **copy.deepcopy(more))._dict.client for _ in range(2)]
    assert clients[0] is clients[1]
    assert cache_with(bucket="c", **more)._dict.client is not clients[0]


def cache_with(**options: Any) -> S3DictCache:
    return S3DictCache("cache", {"OPTIONS": {"driver": "memory", **options}})
