"""Removal without reading values: `discard`, `discard_many`, and `pop` of a version."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from s3dict import Dict, PermissionDeniedError, UncertainOutcomeError
from s3dict._format.capabilities import Capabilities
from s3dict._stores.memory import MemoryBucket, memory_bucket
from s3dict._stores.shared.threads import run_blocking
from s3dict.testing import faults

from ..support.modes import Endpoint, Harness, client_at
from ..support.proxy import Proxy

in_memory = pytest.mark.memory_only
on_servers = pytest.mark.backends("moto", "seaweedfs", "seaweedfs-rust")


def _fail() -> None:
    raise RuntimeError("this value cannot be read")


class _Unreadable:
    def __reduce__(self) -> Any:
        return _fail, ()


async def test_discard_removes_the_key_and_says_whether_it_existed(d: Any) -> None:
    await d.put("k", 1)
    assert await d.discard("k")
    assert not await d.discard("k")
    assert not await d.contains("k")


async def test_discard_need_not_read_the_value(d: Any) -> None:
    await d.put("k", _Unreadable())
    assert await d.discard("k")
    await d.put("k", _Unreadable())
    assert await d.discard_many(["k"]) == ["k"]
    assert not await d.contains("k")


async def test_discard_many_returns_the_removed_keys_in_order(d: Any) -> None:
    await d.update({n: n for n in range(0, 40, 2)})
    assert await d.discard_many(iter([8, 3, 2, 8, 4, "missing"])) == [8, 2, 4]
    assert await d.discard_many([]) == []
    assert await d.discard_many(range(40)) == [n for n in range(0, 40, 2) if n not in (8, 2, 4)]
    assert await d.len() == 0


async def test_discard_many_checks_its_keys_before_it_removes_any(d: Any) -> None:
    await d.put(1, 1)
    with pytest.raises(TypeError, match="unhashable"):
        await d.discard_many([1, []])
    assert await d.contains(1)


async def test_pop_of_a_version_removes_no_other(d: Any) -> None:
    await d.put("k", 1)
    version = (await d.entry("k")).version
    await d.put("k", 2)
    assert await d.pop("k", "other", if_version=version) == "other"
    with pytest.raises(KeyError, match="k"):
        await d.pop("k", if_version=version)
    assert await d.pop("k", if_version=(await d.entry("k")).version) == 2
    with pytest.raises(KeyError):
        await d.pop("k", if_version=version)


@in_memory
async def test_version_survives_a_renewal(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    version = (await d.entry("k")).version
    bucket = memory_bucket(harness.client.bucket)
    path = next(path for path in bucket.objects if "/entries/" in path)
    # As on a store that encrypts, where a renewal changes the ETag.
    bucket.objects[path] = replace(bucket.objects[path], etag='"renewed"')
    assert await d.pop("k", if_version=version) == 1


@in_memory
async def test_expired_entry_is_not_discarded(harness: Harness, d: Any) -> None:
    await d.put("k", 1, ttl=60)
    version = (await d.entry("k")).version
    memory_bucket(harness.client.bucket).advance(timedelta(seconds=62))
    assert not await d.discard("k")
    assert await d.discard_many(["k"]) == []
    assert await d.pop("k", None, if_version=version) is None


@in_memory
async def test_what_changed_before_a_bulk_deletion_is_removed_one_by_one(
    harness: Harness, d: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await d.update({n: n for n in range(10)})
    bucket = memory_bucket(harness.client.bucket)
    original = MemoryBucket.handling
    writer: Dict[Any, Any] = Dict.from_id(d.object_id, harness.client)

    def interfering(self: MemoryBucket, operation: Any, path: str) -> Any:
        monkeypatch.setattr(MemoryBucket, "handling", original)
        if operation == "delete":
            writer.put(3, "other")
            writer.discard(4)
        else:
            monkeypatch.setattr(MemoryBucket, "handling", interfering)
        return original(self, operation, path)

    monkeypatch.setattr(MemoryBucket, "handling", interfering)
    assert await d.discard_many(range(10)) == [n for n in range(10) if n != 4]
    assert not any("/entries/" in path for path in bucket.objects)


@in_memory
async def test_lost_bulk_response_is_an_uncertain_outcome(harness: Harness, d: Any) -> None:
    await d.update({n: n for n in range(3)})
    with (
        faults(harness.client, "lost-response", operation="delete", times=1),
        pytest.raises(UncertainOutcomeError) as raised,
    ):
        await d.discard_many(range(3))
    assert set(raised.value.failed_keys) <= {0, 1, 2}
    assert await d.len() == 0


@in_memory
async def test_denied_bulk_deletion_names_the_key(harness: Harness, d: Any) -> None:
    await d.update({n: n for n in range(3)})
    with faults(harness.client, "denied", operation="delete"), pytest.raises(PermissionDeniedError) as raised:
        await d.discard_many(range(3))
    assert raised.value.failed_keys
    assert await d.len() == 3


def test_older_records_lack_the_new_capabilities() -> None:
    old = {"quoted_etags": True, "conditional_delete": False, "conditional_copy": True}
    recorded = Capabilities.from_json(old)
    assert recorded == Capabilities(True, False, True, ordered_listing=True, conditional_bulk_delete=False)
    assert Capabilities.from_json(recorded.to_json()) == recorded


@on_servers
async def test_discard_takes_the_requests_of_the_guide(d: Any, harness: Harness, endpoint: Endpoint) -> None:
    await d.update({n: n for n in range(5)})
    with Proxy(endpoint.url) as proxy:
        counted = harness.in_mode(Dict.from_id(d.object_id, client_at(proxy.url, harness.client)))
        await counted.hydrate()
        with proxy.recording() as requests:
            assert await counted.discard(0)
            assert not await counted.discard(0)
        removal = "DeleteObject" if (await capabilities_of(counted)).conditional_delete else "PutObject"
        assert [request.operation for request in requests] == ["GetObject", removal, "GetObject"]
        assert {request.byte_range for request in requests if request.operation == "GetObject"} == {"bytes=0-38"}
        with proxy.recording() as requests:
            assert await counted.discard_many([1, 2, 3, "missing"]) == [1, 2, 3]
        sent = Counter(request.operation for request in requests)
        if (await capabilities_of(counted)).conditional_bulk_delete:
            assert sent == {"GetObject": 4, "DeleteObjects": 1}
        else:
            assert sent == {"GetObject": 4, removal: 3}


async def capabilities_of(d: Any) -> Capabilities:
    entries: Any = run_blocking(d.wrapped._open())
    return cast("Capabilities", entries.capabilities)
