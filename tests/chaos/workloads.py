"""The operations of the processes during faults: on shared keys, on their own keys, and under a lock.

All that they see of shared keys is recorded for the checker of histories; what was acknowledged of their own entries is
in journals; how often they counted under the lock is what they return.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from s3dict import Client, ConflictError, Dict, LockLostError, LockTimeoutError, UnavailableError, UncertainOutcomeError

from ..linearizability.workloads import UNCERTAIN, Life
from ..races.workers import Worker
from ..support.history import Recorder
from ..support.modes import AnyMode
from .journal import JournalFile

__all__ = ["COUNTER", "DRIVERS", "Counted", "Progress", "reach", "run", "skewed"]

COUNTER = "counted under the lock"
DRIVERS = ("boto3", "boto3", "obstore", "obstore")
"""Of the workers in turn; every other works in asyncio."""
_LEASE = 30.0
_WITHOUT_LOCKS = 0.9
_LOCK_PATIENCE = 0.5
_FIRST_RESPONSE_SECONDS = 60.0
_FAILURES = (ConflictError, UnavailableError, UncertainOutcomeError, LockLostError)


@dataclass(frozen=True, slots=True)
class Progress:
    """The options that the processes of one round share."""

    directory: Path
    seed: str
    seconds: float
    keys: tuple[str, ...]
    timeout: float
    skew: float = 0.0
    """By how many seconds the clocks are wrong by which boto3 signs: fast here, slow there."""
    locks: bool = True
    plain_puts: bool = True
    """On keys that are shared."""


@dataclass(slots=True)
class Counted:
    """The certain and the possible increments under the lock, and the duration of the slowest operation."""

    certain: int = 0
    uncertain: int = 0
    slowest: float = 0.0


def reach(handle: Dict[Any, Any], driver: Any, timeout: float) -> Any:
    """Return the same dict through a client with that driver and timeout."""
    known: Any = handle
    client: Client = known._state.client
    patient = Client(
        client.bucket,
        prefix=client.prefix,
        endpoint_url=client.endpoint_url,
        driver=driver,
        timeout=timedelta(seconds=timeout),
    )
    reached: Any = Dict.from_id(handle.object_id, patient)
    # Before the work, so that whatever goes wrong meets what counts.
    reached._state.remember(patient, _hydrated(known)._state.loaded)
    return reached


def _hydrated(handle: Any) -> Any:
    """Return the handle once the store has responded: the faults may have begun before this process was ready."""
    ends = time.monotonic() + _FIRST_RESPONSE_SECONDS
    while True:
        try:
            return handle.hydrate()
        except UnavailableError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)


@contextmanager
def skewed(seconds: float) -> Iterator[None]:
    """Let boto3 and aioboto3 sign by a clock that is ahead. The clock of obstore cannot be set."""
    import botocore.auth

    now = botocore.auth.get_current_datetime  # type: ignore[attr-defined]

    def wrong(*args: Any, **options: Any) -> Any:
        return now(*args, **options) + timedelta(seconds=seconds)

    with mock.patch("botocore.auth.get_current_datetime", wrong):
        yield


async def run(worker: Worker, d: Any, *, progress: Progress) -> Counted:
    """Work for so many seconds with one client, whatever happens to the store."""
    handle: Any = reach(d.wrapped, DRIVERS[worker.number % len(DRIVERS)], progress.timeout)
    own = AnyMode(handle, worker.mode)
    counted, chance = Counted(), random.Random(f"{progress.seed}/{worker.number}/chance")
    name = f"p{worker.number}"
    skew = progress.skew if worker.number % 4 else -progress.skew
    with skewed(skew), Recorder(progress.directory, name, uncertain=UNCERTAIN) as recorder:
        chosen = random.Random(f"{progress.seed}/{worker.number}")
        life = Life(worker, own, recorder, chosen, keys=progress.keys, plain_puts=progress.plain_puts)
        journal = JournalFile(progress.directory, f"{progress.seed}.{name}")
        worker.barrier()
        ends = time.monotonic() + progress.seconds
        while (began := time.monotonic()) < ends:
            await _act(chance.uniform(0, 1 if progress.locks else _WITHOUT_LOCKS), life, journal, counted)
            counted.slowest = max(counted.slowest, time.monotonic() - began)
        journal.close()
    return counted


async def _act(chance: float, life: Life, journal: JournalFile, counted: Counted) -> None:
    if chance < 0.6:
        await life.act()
    elif chance < _WITHOUT_LOCKS:
        await journal.write(life.d)
    else:
        await _count(life.worker, life.d, counted)


async def _count(worker: Worker, d: Any, counted: Counted) -> None:
    """Increment the counter under the lock by a get and a put, which are not atomic without it."""
    try:
        async with worker.entered(d.wrapped.lock(COUNTER, lease=_LEASE, timeout=_LOCK_PATIENCE)):
            counted.uncertain += 1
            await d.put(COUNTER, 1 + await d.get(COUNTER, 0))
            counted.uncertain -= 1
            counted.certain += 1
    except (LockTimeoutError, *_FAILURES):
        pass
