"""Semaphores: one lock for each permit.

The first permit's object is created before any other, so that its creation decides how many permits there are: all
others are created by a process that has seen the same number there, and whatever is read is compared with it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..errors import InvalidError
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

    async def acquire(acquired: list[Lease]) -> tuple[LockTarget, Lease]:
        return await wait_for(targets[0], timeout, lambda deadline: _try_permits(targets, lease, deadline, acquired))

    holding = await hold(acquire, holdings)
    return targets.index(holding.target), holding


async def _try_permits(
    targets: Sequence[LockTarget], lease: float, deadline: float, acquired: list[Lease]
) -> tuple[LockTarget, Lease] | None:
    """Acquire a permit that is free now, in random order; return None if there is none."""
    missing: list[int] = []
    for number in random.sample(range(len(targets)), len(targets)):
        target = targets[number]
        held = held_here(target)
        if held is not None and not held.lease.lost:
            _check_permits(target, held.lease.permits, len(targets))
            continue
        state = await LockState.read(target)
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
            f"{target.label} has {stored} permits, and not {permits}: pass the same number everywhere, or use another "
            "name to change it"
        )
