"""Values that are computed from the current one, or because there is none: atomically, or once for many callers."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import GeneratorType
from typing import Any

from .._format.entry import EntryExpiry
from .._record import Record, replace
from .._retry import UNLIMITED, RetryState, ThrottledError
from .._sentinel import UNSET
from ..errors import ConflictError, Error, LockLostError, UnavailableError, UncertainOutcomeError
from .conditional import Applied, cas_attempts
from .entries import Entries, LiveEntry, Version
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


class Refresh(Record):
    """When a stored value is computed again. Callers that do not compute it get the stored value until then.

    Args:
        stale: From how many seconds before it expires.
        early: With a probability that grows towards that moment, so that of many callers one comes first: XFetch, by
            Vattani, Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede Prevention" (VLDB 2015), whose
            beta this is. It needs the time that the value took to compute, which is stored with it.
        force: Now, whatever there is.
    """

    stale: float = 0.0
    early: float = 0.0
    force: bool = False

    def is_needed(self, live: LiveEntry) -> bool:
        """Return whether to compute the value again. False for an entry without a ttl of its own."""
        if live.expires_at is None or live.expiry is None:
            return False
        margin = self.stale - self.early * live.expiry.compute_ms / 1000 * math.log(1 - random.random())
        if margin <= 0 or margin >= (live.expires_at - live.last_modified).total_seconds():
            return margin > 0
        try:
            return live.server_time.is_after(live.expires_at - timedelta(seconds=margin))
        except Error:
            # The store's clock would have to be read, and does not respond: the value has been read all the same.
            return False


async def get_or_compute(
    entries: Entries,
    lock_target: LockTarget,
    key: Any,
    function: Callable[[], Any],
    lease: float,
    expiry: EntryExpiry | None = None,
    refresh: Refresh | None = None,
) -> Any:
    """Return the value; where there is none, what `function` returns. Single-flight: one caller computes, others poll.

    The caller that computes holds a lock. If it dies, another computes when its lease has expired; if the function
    raises, its caller gets the exception, and another caller tries.

    A value that is due to be computed again is computed by the caller that gets the lock, and replaces only the value
    that was found; all others return that one at once, and so does the caller whose function raises. With
    ``refresh.force``, the caller waits for the lock, so that its function begins after every earlier one has ended, and
    replaces whatever there is.

    Raises:
        UncertainOutcomeError: The store did not respond when the value was to be stored. The error carries the value.

    Requests: 1 when there is a value, 6 for the caller that computes, 2 for each poll of another caller, and 2 for a
    caller that finds a value due while another caller computes it. With `force`: 5, and 1 for each poll.
    """
    check_lease(lease)
    check_not_reentrant(lock_target)
    computation = _Computation(entries, lock_target, key, function, expiry, refresh or Refresh())
    attempts = RetryState(entries.store.retries.writes, entries.store.runtime, max_attempts=UNLIMITED)
    while await attempts.next_attempt():
        await entries.revalidate()
        live = None if computation.refresh.force else await entries.read(key)
        if live is not None and not computation.refresh.is_needed(live):
            return live.value
        try:
            held = await try_acquire(lock_target, lease)
        except Error as error:
            if live is not None:
                return live.value
            if not isinstance(error, ThrottledError):
                raise
            attempts.record(error)
            continue
        attempts.record(None)
        if held is not None:
            return await computation.run(held, live)
        if live is not None:
            return live.value
    raise attempts.final_error()


class _Computation(Record):
    """A call of `get_or_compute`, once it holds the lock."""

    entries: Entries
    lock_target: LockTarget
    key: Any
    function: Callable[[], Any]
    expiry: EntryExpiry | None
    refresh: Refresh

    async def run(self, held: Lease, found: LiveEntry | None) -> Any:
        value: Any = UNSET
        try:
            async with renewing(self.lock_target, held):
                value = await self._compute(held, found)
        except LockLostError:
            # The function took longer than the lease, or blocked the heartbeat. Its value is stored all the same.
            if value is UNSET:
                raise
        return value

    async def _compute(self, held: Lease, found: LiveEntry | None) -> Any:
        if self.refresh.force:
            return await self._overwrite(held)
        # Another caller may have finished between the read and the acquisition.
        current = await self.entries.read(self.key)
        if current is None:
            return await self._create(*await self._call())
        if found is None or current.version.write_id != found.version.write_id:
            return current.value
        return await self._replace(current)

    async def _call(self) -> tuple[Any, EntryExpiry | None]:
        """Return what the function returns, and the expiry of its entry."""
        runtime = self.entries.store.runtime
        started_at = runtime.monotonic()
        value = await _maybe_await(self.function)
        if self.expiry is None or not self.refresh.early:
            return value, self.expiry
        return value, replace(self.expiry, compute_ms=math.ceil((runtime.monotonic() - started_at) * 1000))

    async def _create(self, value: Any, expiry: EntryExpiry | None) -> Any:
        # Created and not put: should the lease have expired since, all callers still get the value that was first.
        entries = self.entries
        retry = RetryState(entries.store.retries.writes, entries.store.runtime)
        while await retry.next_attempt():
            try:
                if not retry.retries and await entries.create(self.key, value, expiry):
                    return value
                return await set_default(entries, self.key, value, expiry)
            except UncertainOutcomeError as error:
                # The lock is still held, so no other caller computes: read again, and store again what is missing.
                retry.record(error)
        raise _carrying(retry.final_error(conditional=True), value)

    async def _replace(self, current: LiveEntry) -> Any:
        """Compute a value that is due, and store it in the place of the one that was found, and of no other.

        What was put during the computation may be newer than what the computation has seen, and what was removed is
        not to come back.
        """
        try:
            value, expiry = await self._call()
        except Exception:
            import logging

            logging.getLogger("s3dict").warning(
                "%s: computing the value for %s again failed; the stored value is returned until it expires",
                *(self.entries.label, key_repr(self.key)),
                exc_info=True,
            )
            return current.value
        try:
            stored, latest = await compare_and_set(self.entries, self.key, value, current, expiry)
        except (UncertainOutcomeError, UnavailableError, ConflictError):
            # Either of the values is stored, and both are valid.
            return value
        return value if stored or latest is None else latest.value

    async def _overwrite(self, held: Lease) -> Any:
        """Compute a value and store it, whatever there is: what was stored during the computation is older.

        Unless the lock is lost: then what is stored was computed later. An entry that cannot be read is overwritten.
        """
        entries, key = self.entries, self.key
        version = await entries.peek(key)
        value, expiry = await self._call()
        attempts = cas_attempts(entries.store)
        while await attempts.next_attempt():
            try:
                if await self._put(value, version, expiry):
                    return value
            except UncertainOutcomeError as error:
                attempts.record(error)
            live = await entries.read(key) if held.lost else None
            if live is not None:
                return live.value
            version = await entries.peek(key)
        if attempts.last_error is None:
            raise ConflictError(
                f"{entries.label}: concurrent writers kept changing {key_repr(key)} while it was stored"
            )
        raise _carrying(attempts.final_error(conditional=True), value)

    async def _put(self, value: Any, version: Version | None, expiry: EntryExpiry | None) -> bool:
        if version is None:
            return await self.entries.create(self.key, value, expiry)
        return await self.entries.replace(self.key, value, version, expiry)


def _carrying(error: Error, value: Any) -> Error:
    if isinstance(error, UncertainOutcomeError):
        error.value = value
    return error


async def _maybe_await(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the function returns, awaited if it is awaitable."""
    result = function(*arguments)
    if _is_awaitable(result):
        awaited: Awaitable[Any] = result
        return await awaited
    return result


def _is_awaitable(result: object) -> bool:
    if not isinstance(result, GeneratorType):
        return isinstance(result, Awaitable)
    import inspect

    return inspect.isawaitable(result)
