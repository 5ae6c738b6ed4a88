"""Mixed load for minutes: memory, threads, tasks and sockets do not grow."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean
from typing import Any

from s3dict import Client, Dict, LockTimeoutError, UnavailableError, UncertainOutcomeError

from .results import Result
from .runner import Lab

__all__ = ["Load", "Sample", "Soaked", "growth", "remnants", "soak"]

PROCESSES, TASKS = 4, 64
KEYS = 500
WARM_UP = 0.2
"""The part of the time in which caches fill and pools grow."""
ENOUGH = 80
"""Samples; of fewer, the means are those of chance."""
MAY_GROW = {"memory": (0.1, 8.0), "threads": (1.0, 8.0), "tasks": (0.5, 16.0), "sockets": (0.5, 16.0)}
"""What the mean of the last third may be above that of the first: a fraction of it, and so many (MiB of memory).

Threads follow the largest burst so far: obstore's runtime hands each answer over in one of a pool, which has as many as
there were answers at once (512 at most), and while there is load hardly one of them is idle for the ten seconds after
which it ends. That none is left for good is for `MAY_BE_LEFT` to say.
"""
_SAMPLE_SECONDS = 0.5
_SETTLE_SECONDS = 10.0
_POOL = 64
"""Threads that obstore's runtime and blocking calls keep for the next time."""
MAY_BE_LEFT = {"threads": _POOL + 4, "tasks": 0, "sockets": 2, "fds": 4}
"""What may be there after the load, and sockets when its event loop is closed, beyond what the first call left."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The resources of a process at a time."""

    seconds: float
    memory: float
    """Resident, in MiB."""
    threads: int
    tasks: int
    fds: int
    sockets: int
    operations: int


@dataclass(frozen=True, slots=True)
class Load:
    """The load of each process, alternately with obstore and aioboto3."""

    where: dict[str, Any]
    seconds: float
    tasks: int
    leak: str | None = None


def take_sample(began: float, operations: int, tasks: int) -> Sample:
    """Return the resources of this process."""
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    targets = [_target(descriptor) for descriptor in os.listdir("/proc/self/fd")]
    return Sample(
        seconds=time.monotonic() - began,
        memory=int(fields["VmRSS"].split()[0]) / 1024,
        threads=int(fields["Threads"]),
        tasks=tasks,
        fds=len(targets),
        sockets=sum(target.startswith("socket:") for target in targets),
        operations=operations,
    )


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # that of the listing itself
        return ""


class Soaked:
    """The load of one process."""

    def __init__(self, d: Any, load: Load) -> None:
        self._d = d
        self._load = load
        self._began = time.monotonic()
        self._ends = 0.0
        self.samples: list[Sample] = []
        self.before = take_sample(self._began, 0, 0)
        self.tasks_left = 0
        self.operations = 0
        self.failed = 0
        """Calls that a server gave up on which is slow under this load."""
        self.errors: list[str] = []
        self._leaked: list[Any] = []

    async def run(self) -> None:
        await self._d.put.aio("first", 1)
        self.before = self._sample()
        self._ends = time.monotonic() + self._load.seconds
        working = [asyncio.create_task(self._work(number)) for number in range(self._load.tasks)]
        while time.monotonic() < self._ends:
            await asyncio.sleep(_SAMPLE_SECONDS)
            self.samples.append(self._sample())
        await asyncio.gather(*working)
        # An iteration that was left alone is closed by a task of its own, when it is found.
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (sample := self._sample()).tasks and time.monotonic() < deadline:  # noqa: ASYNC110 (of foreign tasks)
            await asyncio.sleep(_SAMPLE_SECONDS)
        self.tasks_left = sample.tasks

    def settle(self) -> Sample:
        """Return the resources after the loop is closed. obstore closes idle connections after some seconds."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            after = take_sample(self._began, self.operations, self.tasks_left)
            if not remnants(self.before, after) or time.monotonic() > deadline:
                return after
            time.sleep(_SAMPLE_SECONDS)

    def _sample(self) -> Sample:
        return take_sample(self._began, self.operations, len(asyncio.all_tasks()) - 1)

    async def _work(self, number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < self._ends:
            try:
                await chance.choice(_ACTIONS)(self, chance)
            except (UnavailableError, UncertainOutcomeError):
                self.failed += 1
            except Exception as error:
                self.errors.append(repr(error))
            self.operations += 1
            if self._load.leak:
                self._leak()

    def _leak(self) -> None:
        if self._load.leak == "memory":
            self._leaked.append(bytearray(os.urandom(1 << 14)))
        elif self._load.leak == "tasks":
            self._leaked.append(asyncio.create_task(asyncio.sleep(3600)))

    async def get(self, chance: random.Random) -> None:
        await self._d.get.aio(chance.randrange(KEYS))

    async def put(self, chance: random.Random) -> None:
        await self._d.put.aio(chance.randrange(KEYS), chance.randbytes(chance.randrange(4096)))

    async def modify(self, chance: random.Random) -> None:
        await self._d.modify.aio(("count", chance.randrange(KEYS)), lambda count: count + 1, 0)

    async def pop(self, chance: random.Random) -> None:
        await self._d.pop.aio(chance.randrange(KEYS), None)

    async def create(self, chance: random.Random) -> None:
        await self._d.put.aio(chance.randrange(KEYS), b"created", skip_if_exists=True)

    async def lock(self, chance: random.Random) -> None:
        try:
            async with self._d.lock(f"lock {chance.randrange(KEYS)}", lease=30, timeout=1):
                await self._d.get.aio("first")
        except LockTimeoutError:
            pass

    async def update(self, chance: random.Random) -> None:
        await self._d.update.aio((chance.randrange(KEYS), chance.randbytes(1000)) for _ in range(20))

    async def get_many(self, chance: random.Random) -> None:
        await self._d.get_many.aio(chance.sample(range(KEYS), 20))

    async def items(self, chance: random.Random) -> None:
        """Iterate over all entries one time in ten, otherwise over the first ones: an abandoned iteration is closed."""
        left = KEYS if chance.random() < 0.1 else 5
        async for _ in self._d.items.aio():
            left -= 1
            if left <= 0:
                return


_RARE = (Soaked.lock, Soaked.update, Soaked.get_many, Soaked.items)
_ACTIONS = 10 * (Soaked.get, Soaked.put, Soaked.modify, Soaked.pop, Soaked.create) + _RARE


def _serve(number: int, load: Load, environment: dict[str, str], to_parent: Connection) -> None:
    os.environ.update(environment)
    client = Client(**load.where, driver=("obstore", "boto3")[number % 2], timeout=timedelta(minutes=2))
    soaked = Soaked(Dict.from_name("soaked", create_if_missing=True, client=client), load)
    asyncio.run(soaked.run())
    to_parent.send(Report(soaked.samples, soaked.before, soaked.settle(), soaked.errors, soaked.failed))


def soak(lab: Lab, *, processes: int = PROCESSES, tasks: int = TASKS, leak: str | None = None) -> Result:
    """Four processes of 64 tasks, half of them on obstore and half on aioboto3."""
    began = time.monotonic()
    with lab.store() as place:
        where = {"bucket": place.bucket, "prefix": place.prefix, "endpoint_url": place.endpoint_url}
        reports = _run(Load(where, lab.seconds, tasks, leak), processes)
    _keep(lab, reports)
    violations = [f"process {n}: {said}" for n, each in enumerate(reports) for said in each.violations()]
    operations = sum(each.after.operations for each in reports)
    noted = f"{processes} processes of {tasks} tasks: {_summary(reports)}"
    return Result("mixed load", "SeaweedFS", time.monotonic() - began, operations, {}, tuple(violations), noted)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one process."""

    samples: list[Sample]
    before: Sample
    after: Sample
    errors: list[str]
    failed: int

    def violations(self) -> list[str]:
        return [*growth(self.samples), *remnants(self.before, self.after), *self.errors[:5]]


def _run(load: Load, processes: int) -> list[Report]:
    context = multiprocessing.get_context("spawn")
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    crew: list[tuple[Any, Connection]] = []
    for number in range(processes):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(number, load, environment, theirs), daemon=True)
        process.start()
        theirs.close()
        crew.append((process, ours))
    reports: list[Report] = [ours.recv() for _, ours in crew]
    for process, ours in crew:
        ours.close()
        process.join()
        process.close()
    return reports


def _keep(lab: Lab, reports: Sequence[Report]) -> None:
    """Store all samples, for plots."""
    lines = [{"process": n, **asdict(sample)} for n, each in enumerate(reports) for sample in each.samples]
    (lab.directory / "soak.json").write_text(json.dumps(lines))


def growth(samples: Sequence[Sample]) -> list[str]:
    """Return the resources that grew from the first third of the run to the last."""
    if len(samples) < ENOUGH:
        return []
    changes = ((name, *_change(samples, name), *MAY_GROW[name]) for name in MAY_GROW)
    return [
        f"{name} grew under the load from {was:.0f} to {became:.0f}"
        for name, was, became, fraction, number in changes
        if became > was + was * fraction + number
    ]


def _change(samples: Sequence[Sample], name: str) -> tuple[float, float]:
    """Return the means of the first third and of the last."""
    settled = samples[int(len(samples) * WARM_UP) :]
    third = max(1, len(settled) // 3)
    return mean(getattr(each, name) for each in settled[:third]), mean(getattr(each, name) for each in settled[-third:])


def _summary(reports: Sequence[Report]) -> str:
    """Return the means of a process, and what it kept in the end beyond its first call."""
    changes = {name: [_change(each.samples, name) for each in reports] for name in MAY_GROW}
    means = {name: [mean(part) for part in zip(*pairs, strict=True)] for name, pairs in changes.items()}
    under_load = ", ".join(f"{name} {was:.0f} → {became:.0f}" for name, (was, became) in means.items())
    left = ", ".join(
        f"{max(getattr(each.after, name) - getattr(each.before, name) for each in reports):+d} {name}"
        for name in ("tasks", "sockets")
    )
    failed = sum(each.failed for each in reports)
    return f"{under_load} (memory in MiB; the first third → the last); afterwards {left}; {failed} calls given up"


def remnants(before: Sample, after: Sample) -> list[str]:
    """Return what is kept after the load beyond what the first call kept."""
    counts = ((name, getattr(before, name), getattr(after, name)) for name in MAY_BE_LEFT)
    return [
        f"{name}: {was} before, {left} after the load" for name, was, left in counts if left > was + MAY_BE_LEFT[name]
    ]
