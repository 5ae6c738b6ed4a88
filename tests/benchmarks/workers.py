"""Peers at work: a process for each peer and server, and tasks for them in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any

from .catalogue import Kind
from .environments import interpreter
from .peers.peer import Measured
from .servers import Server

__all__ = ["CONCURRENCY", "Crew", "Medians", "Worker"]

CONCURRENCY = 64


@dataclass(frozen=True, slots=True)
class Medians:
    """Of several repetitions, per entry where there are many. Memory is the most that any of them took.

    `turns` are the repetitions, in their order: those of two peers at the same place ran one after the other.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int | None
    entries: int = 1
    """How many entries each repetition had, where the times are those of one."""
    turns: tuple[Measured, ...] = ()
    instructions: int | None = None

    @classmethod
    def exactly(cls, seconds: float = 0, peak_bytes: int | None = None) -> Medians:
        """What is not measured, but known."""
        return cls(seconds, 0, peak_bytes)

    @classmethod
    def of(cls, measured: Sequence[Measured], entries: int = 1) -> Medians:
        turns = tuple(
            replace(one, seconds=one.seconds / entries, cpu_seconds=one.cpu_seconds / entries) for one in measured
        )
        return cls(
            statistics.median(one.seconds for one in turns),
            statistics.median(one.cpu_seconds for one in turns),
            max((one.peak_bytes for one in turns if one.peak_bytes is not None), default=None),
            entries,
            turns,
            turns[0].instructions,
        )


class Worker:
    """One peer's process on one server."""

    def __init__(self, kind: Kind, server: Server) -> None:
        self.kind = kind
        module = f"tests.benchmarks.peers.{kind.module}"
        command = [str(interpreter(kind)), "-m", module, server.endpoint, server.bucket, str(CONCURRENCY)]
        self._process = subprocess.Popen(
            command,
            cwd=kind.root,
            env=_environment(server),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us to handle, and then its input ends
        )

    def call(self, task: str, **parameters: object) -> Measured | None:
        """What the task took; None when the peer cannot do it. Raises RuntimeError when it fails."""
        _open(self._process.stdin).write(json.dumps({"task": task, "parameters": parameters}) + "\n")
        _open(self._process.stdin).flush()
        line = _open(self._process.stdout).readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process has ended"}
        if "unsupported" in answer:
            return None
        if "error" in answer:
            raise RuntimeError(f"{self.kind.name}: {task} failed: {answer['error']}")
        return Measured(**answer)

    def dismiss(self) -> None:
        self._process.communicate()


@dataclass(slots=True)
class Crew:
    """The workers of one row, which are started when they are first needed, and dismissed together."""

    server: Server
    workers: dict[Kind, Worker] = field(default_factory=dict)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers.values():
            worker.dismiss()

    def worker(self, kind: Kind) -> Worker:
        """Warmed up: what is loaded lazily is loaded, and connections are open."""
        if kind not in self.workers:
            self.workers[kind] = Worker(kind, self.server)
            self.workers[kind].call("warm_up", folder=f"warm-up-{kind.module}")
        return self.workers[kind]

    def in_turn(
        self, repetitions: Mapping[Kind, int], work: Callable[[Worker], Measured | None]
    ) -> dict[Kind, list[Measured]]:
        """The work of each, then of each again: what else happens on the machine meets all of them.

        Peers over the same library follow one another, and every other turn goes backwards: so two that are compared
        run within seconds, and neither is always the second.
        """
        measured: dict[Kind, list[Measured]] = {kind: [] for kind in repetitions}
        workers = [self.worker(kind) for kind in sorted(repetitions, key=lambda kind: kind.stands_on)]
        for turn in range(max(repetitions.values())):
            workers.reverse()
            for worker in workers:
                if turn < repetitions[worker.kind] and len(measured[worker.kind]) == turn:
                    one = work(worker)
                    measured[worker.kind] += [one] if one is not None else []
        return {kind: all_of_it for kind, all_of_it in measured.items() if all_of_it}


def _environment(server: Server) -> dict[str, str]:
    """Credentials, and nothing that would make one client look for more of them than another."""
    # And bytecode is written, as it is for a user who installs a package: a cold start does not compile its imports.
    dropped = ("AWS_", "S3DICT_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONWARNINGS": "ignore",
    }


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
