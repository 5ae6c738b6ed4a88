"""Values that are computed from what is there, or because nothing is: atomically, or once for many callers."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from .._format.entry import EntryExpiry
from .._retry import UNLIMITED, RetryState
from .._sentinel import UNSET
from ..errors import ConflictError, LockLostError, UncertainOutcomeError
from .conditional import Applied, cas_attempts
from .entries import Entries, LiveEntry
from .entry_codec import key_repr
from .locks import HeldLock, LockTarget, check_lease, check_not_reentrant, renewing, try_acquire


async def set_default(entries: Entries, key: Any, value: Any, expiry: EntryExpiry | None = None) -> Any:
    """The value that is there, or `value` after putting it there. 1 request when there is one, 2 when there is none."""
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
    """Puts what `function` makes of the value; repeats it when another was faster. 2 requests when nobody was.

    Raises KeyError when there is no entry and `default` is UNSET, ConflictError when others were always faster.
    """
    live = await entries.read_for_update(key)
    attempts = cas_attempts(entries.store)
    while await attempts.next_attempt():
        if live is None and default is UNSET:
            raise entries.missing_key(key)
        value = await _result(function, default if live is None else live.value)
        kept = None if live is None else live.expiry
        put, live = await _compare_and_set(entries, key, value, live, kept if keep_expiry else expiry)
        if put:
            return value
    raise ConflictError(
        f"{entries.label}: concurrent writers changed {key_repr(key)} before each of {attempts.retries + 1} attempts"
    )


async def _compare_and_set(
    entries: Entries, key: Any, value: Any, live: LiveEntry | None, expiry: EntryExpiry | None
) -> tuple[bool, LiveEntry | None]:
    """Whether the value was put in the place of `live`, and what is there if it was not."""
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
    """The value that is there, or what `function` gives, which one of all callers calls. 1 request when it is there.

    The caller that computes holds a lock; the others look again and again. If it dies, its lease ends and another
    computes; if the function raises, its caller gets the exception and another tries.
    """
    check_lease(lease)
    check_not_reentrant(lock_target)
    attempts = RetryState(entries.store.retries.writes, entries.store.runtime, max_attempts=UNLIMITED)
    while await attempts.next_attempt():
        live = await entries.read(key)
        if live is not None:
            return live.value
        held = await try_acquire(lock_target, lease)
        if held is not None:
            return await _compute_locked(entries, lock_target, held, key, function, lease, expiry)
    raise AssertionError("unreachable: the attempts are not limited")


async def _compute_locked(
    entries: Entries,
    lock_target: LockTarget,
    held: HeldLock,
    key: Any,
    function: Callable[[], Any],
    lease: float,
    expiry: EntryExpiry | None,
) -> Any:
    value: Any = UNSET
    try:
        async with renewing(lock_target, held, lease):
            value = await _compute(entries, key, function, expiry)
    except LockLostError:
        # The function took longer than the lease, or held up the heartbeat. Its value is there all the same.
        if value is UNSET:
            raise
    return value


async def _compute(entries: Entries, key: Any, function: Callable[[], Any], expiry: EntryExpiry | None) -> Any:
    # Another may have finished between our look and our lock.
    live = await entries.read(key)
    if live is not None:
        return live.value
    # Created, not put: should our lease have run out meanwhile, all callers still get the value that was first.
    value = await _result(function)
    try:
        if await entries.create(key, value, expiry):
            return value
        return await set_default(entries, key, value, expiry)
    except UncertainOutcomeError:
        # Whether it was kept or not, it is what was asked for; if not, the next caller computes it again.
        live = await entries.read(key)
        return value if live is None else live.value


async def _result(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function gives, awaited if it is awaitable."""
    result = function(*arguments)
    if inspect.isawaitable(result):
        awaited: Awaitable[Any] = result
        return await awaited
    return result
