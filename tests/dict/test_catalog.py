"""How a handle finds its dict, how long it believes that, and how an ephemeral dict stays alive."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, ConflictError, Dict, NotFoundError, UnavailableError
from s3dict._core.catalog import REVALIDATE_AFTER
from s3dict._retry import RetryPolicies
from s3dict._stores.memory import MemoryBucket, MemoryStore, memory_bucket

from ..support.modes import Harness, Mode
from ..support.retries import quick_policies, with_retries


@pytest.fixture
def backend() -> str:
    return "memory"


@pytest.fixture
def bucket(client: Client) -> MemoryBucket:
    return memory_bucket(client.bucket)


@pytest.fixture
def gets(client: Client, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are read, as the store sees them."""
    store: Any = type(client._store(aio=False)).__mro__[1]
    read, paths = store.get, list[str]()

    async def get(self: Any, path: str, **options: Any) -> Any:
        paths.append(path)
        return await read(self, path, **options)

    monkeypatch.setattr(store, "get", get)
    return paths


async def test_manifest_is_revalidated_after_a_minute(d: Any, bucket: MemoryBucket, gets: list[str]) -> None:
    await d.put("k", 1)
    manifest = f"{d.client.prefix}/manifests/main/d.json"
    gets.clear()
    bucket.advance(timedelta(seconds=REVALIDATE_AFTER - 1))
    await d.get("k")
    assert manifest not in gets
    bucket.advance(timedelta(seconds=1))
    for expected in (1, 1):
        await d.get("k")
        assert gets.count(manifest) == expected
    bucket.advance(timedelta(seconds=REVALIDATE_AFTER))
    await d.get("k")
    assert gets.count(manifest) == 2


async def test_deleted_dict_is_noticed_within_a_minute_and_not_written_to(
    harness: Harness, d: Any, bucket: MemoryBucket
) -> None:
    await d.put("k", 1)
    await harness.objects.delete("d", client=harness.client)
    bucket.advance(timedelta(seconds=REVALIDATE_AFTER))
    before = dict(bucket.objects)
    with pytest.raises(NotFoundError, match="has been deleted"):
        await d.put("k", 2)
    assert bucket.objects == before


async def test_handle_by_name_follows_a_recreated_dict(harness: Harness, d: Any, bucket: MemoryBucket) -> None:
    await d.put("k", 1)
    old_id = d.object_id
    await harness.objects.delete("d", client=harness.client)
    await harness.objects.create("d", client=harness.client)
    bucket.advance(timedelta(seconds=REVALIDATE_AFTER))
    with pytest.raises(NotFoundError, match=f"{old_id} has been deleted"):
        await d.get("k")
    assert await d.get("k") is None
    assert d.object_id != old_id


async def test_handle_by_id_finds_its_dict_or_none(harness: Harness, d: Any, bucket: MemoryBucket) -> None:
    await d.put("k", 1)
    by_id = harness.with_id(d.object_id)
    assert await by_id.get("k") == 1
    await harness.objects.delete("d", client=harness.client)
    await harness.objects.create("d", client=harness.client)
    bucket.advance(timedelta(seconds=REVALIDATE_AFTER))
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await by_id.get("k")


async def test_one_lookup_serves_sync_and_async(d: Any, gets: list[str]) -> None:
    await d.hydrate()
    gets.clear()
    d.wrapped.get("k")
    await d.wrapped.get.aio("k") if d._mode is Mode.ASYNCIO else d.wrapped.get("k")
    assert not [path for path in gets if "/manifests/" in path]


async def test_heartbeat_renews_the_manifest_of_an_ephemeral_dict(
    harness: Harness, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dict._core.catalog.HEARTBEAT_SECONDS", 0.002)
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    async with harness.ephemeral() as passing:
        [path] = [path for path in bucket.objects if "/ephemeral/" in path]
        for _ in range(3):
            before = bucket.objects[path]
            while bucket.objects[path] is before:
                await store.runtime.sleep(0.001)
        await passing.put("k", 1)
    assert path not in bucket.objects


async def test_heartbeat_does_not_bring_a_deleted_dict_back(
    harness: Harness, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3dict._core.catalog.HEARTBEAT_SECONDS", 0.002)
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    async with harness.ephemeral():
        [path] = [path for path in bucket.objects if "/ephemeral/" in path]
        await store.delete(path)
        await store.runtime.sleep(0.02)
        assert path not in bucket.objects


@pytest.mark.parametrize("mode", [Mode.SYNC], indirect=True)
async def test_failed_heartbeat_is_retried_and_logged(
    harness: Harness, bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("s3dict._core.catalog.HEARTBEAT_SECONDS", 0.002)
    await harness.objects.create("first", client=harness.client)  # so that the store has been probed
    store: Any = type(harness.client._store(aio=False)).__mro__[1]
    write, failures = store.put, iter([True, True])

    async def put(self: Any, path: str, body: bytes, **options: Any) -> Any:
        if options.get("if_match") and next(failures, False):
            raise UnavailableError("the store is away")
        return await write(self, path, body, **options)

    monkeypatch.setattr(store, "put", put)
    with Dict.ephemeral(client=harness.client):
        [path] = [path for path in bucket.objects if "/ephemeral/" in path]
        first = bucket.objects[path]
        while bucket.objects[path] is first:
            await harness.client._store(aio=False).runtime.sleep(0.001)
    assert caplog.text.count("a heartbeat failed; retrying in") == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("hidden", ["/entries/", "manifests/"])
async def test_object_that_is_refused_but_not_found_ends_every_creation(
    client: Client, mode: Mode, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does a store that takes a deleted version for an object."""
    harness = Harness(_without_backoff(client), mode)
    d = harness.named("d", create_if_missing=True)
    await d.put("k", 1)
    find = MemoryStore._find
    monkeypatch.setattr(
        "s3dict._stores.memory._MemoryRequests._find",
        lambda store, path: None if hidden in path else find(store, path),
    )
    with pytest.raises(ConflictError, match="kept appearing and vanishing"):
        handle = d if hidden == "/entries/" else harness.named("d", create_if_missing=True)
        await handle.put("k", 2, skip_if_exists=True)


def _without_backoff(client: Client) -> Client:
    policies = quick_policies()
    return with_retries(client, RetryPolicies(policies.requests, replace(policies.writes, max_backoff=0.0)))


def test_call_during_which_the_handle_gets_another_client_goes_on_with_its_own() -> None:
    key, others = "a signing key of the tests", [Client("others", driver="memory")]

    def rebind(_: object) -> None:
        if others:
            d._state.bind(others.pop())

    client = Client("rebound", driver="memory", signing_keys=[key], on_request=rebind)
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
    d["k"] = 1
    signed: Dict[str, int] = Dict.from_name("d", client=Client("rebound", driver="memory", signing_keys=[key]))
    assert signed["k"] == 1
