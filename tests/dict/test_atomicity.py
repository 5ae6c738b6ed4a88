"""The atomic operations, when nothing goes wrong: on every back end, in both modes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
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


async def test_entry_contains_value_version_and_time(d: Any) -> None:
    assert await d.entry("k") is None
    await d.put("k", [1])
    seen = await d.entry("k")
    assert (seen.key, seen.value) == ("k", [1])
    assert await d.entry("k") == seen
    await d.put("k", [1])
    assert (await d.entry("k")).version != seen.version


async def test_if_version_puts_only_over_that_version(d: Any) -> None:
    await d.put("k", 1)
    version = (await d.entry("k")).version
    assert await d.put("k", 2, if_version=version) is True
    assert await d.put("k", 3, if_version=version) is False
    assert await d.get("k") == 2
    await d.pop("k")
    assert await d.put("k", 4, if_version=version) is False
    assert await d.contains("k") is False


async def test_invalid_version_is_rejected(d: Any) -> None:
    await d.put("k", 1)
    for version in ("", "etag", "00.x", 5):
        with pytest.raises(InvalidError, match="Invalid version"):
            await d.put("k", 2, if_version=version)
    with pytest.raises(InvalidError, match="mutually exclusive"):
        await d.put("k", 2, skip_if_exists=True, if_version=(await d.entry("k")).version)


async def test_setdefault_puts_once(d: Any) -> None:
    assert await d.setdefault("k", 1) == 1
    assert await d.setdefault("k", 2) == 1
    await d.put("none", None)
    assert await d.setdefault("none", 3) is None


async def test_modify_stores_the_result_of_the_function(d: Any) -> None:
    await d.put("k", 1)
    assert await d.modify("k", lambda n: n + 1) == 2
    assert await d.get("k") == 2
    assert await d.modify("new", lambda n: n + 1, 10) == 11
    assert await d.modify("new", lambda n: n + 1, default=0) == 12
    with pytest.raises(KeyError, match="'missing' not in Dict 'd'"):
        await d.modify("missing", lambda n: n + 1)
    assert await d.modify("none", lambda n: n, None) is None


async def test_modify_retries_over_a_concurrent_write(d: Any) -> None:
    await d.put("k", 1)
    seen = []

    def slow(value: int) -> int:
        seen.append(value)
        if len(seen) < 3:
            d.wrapped.put("k", value * 10)
        return value + 1

    assert await d.modify("k", slow) == 101
    assert seen == [1, 10, 100]


async def test_modify_handles_an_entry_deleted_concurrently(d: Any) -> None:
    await d.put("k", 1)

    def remove_first(value: int) -> int:
        d.wrapped.pop("k", None)
        return value + 1

    with pytest.raises(KeyError):
        await d.modify("k", remove_first)


async def test_modify_propagates_exceptions_of_the_function(d: Any) -> None:
    await d.put("k", 0)
    with pytest.raises(ZeroDivisionError):
        await d.modify("k", lambda n: 1 // n)
    with pytest.raises(SerializationError):
        await d.modify("k", lambda n: (n for _ in range(3)))
    assert await d.get("k") == 0


async def test_modify_exhausts_its_retries_under_contention(d: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dict._core.conditional.MAX_CAS_RETRIES", 3)
    await d.put("k", 1)

    def never_alone(value: int) -> int:
        d.wrapped.put("k", value + 1)
        return value

    with pytest.raises(ConflictError, match="changed 'k' before each of 3 attempts"):
        await d.modify("k", never_alone)


async def test_coroutine_function_may_modify_and_compute(harness: Harness, d: Any) -> None:
    if harness.mode is Mode.SYNC:
        pytest.skip("a blocking call has no event loop for a coroutine function")

    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return 2 * value

    await d.put("k", 4)
    assert await d.modify("k", double) == 8
    assert await d.get_or_compute("other", lambda: double(3)) == 6


async def test_get_many_and_pop_many_handle_missing_keys(d: Any) -> None:
    await d.update({n: str(n) for n in range(20)})
    assert await d.get_many([*range(5), "missing", 0, 1.0]) == {n: str(n) for n in range(5)}
    assert await d.pop_many([*range(15, 25)]) == {n: str(n) for n in range(15, 20)}
    assert await d.pop_many(range(15, 25)) == {}
    assert await d.len() == 15
    assert await d.get_many([]) == {}


async def test_invalid_key_fails_bulk_operations_before_any_request(d: Any) -> None:
    await d.put("k", 1)
    for use in (d.pop_many, d.get_many):
        with pytest.raises(InvalidError, match="NaN"):
            await use(["k", float("nan")])
    assert await d.get("k") == 1


async def test_handles_are_looked_up_among_many_keys(harness: Harness, d: Any) -> None:
    await harness.objects.create("other", client=harness.client)
    await d.put(harness.named("other").wrapped, 1)
    assert list((await d.get_many([harness.named("other").wrapped])).values()) == [1]


async def test_get_or_compute_computes_once(d: Any) -> None:
    calls = []

    def compute() -> str:
        calls.append(1)
        return "result"

    assert await d.get_or_compute("k", compute) == "result"
    assert await d.get_or_compute("k", compute) == "result"
    assert len(calls) == 1
    assert await collect(d.keys()) == ["k"]
    assert await d.get_or_compute("none", lambda: None) is None
    assert await d.contains("none")


async def test_exception_while_computing_reaches_the_caller_and_the_next_tries(d: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        await d.get_or_compute("k", lambda: 1 // 0)
    assert await d.contains("k") is False
    assert await d.get_or_compute("k", lambda: 5) == 5


async def test_computation_that_needs_itself_is_rejected(d: Any) -> None:
    with pytest.raises(InvalidError, match="The computation of 'k' of Dict 'd' is already held here"):
        await d.get_or_compute("k", lambda: d.wrapped.get_or_compute("k", lambda: 1) if _blocking(d) else _again(d))


def _blocking(d: Any) -> bool:
    return d._mode is Mode.SYNC


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
        assert [memoized(3), memoized(width=3), memoized(3, 2), memoized(3, 4)] == [6, 6, 6, 12]
    else:
        memoized_aio = memoize(d.wrapped)(area_aio)
        spellings = [memoized_aio(3), memoized_aio(width=3), memoized_aio(3, 2), memoized_aio(3, 4)]
        assert [await spelling for spelling in spellings] == [6, 6, 6, 12]
    assert calls == [(3, 2), (3, 4)]
    assert await d.len() == 2


def test_memoized_result_can_be_forgotten(client: Client) -> None:
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    calls = []

    @memoize(d)
    def square(n: int) -> int:
        calls.append(n)
        return n * n

    assert (square(3), d.pop(square.key(3))) == (9, 9)
    assert (square(n=3), calls) == (9, [3, 3])
    with pytest.raises(TypeError, match="unhashable"):
        square([1])  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="A lambda cannot be memoized"):
        memoize(d)(lambda: 1)


def test_generator_cannot_be_memoized(configured: Client) -> None:
    """It would run at the first call, and fail when its result is stored."""
    d = Dict.from_name("d", client=configured)

    def rows(n: int) -> Iterator[int]:
        yield n

    async def pages(n: int) -> AsyncIterator[int]:
        yield n

    for generator in (rows, pages):
        with pytest.raises(InvalidError, match=r"The generator .*(rows|pages) cannot be memoized: return a list"):
            memoize(d)(generator)


def test_method_of_a_built_in_type_can_be_memoized(client: Client) -> None:
    d = Dict.from_name("d", create_if_missing=True, client=client)
    assert [memoize(d)(str.upper)("a") for _ in range(2)] == ["A", "A"]


class TestWithTombstones:
    """The same promises where the store cannot delete on a condition: an entry is then removed by a write."""

    async def _entombing(self, d: Any) -> Any:
        await d.hydrate()
        state = d.wrapped._state
        capabilities = replace(state.loaded.manifest.capabilities, conditional_delete=False)
        manifest = replace(state.loaded.manifest, capabilities=capabilities)
        state.remember(state.client, replace(state.loaded, manifest=manifest))
        return d

    async def test_tombstone_is_absent_for_every_reader(self, d: Any) -> None:
        await self._entombing(d)
        await d.put("k", 1)
        version = (await d.entry("k")).version
        assert await d.pop("k") == 1
        assert (await d.contains("k"), await d.get("k"), await d.entry("k"), await d.len()) == (False, None, None, 0)
        assert [] == await collect(d.keys()) == await collect(d.values()) == await collect(d.items())
        assert await d.pop("k", 5) == 5
        assert await d.put("k", 2, if_version=version) is False
        with pytest.raises(KeyError):
            await d.modify("k", lambda n: n)
        await d.clear()
        assert await d.len() == 0

    async def test_tombstone_is_replaced_by_every_put(self, d: Any) -> None:
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
            assert await d.pop("k") == 1
        assert await d.put("k", 1, skip_if_exists=True) is True
        assert await d.put("k", 2, skip_if_exists=True) is False

    async def test_deleted_dict_can_be_created_again(self, harness: Harness, d: Any) -> None:
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
            assert await e.pop("round") == round_
            await harness.objects.delete("e", client=harness.client)
            assert [handle.name for handle in await harness.objects.list(client=harness.client)] == ["d"]
            await harness.objects.delete("e", allow_missing=True, client=harness.client)


async def test_put_over_a_concurrently_replaced_tombstone_is_rejected() -> None:
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
    assert d["k"] == 1


def test_memoize_names_an_unhashable_argument(client: Client) -> None:
    @memoize(Dict.from_name("results", create_if_missing=True, client=client))
    def total(first: object, *rest: object, **options: object) -> int:
        return 1

    assert total(1, 2, a=(3,)) == 1
    for arguments, name in ((([1],), "first"), ((1, [2]), "rest")):
        with pytest.raises(TypeError, match=f"the argument '{name}' cannot be part of a key"):
            total(*arguments)
    with pytest.raises(TypeError, match="the argument 'options'"):
        total(1, a=[2])
