"""Counter: what `Dict.counter` returns."""

from __future__ import annotations

import math
from typing import Any, Protocol

from ._aio import dual_method
from ._core.entries import Entries
from ._pickle import restore
from .errors import InvalidError


class HasEntries(Protocol):
    """What a counter needs of the Dict that it belongs to."""

    @property
    def _async_view(self) -> HasEntries: ...
    async def _open(self, *keys: Any) -> Entries: ...


class Counter:
    """A number that many processes add to at a time. Make one with `Dict.counter`.

    It is the sum of several entries, its shards. Each addition is a compare-and-set on one of them, chosen at random,
    so that concurrent additions seldom meet: a store writes one object only so many times a second.

    ::

        hits = d.counter("hits")
        hits.add()
        hits.value()        # 1
    """

    __slots__ = ("__weakref__", "_aio", "_dict", "_name", "_shards")

    def __init__(self, d: HasEntries, name: str, shards: int, *, aio: bool = False) -> None:
        self._dict = d
        self._name = name
        self._shards = shards
        self._aio = aio

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def shards(self) -> int:
        """How many entries its sum is of."""
        return self._shards

    @dual_method
    async def add(self, amount: float = 1) -> None:
        """Add a number, which may be negative. Each call counts exactly once.

        Raises:
            ConflictError: Concurrent writers kept changing the shards.
            InvalidError: The amount is not a finite number, or a shard was written with another number of shards.
            UncertainOutcomeError: A response was lost, and it is unknown whether the number was added.

        Requests:
            2 without a concurrent addition to the same shard.
        """
        number = _to_number(amount)
        if number is None:
            raise InvalidError(f"Invalid amount: {amount!r}. It is a finite number")
        from ._core.counters import add

        await add(await self._open(), self._name, self._shards, number)

    @dual_method
    async def value(self) -> float:
        """Return the sum. It is not a snapshot: of additions during the call, any may be included.

        Raises:
            InvalidError: A shard was written with another number of shards.

        Requests:
            1 for each shard, side by side.
        """
        from ._core.counters import total

        return await total(await self._open(), self._name, self._shards)

    def __repr__(self) -> str:
        return f"{self._dict!r}.counter({self._name!r}, {self._shards})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._aio:
            return restore, ("AsyncView", Counter(self._dict, self._name, self._shards))
        return restore, ("Counter", self._dict, self._name, self._shards)

    @property
    def _async_view(self) -> Counter:
        return self if self._aio else Counter(self._dict, self._name, self._shards, aio=True)

    async def _open(self) -> Entries:
        return await (self._dict._async_view if self._aio else self._dict)._open()


def _to_number(amount: object) -> float | None:
    """Return it as a number of Python; None where it cannot be added: with infinity or NaN, the sum would stay that.

    Numbers of NumPy have a fixed size, so that a sum of them may overflow without an error.
    """
    import numbers

    if isinstance(amount, numbers.Integral):
        return int(amount)
    if isinstance(amount, numbers.Rational):
        return amount  # type: ignore[return-value]
    if isinstance(amount, numbers.Real) and math.isfinite(amount):
        return float(amount)
    return None


def unpickle_counter(d: Any, name: str, shards: int) -> Counter:
    counter: Counter = d.counter(name, shards)
    return counter


# Pickled, and shown, as what users import.
Counter.__module__ = "s3dict"
