"""Dicts whose manifest says that entries are one folder deeper, for stores whose listings have no order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from s3dict import Dict, IntegrityError
from s3dict._admin.garbage import find_garbage, remove_garbage
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import Harness, collect


@pytest.fixture
def nested(harness: Harness) -> Any:
    """A dict with a manifest of format 2, as a later version writes it."""
    Dict.from_name("nested", create_if_missing=True, client=harness.client).hydrate()
    store = harness.client._store(aio=False)
    path = f"{harness.client.prefix}/manifests/main/nested.json"
    found: Any = run_blocking(store.get(path))
    manifest = json.loads(found.body) | {"format": 2, "fanout": 2}
    run_blocking(store.put(path, json.dumps(manifest).encode()))
    return harness.named("nested")


def paths(d: Any) -> list[str]:
    entries: Any = run_blocking(d.wrapped._open())
    page = run_blocking(entries.store.list_page(entries.paths.entries))
    return [line.path.removeprefix(entries.paths.entries) for line in page.objects]


@pytest.mark.unthrottled
async def test_entries_are_in_folders_named_by_their_hashes(nested: Any) -> None:
    await nested.update({n: n for n in range(40)})
    names = [path.split("/") for path in paths(nested)]
    assert len(names) == 40
    assert all(folder == name[:2] for folder, name in names)


@pytest.mark.unthrottled
async def test_every_operation_works_on_a_nested_dict(nested: Any) -> None:
    contents = {f"k{n}" * (100 if n % 7 == 0 else 1): n for n in range(60)}
    await nested.put_many(contents)
    items = await collect(nested.items())
    assert dict(items) == contents
    assert await collect(nested.keys()) == [key for key, _ in items]
    assert await collect(nested.values()) == [value for _, value in items]
    assert await nested.len() == 60
    assert await nested.get("k1") == 1
    assert await nested.contains("k1")
    assert not await nested.put("k1", 2, skip_if_exists=True)
    assert await nested.modify("k1", lambda n: n + 1) == 2
    assert await nested.pop("k1") == 2
    assert await nested.discard_many(["k1", "k2", "k3"]) == ["k2", "k3"]
    await nested.clear()
    assert paths(nested) == []


@pytest.mark.unthrottled
async def test_nested_dict_is_deleted_with_its_data(harness: Harness, nested: Any) -> None:
    await nested.update({n: n for n in range(20)})
    await harness.objects.delete("nested", client=harness.client)
    assert find_garbage(harness.client) == []


@pytest.mark.unthrottled
async def test_garbage_of_a_nested_dict_is_found_and_removed(harness: Harness, nested: Any) -> None:
    await nested.update({n: n for n in range(20)})
    store = harness.client._store(aio=False)
    run_blocking(store.delete(f"{harness.client.prefix}/manifests/main/nested.json"))
    [garbage] = find_garbage(harness.client)
    assert garbage.objects == 20
    assert remove_garbage(harness.client, garbage)
    assert find_garbage(harness.client) == []


@pytest.mark.unthrottled
async def test_entry_in_the_wrong_folder_is_an_integrity_error(harness: Harness, nested: Any) -> None:
    await nested.put("k", 1)
    entries: Any = run_blocking(nested.wrapped._open())
    [path] = paths(nested)
    store = harness.client._store(aio=False)
    found: Any = run_blocking(store.get(entries.paths.entries + path))
    wrong = "00" if path[:2] != "00" else "01"
    run_blocking(store.put(f"{entries.paths.entries}{wrong}/{path[3:]}", found.body))
    with pytest.raises(IntegrityError):
        await collect(nested.keys())


@pytest.mark.backends("memory")
@pytest.mark.parametrize("fanout", [1, 3, -2, "2", True, None, 2.0])
@pytest.mark.unthrottled
async def test_unknown_fanout_is_an_integrity_error(harness: Harness, nested: Any, fanout: Any) -> None:
    store = harness.client._store(aio=False)
    path = f"{harness.client.prefix}/manifests/main/nested.json"
    found: Any = run_blocking(store.get(path))
    run_blocking(store.put(path, json.dumps(json.loads(found.body) | {"fanout": fanout}).encode()))
    with pytest.raises(IntegrityError, match="fanout"):
        await harness.named("nested").get("k")
