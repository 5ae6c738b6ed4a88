"""The adapters of aiocache, dogpile.cache, joblib, LangGraph and py-key-value, on every store and driver."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import joblib
import pytest
from dogpile.cache import make_region, register_backend

from s3dict import Client, Dict, InvalidError, UnavailableError
from s3dict.integrations import joblib as joblib_adapter
from s3dict.integrations.aiocache import S3DictCache
from s3dict.integrations.langgraph import S3DictSaver
from s3dict.integrations.py_key_value import S3DictStore
from s3dict.testing import Clock, faults

register_backend("s3dict-test", "s3dict.integrations.dogpile", "S3DictBackend")


def test_aiocache_compares_and_sets_by_version(client: Client) -> None:
    async def use() -> None:
        cache = S3DictCache("cache", client=client, namespace="n", timeout=60)
        await cache.set("a", 1)
        token = await cache._gets(cache.build_key("a", namespace="n"))
        assert await cache.set("a", 2, _cas_token=token) is True
        assert await cache.set("a", 3, _cas_token=token) is False
        assert [await cache.get("a"), await cache.increment("a", 5), await cache.exists("b")] == [2, 7, False]
        with pytest.raises(ValueError, match="already exists"):
            await cache.add("a", 4)
        await cache.multi_set([("other", 1)], namespace="m")
        await cache.set("other", 1, namespace="nm", ttl=0)
        await cache.clear(namespace="n")
        assert await cache.get("a") is None
        assert [await cache.get("other", namespace=name) for name in ("m", "nm")] == [1, 1]

    asyncio.run(use())


@pytest.mark.backends("memory")
def test_aiocache_clears_its_own_namespace(client: Client) -> None:
    async def use() -> None:
        caches = [S3DictCache("cache", client=client, namespace=name, timeout=60) for name in ("n", "m", None)]
        for cache in caches:
            await cache.set("a", 1)
        await caches[0].clear()
        assert [await cache.exists("a") for cache in caches] == [False, True, True]
        await caches[2].clear()
        assert [await cache.exists("a") for cache in caches] == [False, False, False]

    asyncio.run(use())


@pytest.mark.backends("memory")
def test_aiocache_calls_methods_of_the_dict(client: Client) -> None:
    async def use() -> None:
        cache = S3DictCache("cache", client=client, timeout=60)
        await cache.set("a", 1)
        assert [await cache.raw("contains", "a"), await cache.raw("len")] == [True, 1]

    asyncio.run(use())


@pytest.mark.backends("memory")
@pytest.mark.parametrize("entry_ttl", [0, None, 0.5, timedelta(hours=1), 10**10])
def test_dogpile_takes_any_ttl(client: Client, entry_ttl: Any) -> None:
    arguments = {"name": "cache", "client": client, "ttl": 86400, "entry_ttl": entry_ttl}
    region = make_region().configure("s3dict-test", arguments=arguments)
    assert region.get_or_create("k", lambda: 7) == 7
    has_ttl = Dict.from_name("cache", client=client).entry("k").expires_at is not None  # type: ignore[union-attr]
    assert has_ttl is bool(entry_ttl)


@pytest.mark.backends("memory")
def test_dogpile_names_a_ttl_that_is_none(client: Client) -> None:
    with pytest.raises(InvalidError, match="Invalid entry_ttl: '60'"):
        make_region().configure("s3dict-test", arguments={"name": "cache", "client": client, "entry_ttl": "60"})


def test_dogpile_creates_a_value_once(client: Client) -> None:
    arguments = {"name": "cache", "client": client, "distributed_lock": True, "entry_ttl": 600}
    region = make_region().configure("s3dict-test", expiration_time=60, arguments=arguments)
    calls: list[int] = []

    def create() -> int:
        calls.append(1)
        return 7

    assert [region.get_or_create("k", create), region.get_or_create("k", create)] == [7, 7]
    assert len(calls) == 1
    region.set_multi({"a": 1, "b": 2})
    region.delete("a")
    assert region.get_multi(["b", "k"]) == [2, 7]


@pytest.mark.backends("memory")
def test_dogpile_returns_a_value_although_its_lock_was_lost(client: Client) -> None:
    region = make_region().configure(
        "s3dict-test", arguments={"name": "cache", "client": client, "distributed_lock": True}
    )

    def create() -> int:
        Dict.from_name("cache", client=client).lock("dogpile k").force_release()
        return 7

    assert region.get_or_create("k", create) == 7
    assert region.get("k") == 7


@pytest.mark.backends("memory")
def test_dogpile_mutex_is_released_by_another_thread(client: Client) -> None:
    """An asynchronous creator releases the mutex that its caller has acquired."""
    created = Event()

    def runner(region: Any, key: str, creator: Any, mutex: Any) -> None:
        def create() -> None:
            region.set(key, creator())
            mutex.release()
            created.set()

        Thread(target=create).start()

    arguments = {"name": "cache", "client": client, "distributed_lock": True}
    region = make_region(async_creation_runner=runner).configure("s3dict-test", 3600, arguments=arguments)
    region.set("k", 1)
    region.invalidate(hard=False)
    assert region.get_or_create("k", lambda: 2) == 1
    assert created.wait(60)
    assert [region.key_is_locked("k"), region.get("k", ignore_expiration=True)] == [False, 2]


def test_joblib_computes_once_and_clears(client: Client, tmp_path: Any) -> None:
    joblib_adapter.register()
    options = {"client": client}
    calls: list[int] = []

    def double(number: int) -> int:
        calls.append(number)
        return number * 2

    memory = joblib.Memory(f"m{uuid.uuid4().hex[:8]}", backend="s3dict", backend_options=options, verbose=0)
    cached: Any = memory.cache(double)
    assert [cached(2), cached(2), cached(3)] == [4, 4, 6]
    assert calls == [2, 3]
    cached.clear(warn=False)
    assert cached(2) == 4
    assert calls == [2, 3, 2]
    with pytest.raises(InvalidError, match="ttl"):
        memory.reduce_size(1)


@pytest.mark.backends("memory")
def test_joblib_moves_no_item_out_of_reach(client: Client) -> None:
    joblib_adapter.register()
    memory = joblib.Memory("cache", backend="s3dict", backend_options={"client": client}, verbose=0)
    backend: Any = memory.store_backend
    files = backend._dict
    files["from.pkl"] = b"result"
    with faults(client, "unreachable", operation="put"), pytest.raises(UnavailableError):
        backend._move_item("from.pkl", "to.pkl")
    assert files["from.pkl"] == b"result"
    backend._move_item("from.pkl", "to.pkl")
    assert dict(files.items()) == {"to.pkl": b"result"}


@pytest.mark.backends("memory")
@pytest.mark.parametrize("location", ["cache", Path("cache")])
def test_joblib_names_the_dict_by_the_location(client: Client, location: Any) -> None:
    joblib_adapter.register()
    memory = joblib.Memory(location, backend="s3dict", backend_options={"client": client, "ttl": 86400}, verbose=0)
    assert memory.cache(abs)(-3) == 3
    assert [d.name for d in Dict.objects.list(client=client)] == ["cache"]


@pytest.mark.backends("memory")
def test_joblib_has_the_same_keys_on_windows(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = joblib_adapter.S3DictStoreBackend()
    backend.configure("cache", backend_options={"client": client})
    monkeypatch.setattr("os.sep", "\\")
    for name in ("f", "g"):
        with backend._open_item(f"cache\\{name}\\output.pkl", "wb") as file:
            file.write(b"result")
    assert sorted(Dict.from_name("cache", client=client)) == ["cache/f/output.pkl", "cache/g/output.pkl"]
    backend.clear_location("cache\\f")
    assert [backend._item_exists(f"cache\\{name}\\output.pkl") for name in ("f", "g")] == [False, True]
    assert backend._open_item("cache\\g\\output.pkl", "rb").read() == b"result"


@pytest.mark.backends("memory")
@pytest.mark.parametrize("thread_id", [7, uuid.UUID(int=7)])
def test_langgraph_takes_any_thread_id_by_its_text(client: Client, thread_id: Any) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    saver = S3DictSaver("agents", client=client)
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    saved = saver.put(config, empty_checkpoint(), {}, {})
    saver.put_writes(saved, [("x", 1)], "task")
    by_text: Any = {"configurable": {"thread_id": str(thread_id)}}
    assert saver.get_tuple(config) == saver.get_tuple(by_text) is not None
    saver.delete_thread(str(thread_id))
    assert saver.get_tuple(config) is None


@pytest.mark.backends("memory")
def test_langgraph_keeps_what_concurrent_writers_save(client: Client) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    saver = S3DictSaver("agents", client=client)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    last: Any = {"configurable": {**config["configurable"], "checkpoint_id": f"{7:032}"}}

    def save(number: int) -> None:
        saver.put_writes(last, [("x", number)], f"task {number}")  # before the checkpoint may exist
        saver.put(config, {**empty_checkpoint(), "id": f"{number:032}"}, {"step": number}, {})

    threads = [Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = saver.get_tuple(config)
    assert found is not None
    assert (found.checkpoint["id"], len(list(saver.list(config)))) == (f"{7:032}", 8)
    assert sorted(write[2] for write in found.pending_writes or ()) == list(range(8))


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "asyncio"])
def test_langgraph_resumes_from_the_latest_checkpoint(client: Client, is_async: bool) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    saver = S3DictSaver("agents", client=client)
    first, second = ({**empty_checkpoint(), "id": f"{n:032}", "channel_values": {"x": n}} for n in (1, 2))
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}

    async def use() -> None:
        after_first = await saver.aput(config, first, {"step": 1}, {})  # type: ignore[arg-type]
        after_second = await saver.aput(after_first, second, {"step": 2}, {})  # type: ignore[arg-type]
        await saver.aput_writes(after_second, [("x", 3)], "task")
        found = await saver.aget_tuple(config)
        assert found is not None
        assert (found.checkpoint, found.pending_writes) == (second, [("task", "x", 3)])
        assert [f.checkpoint["id"] async for f in saver.alist(config, filter={"step": 1})] == [first["id"]]
        await saver.adelete_thread("t")
        assert await saver.aget_tuple(config) is None

    def use_blocking() -> None:
        after_first = saver.put(config, first, {"step": 1}, {})  # type: ignore[arg-type]
        after_second = saver.put(after_first, second, {"step": 2}, {})  # type: ignore[arg-type]
        saver.put_writes(after_second, [("x", 3)], "task")
        found = saver.get_tuple(config)
        assert found is not None
        assert (found.checkpoint, found.pending_writes) == (second, [("task", "x", 3)])
        assert found.parent_config == after_first
        assert [f.checkpoint["id"] for f in saver.list(config, before=after_second)] == [first["id"]]
        assert [f.checkpoint["id"] for f in saver.list(None, limit=1)] == [second["id"]]
        saver.delete_thread("t")
        assert saver.get_tuple(config) is None

    if is_async:
        asyncio.run(use())
    else:
        use_blocking()


def test_py_key_value_keeps_collections_apart(client: Client) -> None:
    async def use() -> None:
        store = S3DictStore(client=client)
        await store.put("a", {"n": 1}, collection="one")
        await store.put_many(["a", "b"], [{"n": 2}, {"n": 3}], collection="two/strange name", ttl=60)
        assert await store.get_many(["a", "missing"], collection="one") == [{"n": 1}, None]
        value, ttl = await store.ttl("b", collection="two/strange name")
        assert value == {"n": 3}
        assert ttl is not None
        assert 0 < ttl <= 60
        assert sorted(await store.keys(collection="two/strange name")) == ["a", "b"]
        assert len(await store.collections()) == 2
        assert [await store.delete("a", collection="one"), await store.delete("a", collection="one")] == [True, False]
        assert await store.delete_many(["a", "b", "c"], collection="two/strange name") == 2
        assert [await store.destroy_collection("one"), await store.destroy_collection("none")] == [True, False]

    asyncio.run(use())


@pytest.mark.backends("memory")
def test_py_key_value_takes_any_name_of_a_collection(client: Client) -> None:
    names = ["a/b", "a:b", "long-" * 20, "long-" * 21, "plain"]

    async def use() -> None:
        store = S3DictStore(client=client, default_collection=names[0])
        for number, name in enumerate(names):
            await store.put("k", {"n": number}, collection=name)
        assert [await store.get("k", collection=name) for name in names] == [{"n": number} for number in range(5)]
        assert sorted(await store.collections()) == sorted(names)
        assert [await store.keys(collection=name) for name in await store.collections(limit=2)] == [["k"], ["k"]]
        assert [await store.destroy_collection(name) for name in (*names, "none/such")] == [True] * 5 + [False]
        assert await store.collections() == []

    asyncio.run(use())


@pytest.mark.backends("memory")
def test_py_key_value_store_is_a_context_manager(client: Client) -> None:
    async def use() -> None:
        store = S3DictStore(client=client)
        for number in range(2):
            async with store as entered:
                assert entered is store
                await store.put("a", {"n": number})
        await store.close()
        assert await store.get("a") == {"n": 1}

    asyncio.run(use())


@pytest.mark.backends("memory")
def test_py_key_value_puts_into_a_new_collection_after_one_was_destroyed(client: Client) -> None:
    async def use() -> None:
        store = S3DictStore(client=client)
        for number in range(2):
            await store.put("a", {"n": number}, collection="one")
            assert await S3DictStore(client=client).get("a", collection="one") == {"n": number}
            assert await store.destroy_collection("one") is True
            assert await store.get("a", collection="one") is None

    asyncio.run(use())


@pytest.mark.backends("memory")
def test_entry_ttl_bounds_an_entry_whose_writer_had_a_wrong_clock(client: Client) -> None:
    async def use() -> None:
        cache = S3DictCache("cache", client=client, timeout=60)
        await cache.set("a", 1, ttl=10)
        await cache.set("b", 1, ttl=10)
        await cache.expire("b", 0)
        Clock(client).advance(timedelta(seconds=12))
        assert [await cache.get("a"), await cache.exists("a"), await cache.get("b")] == [None, False, 1]
        assert await cache.add("a", 2) is True

    asyncio.run(use())
