"""The atomic operations, when nothing goes wrong: on every back end, in both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from s3dict import (
    Client,
    ConflictError,
    Dict,
    InvalidError,
    SerializationError,
    memoize,
)
from s3dict._core.conditional import conditional_put
from s3dict._format.entry import pack_tombstone
from s3dict._stores.memory import memory_bucket

from ..support.modes import Harness, Mode, collect


async def test_entry_tells_value_version_and_time(d: Any) -> None:
    assert await d.entry("k") is None
    await d.put("k", [1])
    seen = await d.entry("k")
    assert ("k", [1]) == (seen.key, seen.value)
    assert seen == await d.entry("k")
    await d.put("k", [1])
    assert seen.version != (await d.entry("k")).version


async def test_if_version_puts_only_over_that_version(d: Any) -> None:
    await d.put("k", 1)
    version = (await d.entry("k")).version
    assert await d.put("k", 2, if_version=version) is True
    assert await d.put("k", 3, if_version=version) is False
    assert 2 == await d.get("k")
    await d.pop("k")
    assert await d.put("k", 4, if_version=version) is False
    assert await d.contains("k") is False


async def test_a_version_that_is_none_is_refused(d: Any) -> None:
    await d.put("k", 1)
    for version in ("", "etag", "00.x", 5):
        with pytest.raises(InvalidError, match="Invalid version"):
            await d.put("k", 2, if_version=version)
    with pytest.raises(InvalidError, match="exclude each other"):
        await d.put("k", 2, skip_if_exists=True, if_version=(await d.entry("k")).version)


async def test_setdefault_puts_once(d: Any) -> None:
    assert 1 == await d.setdefault("k", 1)
    assert 1 == await d.setdefault("k", 2)
    await d.put("none", None)
    assert await d.setdefault("none", 3) is None


async def test_modify_puts_what_the_function_makes(d: Any) -> None:
    await d.put("k", 1)
    assert 2 == await d.modify("k", lambda n: n + 1)
    assert 2 == await d.get("k")
    assert 11 == await d.modify("new", lambda n: n + 1, 10)
    assert 12 == await d.modify("new", lambda n: n + 1, default=0)
    with pytest.raises(KeyError, match="'missing' not in Dict 'd'"):
        await d.modify("missing", lambda n: n + 1)
    assert await d.modify("none", lambda n: n, None) is None


async def test_modify_repeats_itself_over_what_another_has_put(d: Any) -> None:
    await d.put("k", 1)
    seen = []

    def slow(value: int) -> int:
        seen.append(value)
        if len(seen) < 3:
            d.wrapped.put("k", value * 10)
        return value + 1

    assert 101 == await d.modify("k", slow)
    assert [1, 10, 100] == seen


async def test_modify_of_an_entry_that_vanishes_meanwhile(d: Any) -> None:
    await d.put("k", 1)

    def remove_first(value: int) -> int:
        d.wrapped.pop("k", None)
        return value + 1

    with pytest.raises(KeyError):
        await d.modify("k", remove_first)


async def test_modify_passes_on_what_the_function_raises(d: Any) -> None:
    await d.put("k", 0)
    with pytest.raises(ZeroDivisionError):
        await d.modify("k", lambda n: 1 // n)
    with pytest.raises(SerializationError):
        await d.modify("k", lambda n: (n for _ in range(3)))
    assert 0 == await d.get("k")


async def test_modify_gives_up_when_others_are_always_faster(d: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dict._core.conditional.MAX_CAS_RETRIES", 3)
    await d.put("k", 1)

    def never_alone(value: int) -> int:
        d.wrapped.put("k", value + 1)
        return value

    with pytest.raises(ConflictError, match="changed 'k' before each of 3 attempts"):
        await d.modify("k", never_alone)


async def test_a_coroutine_function_may_modify_and_compute(harness: Harness, d: Any) -> None:
    if harness.mode is Mode.SYNC:
        pytest.skip("a blocking call has no event loop for a coroutine function")

    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return 2 * value

    await d.put("k", 4)
    assert 8 == await d.modify("k", double)
    assert 6 == await d.get_or_compute("other", lambda: double(3))


async def test_many_keys_at_once(d: Any) -> None:
    await d.update({n: str(n) for n in range(20)})
    assert {n: str(n) for n in range(5)} == await d.get_many([*range(5), "missing", 0, 1.0])
    assert {n: str(n) for n in range(15, 20)} == await d.pop_many([*range(15, 25)])
    assert {} == await d.pop_many(range(15, 25))
    assert 15 == await d.len()
    assert {} == await d.get_many([])


async def test_a_key_that_is_none_stops_many_before_anything_is_done(d: Any) -> None:
    await d.put("k", 1)
    for use in (d.pop_many, d.get_many):
        with pytest.raises(InvalidError, match="NaN"):
            await use(["k", float("nan")])
    assert 1 == await d.get("k")


async def test_handles_are_looked_up_among_many_keys(harness: Harness, d: Any) -> None:
    await harness.objects.create("other", client=harness.client)
    await d.put(harness.named("other").wrapped, 1)
    assert [1] == list((await d.get_many([harness.named("other").wrapped])).values())


async def test_get_or_compute_computes_once(d: Any) -> None:
    calls = []

    def compute() -> str:
        calls.append(1)
        return "result"

    assert "result" == await d.get_or_compute("k", compute)
    assert "result" == await d.get_or_compute("k", compute)
    assert 1 == len(calls)
    assert ["k"] == await collect(d.keys())
    assert await d.get_or_compute("none", lambda: None) is None
    assert await d.contains("none")


async def test_an_exception_while_computing_reaches_the_caller_and_the_next_tries(d: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        await d.get_or_compute("k", lambda: 1 // 0)
    assert await d.contains("k") is False
    assert 5 == await d.get_or_compute("k", lambda: 5)


async def test_a_computation_that_needs_itself_is_refused(d: Any) -> None:
    with pytest.raises(InvalidError, match="The computation of 'k' of Dict 'd' is already held here"):
        await d.get_or_compute("k", lambda: d.wrapped.get_or_compute("k", lambda: 1) if _blocking(d) else _again(d))


def _blocking(d: Any) -> bool:
    return d._way is Mode.SYNC


async def _again(d: Any) -> Any:
    return await d.get_or_compute("k", lambda: 1)


async def test_memoize_keeps_results_by_their_arguments(harness: Harness, d: Any) -> None:
    calls = []

    def area(width: int, height: int = 2) -> int:
        calls.append((width, height))
        return width * height

    async def area_aio(width: int, height: int = 2) -> int:
        return area(width, height)

    if harness.mode is Mode.SYNC:
        memoized = memoize(d.wrapped)(area)
        assert [6, 6, 6, 12] == [memoized(3), memoized(width=3), memoized(3, 2), memoized(3, 4)]
    else:
        memoized_aio = memoize(d.wrapped)(area_aio)
        spellings = [memoized_aio(3), memoized_aio(width=3), memoized_aio(3, 2), memoized_aio(3, 4)]
        assert [6, 6, 6, 12] == [await spelling for spelling in spellings]
    assert [(3, 2), (3, 4)] == calls
    assert 2 == await d.len()


def test_a_memoized_result_can_be_forgotten(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    calls = []

    @memoize(d)
    def square(n: int) -> int:
        calls.append(n)
        return n * n

    key: Callable[..., Any] = square.key  # type: ignore[attr-defined]
    assert (9, 9) == (square(3), d.pop(key(3)))
    assert (9, [3, 3]) == (square(n=3), calls)
    with pytest.raises(TypeError, match="unhashable"):
        square([1])  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="A lambda cannot be memoized"):
        memoize(d)(lambda: 1)


def test_a_method_of_a_built_in_type_can_be_memoized(client: Client) -> None:
    d = Dict.from_name("d", create_if_missing=True, client=client)
    assert ["A", "A"] == [memoize(d)(str.upper)("a") for _ in range(2)]


class TestWithTombstones:
    """The same promises where the store cannot delete on a condition: an entry is then removed by a write."""

    async def _entombing(self, d: Any) -> Any:
        await d.hydrate()
        state = d.wrapped._state
        capabilities = replace(state.loaded.manifest.capabilities, conditional_delete=False)
        state.loaded = replace(state.loaded, manifest=replace(state.loaded.manifest, capabilities=capabilities))
        return d

    async def test_a_tombstone_is_absent_to_everybody(self, d: Any) -> None:
        await self._entombing(d)
        await d.put("k", 1)
        version = (await d.entry("k")).version
        assert 1 == await d.pop("k")
        assert (False, None, None, 0) == (await d.contains("k"), await d.get("k"), await d.entry("k"), await d.len())
        assert [] == await collect(d.keys()) == await collect(d.values()) == await collect(d.items())
        assert 5 == await d.pop("k", 5)
        assert await d.put("k", 2, if_version=version) is False
        with pytest.raises(KeyError):
            await d.modify("k", lambda n: n)
        await d.clear()
        assert 0 == await d.len()

    async def test_a_tombstone_gives_way_to_every_put(self, d: Any) -> None:
        await self._entombing(d)
        puts: list[Callable[[], Any]] = [
            lambda: d.put("k", 1),
            lambda: d.put("k", 1, skip_if_exists=True),
            lambda: d.setdefault("k", 1),
            lambda: d.modify("k", lambda n: n + 1, 0),
            lambda: d.get_or_compute("k", lambda: 1),
            lambda: d.update(k=1),
        ]
        for put in puts:
            await put()
            assert 1 == await d.pop("k")
        assert await d.put("k", 1, skip_if_exists=True) is True
        assert await d.put("k", 2, skip_if_exists=True) is False

    async def test_a_dict_can_be_deleted_and_made_again(self, harness: Harness, d: Any) -> None:
        store_json = f"{harness.client.prefix}/store.json"
        store = harness.client._store(aio=harness.mode is Mode.ASYNCIO)
        await d.hydrate()
        found = await store.get(store_json)
        body = found.body.replace(b'"conditional_delete": true', b'"conditional_delete": false')  # type: ignore[union-attr]
        assert b'"conditional_delete": false' in body
        await store.put(store_json, body)
        for round_ in range(3):
            e = harness.named("e", create_if_missing=True)
            assert await e.get("round") is None
            await e.put("round", round_)
            assert round_ == await e.pop("round")
            await harness.objects.delete("e", client=harness.client)
            assert ["d"] == [handle.name for handle in await harness.objects.list(client=harness.client)]
            await harness.objects.delete("e", allow_missing=True, client=harness.client)


async def test_a_put_over_a_tombstone_that_another_replaces_first_loses() -> None:
    client = Client("race-over-a-tombstone", driver="memory")
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    entries = await d._open()
    path = entries.path(entries.codec.keys.encode("k"))
    await entries.store.put(path, pack_tombstone(bytes(16)))
    bucket = memory_bucket("race-over-a-tombstone")
    tombstone = bucket.objects[path]

    async def replaced_meanwhile(*args: Any, **kwargs: Any) -> Any:
        outcome = await conditional_put(*args, **kwargs)
        if bucket.objects[path] is tombstone:
            d["k"] = 1
        return outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s3dict._core.entries.conditional_put", replaced_meanwhile)
        assert d.put("k", 2, skip_if_exists=True) is False
    assert 1 == d["k"]
