"""Counters: the sum of several entries, of which each addition changes one."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from .._nested import aclosing
from .._retry import ThrottledError
from ..errors import ConflictError, InvalidError, plural
from .conditional import cas_attempts
from .entries import Entries, LiveEntry

MAX_SHARDS_TRIED = 4
"""Among so many, none is waited for but the last: a store may throttle all of them."""


async def add(entries: Entries, name: str, shards: int, amount: float) -> None:
    """Add to a random shard, or to another where that one is busy: just changed, or throttled by the store.

    An addition that may have been applied stays with its shard. The last shard that is tried is waited for.

    Requests: 2, and 3 for each concurrent addition to the same shard.
    """
    attempts = cas_attempts(entries.store)
    busy: set[int] = set()
    while await attempts.next_attempt():
        number = random.choice([number for number in range(shards) if number not in busy])
        busy.add(number)
        is_last = len(busy) == min(shards, MAX_SHARDS_TRIED)
        key = _key(name, number)
        live = await entries.read_for_update(key)
        count = 0 if live is None else _count(entries, name, shards, live.value)
        value = {"count": _sum(entries, name, count, amount), "shards": shards}
        try:
            written = await _write(entries, key, value, live, leave_busy=not is_last)
        except (ThrottledError, ConflictError):
            if is_last:
                raise
            continue
        if written:
            return
        if is_last:
            busy.clear()
    raise ConflictError(f"{entries.label}: concurrent writers kept changing all shards of the counter {name!r}")


async def _write(entries: Entries, key: Any, value: Any, live: LiveEntry | None, *, leave_busy: bool) -> bool:
    if live is None:
        return await entries.create(key, value, leave_busy=leave_busy)
    return await entries.replace(key, value, live.version, leave_busy=leave_busy)


async def total(entries: Entries, name: str, shards: int) -> float:
    """Return the sum of the shards. Requests: 1 each."""

    async def read(number: int) -> float:
        live = await entries.read(_key(name, number))
        return 0 if live is None else _count(entries, name, shards, live.value)

    numbers: Iterable[int] = range(shards)
    async with aclosing(entries.store.runtime.map(read, numbers, entries.concurrency)) as counts:
        return sum([count async for count in counts])


def _sum(entries: Entries, name: str, count: float, amount: float) -> float:
    with suppress(OverflowError):
        total = count + amount
        if not isinstance(total, float) or math.isfinite(total):
            return total
    raise InvalidError(
        f"{entries.label}: {amount!r} cannot be added to the counter {name!r}: the sum with {count!r} exceeds the "
        "range of a float"
    )


def _key(name: str, number: int) -> tuple[str, str, int]:
    return "s3dict counter", name, number


def _count(entries: Entries, name: str, shards: int, value: Any) -> float:
    stored = value.get("shards") if isinstance(value, dict) else None
    if stored != shards:
        raise InvalidError(
            f"{entries.label}: the counter {name!r} has {plural(stored or 0, 'shard')}, and not {shards}: pass the "
            "same number everywhere, or use another name to change it"
        )
    count: float = value["count"]
    return count
