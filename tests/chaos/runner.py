"""The environment of the scenarios: a server, processes, and rounds whose histories are checked."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3dict import Client, Dict
from s3dict.testing.seaweedfs import LocalServer

from ..linearizability.workloads import understood
from ..races.workers import Workers
from ..support.history import Recorder, load_history
from ..support.linearizability import ABSENT, Get, NotLinearizableError, Operation, assert_linearizable
from ..support.modes import Endpoint
from .journal import check_journals
from .results import Result
from .workloads import COUNTER, Counted, Progress, run

__all__ = ["Lab", "Rounds", "seaweed"]

PROCESSES = 4
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Lab:
    """What a scenario needs. `seconds` is its approximate duration; with `full`, outages have their real length."""

    directory: Path
    workers: Workers
    seconds: float
    full: bool = False
    shared: Endpoint | None = None
    """A SeaweedFS for scenarios that leave it as it is; without one, each has its own."""

    @contextmanager
    def store(self) -> Iterator[Client]:
        """An empty prefix on a SeaweedFS."""
        with ExitStack() as opened:
            there = self.shared
            if there is None:
                server = opened.enter_context(seaweed(self.folder("seaweed")))
                there = Endpoint(server.endpoint_url, server.bucket)
            prefix = f"chaos-{os.getpid()}-{next(_numbers)}"
            yield Client(there.bucket, prefix=prefix, endpoint_url=there.url, driver="boto3")

    def folder(self, name: str) -> Path:
        """A new directory, for a server or a history."""
        made = self.directory / f"{name}-{next(_numbers)}"
        made.mkdir()
        return made


@contextmanager
def seaweed(directory: Path) -> Iterator[LocalServer]:
    """Return a SeaweedFS that accepts this environment's credentials."""
    keys = {"accessKey": os.environ["AWS_ACCESS_KEY_ID"], "secretKey": os.environ["AWS_SECRET_ACCESS_KEY"]}
    admin = {"name": "admin", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (directory / "identities.json").write_text(json.dumps({"identities": [admin]}))
    with LocalServer(directory, bucket="s3dict-chaos") as server:
        yield server


@dataclass(slots=True)
class Rounds:
    """One dict on which processes work in rounds, each with its own keys and history."""

    lab: Lab
    client: Client
    timeout: float = 60.0
    operations: int = 0
    slowest: float = 0.0
    violations: list[str] = field(default_factory=list)
    d: Dict[Any, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.d = Dict.from_name("d", create_if_missing=True, client=self.client).hydrate()

    def work(self, through: Client, seconds: float, **options: Any) -> tuple[Progress, list[Counted]]:
        """Let the processes work through that client's endpoint for some seconds, with these options of Progress."""
        number = next(_numbers)
        keys = f"a{number}", f"b{number}"
        progress = Progress(self.lab.folder("round"), f"r{number}", seconds, keys, self.timeout, **options)
        handle: Dict[Any, Any] = Dict.from_id(self.d.object_id, through)
        counted = self.lab.workers.run(PROCESSES, run, handle, progress=progress)
        self.slowest = max(self.slowest, *(each.slowest for each in counted))
        return progress, counted

    def check(self, progress: Progress, counted: Sequence[Counted]) -> None:
        """Check that the entries are those that the processes of the round have observed."""
        with Recorder(progress.directory, "at the end") as recorder:
            for key in progress.keys:
                with recorder.operation(key, Get()) as reading:
                    reading.result = self.d.get(key, ABSENT)
        history = [understood(operation) for operation in load_history(progress.directory)]
        self._explain(history)
        findings = check_journals(progress.directory, self.d)
        self.violations += findings.violations
        self.violations += self.check_count(counted)
        self.operations += len(history) + findings.begun + sum(each.certain + each.uncertain for each in counted)
        self.d.clear()

    def check_count(self, counted: Sequence[Counted]) -> list[str]:
        """Return whether the counter is the number of increments under the lock."""
        count, least = self.d.get(COUNTER, 0), sum(each.certain for each in counted)
        most = least + sum(each.uncertain for each in counted)
        return [] if least <= count <= most else [f"{count} counted under the lock, and not {least} to {most}"]

    def _explain(self, history: list[Operation]) -> None:
        try:
            assert_linearizable(history)
        except NotLinearizableError as error:
            self.violations.append(str(error))

    def result(self, scenario: str, server: str, began: float, injected: dict[str, int]) -> Result:
        seconds = time.monotonic() - began
        noted = f"slowest call {self.slowest:.1f} s, with a timeout of {self.timeout:g} s"
        return Result(scenario, server, seconds, self.operations, injected, tuple(self.violations), noted)
