"""Hostile bytes in the place of an entry, a manifest, `store.json` or a lock, on every back end and in both modes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from s3dict import Client, DeserializationError, Dict, IntegrityError
from s3dict._admin.garbage import find_garbage
from s3dict._format.entry import MAGIC, Prelude, pack_tombstone
from s3dict._stores.memory import memory_bucket

from ..support.modes import Harness, Mode, collect
from .fuzz_targets import SECRET, TARGETS, WRITE_ID, framed
from .strategies import WHATEVER_THEY_TAKE, hostile

pytestmark = pytest.mark.backends("memory", "seaweedfs", "seaweedfs-rust")

BODIES = {
    "empty": b"",
    "beginning of an entry": MAGIC,
    "as long as a tombstone": b"\x93" * 28,
    "tombstone with a tail": pack_tombstone(WRITE_ID) + b"tail",
    "header of 4 GiB": Prelude(0, WRITE_ID, 2**32 - 1).encode() + b"x",
    "byte string of 2^60 bytes": framed(b"\1\x82\x5b" + (2**60).to_bytes(8, "big")),
    "nested arrays": framed(b"\1" + b"\x81" * 5000),
    "another codec": framed(b"\3[1]"),
    "web page": b"<html>403</html>" * 20,
}
READS: dict[str, Callable[[Any], Coroutine[Any, Any, Any]]] = {
    "get": lambda d: d.get("k"),
    "entry": lambda d: d.entry("k"),
    "get_many": lambda d: d.get_many(["k"]),
    "pop": lambda d: d.pop("k"),
    "pop_many": lambda d: d.pop_many(["k"]),
    "modify": lambda d: d.modify("k", lambda value: value),
    "setdefault": lambda d: d.setdefault("k", 1),
    "items": lambda d: collect(d.items()),
    "values": lambda d: collect(d.values()),
}


async def store_of(harness: Harness) -> Any:
    return harness.client._store(aio=harness.mode is Mode.ASYNCIO)


async def path_of_entry(harness: Harness) -> str:
    page = await (await store_of(harness)).list_page(harness.client.prefix + "/sweep-8d/")
    [path] = [line.path for line in page.objects if "/entries/" in line.path]
    return str(path)


async def test_no_hostile_bytes_in_an_entrys_place_are_a_value(harness: Harness, d: Any) -> None:
    await d.put("k", "value")
    store, path = await store_of(harness), await path_of_entry(harness)
    for body in BODIES.values():
        await store.put(path, body)
        listing = len(body) == len(pack_tombstone(WRITE_ID))
        for name, read in READS.items():
            if listing and name in ("items", "values"):
                continue
            with pytest.raises(IntegrityError, match="Dict 'd'"):
                await read(d)
        assert (await store.get(path)).body == body
    await d.put("k", "replaced")
    assert await d.get("k") == "replaced"


async def test_foreign_object_fails_single_key_reads_and_is_listed(harness: Harness, d: Any) -> None:
    await d.put("k", "value")
    store, path = await store_of(harness), await path_of_entry(harness)
    await store.put(path, BODIES["web page"])
    assert (await d.len(), await collect(d.keys())) == (1, ["k"])
    with pytest.raises(IntegrityError):
        await d.contains("k")
    with pytest.raises(IntegrityError):
        await d.put("k", "other", skip_if_exists=True)
    with pytest.raises(IntegrityError):
        await d.discard("k")
    await d.clear()
    assert (await d.contains("k"), await d.len()) == (False, 0)


NO_MANIFESTS = [b"", b"[]", b'{"format": 1}', b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}"]


def uses_of_the_manifest(harness: Harness, d: Any) -> tuple[Callable[[], Coroutine[Any, Any, Any]], ...]:
    fresh, by_id = harness.named("d", create_if_missing=True), harness.with_id(d.object_id)
    return (
        lambda: fresh.get("k"),
        lambda: fresh.put("k", 2),
        fresh.info,
        fresh.hydrate,
        by_id.len,
        lambda: harness.objects.list(client=harness.client),
        lambda: harness.objects.delete("d", client=harness.client),
        lambda: harness.objects.create("d", client=harness.client, allow_existing=True),
    )


async def test_no_hostile_bytes_in_a_manifests_place_are_a_dict(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    for body in NO_MANIFESTS:
        await (await store_of(harness)).put(f"{harness.client.prefix}/manifests/main/d.json", body)
        for use in uses_of_the_manifest(harness, d):
            with pytest.raises(IntegrityError, match=r"manifests/main/d\.json"):
                await use()
    assert await d.get("k") == 1


async def test_no_hostile_bytes_in_the_place_of_store_json_are_capabilities(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    store, path = await store_of(harness), f"{harness.client.prefix}/store.json"
    nested = b"[" * 300 + b"]" * 300
    for body in (b"", b"{}", b'{"format": 1, "store": ' + nested + b"}", b'{"format": 1, "store": {}}'):
        await store.put(path, body)
        with pytest.raises(IntegrityError, match=r"store\.json"):
            await harness.objects.create("e", client=harness.client)
        assert await harness.named("d").get("k") == 1


def test_token_that_nobody_can_count_on_from_is_no_lock(configured: Client) -> None:
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True)
    with d.lock("l"):
        pass
    bucket = memory_bucket(configured.bucket)
    [path] = [path for path in bucket.paths() if "/locks/" in path]
    token = bucket.objects[path].body.partition(b'"token": ')[2].rstrip(b"}")
    bucket.write(path, bucket.objects[path].body.replace(token, b"9" * 4300))
    with pytest.raises(IntegrityError, match="lock"), d.lock("l", timeout=0):
        pass


def test_data_under_an_unreadable_manifest_is_not_garbage(configured: Client) -> None:
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True)
    d["k"] = 1
    bucket = memory_bucket(configured.bucket)
    bucket.write(f"{configured.prefix}/manifests/main/d.json", b"foreign")
    assert find_garbage(configured) == []


@settings(max_examples=30, deadline=None, suppress_health_check=WHATEVER_THEY_TAKE)
@given(body=hostile(TARGETS["signed entry"]))
def test_any_bytes_in_an_entrys_place_are_an_error_or_absent(configured: Client, body: bytes) -> None:
    client = Client(configured.bucket, driver="memory", signing_keys=[SECRET])
    d: Dict[str, Any] = Dict.from_name("d", create_if_missing=True, codec="json", client=client)
    d["k"] = "value"
    bucket = memory_bucket(client.bucket)
    [path] = [path for path in bucket.paths() if "/entries/" in path]
    bucket.write(path, framed(body))
    for read in READS.values():
        if read is READS["setdefault"]:
            continue
        with suppress(IntegrityError, DeserializationError, KeyError):
            assert asyncio.run(read(Harness(client, Mode.ASYNCIO).in_mode(d))) in (None, {}, [])


async def test_altered_manifest_is_noticed_by_those_who_know_the_dict(harness: Harness, d: Any) -> None:
    """A manifest of the same id could say that values are to be unpickled, or lie elsewhere."""
    await d.put("k", 1)
    store, path = await store_of(harness), f"{harness.client.prefix}/manifests/main/d.json"
    manifest = (await store.get(path)).body
    await store.put(path, manifest.replace(b'"cloudpickle"', b'"json"'))
    state = d.wrapped._state
    state.remember(state.client, replace(state.loaded, checked_at=float("-inf")))
    with pytest.raises(IntegrityError, match="it was altered"):
        await d.get("k")
    await store.put(path, manifest)
    assert await d.get("k") == 1
