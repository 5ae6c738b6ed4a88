"""What the racing processes do. Half of them run each workload in blocking calls, half in asyncio."""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from s3dict import LockLostError, UnavailableError, UncertainOutcomeError, memoize

from ..support.modes import Mode
from .workers import Worker

LEASE = 2.0
"""Seconds: the shortest that there is."""


STAYING, DYING = 0, 2
"""Which of five lock holders stays for longer than its lease, and which is killed."""


class Failure(Enum):
    """The fault of the first process that computes a value."""

    WELL = "it does"
    KILLED = "it is killed"
    RAISES = "it raises an exception"


async def claim(worker: Worker, d: Any, *, rounds: int) -> list[bool]:
    """Round by round, every worker puts its number on a key that is not there. Which rounds were won?"""
    won = []
    for number in range(rounds):
        worker.barrier()
        won.append(await d.put(("round", number), worker.number, skip_if_exists=True))
    return won


@dataclass(frozen=True, slots=True)
class Increments:
    """The certain and the possible increments."""

    certain: int
    uncertain: int


async def increment(worker: Worker, d: Any, *, times: int) -> Increments:
    uncertain = 0
    worker.barrier()
    for _ in range(times):
        try:
            await d.modify("n", lambda n: n + 1, 0)
        except (UncertainOutcomeError, UnavailableError):
            uncertain += 1
    return Increments(times - uncertain, uncertain)


@dataclass(slots=True)
class Popped:
    """The entries that one popper got, as pairs, and those that it may have taken out."""

    certain: list[tuple[Any, Any]] = field(default_factory=list)
    uncertain: list[tuple[Any, Any]] = field(default_factory=list)
    unavailable: int = 0


async def pop_all(worker: Worker, d: Any, *, entries: int, seed: int) -> Popped:
    """Every worker pops every key, each in its own order, so that some are ahead on some keys."""
    loot = Popped()
    worker.barrier()
    for key in _shuffled(entries, f"{seed}/{worker.number // 2}"):
        try:
            value = await d.pop(key, None)
        except UncertainOutcomeError as error:
            loot.uncertain.append((key, error.value))
        except UnavailableError:
            loot.unavailable += 1
        else:
            loot.certain.extend([] if value is None else [(key, value)])
    return loot


async def pop_in_batches(worker: Worker, d: Any, *, entries: int, seed: int, batch: int) -> Popped:
    loot = Popped()
    worker.barrier()
    keys = _shuffled(entries, f"{seed}/{worker.number // 2}")
    for start in range(0, entries, batch):
        loot.certain.extend((await d.pop_many(keys[start : start + batch])).items())
    return loot


def _shuffled(count: int, seed: str) -> Sequence[int]:
    return random.Random(seed).sample(range(count), count)


@dataclass(frozen=True, slots=True)
class Log:
    """The resource that a lock protects: it takes a line with a token unless it has seen a greater one."""

    path: Path

    def write(self, token: int, what: str) -> bool:
        """Return whether the line was taken."""
        with self.path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            lines = file.read().splitlines()
            if lines and int(lines[-1].split()[0]) > token:
                return False
            file.write(f"{token} {what} {time.monotonic()}\n")
            return True

    def lines(self) -> list[tuple[int, str, float]]:
        split = [line.split() for line in self.path.read_text().splitlines()]
        return [(int(token), what, float(at)) for token, what, at in split]


@dataclass(slots=True)
class LockInterval:
    """The interval in which a process held the lock."""

    tokens: list[int] = field(default_factory=list)
    fenced: int = 0
    lost: int = 0


async def hold(worker: Worker, d: Any, *, path: Path, times: int) -> LockInterval:
    """Take the lock repeatedly. Of five, one is killed inside, and one stays for longer than the lease once."""
    ledger, holding = Log(path), LockInterval()
    worker.barrier()
    for turn in range(times):
        try:
            async with worker.entered(d.lock("the lock", lease=LEASE)) as held:
                holding.tokens.append(held.token)
                holding.fenced += not ledger.write(held.token, "enter")
                stays = turn == 0 and worker.number % 5 == STAYING
                await worker.work(1.5 * LEASE if stays else random.uniform(0, 0.02))
                if turn == worker.number % times and worker.number % 5 == DYING:
                    ledger.write(held.token, "die")
                    worker.die()
                holding.fenced += not ledger.write(held.token, "exit")
        except LockLostError:
            holding.lost += 1
    return holding


async def compute(worker: Worker, d: Any, *, directory: Path, rounds: int, fate: Failure) -> list[Any]:
    """Round by round, every worker asks for the same value; gives it, or the exception's name."""
    results: list[Any] = []
    function = _answer_of(worker, _Computation(worker, directory, fate))
    memoized: Any = memoize(d.wrapped, lease=LEASE)(function)
    for number in range(rounds):
        worker.barrier()
        try:
            # Two in four call a memoized function, the others ask for the very key of that call: all wait for one.
            if worker.number % 4 < 2:
                asked = d.get_or_compute(memoized.key(number), partial(function, number), LEASE)
                results.append(await asked)
            else:
                answer = memoized(number)
                results.append(answer if worker.mode is Mode.SYNC else await answer)
        except ZeroDivisionError as error:
            results.append(type(error).__name__)
    return results


@dataclass(frozen=True, slots=True)
class _Computation:
    worker: Worker
    directory: Path
    fate: Failure

    def begin(self, number: int) -> float:
        """Note who computes, and let the first fail as planned; return how long it takes otherwise."""
        with (self.directory / f"round-{number}").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            is_first = not file.read()
            file.write(f"{self.worker.number}\n")
        if is_first and self.fate is Failure.KILLED:
            self.worker.die()
        if is_first and self.fate is Failure.RAISES:
            raise ZeroDivisionError
        return 0.05


def _answer_of(worker: Worker, computation: _Computation) -> Any:
    """The function that every worker asks for: it has one name, and one key a round, in all workers."""

    async def answer_aio(number: int) -> tuple[int, int]:
        await worker.work(computation.begin(number))
        return number, os.getpid()

    def answer(number: int) -> tuple[int, int]:
        time.sleep(computation.begin(number))
        return number, os.getpid()

    function: Any = answer if worker.mode is Mode.SYNC else answer_aio
    function.__qualname__ = "answer"
    return function
