"""Records the operations of processes and their results, for a checker that reads them afterwards.

    recorder = Recorder(directory, process="p1", uncertain=(UncertainOutcomeError, UnavailableError))
    with recorder.operation("key", Put(3, may_repeat=True)) as operation:
        operation.result = d.put("key", 3)
    ...
    assert_linearizable(load_history(directory))

Each process appends to a file of its own: an invocation before it goes on, so that what a killed process had
begun is known, and a return. Times are of the monotonic clock, which the processes of a machine share.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from .linearizability import ABSENT, UNKNOWN, Call, Operation

__all__ = ["Recorder", "Running", "load_history"]

_SUFFIX = ".history"


@dataclass(slots=True)
class Running:
    """An operation in flight; its runner sets what it received."""

    result: Any = UNKNOWN


@dataclass(frozen=True, slots=True)
class _Invocation:
    number: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class _Return:
    number: int
    returned_at: int | None
    result: Any


class Recorder:
    """Records what `process`, a name used once, does; its threads and tasks may share it.

    An operation that raises one of `uncertain` may have taken effect or not; if it set a result before, it
    had that result or no effect. The error is swallowed, and so is KeyError, which tells that there was
    nothing. Any other error is passed on.
    """

    def __init__(self, directory: Path, process: str, *, uncertain: tuple[type[Exception], ...] = ()) -> None:
        self._process = process
        self._uncertain = uncertain
        self._numbers = count()
        self._file = (directory / f"{process}{_SUFFIX}").open("xb", buffering=0)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def operation(self, key: str, call: Call) -> Iterator[Running]:
        number, running = next(self._numbers), Running()
        self._append(_Invocation(number, Operation(self._process, key, call, time.monotonic_ns())))
        try:
            yield running
        except KeyError:
            self._append(_Return(number, time.monotonic_ns(), ABSENT))
        except self._uncertain:
            self._append(_Return(number, None, running.result))
        else:
            self._append(_Return(number, time.monotonic_ns(), running.result))

    def _append(self, record: _Invocation | _Return) -> None:
        """Append in one write, so that threads do not mix records, and a killed process leaves whole ones."""
        self._file.write(pickle.dumps(record))


def load_history(directory: Path) -> list[Operation]:
    """Return the operations of all processes, in the order of invocation."""
    operations = [each for path in directory.glob(f"*{_SUFFIX}") for each in _operations(path)]
    return sorted(operations, key=lambda operation: operation.invoked_at)


def _operations(path: Path) -> list[Operation]:
    operations: dict[int, Operation] = {}
    for record in _records(path):
        if isinstance(record, _Invocation):
            operations[record.number] = record.operation
        else:
            invoked = operations[record.number]
            operations[record.number] = replace(invoked, returned_at=record.returned_at, result=record.result)
    return list(operations.values())


def _records(path: Path) -> Iterator[_Invocation | _Return]:
    with path.open("rb") as file:
        while file.peek(1):
            yield pickle.load(file)
