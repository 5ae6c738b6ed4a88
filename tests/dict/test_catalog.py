"""How a handle finds its dict, how long it believes that, and how an ephemeral dict stays alive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, Dict, NotFoundError, UnavailableError
from s3dict._core.catalog import TRUSTED_SECONDS
from s3dict._stores.memory import MemoryBucket, memory_bucket

from ..support.modes import Way, World


@pytest.fixture
def backend() -> str:
    return "memory"


@pytest.fixture
def bucket(client: Client) -> MemoryBucket:
    return memory_bucket(client.bucket)


@pytest.fixture
def gets(client: Client, way: Way, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are read, as the store sees them."""
    store: Any = type(client._store(aio=False)).__mro__[1]
    read, paths = store.get, list[str]()

    async def get(self: Any, path: str, **options: Any) -> Any:
        paths.append(path)
        return await read(self, path, **options)

    monkeypatch.setattr(store, "get", get)
    return paths


async def test_a_manifest_is_believed_for_a_minute(d: Any, bucket: MemoryBucket, gets: list[str]) -> None:
    await d.put("k", 1)
    manifest = f"{d.client.prefix}/manifests/main/d.json"
    gets.clear()
    bucket.advance(timedelta(seconds=TRUSTED_SECONDS - 1))
    await d.get("k")
    assert manifest not in gets
    bucket.advance(timedelta(seconds=1))
    for expected in (1, 1):
        await d.get("k")
        assert expected == gets.count(manifest)
    bucket.advance(timedelta(seconds=TRUSTED_SECONDS))
    await d.get("k")
    assert 2 == gets.count(manifest)


async def test_a_deleted_dict_is_noticed_within_a_minute_and_not_written_to(
    world: World, d: Any, bucket: MemoryBucket
) -> None:
    await d.put("k", 1)
    await world.objects.delete("d", client=world.client)
    bucket.advance(timedelta(seconds=TRUSTED_SECONDS))
    before = dict(bucket.objects)
    with pytest.raises(NotFoundError, match="has been deleted"):
        await d.put("k", 2)
    assert before == bucket.objects


async def test_a_handle_by_name_begins_again_with_the_dict_that_has_the_name(
    world: World, d: Any, bucket: MemoryBucket
) -> None:
    await d.put("k", 1)
    old_id = d.object_id
    await world.objects.delete("d", client=world.client)
    await world.objects.create("d", client=world.client)
    bucket.advance(timedelta(seconds=TRUSTED_SECONDS))
    with pytest.raises(NotFoundError, match=f"{old_id} has been deleted"):
        await d.get("k")
    assert await d.get("k") is None
    assert old_id != d.object_id


async def test_a_handle_by_id_finds_its_dict_or_none(world: World, d: Any, bucket: MemoryBucket) -> None:
    await d.put("k", 1)
    by_id = world.with_id(d.object_id)
    assert 1 == await by_id.get("k")
    await world.objects.delete("d", client=world.client)
    await world.objects.create("d", client=world.client)
    bucket.advance(timedelta(seconds=TRUSTED_SECONDS))
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await by_id.get("k")


async def test_one_look_serves_both_ways(d: Any, gets: list[str]) -> None:
    await d.hydrate()
    gets.clear()
    d.wrapped.get("k")
    await d.wrapped.get.aio("k") if d._way is Way.ASYNCIO else d.wrapped.get("k")
    assert not [path for path in gets if "/manifests/" in path]


async def test_the_heartbeat_renews_the_manifest_of_an_ephemeral_dict(
    world: World, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dict._core.catalog.HEARTBEAT_SECONDS", 0.002)
    store = world.client._store(aio=world.way is Way.ASYNCIO)
    async with world.ephemeral() as passing:
        [path] = [path for path in bucket.objects if "/ephemeral/" in path]
        for _ in range(3):
            before = bucket.objects[path]
            while bucket.objects[path] is before:
                await store.sleep(0.001)
        await passing.put("k", 1)
    assert path not in bucket.objects


async def test_a_heartbeat_does_not_bring_a_deleted_dict_back(
    world: World, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dict._core.catalog.HEARTBEAT_SECONDS", 0.002)
    store = world.client._store(aio=world.way is Way.ASYNCIO)
    async with world.ephemeral():
        [path] = [path for path in bucket.objects if "/ephemeral/" in path]
        await store.delete(path)
        await store.sleep(0.02)
        assert path not in bucket.objects


@pytest.mark.parametrize("way", [Way.BLOCKING], indirect=True)
async def test_a_heartbeat_that_fails_is_tried_again_and_logged(
    world: World, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("s3dict._core.catalog.HEARTBEAT_SECONDS", 0.002)
    await world.objects.create("first", client=world.client)  # so that the store has been probed
    store: Any = type(world.client._store(aio=False)).__mro__[1]
    write, failures = store.put, iter([True, True])

    async def put(self: Any, path: str, body: bytes, **options: Any) -> Any:
        if options.get("if_match") and next(failures, False):
            raise UnavailableError("the store is away")
        return await write(self, path, body, **options)

    monkeypatch.setattr(store, "put", put)
    with Dict.ephemeral(client=world.client):
        [path] = [path for path in bucket.objects if "/ephemeral/" in path]
        first = bucket.objects[path]
        while bucket.objects[path] is first:
            await world.client._store(aio=False).sleep(0.001)
    assert 2 == caplog.text.count("a heartbeat failed; it is tried again")
