"""What a Dict does, as `modal.Dict` does it: on every back end, blocking and in asyncio, from one text."""

from __future__ import annotations

import math
import pickle
from collections import ChainMap
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import pytest

from s3dict import (
    AlreadyExistsError,
    Client,
    DeserializationError,
    Dict,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from s3dict._core import bulk
from s3dict.testing import faults

from ..support.modes import Harness, Mode, collect


class Colour(StrEnum):
    RED = "red"


async def test_put_value_is_returned_by_get(d: Any) -> None:
    assert await d.put("alice", 3) is True
    assert await d.get("alice") == 3
    assert await d.contains("alice") is True


async def test_missing_key_returns_the_default(d: Any) -> None:
    assert await d.get("missing") is None
    assert await d.get("missing", 7) == 7
    assert await d.get("missing", default=7) == 7
    assert await d.contains("missing") is False


async def test_none_can_be_stored(d: Any) -> None:
    await d.put("k", None)
    missing = object()
    assert await d.get("k", missing) is None
    assert await d.get("other", missing) is missing
    assert await d.contains("k")
    assert await d.put("k", 1, skip_if_exists=True) is False
    assert await d.pop("k") is None


async def test_later_put_replaces_an_earlier_one(d: Any) -> None:
    for value in (1, "two", [3]):
        await d.put("k", value)
    assert await d.get("k") == [3]
    assert await d.len() == 1


async def test_skip_if_exists_never_replaces(d: Any) -> None:
    assert await d.put("k", 1, skip_if_exists=True) is True
    assert await d.put("k", 2, skip_if_exists=True) is False
    assert await d.get("k") == 1
    await d.pop("k")
    assert await d.put("k", 3, skip_if_exists=True) is True
    assert await d.get("k") == 3


async def test_pop_removes_the_entry(d: Any) -> None:
    await d.put("k", 1)
    assert await d.pop("k") == 1
    assert await d.contains("k") is False
    assert await d.len() == 0
    assert await collect(d.keys()) == []


async def test_pop_of_a_missing_key_raises_or_returns_the_default(d: Any) -> None:
    with pytest.raises(KeyError, match="'k' not in Dict 'd'"):
        await d.pop("k")
    assert await d.pop("k", 5) == 5
    assert await d.pop("k", None) is None
    assert await d.pop("k", default=5) == 5


async def test_update_accepts_the_arguments_of_dict_update(d: Any) -> None:
    await d.update()
    await d.update({})
    await d.update({"a": 1, 2: "b"}, c=3)
    await d.update([("e", 5), ("a", 10)])
    await d.update((str(n), n) for n in range(3))
    await d.update(ChainMap({"x": 1}, {"y": 2}))
    await d.update(k=None)
    expected = {"a": 10, 2: "b", "c": 3, "e": 5, "0": 0, "1": 1, "2": 2, "x": 1, "y": 2, "k": None}
    assert dict(await collect(d.items())) == expected


async def test_last_of_equal_keys_wins_in_update(d: Any) -> None:
    await d.update([(1, n) for n in range(200)] + [(1.0, "float"), (True, "last")])
    assert await collect(d.items()) == [(1, "last")]
    await d.update({"k": 1}, k=2)
    assert await d.get("k") == 2


@pytest.mark.parametrize("portion", [2, 1000])
async def test_update_takes_another_dict(
    harness: Harness, d: Any, portion: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH_SIZE", portion)
    other = harness.named("other", create_if_missing=True)
    await other.update({n: str(n) for n in range(5)})
    await d.update(other.wrapped)
    assert dict(await collect(d.items())) == {n: str(n) for n in range(5)}


async def test_update_reads_another_dict_sync_or_async(
    harness: Harness, d: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = harness.named("other", create_if_missing=True)
    await other.update({n: n for n in range(3)})
    await d.hydrate()
    unused = "_make_blocking_store" if harness.mode is Mode.ASYNCIO else "_make_asyncio_store"
    monkeypatch.setattr(client, unused, lambda: pytest.fail("the other way was used"))
    client._stores.blocking = None if harness.mode is Mode.ASYNCIO else client._stores.blocking
    await d.update(other.wrapped)
    assert await d.len() == 3


async def test_failed_update_names_its_keys(d: Any) -> None:
    from s3dict import SerializationError

    with pytest.raises(SerializationError, match=r"^0 done, 1 failed: 'bad'; ") as caught:
        await d.update({"bad": (n for n in range(1))})
    assert caught.value.failed_keys == ("bad",)
    await d.update({"bad": "replaced"})
    assert await d.get("bad") == "replaced"


async def test_update_stores_the_pairs_before_an_exception_of_its_iterable(d: Any) -> None:
    def pairs() -> Any:
        yield "a", 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await d.update(pairs())
    assert await d.get("a") == 1
    with pytest.raises(TypeError, match="unhashable"):
        await d.update([("b", 2), ("a", 3), ([], 1), ("c", 4)])
    assert sorted(await collect(d.items())) == [("a", 3), ("b", 2)]


async def test_keys_values_and_items_are_plain_iterators(d: Any) -> None:
    expected = {f"k{n}": n for n in range(20)}
    await d.update(expected)
    assert sorted(await collect(d.keys())) == sorted(expected)
    assert sorted(await collect(d.values())) == sorted(expected.values())
    assert dict(await collect(d.items())) == expected
    assert await d.len() == 20


async def test_iterators_of_an_empty_dict_are_empty(d: Any) -> None:
    assert [] == await collect(d.keys()) == await collect(d.values()) == await collect(d.items())
    assert await d.len() == 0


async def test_iterator_may_be_left_early(d: Any) -> None:
    await d.update({n: n for n in range(100)})
    async for key, value in d.items():
        assert key == value
        break
    async for _ in d.keys():
        break
    assert await d.len() == 100


async def test_clear_removes_all_entries_and_leaves_the_dict(d: Any) -> None:
    await d.update({n: n for n in range(30)})
    await d.clear()
    assert await d.len() == 0
    await d.clear()
    await d.put("k", 1)
    assert await collect(d.items()) == [("k", 1)]


@pytest.mark.parametrize(
    ("spellings", "canonical"),
    [
        ((1, 1.0, True, np.int64(1)), 1),
        (("red", Colour.RED, np.str_("red")), "red"),
        ((0.0, -0.0, False), 0),
        (((1, "a"), (1.0, "a")), (1, "a")),
    ],
)
async def test_equal_keys_are_one_key(d: Any, spellings: tuple[Any, ...], canonical: Any) -> None:
    for number, key in enumerate(spellings):
        await d.put(key, number)
    for key in spellings:
        assert await d.get(key) == len(spellings) - 1
    assert await collect(d.keys()) == [canonical]


async def test_keys_of_any_type_come_back(d: Any) -> None:
    keys = {
        None,
        b"bytes",
        -5,
        10**40,
        2.5,
        "ключ/with 'all' kinds & of %20 ..",
        "",
        (1, ("two", None)),
        frozenset({1, 2}),
        datetime(2026, 1, 2, tzinfo=UTC),
        math.inf,
        timedelta(seconds=5),
        "long " * 200,
    }
    await d.update({key: repr(key) for key in keys})
    assert set(await collect(d.keys())) == keys
    assert dict(await collect(d.items())) == {key: repr(key) for key in keys}
    for key in keys:
        assert await d.pop(key) == repr(key)
    assert await d.len() == 0


async def test_values_of_any_type_come_back(d: Any) -> None:
    array = np.arange(12.0).reshape(3, 4)
    await d.put("array", array)
    loaded = await d.get("array")
    assert np.array_equal(array, loaded)
    loaded += 1  # an array that was put can be written to, and so can what comes back
    factor = 3
    await d.put("function", lambda x: x * factor)
    assert (await d.get("function"))(7) == 21
    await d.put("module", math)
    assert math is await d.get("module")
    await d.put("nested", {"list": [1, (2,), {3}], "none": None})
    assert await d.get("nested") == {"list": [1, (2,), {3}], "none": None}


async def test_dict_is_a_key_and_a_value(harness: Harness, d: Any) -> None:
    handle = d.wrapped
    await d.put(handle, handle)
    again = await d.get(handle)
    assert isinstance(again, Dict)
    assert again.client is harness.client
    assert handle.object_id == again.object_id
    [key] = await collect(d.keys())
    assert handle.object_id == key.object_id
    await harness.in_mode(again).put("through", "itself")
    assert await d.get("through") == "itself"


async def test_handle_that_was_never_used_can_be_a_key(harness: Harness, d: Any) -> None:
    await harness.objects.create("other", client=harness.client)
    fresh = harness.named("other")
    await d.put(fresh.wrapped, 1)
    assert await d.get(harness.named("other").wrapped) == 1
    assert await d.get(harness.with_id(fresh.wrapped.object_id).wrapped) == 1


async def test_value_whose_module_is_missing_names_key_and_dict(d: Any, tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "passing_module.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import importlib
    import sys

    module = importlib.import_module("passing_module")
    await d.put("foo", module.Thing())
    del sys.modules["passing_module"]
    (tmp_path / "passing_module.py").unlink()
    importlib.invalidate_caches()
    expected = "Failed to deserialize value for key 'foo' from Dict 'd': No module named 'passing_module'"
    with pytest.raises(DeserializationError, match=expected):
        await d.get("foo")
    with pytest.raises(DeserializationError, match=expected):
        await collect(d.items())
    with pytest.raises(DeserializationError, match=expected):
        await d.pop("foo")
    assert await collect(d.keys()) == ["foo"]


async def test_key_whose_module_is_missing_names_the_dict(d: Any, tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "key_module.py").write_text("class Key:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import importlib
    import sys

    await d.put(importlib.import_module("key_module").Key(), "value")
    del sys.modules["key_module"]
    (tmp_path / "key_module.py").unlink()
    importlib.invalidate_caches()
    for iterate in (d.keys, d.items):
        with pytest.raises(DeserializationError, match=r"Failed to deserialize a key.*key_module.*\(Dict 'd'\)"):
            await collect(iterate())
    assert await collect(d.values()) == ["value"]


async def test_from_name_finds_the_same_dict_again(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    again = harness.named("d")
    assert await again.get("k") == 1
    assert d.object_id == again.object_id


async def test_dict_that_does_not_exist_is_not_found(harness: Harness) -> None:
    with pytest.raises(NotFoundError, match="There is no Dict 'nothing' in environment 'main'"):
        await harness.named("nothing").get("k")


async def test_hydrate_returns_the_handle(harness: Harness) -> None:
    handle = harness.named("made", create_if_missing=True)
    assert await handle.hydrate() is handle.wrapped
    assert handle.object_id.startswith("di-")
    with pytest.raises(NotFoundError):
        await harness.named("nothing").hydrate()


async def test_hydrate_takes_a_client(harness: Harness) -> None:
    await harness.objects.create("made", client=harness.client)
    handle = harness.in_mode(Dict.from_name("made"))
    await handle.hydrate(harness.client)
    await handle.hydrate(client=harness.client)
    await handle.put("k", 1)
    assert await harness.named("made").get("k") == 1


async def test_from_id_finds_the_dict_and_no_successor(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    old_id = d.object_id
    assert await harness.with_id(old_id).get("k") == 1
    await harness.objects.delete("d", client=harness.client)
    await harness.objects.create("d", client=harness.client)
    with pytest.raises(NotFoundError, match="does not exist"):
        await harness.with_id(old_id).get("k")
    assert await harness.named("d").get("k") is None


async def test_info_contains_name_time_and_creator(d: Any) -> None:
    info = await d.info()
    assert info.name == "d"
    assert timedelta(0) <= datetime.now(UTC) - info.created_at < timedelta(minutes=1)
    assert info.created_by


async def test_ephemeral_lives_as_long_as_its_context(harness: Harness) -> None:
    async with harness.ephemeral() as passing:
        assert passing.name is None
        await passing.update({n: n for n in range(10)})
        same = harness.with_id(passing.object_id)
        assert await same.get(7) == 7
        assert (await passing.info()).name is None
    with pytest.raises(NotFoundError, match="does not exist"):
        await harness.with_id(passing.object_id).get(7)
    with pytest.raises(NotFoundError, match="does not exist"):
        await passing.put("late", 1)


async def test_ephemeral_is_deleted_also_after_an_exception(harness: Harness) -> None:
    ids = []

    async def fail() -> None:
        async with harness.ephemeral() as passing:
            await passing.put("k", 1)
            ids.append(passing.object_id)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    with pytest.raises(NotFoundError):
        await harness.with_id(ids[0]).get("k")


def test_ephemeral_dict_is_entered_once(client: Client) -> None:
    passing = Dict.ephemeral(client=client)
    with passing, pytest.raises(InvalidError, match=r"call Dict\.ephemeral\(\) for another"), passing:
        pass


@pytest.mark.backends("memory")
async def test_ephemeral_dict_is_entered_again_where_that_failed(harness: Harness) -> None:
    passing = Dict.ephemeral(client=harness.client)
    if harness.mode is Mode.SYNC:
        with faults(harness.client, "unreachable"), pytest.raises(UnavailableError):
            passing.__enter__()
        with passing as d:
            assert d.len() == 0
    else:
        with faults(harness.client, "unreachable"), pytest.raises(UnavailableError):
            await passing.__aenter__()
        async with passing as d:
            assert await d.len.aio() == 0


async def test_ephemeral_dict_leaves_nothing_behind(harness: Harness) -> None:
    async with harness.ephemeral() as passing:
        await passing.update({n: n for n in range(10)})
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    left = [line.path for line in (await store.list_page(f"{harness.client.prefix}/")).objects]
    assert [f"{harness.client.prefix}/store.json"] == left


async def test_create_makes_a_dict_once(harness: Harness) -> None:
    assert await harness.objects.create("made", client=harness.client) is None
    with pytest.raises(AlreadyExistsError, match="A Dict 'made' already exists in environment 'main'"):
        await harness.objects.create("made", client=harness.client)
    assert await harness.objects.create("made", allow_existing=True, client=harness.client) is None
    await harness.named("made").put("k", 1)


async def test_environments_are_namespaces(harness: Harness) -> None:
    for environment in ("dev", "prod"):
        await harness.objects.create("same", environment_name=environment, client=harness.client)
        await harness.named("same", environment_name=environment).put("where", environment)
    assert await harness.named("same", environment_name="dev").get("where") == "dev"
    assert await harness.named("same", environment_name="prod").get("where") == "prod"
    with pytest.raises(NotFoundError):
        await harness.named("same").get("where")
    [listed_dict] = await harness.objects.list(environment_name="dev", client=harness.client)
    assert await harness.in_mode(listed_dict).get("where") == "dev"


async def test_list_returns_hydrated_dicts_newest_first(harness: Harness) -> None:
    for name in ("first", "second", "third"):
        await harness.named(name, create_if_missing=True).put("name", name)
    found = await harness.objects.list(client=harness.client)
    assert [handle.name for handle in found] == ["third", "second", "first"]
    assert [await harness.in_mode(handle).get("name") for handle in found] == ["third", "second", "first"]
    assert [handle.name for handle in await harness.objects.list(max_objects=1, client=harness.client)] == ["third"]
    assert await harness.objects.list(max_objects=0, client=harness.client) == []


async def test_list_takes_a_date_as_datetime_or_text(harness: Harness) -> None:
    for name in ("first", "second"):
        await harness.objects.create(name, client=harness.client)
    newest = (await harness.in_mode(harness.named("second").wrapped).info()).created_at
    for before in (newest, newest.isoformat(), newest.replace(tzinfo=None)):
        found = await harness.objects.list(created_before=before, client=harness.client)
        assert [handle.name for handle in found] == ["first"]
    assert await harness.objects.list(created_before="2020-01-01T00:00:00Z", client=harness.client) == []


async def test_list_rejects_invalid_arguments(harness: Harness) -> None:
    with pytest.raises(InvalidError, match="Invalid max_objects: -1"):
        await harness.objects.list(max_objects=-1, client=harness.client)
    with pytest.raises(InvalidError, match="created_before"):
        await harness.objects.list(created_before="yesterday", client=harness.client)


@pytest.mark.removes_by_delete
async def test_delete_removes_the_dict_and_all_entries(harness: Harness, d: Any) -> None:
    await d.update({n: n for n in range(10)})
    assert await harness.objects.delete("d", client=harness.client) is None
    with pytest.raises(NotFoundError, match="There is no Dict 'd'"):
        await harness.named("d").get(1)
    with pytest.raises(NotFoundError, match="There is no Dict 'd'"):
        await harness.objects.delete("d", client=harness.client)
    await harness.objects.delete("d", allow_missing=True, client=harness.client)
    store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
    left = [line.path for line in (await store.list_page(f"{harness.client.prefix}/")).objects]
    assert [f"{harness.client.prefix}/store.json"] == left


async def test_recreated_dict_is_empty(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    await harness.objects.delete("d", client=harness.client)
    assert await harness.named("d", create_if_missing=True).get("k") is None


async def test_ttl_and_codec_are_chosen_at_creation(harness: Harness) -> None:
    await harness.named("j", create_if_missing=True, codec="json", ttl=timedelta(days=1)).put("k", {"a": [1, None]})
    plain = harness.named("j")
    assert await plain.get("k") == {"a": [1, None]}
    assert "di-" in plain.object_id
    with pytest.raises(InvalidError, match="was created with codec='json', not 'cloudpickle'"):
        await harness.named("j", codec="cloudpickle").get("k")
    with pytest.raises(InvalidError, match=r"was created with ttl=1 day, 0:00:00, not 2 days"):
        await harness.named("j", create_if_missing=True, ttl=timedelta(days=2)).get("k")
    with pytest.raises(InvalidError, match="not None"):
        await harness.named("j", ttl=None).get("k")


async def test_bytes_dict_holds_bytes(harness: Harness) -> None:
    raw = harness.named("raw", create_if_missing=True, codec="bytes", ttl=None)
    await raw.put("k", bytearray(b"\x00\xff"))
    assert await raw.get("k") == b"\x00\xff"


async def test_pickled_handle_reaches_the_same_dict(harness: Harness, d: Any) -> None:
    await d.put("k", 1)
    again = pickle.loads(pickle.dumps(d.wrapped))
    assert d.object_id == again.object_id
    assert await harness.in_mode(again).get("k") == 1 or harness.client.driver == "memory"


async def test_name_is_looked_up_when_it_is_used_and_pickled_as_it_is_before(harness: Harness) -> None:
    lazy = pickle.loads(pickle.dumps(harness.named("later", create_if_missing=True).wrapped))
    await lazy.hydrate.aio() if harness.mode is Mode.ASYNCIO else lazy.hydrate()
    assert lazy.name == "later"


def test_operators_match_their_methods(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    d["k"] = 1
    assert d["k"] == 1
    assert "k" in d
    assert "other" not in d
    assert list(d) == ["k"]
    del d["k"]
    with pytest.raises(KeyError, match="'k' not in Dict 'd'"):
        d["k"]
    with pytest.raises(KeyError, match="'k' not in Dict 'd'"):
        del d["k"]


def test_dict_cannot_be_constructed_directly() -> None:
    with pytest.raises(RuntimeError, match="from_name"):
        Dict()


def test_handles_show_how_they_were_made() -> None:
    assert repr(Dict.from_name("x")) == "Dict.from_name('x')"
    assert repr(Dict.from_name("x", environment_name="dev")) == "Dict.from_name('x', environment_name='dev')"
    dict_id = "di-01ARZ3NDEKTSV4RRFFQ69G5FAV:main:x"
    assert repr(Dict.from_id(dict_id)) == f"Dict.from_id({dict_id!r})"
    assert Dict.from_id(dict_id).object_id == dict_id
    assert Dict.from_id(dict_id).name == "x"


def test_id_of_a_name_is_known_after_it_was_looked_up() -> None:
    with pytest.raises(InvalidError, match="call hydrate"):
        _ = Dict.from_name("x").object_id
