"""Where rows are measured: the servers, how much of everything, and what has been found so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .catalogue import Kind, kind_named
from .peers.peer import Measured
from .results import Figure
from .servers import Servers
from .workers import Crew, Medians, Worker

__all__ = ["Job", "Lab", "StoredObject", "entries_of", "folder_of"]

SLOW = "botocore"
"""What depends on it takes milliseconds an entry: it gets fewer of them, and the rest is assumed to take as long."""

StoredObject = dict[str, Medians]
"""Medians by the names of peers."""


@dataclass(frozen=True, slots=True)
class Job:
    """What all peers of a row do, and what it is called in the results."""

    row: str
    what: str
    task: str
    folder: Callable[[Kind], str]
    size: int | None = None
    passes: int | None = None

    def work(self, worker: Worker, n: int | None) -> Measured | None:
        numbers = {"n": n, "size": self.size, "passes": self.passes}
        given = {name: number for name, number in numbers.items() if number is not None}
        return worker.call(self.task, folder=self.folder(worker.kind), **given)


@dataclass(slots=True)
class Lab:
    servers: Servers
    quick: bool
    max_turns: int | None = None
    release: Path | None = None
    """A checkout of an earlier release, with its environment in ``.venv``."""
    figures: list[Figure] = field(default_factory=list)
    filled: set[int] = field(default_factory=set)

    def entries(self, n: int) -> int:
        return max(100, n // 10) if self.quick else n

    def measure(
        self,
        crew: Crew,
        job: Job,
        kinds: Iterable[Kind],
        *,
        repetitions: int,
        slow_repetitions: int | None = None,
        n: int | None = None,
    ) -> StoredObject:
        """Medians of the whole job, for each peer that can do it."""
        measured = self._measured(crew, job, dict.fromkeys(kinds, n), repetitions, slow_repetitions)
        found = {kind.name: Medians.of(all_of_it) for kind, all_of_it in measured.items()}
        return self._kept(crew, job, found, n)

    def measure_entries(
        self, crew: Crew, job: Job, kinds: Iterable[Kind], *, repetitions: int, n: int, slow_n: int
    ) -> StoredObject:
        """Medians per entry, of `n` entries or, for slow peers, of `slow_n`."""
        n_of = {kind: self.entries(slow_n if kind.stands_on == SLOW else n) for kind in kinds}
        measured = self._measured(crew, job, n_of, repetitions)
        found = {kind.name: Medians.of(all_of_it, n_of[kind]) for kind, all_of_it in measured.items()}
        return self._kept(crew, job, found, self.entries(n))

    def filled_dict(self, n: int) -> str:
        """The name of a dict of so many entries of 1 KiB on the stub, which is made when it is first asked for."""
        name = f"filled-{n}"
        if n not in self.filled:
            with Crew(self.servers.stub) as crew:
                crew.worker(kind_named("s3dict")).call("put_all", folder=name, n=n, size=1024)
            self.filled.add(n)
        return name

    def _measured(
        self,
        crew: Crew,
        job: Job,
        n_of: Mapping[Kind, int | None],
        repetitions: int,
        slow_repetitions: int | None = None,
    ) -> dict[Kind, list[Measured]]:
        slow = slow_repetitions or repetitions
        wanted = {kind: slow if kind.stands_on == SLOW else repetitions for kind in n_of}
        times = {kind: min(turns, self.max_turns or turns) for kind, turns in wanted.items()}
        return crew.in_turn(times, lambda worker: job.work(worker, n_of[worker.kind]))

    def _kept(self, crew: Crew, job: Job, found: StoredObject, n: int | None) -> StoredObject:
        number = n or job.size or 1
        server = crew.server.name
        self.figures += [Figure(job.row, job.what, server, peer, number, found[peer]) for peer in found]
        return found


def folder_of(name: str) -> Callable[[Kind], str]:
    """A folder of each peer's own."""
    return lambda kind: f"{name}-{kind.module}"


def entries_of(name: str) -> Callable[[Kind], str]:
    """A dict of ours, for all: we call it by its name, and others by the prefix of its objects."""
    return lambda kind: name if kind.is_managed else f"s3dict/sweep-8d/named/main/{name}"
