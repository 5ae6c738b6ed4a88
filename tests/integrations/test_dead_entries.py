"""Entries whose time is over are absent wherever a framework looks, although their objects are still in the bucket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from dogpile.cache import make_region, register_backend
from dogpile.cache.api import NO_VALUE

from s3dict import Client, Dict
from s3dict.integrations import aiocache as aiocache_adapter
from s3dict.integrations import cachelib as cachelib_adapter
from s3dict.integrations import django as django_adapter
from s3dict.integrations.py_key_value import S3DictStore
from s3dict.testing import Clock

pytestmark = pytest.mark.backends("memory")
register_backend("s3dict-dead", "s3dict.integrations.dogpile", "S3DictBackend")
if not settings.configured:
    settings.configure()

Expire = Callable[[], None]


@pytest.fixture
def expire(client: Client) -> Expire:
    """Let the entries of ten seconds expire; the objects stay, since no lifecycle rule runs."""
    return lambda: Clock(client).advance(timedelta(seconds=12))


def test_django_finds_no_dead_entry(client: Client, expire: Expire) -> None:
    cache = django_adapter.S3DictCache("cache", {"OPTIONS": {"client": client}})
    cache.set_many(dict.fromkeys("abcdefg", 1), timeout=10)
    expire()
    assert [cache.get("a"), cache.has_key("a"), "a" in cache, cache.get_many("ab")] == [None, False, False, {}]
    assert [cache.delete("a"), cache.touch("b", 60), cache.touch("b", 0)] == [False, False, False]
    with pytest.raises(ValueError, match="not found"):
        cache.incr("c")
    with pytest.raises(ValueError, match="not found"):
        cache.incr_version("c")
    assert [cache.add("d", 2), cache.get("d")] == [True, 2]
    assert cache.get_or_set("e", 3) == 3
    cache.set("f", 4)
    assert cache.get_many("abcdefg") == {"d": 2, "e": 3, "f": 4}


def test_django_finds_no_dead_entry_with_asyncio(client: Client, expire: Expire) -> None:
    cache = django_adapter.S3DictCache("cache", {"OPTIONS": {"client": client}})

    async def use() -> None:
        await cache.aset_many(dict.fromkeys("abcd", 1), timeout=10)
        expire()
        assert [await cache.aget("a"), await cache.ahas_key("a"), await cache.aget_many("ab")] == [None, False, {}]
        assert [await cache.adelete("a"), await cache.atouch("b", 60), await cache.aadd("d", 2)] == [False, False, True]
        with pytest.raises(ValueError, match="not found"):
            await cache.aincr("c")

    asyncio.run(use())


def test_cachelib_finds_no_dead_entry(client: Client, expire: Expire) -> None:
    cache = cachelib_adapter.S3DictCache("cache", 10, client=client)
    cache.set_many(dict.fromkeys("abcd", 1))
    expire()
    assert [cache.get("a"), cache.has("a"), cache.get_many("a", "b"), cache.get_dict("a")] == [
        None,
        False,
        [None, None],
        {"a": None},
    ]
    assert [cache.delete("a"), cache.inc("b"), cache.add("c", 5), cache.get("c")] == [False, 1, True, 5]


def test_dogpile_finds_no_dead_entry(client: Client, expire: Expire) -> None:
    region = make_region().configure("s3dict-dead", arguments={"name": "cache", "client": client, "entry_ttl": 10})
    region.set_multi({"a": 1, "b": 1})
    expire()
    assert [region.get("a"), region.get_multi(["a", "b"])] == [NO_VALUE, [NO_VALUE, NO_VALUE]]
    assert [region.get_or_create("a", lambda: 2), region.get_value_metadata("b")] == [2, None]
    assert region.key_is_locked("a") is False


def test_aiocache_finds_no_dead_entry(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entries expire by the clock of the process too, to a fraction of a second."""

    async def use() -> None:
        cache = aiocache_adapter.S3DictCache("cache", client=client, timeout=60)
        await cache.multi_set([(key, 1) for key in "abcdefg"], ttl=0.5)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 0.6)
        assert [await cache.get("a"), await cache.exists("a"), await cache.multi_get("ab")] == [
            None,
            False,
            [None, None],
        ]
        assert [await cache.delete("a"), await cache.expire("b", 60), await cache._gets("b")] == [0, False, None]
        assert [await cache.increment("c"), await cache.add("d", 5), await cache.get("d")] == [1, True, 5]
        counter = Dict.from_name("cache", client=client).entry("c")
        assert counter is not None
        assert (counter.value, counter.expires_at) == ((None, 1), None)

    asyncio.run(use())


def test_py_key_value_finds_no_dead_entry(client: Client, expire: Expire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        store = S3DictStore(client=client)
        await store.put_many(["a", "b", "c"], [{"n": 1}] * 3, collection="one", ttl=10)
        await store.put("kept", {"n": 2}, collection="one")
        expire()
        assert [await store.get("a", collection="one"), await store.ttl("a", collection="one")] == [None, (None, None)]
        assert await store.get_many(["a", "b", "kept"], collection="one") == [None, None, {"n": 2}]
        assert [await store.delete("a", collection="one"), await store.delete_many(["b"], collection="one")] == [
            False,
            0,
        ]
        assert await store.keys(collection="one") == ["kept"]

    asyncio.run(use())


def test_objects_of_dead_entries_are_in_the_bucket(client: Client, expire: Expire) -> None:
    """So that the tests above look where something is."""
    cache = cachelib_adapter.S3DictCache("cache", 10, client=client)
    cache.set("a", 1)
    expire()
    d: Dict[str, Any] = Dict.from_name("cache", client=client)
    assert (list(d.keys()), d.get("a")) == (["a"], None)
