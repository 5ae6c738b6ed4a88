"""Clients are killed with SIGKILL at any moment: what they wrote is whole or absent, and garbage is collected."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from s3dict import AlreadyExistsError, Client, Dict, Error, LockLostError, LockTimeoutError, NotFoundError
from s3dict._admin.garbage import find_garbage, remove_garbage

from ..races.workers import KILLED, Worker
from ..support.modes import Harness
from .journal import JournalFile, check_journals, value_of
from .results import Result
from .runner import Lab
from .workloads import DRIVERS, reach

__all__ = ["clients_killed"]

LEASE = 2.0
"""Seconds: the shortest that there is."""
LOCKS = 4
NAMES = 4
DOOMED = 8
"""Processes, in each round."""
_ENTRIES = 30
_LATEST_DEATH_SECONDS = 1.5
_MUST_BE_FREE_SECONDS = 10.0
_SURPRISES = (AlreadyExistsError, NotFoundError, KeyError, LockLostError, LockTimeoutError)
"""What others' deeds explain."""


@dataclass(slots=True)
class _Doomed:
    """The operations of one process until it is killed."""

    worker: Worker
    harness: Harness
    d: Any
    journal: JournalFile
    names: tuple[str, ...]
    random: random.Random

    def name(self) -> str:
        return self.random.choice(self.names)

    async def create(self) -> None:
        await self.harness.objects.create(self.name(), client=self.harness.client)

    async def create_if_missing(self) -> None:
        await self.harness.named(self.name(), create_if_missing=True).hydrate()

    async def update(self) -> None:
        name = self.name()
        await self.harness.named(name).update((number, value_of(name, number)) for number in range(1, _ENTRIES))

    async def clear(self) -> None:
        await self.harness.named(self.name()).clear()

    async def delete(self) -> None:
        await self.harness.objects.delete(self.name(), client=self.harness.client)

    async def hold(self) -> None:
        lock = self.d.wrapped.lock(f"lock {self.random.randrange(LOCKS)}", lease=LEASE, timeout=0.1)
        async with self.worker.entered(lock):
            await self.worker.work(self.random.uniform(0, 0.05))

    async def ephemeral(self) -> None:
        async with self.harness.ephemeral() as scratch:
            await scratch.update((number, number) for number in range(5))

    async def write(self) -> None:
        await self.journal.write(self.d)


_ACTIONS: tuple[Callable[[_Doomed], Awaitable[None]], ...] = (
    _Doomed.create,
    _Doomed.create_if_missing,
    _Doomed.update,
    _Doomed.update,
    _Doomed.clear,
    _Doomed.delete,
    _Doomed.hold,
    _Doomed.ephemeral,
    *(4 * (_Doomed.write,)),
)


async def live_until_killed(worker: Worker, d: Any, *, directory: Path, seed: str, names: tuple[str, ...]) -> None:
    handle = reach(d.wrapped, DRIVERS[worker.number % len(DRIVERS)], 60.0)
    harness = Harness(handle._state.client, worker.mode)
    chance, own = random.Random(f"{seed}/{worker.number}"), harness.in_mode(handle)
    doomed = _Doomed(worker, harness, own, JournalFile(directory, f"{seed}.p{worker.number}"), names, chance)
    log = (directory / f"actions-{worker.number}").open("ab", buffering=0)
    worker.barrier()
    threading.Thread(target=_kill_later, args=(chance.uniform(0.05, _LATEST_DEATH_SECONDS),), daemon=True).start()
    while True:
        log.write(b".")
        with suppress(*_SURPRISES):
            await chance.choice(_ACTIONS)(doomed)


def _kill_later(seconds: float) -> None:
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def clients_killed(lab: Lab) -> Result:
    began, kills, operations, violations, number = time.monotonic(), 0, 0, list[str](), 0
    left: list[tuple[Client, Dict[Any, Any]]] = []
    with lab.store() as place:
        while not number or time.monotonic() - began < lab.seconds:
            number += 1
            client = Client(
                place.bucket, prefix=f"{place.prefix}/r{number}", endpoint_url=place.endpoint_url, driver="boto3"
            )
            d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client).hydrate()
            directory, names = lab.folder("killed"), tuple(f"n{n}" for n in range(NAMES))
            outcomes = lab.workers.run(
                DOOMED, live_until_killed, d, directory=directory, seed=f"r{number}", names=names
            )
            kills += outcomes.count(KILLED)
            operations += sum(path.stat().st_size for path in directory.glob("actions-*"))
            violations += check_journals(directory, d).violations
            violations += (said for name in names for said in check_dict(client, name))
            left.append((client, d))
        for client, d in left:
            violations += check_locks(d)
            violations += check_leftovers(client)
    injected = {"kills": kills}
    return Result("clients killed", "SeaweedFS", time.monotonic() - began, operations, injected, tuple(violations))


def check_dict(client: Client, name: str) -> Iterator[str]:
    """Check that a dict whose creators were killed exists and is whole, or can be created."""
    d: Dict[Any, Any] = Dict.from_name(name, create_if_missing=True, client=client)
    try:
        torn = [key for key, value in d.items() if value != value_of(name, key)]
        if torn:
            yield f"the entries {torn} of {name} are torn"
        d["usable"] = True
        if d.pop("usable") is not True:
            yield f"{name} does not give back what was put"
    except Error as error:
        yield f"{name} is not usable: {error!r}"


def check_locks(d: Dict[Any, Any], timeout: float = _MUST_BE_FREE_SECONDS) -> list[str]:
    """Check that each lock is free as soon as its lease has expired."""

    def take(number: int) -> str | None:
        try:
            with d.lock(f"lock {number}", lease=LEASE, timeout=timeout):
                return None
        except LockTimeoutError as error:
            return f"stuck: {error}"

    with ThreadPoolExecutor(LOCKS) as pool:
        return [said for said in pool.map(take, range(LOCKS)) if said]


def check_leftovers(client: Client) -> Iterator[str]:
    """Check that orphaned data is found and removed, and that nothing is left when all dicts are deleted."""
    s3: Any = boto3.client("s3", endpoint_url=client.endpoint_url)
    for path in _paths(s3, client, "ephemeral/"):
        s3.delete_object(Bucket=client.bucket, Key=path)  # as the lifecycle does, two days after their processes died
    for garbage in find_garbage(client):
        remove_garbage(client, garbage)
    yield from (f"garbage that stays: {garbage}" for garbage in find_garbage(client))
    for handle in Dict.objects.list(client=client):
        Dict.objects.delete(str(handle.name), client=client)
    left = [path for path in _paths(s3, client, "") if not path.endswith("/store.json")]
    s3.close()
    yield from (f"left when all dicts are deleted: {path}" for path in left)


def _paths(s3: Any, client: Client, under: str) -> list[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=client.bucket, Prefix=f"{client.prefix}/{under}")
    return [line["Key"] for page in pages for line in page.get("Contents", ())]
