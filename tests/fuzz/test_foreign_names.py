"""Objects with foreign names, wherever the library lists: not counted, not an obstacle, not deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from s3dict import Client, Dict, IntegrityError
from s3dict._admin.garbage import find_garbage, remove_garbage
from s3dict._format.layout import is_valid_name
from s3dict._stores.memory import memory_bucket

from ..support.modes import Harness, collect

pytestmark = pytest.mark.backends("memory", "seaweedfs", "seaweedfs-rust")

NAMES = [
    *("plain", ".DS_Store", "%", "%2F", "%00", "a%", "é", "e\u0301", "🐍", "\u202eabc", "\ud7ff", " ", "a b", "a+b"),
    *("&<>\"'", "a/b", "a//b", "/a", "a/", "..", "a/../b", "a/./b", "\n", "x" * 250, "\u00e9" * 100),
    *("0" * 32 + "x", "0" * 32 + ".%41", "A" * 32, "0" * 32 + ".a=", "0" * 31, "0" * 32 + "/" + "0" * 32),
]
LONGEST = 1024


class Bucket:
    """The bucket of a client, past the library and its ideas of names."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._s3 = None if client.driver == "memory" else boto3.client("s3", endpoint_url=client.endpoint_url)

    def plant(self, paths: Iterable[str]) -> set[str]:
        """Those of the names that the store takes, and shows in a listing as they were given."""
        before, asked = self.paths(), set(paths)
        for path in asked:
            self._put(path)
        shown = self.paths()
        for folded in shown - before - asked:
            # The store has taken one name for another, which may be one that s3dict wrote.
            self._delete(folded)
        return shown & asked

    def _put(self, path: str) -> None:
        body = b"foreign, and longer than a tombstone"
        if self._s3 is None:
            memory_bucket(self._client.bucket).write(path, body)
            return
        with suppress(ClientError):
            self._s3.put_object(Bucket=self._client.bucket, Key=path, Body=body)

    def _delete(self, path: str) -> None:
        assert self._s3 is not None
        self._s3.delete_object(Bucket=self._client.bucket, Key=path)

    def paths(self) -> set[str]:
        if self._s3 is None:
            return set(memory_bucket(self._client.bucket).paths())
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._client.bucket, Prefix=self._client.prefix
        )
        return {line.get("Key", "") for page in pages for line in page.get("Contents", ())}

    def close(self) -> None:
        if self._s3 is not None:
            self._s3.close()


@pytest.fixture
def bucket(client: Client) -> Iterator[Bucket]:
    opened = Bucket(client)
    yield opened
    opened.close()


def planted(bucket: Bucket, folder: str, names: Iterable[str] = NAMES) -> set[str]:
    longest = "x" * (LONGEST - len(folder.encode()))
    taken = bucket.plant(folder + name for name in (*names, longest))
    assert len(taken) > 10
    return taken


async def test_foreign_names_among_entries_are_an_error_and_are_kept(harness: Harness, d: Any, bucket: Bucket) -> None:
    await d.update({n: n for n in range(3)})
    folder = next(path for path in bucket.paths() if "/entries/" in path).rpartition("/")[0] + "/"
    foreign = planted(bucket, folder)
    for read in (d.len, lambda: collect(d.keys()), lambda: collect(d.values()), lambda: collect(d.items())):
        with pytest.raises(IntegrityError, match="among the entries is not an entry"):
            await read()
    assert await d.get_many(range(5)) == {0: 0, 1: 1, 2: 2}
    await d.clear()
    assert await d.get_many(range(5)) == {}
    assert {path for path in bucket.paths() if "/entries/" in path} == foreign
    await d.put("k", 1)
    await harness.objects.delete("d", client=harness.client)
    assert {path for path in bucket.paths() if "/sweep-8d/" in path} == foreign


def test_foreign_names_among_manifests_are_ignored_and_kept(client: Client, bucket: Bucket) -> None:
    Dict.objects.create("d", client=client)
    folder = f"{client.prefix}/manifests/main/"
    foreign = planted(bucket, folder, (*NAMES, *(f"{name}.json" for name in NAMES if not is_valid_name(name))))
    assert [handle.name for handle in Dict.objects.list(client=client)] == ["d"]
    Dict.objects.delete("d", client=client)
    # A store without DELETE If-Match keeps a manifest that says that the dict is deleted.
    assert {path for path in bucket.paths() if "/manifests/" in path} - {f"{folder}d.json"} == foreign


def test_foreign_names_among_data_are_not_garbage_and_are_kept(client: Client, bucket: Bucket) -> None:
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client, ttl=None)
    d["k"] = 1
    entry = next(path for path in bucket.paths() if "/entries/" in path)
    root = entry.partition("entries/")[0]
    foreign = planted(bucket, root) | planted(bucket, f"{client.prefix}/keep/named/main/")
    foreign |= bucket.plant(entry.replace("main/d", odd) for odd in ("main/..", "../main", "./d", "main/%"))
    assert find_garbage(client) == []
    Dict.objects.delete("d", client=client)
    assert {path for path in bucket.paths() if "/keep/" in path} == foreign
    assert bucket.plant([entry])
    [garbage] = find_garbage(client)
    assert (garbage.objects, garbage.root) == (1, root)
    assert remove_garbage(client, garbage)
    assert {path for path in bucket.paths() if "/keep/" in path} == foreign
