"""Semaphores: one lock for each permit.

The first permit's object is created before any other, so that its creation decides how many permits there are: all
others are created by a process that has seen the same number there, and whatever is read is compared with it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from ..errors import InvalidError, plural
from .locks import Holding, Lease, LockState, LockTarget, check_lease, held_here, hold, try_write, wait_for


async def enter(
    targets: Sequence[LockTarget], lease: float, timeout: float | None, holdings: list[Holding]
) -> tuple[int, Holding]:
    """Acquire one of the permits and start the heartbeat that renews its lease; return its number.

    Raises:
        LockTimeoutError: No permit was free within `timeout` seconds.
        InvalidError: The lease is not valid, or the semaphore has another number of permits.

    Requests: 2 when the first permit that is tried is free, as many as there are permits when none is.
    """
    check_lease(lease)
    holders: dict[int, str] = {}

    async def acquire(acquired: list[Lease]) -> tuple[LockTarget, Lease]:
        attempt = partial(_try_permits, targets, lease, acquired=acquired, holders=holders)
        return await wait_for(targets[0], timeout, attempt, holders)

    holding = await hold(acquire, holdings)
    return targets.index(holding.target), holding


async def _try_permits(
    targets: Sequence[LockTarget], lease: float, deadline: float, acquired: list[Lease], holders: dict[int, str]
) -> tuple[LockTarget, Lease] | None:
    """Acquire a permit that is free now, in random order; return None if there is none."""
    missing: list[int] = []
    for number in random.sample(range(len(targets)), len(targets)):
        target = targets[number]
        held = held_here(target)
        if held is not None and not held.lease.lost:
            _check_permits(target, held.lease.permits, len(targets))
            holders[number] = "this thread or task"
            continue
        state = await LockState.read(target)
        holders[number] = state.holder
        if state.record is not None:
            _check_permits(target, state.record.details.permits, len(targets))
        if state.found is None and number:
            missing.append(number)
            continue
        if state.is_free:
            permit = await try_write(target, state, lease, deadline, acquired)
            if permit is not None:
                return target, permit
            if state.found is None:
                # Another process has created the first permit, perhaps one that has another number of them.
                return None
    for number in missing:
        permit = await try_write(targets[number], LockState(None, None), lease, deadline, acquired)
        if permit is not None:
            return targets[number], permit
    return None


def _check_permits(target: LockTarget, stored: int, permits: int) -> None:
    if stored != permits:
        raise InvalidError(
            f"{target.label} has {plural(stored, 'permit')}, and not {permits}: pass the same number everywhere, or "
            "use another name to change it"
        )
