"""Values that are computed from the current one, or because there is none: atomically, or once for many callers."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from .._format.entry import EntryExpiry
from .._retry import UNLIMITED, RetryState, ThrottledError
from .._sentinel import UNSET
from ..errors import ConflictError, LockLostError, UncertainOutcomeError
from .conditional import Applied, cas_attempts
from .entries import Entries, LiveEntry
from .entry_codec import key_repr
from .locks import Lease, LockTarget, check_lease, check_not_reentrant, renewing, try_acquire


async def set_default(entries: Entries, key: Any, value: Any, expiry: EntryExpiry | None = None) -> Any:
    """Return the value; where there is none, put `value` and return it. Requests: 1 when there is one, else 2."""
    attempts = cas_attempts(entries.store)
    while await attempts.next_attempt():
        live = await entries.read(key)
        if live is not None:
            return live.value
        if await entries.create(key, value, expiry):
            return value
    raise ConflictError(f"{entries.label}: {key_repr(key)} kept appearing and vanishing")


async def modify(
    entries: Entries,
    key: Any,
    function: Callable[[Any], Any],
    default: Any,
    *,
    expiry: EntryExpiry | None = None,
    keep_expiry: bool = True,
) -> Any:
    """Replace the value by what `function` returns for it; repeat that when a concurrent writer came between.

    Raises:
        KeyError: There is no entry, and `default` is UNSET.
        ConflictError: Concurrent writers came between in every attempt.

    Requests: 2 without a concurrent writer.
    """
    live = await entries.read_for_update(key)
    attempts = cas_attempts(entries.store)
    while await attempts.next_attempt():
        if live is None and default is UNSET:
            raise entries.missing_key(key)
        value = await _maybe_await(function, default if live is None else live.value)
        kept = None if live is None else live.expiry
        try:
            put, live = await compare_and_set(entries, key, value, live, kept if keep_expiry else expiry)
        except ThrottledError:
            current = await entries.read_for_update(key)
            if (current and current.version) == (live and live.version):
                raise
            # A store that accepts one write of a key per second accepted those of concurrent writers all the time.
            live = current
            continue
        if put:
            return value
    raise ConflictError(
        f"{entries.label}: concurrent writers changed {key_repr(key)} before each of {attempts.retries + 1} attempts"
    )


async def compare_and_set(
    entries: Entries, key: Any, value: Any, live: LiveEntry | None, expiry: EntryExpiry | None
) -> tuple[bool, LiveEntry | None]:
    """Put the value in the place of `live`; return whether it was put, and the current entry if it was not."""
    if live is None:
        created = await entries.create(key, value, expiry)
        return created, None if created else await entries.read_for_update(key)
    outcome = await entries.compare_and_set(key, value, live.version, expiry)
    if isinstance(outcome, Applied):
        return True, None
    with entries.error_context(key):
        return False, None if outcome.current is None else entries.decode_live(
            outcome.current, entries.codec.keys.encode(key), key
        )


async def get_or_compute(
    entries: Entries,
    lock_target: LockTarget,
    key: Any,
    function: Callable[[], Any],
    lease: float,
    expiry: EntryExpiry | None = None,
) -> Any:
    """Return the value; where there is none, what `function` returns. Single-flight: one caller computes, others poll.

    The caller that computes holds a lock. If it dies, another computes when its lease has expired; if the function
    raises, its caller gets the exception, and another caller tries.

    Raises:
        UncertainOutcomeError: The store did not respond when the value was to be stored. The error carries the value.

    Requests: 1 when there is a value, 6 for the caller that computes, 2 each time another polls.
    """
    check_lease(lease)
    check_not_reentrant(lock_target)
    attempts = RetryState(entries.store.retries.writes, entries.store.runtime, max_attempts=UNLIMITED)
    while await attempts.next_attempt():
        await entries.revalidate()
        live = await entries.read(key)
        if live is not None:
            return live.value
        try:
            held = await try_acquire(lock_target, lease)
        except ThrottledError as error:
            attempts.record(error)
            continue
        attempts.record(None)
        if held is not None:
            return await _compute_locked(entries, lock_target, held, key, function, expiry)
    raise attempts.final_error()


async def _compute_locked(
    entries: Entries,
    lock_target: LockTarget,
    held: Lease,
    key: Any,
    function: Callable[[], Any],
    expiry: EntryExpiry | None,
) -> Any:
    value: Any = UNSET
    try:
        async with renewing(lock_target, held):
            value = await _compute(entries, key, function, expiry)
    except LockLostError:
        # The function took longer than the lease, or blocked the heartbeat. Its value is stored all the same.
        if value is UNSET:
            raise
    return value


async def _compute(entries: Entries, key: Any, function: Callable[[], Any], expiry: EntryExpiry | None) -> Any:
    # Another caller may have finished between the read and the acquisition.
    live = await entries.read(key)
    if live is not None:
        return live.value
    value = await _maybe_await(function)
    # Created and not put: should the lease have expired since, all callers still get the value that was first.
    retry = RetryState(entries.store.retries.writes, entries.store.runtime)
    while await retry.next_attempt():
        try:
            if not retry.retries and await entries.create(key, value, expiry):
                return value
            return await set_default(entries, key, value, expiry)
        except UncertainOutcomeError as error:
            # The lock is still held, so no other caller computes: read again, and store again what is missing.
            retry.record(error)
    try:
        raise retry.final_error(conditional=True)
    except UncertainOutcomeError as error:
        error.value = value
        raise


async def _maybe_await(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the function returns, awaited if it is awaitable."""
    result = function(*arguments)
    if inspect.isawaitable(result):
        awaited: Awaitable[Any] = result
        return await awaited
    return result
