"""What the processes do that live with the lifecycle. Each job is one text, blocking or asyncio."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from itertools import count
from typing import Any
from unittest.mock import patch

from s3dict import ConflictError, Dict, Error, UnavailableError, UncertainOutcomeError
from s3dict._core import expiry
from s3dict._core.expiry import Expiry
from s3dict._stores.base import PutResult, Refusal, ServerTime, StoredObject

from ..races.workers import Worker
from .environment import DAY_SECONDS
from .visits import ABSENT, PRESENT, State, Visit

__all__ = ["PROCESSES", "JournalFile", "Renewal", "abandon", "live"]

PROCESSES = 6
_PAUSE_SECONDS = 0.02
_BATCH = 3
_WRITING = 0.4
_SHARES = (6, 2, 1)
"""How often keys of three kinds are visited: daily, every few days, and so rarely that many are over by then."""


class Renewal(Enum):
    PROPER = "as the library does it"
    NONE = "none at all"
    UNCONDITIONAL = "by a copy, whose conditions Ceph ignores"


@dataclass(slots=True)
class JournalFile:
    """The visits of one process, by key, and what became of its renewals."""

    visits: dict[int, list[Visit]] = field(default_factory=dict)
    renewed: int = 0
    failed_renewals: int = 0
    failed_calls: int = 0

    def note(self, key: int, visit: Visit) -> None:
        self.visits.setdefault(key, []).append(visit)


async def abandon(worker: Worker, d: Any, *, entries: int) -> None:
    """Open an ephemeral dict, record its id, and exit without closing it."""
    async with worker.entered(Dict.ephemeral(client=d.wrapped.client)) as opened:
        opened.update({n: n for n in range(entries)})
        await d.put("abandoned", opened.object_id)
        worker.die()


async def live(worker: Worker, d: Any, *, keys: int, days: float, renewal: Renewal) -> JournalFile:
    """Visits keys at random. All processes share them; every other one is written once, and then only read."""
    journal = JournalFile()
    visitor = _Visitor(d, journal, random.Random(worker.number), (f"{worker.number}-{n}" for n in count()))
    with _renewing(renewal, journal):
        for key in range(worker.number, keys, PROCESSES):
            await visitor.write(key, _put)
        worker.barrier()
        until = _today() + days
        while _today() < until:
            await visitor.visit(keys)
            await worker.work(_PAUSE_SECONDS)
    return journal


@dataclass(frozen=True, slots=True)
class _Visitor:
    d: Any
    journal: JournalFile
    chance: random.Random
    values: Iterator[str]

    async def visit(self, keys: int) -> None:
        kind = self.chance.choices(range(len(_SHARES)), _SHARES)[0]
        key = self.chance.randrange(kind * keys // len(_SHARES), (kind + 1) * keys // len(_SHARES))
        if key % 2 and self.chance.random() < _WRITING:
            await self.write(key, self.chance.choice(_WRITES))
        else:
            await self.read(key, self.chance.choice(_READS))

    async def read(self, key: int, read: _Read) -> None:
        start, failed_before = _today(), self.journal.failed_renewals
        try:
            sights = await read(self.d, key)
        except UnavailableError:
            self.journal.failed_calls += 1
            return
        certain = failed_before == self.journal.failed_renewals
        for seen, saw in sights.items():
            self.journal.note(seen, Visit(start, _today(), saw=saw, renews=True, certain=certain))

    async def write(self, key: int, write: _Write) -> None:
        start, value = _today(), next(self.values)
        try:
            saw, made = await write(self.d, key, value)
        except (ConflictError, UnavailableError, UncertainOutcomeError):
            self.journal.failed_calls += 1
            intended = ABSENT if write is _pop else value
            self.journal.note(key, Visit(start, _today(), made=intended, certain=False))
        else:
            self.journal.note(key, Visit(start, _today(), saw=saw, made=made))


async def _get(d: Any, key: int) -> Mapping[int, State]:
    return {key: await d.get(key, ABSENT)}


async def _contains(d: Any, key: int) -> Mapping[int, State]:
    return {key: PRESENT if await d.contains(key) else ABSENT}


async def _get_many(d: Any, key: int) -> Mapping[int, State]:
    keys = range(key - key % _BATCH, key - key % _BATCH + _BATCH)
    found = await d.get_many(keys)
    return {key: found.get(key, ABSENT) for key in keys}


async def _put(d: Any, key: int, value: str) -> _SawMade:
    await d.put(key, value)
    return None, value


async def _create(d: Any, key: int, value: str) -> _SawMade:
    return (ABSENT, value) if await d.put(key, value, skip_if_exists=True) else (PRESENT, None)


async def _pop(d: Any, key: int, _: str) -> _SawMade:
    taken = await d.pop(key, ABSENT)
    return taken, None if taken is ABSENT else ABSENT


async def _modify(d: Any, key: int, value: str) -> _SawMade:
    seen: list[State] = []

    def replaced(old: State) -> str:
        seen.append(old)
        return value

    await d.modify(key, replaced, ABSENT)
    return seen[-1], value


_SawMade = tuple[State | None, State | None]
_Read = Callable[[Any, int], Awaitable[Mapping[int, State]]]
_Write = Callable[[Any, int, str], Awaitable[_SawMade]]
_READS: tuple[_Read, ...] = (_get, _contains, _get_many)
_WRITES: tuple[_Write, ...] = (_put, _create, _pop, _modify)


@contextmanager
def _renewing(how: Renewal, journal: JournalFile) -> Iterator[None]:
    """Counts the renewals of this process, or does something else in their place."""
    proper = Expiry._renew

    async def copied(self: Expiry, path: str, found: StoredObject, _: ServerTime) -> PutResult | Refusal:
        etag = self._capabilities.if_match(found.etag)
        return await self._store.copy(path, source_if_match=etag, if_match=etag)

    async def counted(self: Expiry, path: str, found: StoredObject, now: ServerTime) -> PutResult | Refusal | None:
        if how is Renewal.NONE:
            return None
        try:
            answer = await (proper if how is Renewal.PROPER else copied)(self, path, found, now)
        except Error:
            journal.failed_renewals += 1
            raise
        journal.renewed += isinstance(answer, PutResult)
        return answer

    # Fifteen seconds, in which no renewal is tried after one has failed, would be days here.
    with patch.object(Expiry, "_renew", counted), patch.object(expiry, "RENEWAL_BACKOFF_FAILED", timedelta(0)):
        yield


def _today() -> float:
    """The day, by a clock that all processes share."""
    return time.monotonic() / DAY_SECONDS
