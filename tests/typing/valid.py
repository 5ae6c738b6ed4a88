"""What type checkers infer of every public call. Nothing here runs: `test_typing.py` has it checked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, ItemsView, Iterator, MutableMapping, ValuesView
from datetime import datetime, timedelta
from typing import Any, Protocol, assert_type

from s3dict import CacheInfo, Client, Dict, DictInfo, Entry, InvalidError, code_hash, memoize


def making(client: Client) -> None:
    scores: Dict[str, int] = Dict.from_name("scores", create_if_missing=True)
    by_id: Dict[tuple[int, str], bytes | None] = Dict.from_id("di-x", client)
    chosen: Dict[str, int] = Dict.from_name("x", ttl=timedelta(days=1), codec="json", client=client)
    forever: Dict[str, int] = Dict.from_name("x", ttl=None, environment_name="test")
    assert_type(scores["a"], int)
    assert_type(by_id[1, "a"], bytes | None)
    assert_type(chosen.name, str | None)
    assert_type(forever.object_id, str)
    assert_type(Dict.from_name("x"), Dict[Any, Any])
    assert_type(Dict[str, int].from_name("x"), Dict[str, int])
    assert_type(Dict[str, int].from_id("x"), Dict[str, int])
    assert_type(Dict.from_id("x"), Dict[Any, Any])


def ephemeral() -> None:
    with Dict.ephemeral() as d:
        assert_type(d, Dict[Any, Any])
        typed: Dict[str, int] = d
        assert_type(typed.get("a"), int | None)


async def ephemeral_in_asyncio(client: Client) -> None:
    async with Dict.ephemeral(client=client) as d:
        assert_type(d, Dict[Any, Any])


def getting(d: Dict[str, int]) -> None:
    assert_type(d.get("a"), int | None)
    assert_type(d.get("a", 0), int)
    assert_type(d.get("a", None), int | None)
    assert_type(d.get("a", "none"), int | str)
    assert_type(d.get("a", default=0.5), int | float)
    assert_type(d.get(key="a"), int | None)
    assert_type(d.pop("a"), int)
    assert_type(d.pop("a", None), int | None)
    assert_type(d.pop("a", default="none"), int | str)
    assert_type(d.contains("a"), bool)
    assert_type(d.len(), int)


async def getting_in_asyncio(d: Dict[str, int]) -> None:
    assert_type(await d.get.aio("a"), int | None)
    assert_type(await d.get.aio("a", 0), int)
    assert_type(await d.get.aio("a", None), int | None)
    assert_type(await d.get.aio("a", default="none"), int | str)
    assert_type(await d.pop.aio("a"), int)
    assert_type(await d.pop.aio("a", None), int | None)
    assert_type(await d.contains.aio("a"), bool)
    assert_type(await d.len.aio(), int)


def putting(d: Dict[str, int], other: Dict[str, int], pairs: Iterator[tuple[str, int]]) -> None:
    assert_type(d.put("a", 1), bool)
    assert_type(d.put("a", 1, skip_if_exists=True), bool)
    assert_type(d.put(key="a", value=1), bool)
    d.update({"a": 1})
    d.update({"a": 1}, b=2)
    d.update(b=2)
    d.update(pairs)
    d.update(other)
    d.clear()


async def putting_in_asyncio(d: Dict[str, int], other: Dict[str, int]) -> None:
    assert_type(await d.put.aio("a", 1), bool)
    assert_type(await d.put.aio("a", 1, skip_if_exists=True), bool)
    await d.update.aio({"a": 1}, b=2)
    await d.update.aio([("a", 1)])
    await d.update.aio(other)
    await d.clear.aio()


def invalidating_cache(d: Dict[str, int]) -> None:
    entry = d.entry("a")
    assert_type(entry, Entry[str, int] | None)
    if entry is not None:
        assert_type(entry.value, int)
        assert_type(d.put(entry.key, entry.value + 1, if_version=entry.version), bool)
    assert_type(d.setdefault("a", 1), int)
    assert_type(d.modify("a", lambda value: value + 1), int)
    assert_type(d.modify("a", lambda value: value + 1, default=0), int)
    assert_type(d.get_or_compute("a", lambda: 1, lease=5.0), int)
    assert_type(d.get_many(["a", "b"]), dict[str, int])
    assert_type(d.pop_many(["a", "b"]), dict[str, int])
    with d.lock("job", lease=5, timeout=1.5) as held:
        assert_type(held.token, int)
        assert_type(held.lost, bool)


async def changing_in_asyncio(d: Dict[str, int]) -> None:
    async def compute() -> int:
        return 1

    async def increase(value: int) -> int:
        return value + 1

    assert_type(await d.entry.aio("a"), Entry[str, int] | None)
    assert_type(await d.setdefault.aio("a", 1), int)
    assert_type(await d.modify.aio("a", increase, default=0), int)
    assert_type(await d.get_or_compute.aio("a", compute), int)
    assert_type(await d.get_many.aio({"a"}), dict[str, int])
    async with d.lock("job") as held:
        assert_type(held.token, int)


def memoizing(d: Dict[str, int]) -> None:
    @memoize(d, lease=5.0)
    def width(url: str, factor: int = 1) -> float:
        return len(url) * factor / 2

    @memoize(d)
    async def height(url: str) -> float:
        return len(url)

    assert_type(width("a", factor=2), float)
    assert_type(width.key("a", factor=2), tuple[Any, ...])
    assert_type(height.key("a"), tuple[Any, ...])
    assert_type(width.refresh("a", factor=2), float)
    assert_type(width.forget("a"), bool)
    assert_type(width.cache_info(), CacheInfo)
    assert_type(width.cache_info().hits, int)

    @memoize(d, ttl=60, stale=timedelta(seconds=5), early=1, version=code_hash, ignore=["factor"])
    def depth(url: str, factor: int = 1) -> float:
        return len(url)

    def lower(url: str) -> str:
        return url.lower()

    @memoize(d, version="2", key=lower)
    def length(url: str) -> int:
        return len(url)

    assert_type(depth("a"), float)
    assert_type(length("a"), int)
    blocking: Callable[[str, int], float] = width
    in_asyncio: Callable[[str], Coroutine[Any, Any, float]] = height
    print(blocking, in_asyncio)


async def memoizing_in_asyncio(d: Dict[str, int]) -> None:
    @memoize(d)
    def width(url: str, factor: int = 1) -> float:
        return len(url) * factor / 2

    @memoize(d)
    async def height(url: str) -> float:
        return len(url)

    assert_type(await width.aio("a", factor=2), float)
    assert_type(await width.refresh.aio("a"), float)
    assert_type(await width.forget.aio("a"), bool)
    assert_type(await height("a"), float)
    assert_type(await height.aio("a"), float)
    assert_type(await height.refresh("a"), float)
    assert_type(await height.forget("a"), bool)
    assert_type(await height.forget.aio("a"), bool)
    assert_type(await d.get_or_compute.aio("a", lambda: 1, ttl=60, stale=5, early=1.5, refresh=True), int)


def iterating(d: Dict[str, int]) -> None:
    assert_type(d.keys(), Iterator[str])
    assert_type(d.values(), Iterator[int])
    assert_type(d.items(), Iterator[tuple[str, int]])
    for key in d:
        assert_type(key, str)
    for key, value in d.items():
        assert_type(key, str)
        assert_type(value, int)
    assert_type(list(d.values()), list[int])
    assert_type(dict(d), dict[str, int])
    assert_type({**d}, dict[str, int])
    keywords(**d)
    assert_type(dict(d.items()), dict[str, int])


def keywords(**numbers: int) -> None:
    print(numbers)


async def iterating_in_asyncio(d: Dict[str, int]) -> None:
    assert_type(d.keys.aio(), AsyncGenerator[str, None])
    assert_type(d.values.aio(), AsyncGenerator[int, None])
    async for key, value in d.items.aio():
        assert_type(key, str)
        assert_type(value, int)
    assert_type([value async for value in d.values.aio()], list[int])


def operators(d: Dict[str, int]) -> None:
    d["a"] = 1
    assert_type(d["a"], int)
    assert_type("a" in d, bool)
    del d["a"]
    d["a"] += 1


def as_mapping(d: Dict[str, int], pairs: Iterator[tuple[str, int]]) -> MutableMapping[str, int]:
    mapping = d.as_mapping()
    assert_type(mapping["a"], int)
    assert_type(len(mapping), int)
    assert_type(mapping.get("a"), int | None)
    assert_type(mapping.get("a", 0), int)
    assert_type(mapping.get("a", "none"), int | str)
    assert_type(mapping.pop("a"), int)
    assert_type(mapping.pop("a", 0), int)
    assert_type(mapping.pop("a", None), int | None)
    assert_type(mapping.popitem(), tuple[str, int])
    assert_type(mapping.setdefault("a", 1), int)
    assert_type(mapping.items(), ItemsView[str, int])
    assert_type(mapping.values(), ValuesView[int])
    assert_type(mapping.copy(), dict[str, int])
    assert_type(dict(mapping), dict[str, int])
    assert_type(mapping | {"b": 2}, dict[str, int])
    assert_type({"b": 2.5} | mapping, dict[str, float | int])
    mapping |= {"b": 2}
    mapping.update({"a": 1}, b=2)
    mapping.update(pairs)
    mapping.update(mapping)
    mapping.update(b=2)
    mapping.clear()
    for key in mapping:
        assert_type(key, str)
    return mapping


class Scorer:
    @memoize(Dict.from_name("scores"))
    def score(self, text: str) -> int:
        return len(text)


def memoized_method(scorer: Scorer) -> None:
    assert_type(scorer.score("a"), int)
    assert_type(Scorer.score(scorer, "a"), int)
    assert_type(scorer.score.key("a"), tuple[Any, ...])
    assert_type(scorer.score.refresh("a"), int)
    assert_type(scorer.score.forget(text="a"), bool)


def durations(client: Client) -> None:
    Client("b", timeout=2, cache=0.5)
    Client("b", timeout=timedelta(seconds=2), cache=timedelta(seconds=1))
    d: Dict[str, int] = Dict.from_name("d", client=client, ttl=3600)
    Dict.objects.create("d", ttl=3600.5)
    d.lock("a", lease=timedelta(seconds=30), timeout=timedelta(seconds=1))
    d.get_or_compute("a", lambda: 1, lease=timedelta(seconds=30))


def closing(client: Client) -> None:
    with client as same:
        assert_type(same, Client)
    client.close()


async def closing_in_asyncio(client: Client) -> None:
    async with client as same:
        assert_type(same, Client)
    await client.aclose()


def hydrating(d: Dict[str, int], client: Client) -> None:
    assert_type(d.hydrate(), Dict[str, int])
    assert_type(d.hydrate(client), Dict[str, int])
    assert_type(d.info(), DictInfo)
    assert_type(d.info().created_at, datetime)
    assert_type(d.client, Client)


async def hydrating_in_asyncio(d: Dict[str, int]) -> None:
    assert_type(await d.hydrate.aio(), Dict[str, int])
    assert_type(await d.info.aio(), DictInfo)


def managing(client: Client) -> None:
    Dict.objects.create("a", allow_existing=True, environment_name="test", client=client, ttl=None, codec="bytes")
    assert_type(Dict.objects.list(max_objects=3, created_before="2024-01-01"), list[Dict[Any, Any]])
    Dict.objects.delete("a", allow_missing=True)


async def managing_in_asyncio() -> None:
    await Dict.objects.create.aio("a")
    assert_type(await Dict.objects.list.aio(), list[Dict[Any, Any]])
    await Dict.objects.delete.aio("a")


def passing_a_method_on(d: Dict[str, int]) -> list[bool]:
    put = d.put
    return list(map(put, ["a", "b"], [1, 2]))


class Getter(Protocol):
    def get(self, key: str, default: Any = None, /) -> Any: ...


class Store(Protocol):
    """What an application may declare of a dict that it is passed."""

    def get(self, key: str, /) -> int | None: ...
    def put(self, key: str, value: int) -> bool: ...
    def pop(self, key: str, /) -> int: ...
    def items(self) -> Iterator[tuple[str, int]]: ...
    def keys(self) -> Iterator[str]: ...


def implementing_a_protocol(d: Dict[str, int]) -> tuple[Store, Getter]:
    return d, d


def nesting(d: Dict[str, Dict[str, int]]) -> int | None:
    return d["inner"].get("a")


def errors() -> str:
    try:
        Client("bucket", driver="memory", signing_keys=[b"k" * 16, "k" * 16], max_value_bytes=1)
    except InvalidError as error:
        assert_type(error.dict_name, str | None)
        return str(error)
    return ""
