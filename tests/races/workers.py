"""Processes that contend: kept alive from test to test, run in step where a job wants it, and now and then killed.

Half of them call in blocking style, half in asyncio, and all contend with each other. They are forked from a process
that has imported boto3 and aioboto3 and done nothing else, so that sixteen of them cost little more than one.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any, Final, NoReturn

from s3dict import Dict
from s3dict._stores.shared.threads import run_blocking

from ..support.modes import AnyMode, Mode

__all__ = ["KILLED", "Job", "Worker", "Workers"]

_SILENCE_SECONDS = 100.0
"""How long a run may go without a word from any worker."""
_PRELOADED = ["boto3", "aioboto3", "tests.races.workloads"]


class _Word(Enum):
    """What is sent through the pipes besides tasks and their results."""

    HERE = "a worker has come to a meeting"
    GO = "all workers have"
    KILLED = "killed"

    def __repr__(self) -> str:
        return self.name


KILLED: Final = _Word.KILLED
"""What a worker "returned" that was killed with SIGKILL."""

Job = Callable[..., Awaitable[Any]]
"""A module's coroutine function, which is called with a `Worker`, a Dict (as an `AnyMode`), and keyword arguments."""


@dataclass(frozen=True, slots=True)
class _Task:
    job: Job
    handle: Dict[Any, Any]
    arguments: Mapping[str, Any]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Returned:
    result: Any


@dataclass(frozen=True, slots=True)
class _Raised:
    trace: str


@dataclass(frozen=True, slots=True)
class Worker:
    """The worker that runs a job, as the job sees it."""

    number: int
    mode: Mode
    connection: Connection

    def barrier(self) -> None:
        """Wait for all workers of this run that have not returned yet. A job has nothing else in flight then."""
        self.connection.send(_Word.HERE)
        self.connection.recv()

    async def work(self, seconds: float) -> None:
        """Take time."""
        if self.mode is Mode.SYNC:
            time.sleep(seconds)  # noqa: ASYNC251 (no event loop runs here)
        else:
            await asyncio.sleep(seconds)

    @asynccontextmanager
    async def entered(self, context: Any) -> AsyncIterator[Any]:
        """A context that is both ``with`` and ``async with``, entered in this worker's way."""
        if self.mode is Mode.SYNC:
            blocking: AbstractContextManager[Any] = context
            with blocking as entered:
                yield entered
        else:
            suspending: AbstractAsyncContextManager[Any] = context
            async with suspending as entered:
                yield entered

    def die(self) -> NoReturn:
        """End this process as a power cut would: nothing is cleaned up, and no process is notified."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("no process survives SIGKILL")


class Workers:
    """Starts workers when they are first needed, and again when they were killed."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._workers: dict[int, _Worker] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers. Those that are not at rest are killed."""
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def run(self, count: int, job: Job, handle: Dict[Any, Any], **arguments: Any) -> list[Any]:
        """What the job returns in each of `count` workers, or `KILLED`.

        Raises:
            AssertionError: the job raised something, a worker ended in another way, or all were silent for too long.
        """
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        task = _Task(job, handle, arguments, environment)
        workers = [self._worker(number) for number in range(count)]
        for worker in workers:
            worker.connection.send(task)
        try:
            outcomes = _collect(workers)
        except BaseException:
            for worker in workers:
                worker.process.kill()
            raise
        finally:
            self._bury()
        traces = [f"worker {n}: {outcome.trace}" for n, outcome in enumerate(outcomes) if isinstance(outcome, _Raised)]
        assert not traces, "\n".join(traces)
        return [outcome.result if isinstance(outcome, _Returned) else outcome for outcome in outcomes]

    def _worker(self, number: int) -> _Worker:
        if number not in self._workers:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=_serve, args=(number, theirs), name=f"worker {number}", daemon=True)
            process.start()
            theirs.close()
            self._workers[number] = _Worker(process, ours)
        return self._workers[number]

    def _bury(self) -> None:
        """Forget the workers that have ended."""
        for number, worker in list(self._workers.items()):
            if worker.connection.closed or not worker.process.is_alive():
                worker.end()
                del self._workers[number]


@dataclass(frozen=True, slots=True)
class _Worker:
    """This side of a worker."""

    process: ForkServerProcess
    connection: Connection

    def receive(self) -> Any:
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            self.connection.close()
            self.process.join()
            assert self.process.exitcode == -signal.SIGKILL, f"{self.process.name} ended with {self.process.exitcode}"
            return KILLED

    def end(self) -> None:
        """A worker at rest sees the end of the pipe and leaves; one that does not is killed."""
        self.connection.close()
        self.process.join(5)
        self.process.kill()
        self.process.join()
        self.process.close()


def _collect(workers: list[_Worker]) -> list[Any]:
    """Return the result of each worker; run the barriers."""
    outcomes: dict[int, Any] = {}
    waiting: set[int] = set()
    busy = {worker.connection: number for number, worker in enumerate(workers)}
    while busy:
        ready = wait(list(busy), _SILENCE_SECONDS)
        assert ready, f"No word from workers {sorted(busy.values())}, of which {sorted(waiting)} wait for the others"
        for connection in ready:
            assert isinstance(connection, Connection)
            number = busy[connection]
            outcome = workers[number].receive()
            if outcome is _Word.HERE:
                waiting.add(number)
            else:
                outcomes[number] = outcome
                del busy[connection]
        if waiting and waiting == set(busy.values()):
            waiting.clear()
            for connection in random.sample(list(busy), len(busy)):  # no worker shall always be first
                connection.send(_Word.GO)
    return [outcomes[number] for number in range(len(workers))]


def _serve(number: int, connection: Connection) -> None:
    """Run tasks until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test process, whose end we notice
    worker = Worker(number, Mode.ASYNCIO if number % 2 else Mode.SYNC, connection)
    while True:
        try:
            task = connection.recv()
        except (EOFError, ConnectionError):
            return
        connection.send(_perform(worker, task))


def _perform(worker: Worker, task: _Task) -> _Returned | _Raised:
    os.environ.update(task.environment)
    coroutine: Any = task.job(worker, AnyMode(task.handle, worker.mode), **task.arguments)
    try:
        return _Returned(run_blocking(coroutine) if worker.mode is Mode.SYNC else asyncio.run(coroutine))
    except BaseException:
        return _Raised(traceback.format_exc())
