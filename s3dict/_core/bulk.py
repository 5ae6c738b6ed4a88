"""Many keys in one call: concurrent requests, and one error that says which keys did not make it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeVar

from .._format.keys import EncodedKey
from ..errors import Error, UncertainOutcomeError
from .entries import Entries, LiveEntry, key_repr

T = TypeVar("T")

MAX_KEYS_IN_MESSAGE = 10
BATCH_SIZE = 1000


@dataclass(frozen=True, slots=True)
class _EncodedPair:
    encoded: EncodedKey
    key: Any
    value: Any


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one key."""

    key: Any
    result: Any = None
    failure: Exception | None = None


async def write_many(entries: Entries, pairs: Iterable[tuple[Any, Any]]) -> None:
    """Puts all pairs, of which the last with an equal key counts; `concurrency` at a time. 1 request each."""
    in_flight: set[bytes] = set()
    deferred: dict[bytes, _EncodedPair] = {}

    def first_occurrences() -> Iterator[_EncodedPair]:
        # Two writes of one key must not be under way together, or the earlier could come last.
        for key, value in pairs:
            pair = _EncodedPair(entries.keys.encode(key), key, value)
            data = pair.encoded.data
            if data in in_flight or data in deferred:
                deferred[data] = pair
            else:
                in_flight.add(data)
                yield pair

    async def write(pair: _EncodedPair) -> _Outcome:
        try:
            await entries.write(pair.encoded, pair.key, pair.value)
        except Exception as error:
            return _Outcome(pair.key, failure=error)
        finally:
            in_flight.discard(pair.encoded.data)
        return _Outcome(pair.key)

    await _run_all(entries, write, first_occurrences())
    await _run_all(entries, write, deferred.values())


async def create_many(entries: Entries, pairs: Iterable[tuple[Any, Any]]) -> int:
    """Puts those pairs whose key is not there; how many. `concurrency` at a time. 1 request each, 2 where there is one.

    The first failure ends it, and names its key.
    """

    async def create(pair: tuple[Any, Any]) -> bool:
        return await entries.create(*pair)

    created = 0
    async with aclosing(entries.store.runtime.map(create, pairs, entries.concurrency)) as outcomes:
        async for was_created in outcomes:
            created += was_created
    return created


async def read_many(entries: Entries, keys: Iterable[Any]) -> dict[Any, Any]:
    """The values of those of the keys that are there, `concurrency` at a time. 1 request for each different key."""

    async def get_object(key: Any) -> _Outcome:
        return await _capture(key, lambda key: entries.read(key, parallel=False, allow_cached=True))

    return await _run_all(entries, get_object, _validated(entries, keys))


async def remove_many(entries: Entries, keys: Iterable[Any]) -> dict[Any, Any]:
    """Takes those of the keys out that are there, `concurrency` at a time. 2 requests for each different key, or 1."""

    async def remove(key: Any) -> _Outcome:
        return await _capture(key, entries.remove)

    return await _run_all(entries, remove, _validated(entries, keys))


def _validated(entries: Entries, keys: Iterable[Any]) -> list[Any]:
    """The different keys, once it is known that each of them is one: nothing is done before."""
    different = list(dict.fromkeys(keys))
    for key in different:
        entries.keys.encode(key)
    return different


def pairs_of(other: Any, more: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The pairs that ``dict.update(other, **more)`` would take."""
    if other is not None:
        if hasattr(other, "items"):
            yield from other.items()
        elif hasattr(other, "keys"):
            yield from ((key, other[key]) for key in other.keys())  # noqa: SIM118 (it may have nothing else of a mapping)
        else:
            yield from other
    yield from more.items()


async def batched(pairs: AsyncIterable[T]) -> AsyncGenerator[list[T], None]:
    """What comes, in lists of a thousand."""
    batch: list[T] = []
    async for pair in pairs:
        batch.append(pair)
        if len(batch) == BATCH_SIZE:
            yield batch
            batch = []
    if batch:
        yield batch


async def _capture(key: Any, operation: Callable[[Any], Awaitable[LiveEntry | None]]) -> _Outcome:
    try:
        return _Outcome(key, await operation(key))
    except Exception as error:
        return _Outcome(key, failure=error)


async def _run_all(
    entries: Entries, function: Callable[[T], Awaitable[_Outcome]], items: Iterable[T]
) -> dict[Any, Any]:
    """Calls `function` until the first failure, then waits for what is under way and raises; gives the results.

    What has been done stays done, so the error carries it: a value that was popped must not be lost with it.
    """
    completed: dict[Any, Any] = {}
    succeeded = 0
    failed: list[_Outcome] = []
    async with aclosing(
        entries.store.runtime.map(function, takewhile(lambda _: not failed, items), entries.concurrency)
    ) as outcomes:
        async for outcome in outcomes:
            if outcome.failure is not None:
                failed.append(outcome)
                continue
            succeeded += 1
            if outcome.result is not None:
                completed[outcome.key] = outcome.result.value
    if failed:
        raise _failure(failed, succeeded, completed)
    return completed


def _failure(failed: list[_Outcome], succeeded: int, completed: dict[Any, Any]) -> Exception:
    first = failed[0].failure
    names = ", ".join(key_repr(outcome.key) for outcome in failed[:MAX_KEYS_IN_MESSAGE])
    more = f" and {len(failed) - MAX_KEYS_IN_MESSAGE} more" if len(failed) > MAX_KEYS_IN_MESSAGE else ""
    message = f"{succeeded} keys are done, these failed: {names}{more}; nothing after them was tried. {first}"
    error = first._for_many(message) if isinstance(first, Error) else Error(message)
    error.failed_keys = tuple(outcome.key for outcome in failed)
    error.completed = completed
    error.uncertain = {o.key: o.failure.value for o in failed if isinstance(o.failure, UncertainOutcomeError)}
    error.__cause__ = first
    return error
