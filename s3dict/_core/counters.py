"""Counters: the sum of several entries, of which each addition changes one."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from .._nested import aclosing
from ..errors import ConflictError, InvalidError
from .compute import compare_and_set
from .conditional import cas_attempts
from .entries import Entries


async def add(entries: Entries, name: str, shards: int, amount: float) -> None:
    """Add to a random shard; where a concurrent writer was faster, to another. Requests: 2 without one."""
    attempts = cas_attempts(entries.store)
    while await attempts.next_attempt():
        key = _key(name, random.randrange(shards))
        live = await entries.read_for_update(key)
        count = 0 if live is None else _count(entries, name, shards, live.value)
        value = {"count": count + amount, "shards": shards}
        written, _ = await compare_and_set(entries, key, value, live, None)
        if written:
            return
    raise ConflictError(f"{entries.label}: concurrent writers kept changing all shards of the counter {name!r}")


async def total(entries: Entries, name: str, shards: int) -> float:
    """Return the sum of the shards. Requests: 1 each."""

    async def read(number: int) -> float:
        live = await entries.read(_key(name, number))
        return 0 if live is None else _count(entries, name, shards, live.value)

    numbers: Iterable[int] = range(shards)
    async with aclosing(entries.store.runtime.map(read, numbers, entries.concurrency)) as counts:
        return sum([count async for count in counts])


def _key(name: str, number: int) -> tuple[str, str, int]:
    return "s3dict counter", name, number


def _count(entries: Entries, name: str, shards: int, value: Any) -> float:
    stored = value.get("shards") if isinstance(value, dict) else None
    if stored != shards:
        raise InvalidError(
            f"{entries.label}: the counter {name!r} has {stored} shards, and not {shards}: pass the same number "
            "everywhere, or use another name to change it"
        )
    count: float = value["count"]
    return count
