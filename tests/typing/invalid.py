"""Mistakes that type checkers find: each line that ends in `wrong` must be complained about, and no other."""

from __future__ import annotations

from s3dict import Client, Dict, memoize


def making() -> None:
    Dict("scores")  # wrong
    Dict.from_name()  # wrong
    Dict.from_name("a", True)  # wrong
    Dict.from_name("a", ttl="7d")  # wrong
    wrong: Dict[str, str] = Dict[str, int].from_name("a")  # wrong
    print(wrong, Dict[str, int].from_name("a")[1])  # wrong
    Dict.from_id(7)  # wrong
    Client()  # wrong
    Client("bucket", driver="sqlite")  # wrong
    Client("bucket", "prefix")  # wrong
    with Dict.ephemeral(ttl=None):  # wrong
        pass


def reading(d: Dict[str, int]) -> None:
    d.get()  # wrong
    d.get(1)  # wrong
    d.get("a", 1, 2)  # wrong
    d.pop(1)  # wrong
    d.contains(b"a")  # wrong
    d[1]  # wrong
    number: int = d.get("a")  # wrong
    text: str = d.pop("a")  # wrong
    other: int = d.get("a", "none")  # wrong
    print(number, text, other)


def writing(d: Dict[str, int]) -> None:
    d.put("a", "b")  # wrong
    d.put(1, 2)  # wrong
    d.put("a")  # wrong
    d.put("a", 1, True)  # wrong
    d.put("a", 1, skip=True)  # wrong
    d["a"] = "b"  # wrong
    d[1] = 2  # wrong
    del d[1]  # wrong
    d.update({"a": "b"})  # wrong
    d.update([("a", "b")])  # wrong
    d.update(a="b")  # wrong


def invalidating_cache(d: Dict[str, int]) -> None:
    d.put("a", 1, if_version=7)  # wrong
    d.setdefault("a", "b")  # wrong
    d.modify("a", str)  # wrong
    d.modify("a", lambda value: value, default="none")  # wrong
    d.get_or_compute("a", lambda: "b")  # wrong
    d.get_many([1, 2])  # wrong
    d.pop_many(1)  # wrong
    print(d.entry("a").value)  # wrong
    d.lock()  # wrong
    print(d.lock("job").token)  # wrong


def iterating(d: Dict[str, int]) -> None:
    for _ in d.keys.aio():  # wrong
        pass
    numbers: list[int] = list(d.keys())  # wrong
    strings: dict[str, str] = dict(d)  # wrong
    print(strings)
    print(len(d), numbers)  # wrong


def as_mapping(d: Dict[str, int]) -> None:
    mapping = d.as_mapping()
    mapping["a"] = "b"  # wrong
    mapping[1]  # wrong
    mapping.setdefault("a", "b")  # wrong
    mapping.update({"a": "b"})  # wrong
    mapping.update(a="b")  # wrong
    mapping.pop(1)  # wrong
    number: int = mapping.pop("a", None)  # wrong
    text: str = mapping.popitem()[1]  # wrong
    print(number, text, mapping.get.aio)  # wrong


async def asyncio(d: Dict[str, int]) -> None:
    await d.get("a")  # wrong
    await d.put("a", 1)  # wrong
    await d.get.aio(1)  # wrong
    await d.put.aio("a", "b")  # wrong
    number: int = await d.get.aio("a")  # wrong
    text: str = await d.pop.aio("a")  # wrong
    print(number, text)
    async for _ in d.keys():  # wrong
        pass
    async for _ in await d.keys.aio():  # wrong
        pass


def managing() -> None:
    Dict.objects.create(1)  # wrong
    Dict.objects.create("a", ttl="7d")  # wrong
    Dict.objects.delete()  # wrong
    Dict.objects.list(max_objects="3")  # wrong


def memoizing(d: Dict[str, int]) -> None:
    @memoize(d)
    def square(n: int) -> int:
        return n * n

    square("a")  # wrong
    square.key("a")  # wrong
    square.keys(1)  # wrong
    square.refresh("a")  # wrong
    square.forget()  # wrong
    memoize(d, version=2)  # wrong
    memoize(d, ignore=1)  # wrong
    memoize(d, stale="5")  # wrong


def durations(d: Dict[str, int]) -> None:
    d.lock("a", lease="30 s")  # wrong
    Client("b", timeout="2")  # wrong
