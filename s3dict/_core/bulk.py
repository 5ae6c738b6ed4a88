"""Many keys in one call: concurrent requests, and one error that names the keys that failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import takewhile
from typing import Any, TypeVar

from .._format.entry import EntryExpiry
from .._format.keys import EncodedKey
from .._nested import aclosing
from .._record import Record
from ..errors import Error, UncertainOutcomeError
from .conditional import DeleteOutcome
from .entries import Entries, RemovedEntry, Version, carry
from .entry_codec import key_repr

T = TypeVar("T")

MAX_KEYS_IN_MESSAGE = 10
BATCH_SIZE = 1000


class _EncodedPair(Record):
    encoded: EncodedKey
    key: Any
    value: Any
    expiry: EntryExpiry | None


class _Outcome(Record):
    """The outcome for one key."""

    key: Any
    result: tuple[()] | tuple[Any] = ()
    """What `completed` is to contain for the key, or nothing."""
    failure: Exception | None = None


async def write_many(entries: Entries, pairs: Iterable[tuple[Any, Any]], expiry: EntryExpiry | None = None) -> None:
    """Put all pairs, `concurrency` at a time; of several with equal keys the last one counts. Requests: 1 each."""
    await write_entries(entries, ((key, value, expiry) for key, value in pairs))


async def write_entries(entries: Entries, items: Iterable[tuple[Any, Any, EntryExpiry | None]]) -> None:
    """`write_many`, each pair with an expiry of its own."""
    entries, in_flight = entries.paced(), set[bytes]()
    deferred: dict[bytes, _EncodedPair] = {}

    failures: list[Exception] = []

    def first_occurrences() -> Iterator[_EncodedPair]:
        # Two writes of one key must not be in flight together, or the earlier one could be applied last.
        try:
            for key, value, expiry in items:
                pair = _EncodedPair(entries.codec.keys.encode(key), key, value, expiry)
                data = pair.encoded.data
                if data in in_flight or data in deferred:
                    deferred[data] = pair
                else:
                    in_flight.add(data)
                    yield pair
        except Exception as error:
            # Of the iterable, or of what is not a key. The pairs before it are stored first, as by `dict.update`.
            failures.append(error)

    async def put(pair: _EncodedPair) -> _Outcome:
        try:
            await entries.revalidate()
            await entries.put(pair.encoded, pair.key, pair.value, pair.expiry)
        except Exception as error:
            return _Outcome(pair.key, failure=error)
        finally:
            in_flight.discard(pair.encoded.data)
        return _Outcome(pair.key, (), None)

    await _run_all(entries, put, first_occurrences())
    await _run_all(entries, put, deferred.values())
    if failures:
        raise failures[0]


async def create_many(entries: Entries, items: Iterable[tuple[Any, Any, EntryExpiry | None]]) -> int:
    """Put the keys and values whose keys are missing, `concurrency` at a time; return how many.

    The first failure ends it, and names its key.

    Requests: 1 each, 2 for a key that exists.
    """
    entries = entries.paced()

    async def create(item: tuple[Any, Any, EntryExpiry | None]) -> bool:
        await entries.revalidate()
        return await entries.create(*item)

    created = 0
    async with aclosing(entries.store.runtime.map(create, items, entries.concurrency)) as outcomes:
        async for was_created in outcomes:
            created += was_created
    return created


async def read_many(entries: Entries, keys: Iterable[Any]) -> dict[Any, Any]:
    """Return the values of those keys that exist, `concurrency` at a time. Requests: 1 for each distinct key."""
    entries = entries.paced()

    async def read(key: Any) -> _Outcome:
        try:
            live = await entries.read(key, parallel=False, allow_cached=True)
        except Exception as error:
            return _Outcome(key, failure=error)
        return _Outcome(key, () if live is None else (live.value,), None)

    return await _run_all(entries, read, _validated(entries, keys))


async def remove_many(entries: Entries, keys: Iterable[Any]) -> dict[Any, Any]:
    """Remove those keys that exist, `concurrency` at a time; return their values.

    Requests: 2 for each distinct key, 1 for a missing one.
    """
    entries = entries.paced()

    # Noted by the worker: what has not reached this caller when it is interrupted has been removed all the same.
    removed: dict[Any, RemovedEntry] = {}
    uncertain: dict[Any, Any] = {}

    async def remove(key: Any) -> _Outcome:
        try:
            await entries.revalidate()
            entry = await entries.remove(key)
        except Exception as error:
            if isinstance(error, UncertainOutcomeError):
                uncertain[key] = error.value
            return _Outcome(key, failure=error)
        except BaseException as interruption:
            lost: Any = interruption
            if hasattr(lost, "value"):
                uncertain[key] = lost.value
            raise
        if entry is None:
            return _Outcome(key)
        removed[key] = entry
        return _Outcome(key, (entry.live.value,))

    try:
        return await _run_all(entries, remove, _validated(entries, keys))
    except Error:
        raise
    except BaseException as interruption:
        # A further interruption is raised as this one: what this one carries must not be lost.
        with suppress(BaseException):
            await entries.store.runtime.shielded(lambda: _put_back(entries, removed))
        if removed:
            carry(interruption, "completed", {key: entry.live.value for key, entry in removed.items()})
        if uncertain:
            carry(interruption, "uncertain", uncertain)
        raise


async def _put_back(entries: Entries, removed: dict[Any, RemovedEntry]) -> None:
    """Put back what an interrupted call has removed, within one timeout, and take it out of `removed`."""
    runtime = entries.store.runtime
    deadline = runtime.monotonic() + entries.store.timeout

    async def put_back(key: Any) -> None:
        if runtime.monotonic() < deadline:
            await entries.put_back(removed[key])
            if not removed[key].removal.is_value_missing:
                del removed[key]

    async with aclosing(runtime.map(put_back, list(removed), entries.concurrency)) as outcomes:
        async for _ in outcomes:
            pass


async def discard_many(entries: Entries, keys: Iterable[Any]) -> list[Any]:
    """Remove those keys that exist, `concurrency` at a time, without reading their values; return them.

    Requests: for each distinct key 1 of its first bytes, and 1 to remove it. Where the store supports conditional bulk
    deletion, 1 removes up to a thousand.
    """
    entries = entries.paced()
    distinct = _validated(entries, keys)
    removed: dict[Any, Any] = {}
    batches = [distinct[start : start + BATCH_SIZE] for start in range(0, len(distinct), BATCH_SIZE)]
    for batch in batches:
        removed = await _discard_batch(entries, batch, removed)
    return [key for key in distinct if key in removed]


async def _discard_batch(entries: Entries, keys: list[Any], removed: dict[Any, Any]) -> dict[Any, Any]:
    """Remove the keys; return those removed so far."""
    unknown: dict[Any, Version] = {}

    async def discard(key: Any) -> _Outcome:
        try:
            await entries.revalidate()
            is_unknown = key in unknown
            removed_now = await (entries.settle_discard(key, unknown[key]) if is_unknown else entries.discard(key))
        except Exception as error:
            return _Outcome(key, failure=error)
        return _Outcome(key, (True,) if removed_now else ())

    async def peek(key: Any) -> tuple[Any, Version | Error | None]:
        try:
            await entries.revalidate()
            return key, await entries.peek(key)
        except Error as error:
            return key, error

    if not entries.capabilities.conditional_bulk_delete:
        return await _run_all(entries, discard, keys, removed)
    async with aclosing(entries.store.runtime.map(peek, keys, entries.concurrency)) as peeked:
        found = [item async for item in peeked]
    versions = {key: version for key, version in found if isinstance(version, Version)}
    outcomes = await entries.discard_versions(versions)
    unknown.update((key, versions[key]) for key, outcome in outcomes.items() if outcome is DeleteOutcome.UNKNOWN)
    removed |= {key: True for key, outcome in outcomes.items() if outcome is DeleteOutcome.APPLIED}
    # One by one: what has changed since, what could not be read, and what may or may not have been removed.
    remaining = [key for key, outcome in outcomes.items() if outcome is not DeleteOutcome.APPLIED]
    remaining += [key for key, error in found if isinstance(error, Error)]
    return await _run_all(entries, discard, remaining, removed)


def _validated(entries: Entries, keys: Iterable[Any]) -> list[Any]:
    """Return the distinct keys; raise before anything is done if one of them is not a key."""
    distinct = list(dict.fromkeys(keys))
    for key in distinct:
        entries.codec.keys.encode(key)
    return distinct


def pairs_of(other: Any, more: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the pairs that ``dict.update(other, **more)`` takes."""
    if other is not None:
        if hasattr(other, "items"):
            yield from other.items()
        elif hasattr(other, "keys"):
            # It may lack every other method of a mapping.
            yield from ((key, other[key]) for key in other.keys())  # noqa: SIM118
        else:
            yield from other
    yield from more.items()


async def batched(pairs: AsyncIterable[T]) -> AsyncGenerator[list[T], None]:
    """Yield the items in lists of up to a thousand, also those before a failure."""
    batch: list[T] = []
    try:
        async for pair in pairs:
            batch.append(pair)
            if len(batch) == BATCH_SIZE:
                yield batch
                batch = []
    except Exception:
        yield batch
        raise
    yield batch


async def _run_all(
    entries: Entries,
    function: Callable[[T], Awaitable[_Outcome]],
    items: Iterable[T],
    earlier: Mapping[Any, Any] | None = None,
) -> dict[Any, Any]:
    """Call `function` until the first failure, then wait for what is in flight and raise; return the results.

    What is completed stays completed, so the error carries it: a value that was popped must not be lost with it. So are
    the results of earlier calls.
    """
    completed: dict[Any, Any] = dict(earlier or {})
    succeeded = len(completed)
    failed: list[_Outcome] = []
    async with aclosing(
        entries.store.runtime.map(function, takewhile(lambda _: not failed, items), entries.concurrency)
    ) as outcomes:
        async for outcome in outcomes:
            if outcome.failure is not None:
                failed.append(outcome)
                continue
            succeeded += 1
            for result in outcome.result:
                completed[outcome.key] = result
    if failed:
        raise _failure(failed, succeeded, completed)
    return completed


def _failure(failed: list[_Outcome], succeeded: int, completed: dict[Any, Any]) -> Exception:
    first = failed[0].failure
    names = ", ".join(key_repr(outcome.key) for outcome in failed[:MAX_KEYS_IN_MESSAGE])
    more = f" and {len(failed) - MAX_KEYS_IN_MESSAGE} more" if len(failed) > MAX_KEYS_IN_MESSAGE else ""
    # Without what the error of one key says of its `value`.
    cause = Error.__str__(first) if isinstance(first, Error) else first
    message = f"{succeeded} done, {len(failed)} failed: {names}{more}; nothing after them was tried. {cause}"
    uncertain = {o.key: o.failure.value for o in failed if isinstance(o.failure, UncertainOutcomeError)}
    if uncertain:
        message += ". What may have been removed is the error's `uncertain`"
    error = first._for_many(message) if isinstance(first, Error) else Error(message)
    error.dict_name = first.dict_name if isinstance(first, Error) else None
    error.failed_keys = tuple(outcome.key for outcome in failed if outcome.key not in uncertain)
    error.completed = completed
    error.uncertain = uncertain
    error.__cause__ = first
    return error
