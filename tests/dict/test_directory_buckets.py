"""A dict in a directory bucket (S3 Express) is exact with every driver: thousands of entries, sessions that expire.

This is the short form. `--servers=directory,directory-rust,directory-threads` runs all tests of Dict there, and these
with 5,000 entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._admin.garbage import find_garbage, remove_garbage
from s3dict._stores.memory import memory_bucket

from ..support.directory_server import DirectoryServer
from ..support.modes import Endpoint, Harness, collect

pytestmark = pytest.mark.backends("directory", "directory-rust", "directory-threads")
BUCKET = "s3dict-tests--use1-az4--x-s3"


@pytest.fixture(scope="module")
def server() -> Iterator[DirectoryServer]:
    with DirectoryServer() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def endpoint(server: DirectoryServer) -> Endpoint:
    return Endpoint(server.url, BUCKET)


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    return 5000 if request.config.getoption("--servers") else 1100


def contents(count: int) -> dict[Any, int]:
    """Keys of which some are too long for an object's name, so that they are read from their entries."""
    return {f"k{n}" * (100 if n % 100 == 0 else 1): n for n in range(count)}


def stock(server: DirectoryServer, client: Client, name: str, count: int) -> None:
    """Put a dict with so many entries into the server, faster than by requests."""
    stock_bucket = memory_bucket(f"stock-{client.prefix}")
    stock_bucket.ordered_listing = False
    source = Client(f"stock-{client.prefix}", prefix=client.prefix, driver="memory")
    d: Dict[Any, int] = Dict.from_name(name, create_if_missing=True, client=source)
    d.update(contents(count))
    for path, stored in stock_bucket.objects.items():
        server.put(BUCKET, path, bytes(stored.body))


async def test_thousands_of_entries_are_exact(harness: Harness, server: DirectoryServer, count: int) -> None:
    stock(server, harness.client, "d", count)
    d = harness.named("d")
    assert await d.len() == count
    if count == 5000:
        assert dict(await collect(d.items())) == contents(count)
    assert sorted(await collect(d.keys())) == sorted(contents(count))
    await d.clear()
    assert await d.len() == 0
    left = [path for path in server.buckets[BUCKET].objects if path.startswith(f"{harness.client.prefix}/sweep")]
    assert left == []


async def test_listing_goes_on_after_its_session(harness: Harness, server: DirectoryServer) -> None:
    stock(server, harness.client, "d", 1100)
    keys: list[Any] = []
    async for key in harness.named("d").keys():
        keys.append(key)
        if len(keys) in (1, 600):
            server.expire_sessions()
    assert sorted(keys) == sorted(contents(1100))


async def test_one_session_serves_all_kinds_of_requests(harness: Harness, server: DirectoryServer) -> None:
    server.forget_sessions()
    d = harness.named("d", create_if_missing=True)
    await d.update(a=1, b=2, c=3)
    await d.modify("a", lambda n: n + 1)
    assert await d.pop("b") == 2
    assert await d.pop_many(["c"]) == {"c": 3}
    assert dict(await collect(d.items())) == {"a": 2}
    await d.clear()
    assert len(server.sessions) == 1


def test_garbage_is_found_and_removed(client: Client, server: DirectoryServer, count: int) -> None:
    stock(server, client, "kept", 30)
    kept = set(server.buckets[BUCKET].objects)
    stock(server, client, "gone", count)
    del server.buckets[BUCKET].objects[f"{client.prefix}/manifests/main/gone.json"]
    [garbage] = find_garbage(client)
    assert (garbage.dict_id.name, garbage.objects) == ("gone", count)
    assert remove_garbage(client, garbage)
    assert find_garbage(client) == []
    assert set(server.buckets[BUCKET].objects) == kept
