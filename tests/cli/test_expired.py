"""``s3dict gc --expired``: what is absent is also removed from the bucket."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._stores.memory import MemoryBucket, memory_bucket

from ..support.commands import answer


@pytest.fixture
def bucket(configured: Client) -> MemoryBucket:
    return memory_bucket(configured.bucket)


@pytest.fixture
def scores(configured: Client) -> Dict[Any, Any]:
    return Dict.from_name("scores", create_if_missing=True, client=configured)


def entries_in(bucket: MemoryBucket) -> int:
    return sum("/entries/" in path for path in bucket.objects)


def test_expired_entries_are_counted_and_removed(scores: Dict[Any, Any], bucket: MemoryBucket) -> None:
    scores.put_many({n: n for n in range(10)}, ttl=60)
    scores.update({"lasting": 1, "long " * 100: 2})
    bucket.advance(timedelta(seconds=62))
    assert scores.len() == 12
    dry = answer("gc", "--expired", "--dry-run", "--json")
    assert dry.json == {"dry_run": True, "expired": [{"name": "scores", "environment": "main", "entries": 10}]}
    assert entries_in(bucket) == 12
    done = answer("gc", "--expired", "--yes", "--json")
    assert done.json == {"dry_run": False, "expired": [{"name": "scores", "environment": "main", "entries": 10}]}
    assert scores.len() == entries_in(bucket) == 2
    assert "Removed 0 expired entries" in answer("gc", "--expired", "--yes").stderr


def test_entries_past_the_ttl_of_the_dict_are_removed(scores: Dict[Any, Any], bucket: MemoryBucket) -> None:
    scores["old"] = 1
    bucket.advance(timedelta(days=9))
    scores["new"] = 2
    assert answer("gc", "--expired", "--yes").exit_code == 0
    assert entries_in(bucket) == 1
    assert dict(scores.items()) == {"new": 2}


def test_an_entry_that_was_replaced_is_not_removed(
    scores: Dict[Any, Any], bucket: MemoryBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores.put("k", 1, ttl=60)
    bucket.advance(timedelta(seconds=62))
    handling = MemoryBucket.handling

    def interfering(self: MemoryBucket, operation: Any, path: str) -> Any:
        if operation == "delete":
            monkeypatch.setattr(MemoryBucket, "handling", handling)
            scores["k"] = 2
        return handling(self, operation, path)

    monkeypatch.setattr(MemoryBucket, "handling", interfering)
    assert answer("gc", "--expired", "--yes", "--json").json["expired"][0]["entries"] == 0
    assert scores["k"] == 2


def test_only_the_named_environment_is_expired(configured: Client, bucket: MemoryBucket) -> None:
    for environment in ("dev", "prod"):
        d: Dict[Any, Any] = Dict.from_name("d", environment_name=environment, create_if_missing=True, client=configured)
        d.put("k", 1, ttl=60)
    bucket.advance(timedelta(seconds=62))
    assert [
        found["environment"] for found in answer("gc", "--expired", "-e", "dev", "-y", "--json").json["expired"]
    ] == ["dev"]
    assert entries_in(bucket) == 1
    assert answer("gc", "--expired", "--yes").exit_code == 0
    assert entries_in(bucket) == 0


def test_objects_that_s3dict_did_not_write_stay(scores: Dict[Any, Any], bucket: MemoryBucket) -> None:
    scores["k"] = 1
    path = next(path for path in bucket.objects if "/entries/" in path)
    bucket.write(path, b"<html>")
    bucket.write(path.rpartition("/")[0] + "/notes.txt", b"mine")
    assert answer("gc", "--expired", "--yes").exit_code == 0
    assert entries_in(bucket) == 2
