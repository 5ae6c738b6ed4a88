"""The operations of the processes whose histories are checked: random ones, on few keys."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from s3dict import ConflictError, UnavailableError, UncertainOutcomeError
from s3dict._core.conditional import DeleteOutcome, Rejected, conditional_delete, get_object
from s3dict._stores.boto.requests import S3Requests

from ..races.workers import Worker
from ..support.history import Recorder
from ..support.linearizability import (
    ABSENT,
    Call,
    Contains,
    Entry,
    Get,
    Modify,
    Operation,
    Pop,
    Put,
    Versioned,
)

__all__ = ["BUGS", "KEYS", "UNCERTAIN", "Life", "PutResult", "live", "understood"]

KEYS = ("a", "b")
UNCERTAIN = (UncertainOutcomeError, UnavailableError, ConflictError)


class PutResult(NamedTuple):
    """A value: who wrote it, and over whose value, where that counts."""

    writer: str
    over: str | None = None


def _rewritten(writer: str, before: PutResult) -> PutResult:
    return PutResult(writer, before.writer)


@dataclass(frozen=True, slots=True)
class SetDefault(Put):
    """Returns what is there afterwards."""

    skip_if_exists: bool = True


def understood(operation: Operation) -> Operation:
    """Return the operation for the checker: a `setdefault` that did not put is a `get`, otherwise a `put`."""
    if not isinstance(operation.call, SetDefault):
        return operation
    put = Put(operation.call.value, skip_if_exists=True)
    if not isinstance(operation.result, PutResult):
        return replace(operation, call=put)
    if operation.result == put.value:
        return replace(operation, call=put, result=True)
    return replace(operation, call=Get())


@dataclass(slots=True)
class Life:
    """The operations of one process; it uses versions that it has seen again later."""

    worker: Worker
    d: Any
    recorder: Recorder
    random: random.Random
    numbers: Iterator[int] = field(default_factory=count)
    versions: dict[str, str] = field(default_factory=dict)
    keys: Sequence[str] = KEYS
    plain_puts: bool = True
    """False where the store lets a put without a condition get lost beside one that has a condition."""

    async def act(self) -> None:
        action = self.random.choice([each for each in _ACTIONS if self.plain_puts or each is not Life.put])
        await action(self, self.random.choice(self.keys))

    def value(self) -> PutResult:
        return PutResult(f"{self.worker.number}.{next(self.numbers)}")

    async def record(self, key: str, call: Call, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What was answered, or what would have been, or UNKNOWN."""
        with self.recorder.operation(key, call) as running:
            try:
                running.result = await ask()
            except UncertainOutcomeError as error:
                if error.value is not None:
                    running.result = error.value
                raise
        return running.result

    async def get(self, key: str) -> None:
        await self.record(key, Get(), lambda: self.d.get(key, ABSENT))

    async def contains(self, key: str) -> None:
        await self.record(key, Contains(), lambda: self.d.contains(key))

    async def put(self, key: str) -> None:
        value = self.value()
        await self.record(key, Put(value, may_repeat=True), lambda: self.d.put(key, value))

    async def create(self, key: str) -> None:
        value = self.value()
        await self.record(key, Put(value, skip_if_exists=True), lambda: self.d.put(key, value, skip_if_exists=True))

    async def setdefault(self, key: str) -> None:
        value = self.value()
        await self.record(key, SetDefault(value), lambda: self.d.setdefault(key, value))

    async def entry(self, key: str) -> None:
        async def versioned() -> Any:
            seen = await self.d.entry(key)
            return ABSENT if seen is None else Versioned(seen.value, seen.version)

        seen = await self.record(key, Entry(), versioned)
        if isinstance(seen, Versioned):
            self.versions[key] = str(seen.version)

    async def replace(self, key: str) -> None:
        """Over a version that was seen earlier, and may have been replaced since, or seen now."""
        if key not in self.versions:
            await self.entry(key)
        version = self.versions.pop(key, None)
        if version is not None:
            value = self.value()
            await self.record(key, Put(value, if_version=version), lambda: self.d.put(key, value, if_version=version))

    async def modify(self, key: str) -> None:
        function = partial(_rewritten, self.value().writer)
        await self.record(key, Modify(function), lambda: self.d.modify(key, function))

    async def pop(self, key: str) -> None:
        await self.record(key, Pop(), lambda: self.d.pop(key))


_ACTIONS = (
    Life.get,
    Life.get,
    Life.contains,
    Life.put,
    Life.create,
    Life.create,
    Life.setdefault,
    Life.entry,
    Life.replace,
    Life.replace,
    Life.modify,
    Life.modify,
    Life.pop,
    Life.pop,
)


async def live(worker: Worker, d: Any, *, directory: Path, seed: str, operations: int, bug: str | None = None) -> None:
    """Do that many operations and record them, perhaps with a bug planted in this process's s3dict."""
    with BUGS[bug](), Recorder(directory, f"p{worker.number}", uncertain=UNCERTAIN) as recorder:
        life = Life(worker, d, recorder, random.Random(f"{seed}/{worker.number}"))
        worker.barrier()
        for _ in range(operations):
            await life.act()


@contextmanager
def _no_bug() -> Iterator[None]:
    yield


@contextmanager
def _dropping(method: str, **dropped: Any) -> Iterator[None]:
    """Requests go out without a condition."""
    original = getattr(S3Requests, method)

    async def careless(self: S3Requests, *args: Any, **conditions: Any) -> Any:
        return await original(self, *args, **{**conditions, **{n: v for n, v in dropped.items() if n in conditions}})

    with mock.patch.object(S3Requests, method, careless):
        yield


@contextmanager
def _own_refusal_is_a_loss() -> Iterator[None]:
    """A 412 to a request that was repeated is taken for another process's doing."""

    async def verdict(store: Any, path: str, *_: Any, **__: Any) -> Rejected:
        return Rejected(await get_object(store, path))

    with mock.patch("s3dict._core.conditional._resolve_ambiguity", verdict):
        yield


@contextmanager
def _missing_is_removed() -> Iterator[None]:
    """An entry that is missing after a lost response is taken for removed by this call."""

    async def hasty(*args: Any) -> DeleteOutcome:
        removal = await conditional_delete(*args)
        return DeleteOutcome.APPLIED if removal is DeleteOutcome.UNKNOWN else removal

    with mock.patch("s3dict._core.removal.conditional_delete", hasty):
        yield


BUGS: dict[str | None, Callable[[], Any]] = {
    None: _no_bug,
    "put without If-None-Match": partial(_dropping, "put", if_none_match=False),
    "put without If-Match": partial(_dropping, "put", if_match=None),
    "delete without If-Match": partial(_dropping, "delete", if_match=None),
    "own 412 is a loss": _own_refusal_is_a_loss,
    "an entry that is gone was removed by us": _missing_is_removed,
}
"""What can be planted, by name."""
