"""Simulated processes that share one key: histories as a right implementation leaves them, or a wrong one.

Time is simulated. A process draws how long it waits before its operation takes effect and before it returns;
all effects are on one register, one by one.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Generator, Hashable
from functools import partial
from itertools import count
from random import Random
from typing import Any, Literal

from tests.support.linearizability import (
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

__all__ = ["Bug", "Simulation"]

Bug = Literal[
    "unconditional",  # whatever depends on the value looks first, and writes later, without a condition
    "stale",  # get is now and then answered with what was there some writes ago
]

_KEPT = object()


class Simulation:
    """Processes that do random operations; a fraction does not return, or takes effect twice if it may.

    Values are unique to their write, or there are only so many, if `values` says how many.
    """

    def __init__(
        self,
        seed: int,
        *,
        processes: int = 6,
        operations: int = 300,
        uncertain: float = 0.03,
        repeated: float = 0.1,
        values: int | None = None,
        bug: Bug | None = None,
    ) -> None:
        self._new_id = Random(seed)
        self._numbers = iter(range(1, operations + 1))
        self._uncertain, self._repeated = uncertain, repeated
        self._values, self._bug = values, bug
        self._register = _Register()
        self._history: list[Operation] = []
        self._now = 0
        self._agenda: list[tuple[int, int, Generator[int, None, Any]]] = []
        self._tickets = count()
        for number in range(processes):
            self._resume(self._process(f"p{number}"))

    def run(self) -> list[Operation]:
        while self._agenda:
            self._now, _, process = heapq.heappop(self._agenda)
            self._resume(process)
        return self._history

    def _resume(self, process: Generator[int, None, Any]) -> None:
        for wait in process:
            heapq.heappush(self._agenda, (self._now + wait, next(self._tickets), process))
            return

    def _wait(self) -> int:
        return self._new_id.randrange(1, 1000)

    def _happens(self, probability: float) -> bool:
        return self._new_id.random() < probability

    def _process(self, name: str) -> Generator[int, None, None]:
        seen: Hashable = None
        for number in self._numbers:
            yield self._wait()
            call, invoked = self._draw_call(number, seen), self._now
            if self._happens(self._uncertain):
                yield from self._lose(call, number)
                self._history.append(Operation(name, "key", call, invoked))
                continue
            result = yield from self._perform(call, number)
            yield self._wait()
            self._history.append(Operation(name, "key", call, invoked, self._now, result))
            seen = result.version if isinstance(result, Versioned) else seen

    def _lose(self, call: Call, number: int) -> Generator[int, None, None]:
        """The process gives up; the operation takes effect before or after that, or never."""
        if self._happens(0.7):
            self._resume(self._perform(call, number))
        yield self._wait()

    def _perform(self, call: Call, number: int) -> Generator[int, None, Any]:
        yield self._wait()
        if isinstance(call, Put) and call.may_repeat and self._happens(self._repeated):
            self._register.write(call.value, number)
            yield self._wait()
        result, value = self._register.answer(call)
        if self._bug == "stale" and isinstance(call, Get) and self._happens(0.1):
            return self._register.past[0]
        if self._bug == "unconditional":
            yield self._wait()
        if value is not _KEPT:
            self._register.write(value, number)
        return result

    def _draw_call(self, number: int, seen: Hashable) -> Call:
        value = f"v{number}" if self._values is None else self._new_id.randrange(self._values)
        change = partial(_follow, number) if self._values is None else partial(_add, self._values)
        calls = {
            Get(): 4,
            Contains(): 1,
            Entry(): 2,
            Put(value, may_repeat=True): 3,
            Put(value, skip_if_exists=True): 2,
            Put(value, if_version=seen): 0 if seen is None else 2,
            Pop(): 2,
            Modify(change): 1,
            Modify(change, default=0): 1,
        }
        return self._new_id.choices(list(calls), list(calls.values()))[0]


class _Register:
    def __init__(self) -> None:
        self._value: Hashable = ABSENT
        self._version = 0
        self.past: deque[Hashable] = deque([ABSENT], maxlen=6)

    def write(self, value: Any, version: int) -> None:
        self._value, self._version = value, version
        self.past.append(value)

    def answer(self, call: Call) -> tuple[Any, Any]:
        """What the call returns now, and what it shall write, if anything."""
        absent = self._value is ABSENT
        match call:
            case Contains():
                return not absent, _KEPT
            case Entry():
                return ABSENT if absent else Versioned(self._value, self._version), _KEPT
            case Put():
                writes = self._lets(call)
                return writes, call.value if writes else _KEPT
            case Pop():
                return self._value, _KEPT if absent else ABSENT
            case Modify():
                before = call.default if absent else self._value
                after = ABSENT if before is ABSENT else call.function(before)
                return after, _KEPT if after is ABSENT else after
            case _:
                return self._value, _KEPT

    def _lets(self, put: Put) -> bool:
        if put.skip_if_exists:
            return self._value is ABSENT
        return put.if_version is None or (self._value is not ABSENT and put.if_version == self._version)


def _follow(number: int, before: Hashable) -> str:
    return f"v{number} after {before}"[:40]


def _add(modulus: int, before: int) -> int:
    return (before + 1) % modulus
