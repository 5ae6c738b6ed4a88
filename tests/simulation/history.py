"""What processes asked of one key, the results, and whether any order explains them: by two independent checkers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from s3dict import Dict
from s3dict.errors import ConflictError, UnavailableError, UncertainOutcomeError

from ..support import linearizability as checker
from .world import World

ABSENT = "absent"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on the key.

    `apply` says which result it has for a value, and which value there is afterwards; `model` is the same for the other
    checker.
    """

    name: str
    call: Callable[[Dict[Any, Any]], Awaitable[Any]]
    apply: Callable[[Any], tuple[Any, Any]]
    model: checker.Call
    may_repeat: bool = False
    """Whether it may take effect a second time."""


@dataclass(slots=True)
class Operation:
    """An operation on the key.

    `apply` returns for a value, or ABSENT, which result it has and which value there is afterwards.
    """

    process: str
    name: str
    apply: Callable[[Any], tuple[Any, Any]]
    model: checker.Call
    """The same for the other checker."""
    started: int
    ended: int | None = None
    result: Any = UNKNOWN
    optional: bool = False
    """Whether it may have had no effect at all."""
    no_effect: bool = False

    def __str__(self) -> str:
        end = "never" if self.ended is None else self.ended
        return f"{self.process}: {self.name} [{self.started}, {end}] -> {self.result!r}{' ?' * self.optional}"


class History:
    """Records operations on one key."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.operations: list[Operation] = []

    async def record(self, process: str, step: Step, call: Callable[[], Awaitable[Any]]) -> Any:
        """Call it, and record the result. Errors that the guide promises end here."""
        name = step.name
        operation = Operation(process, name, step.apply, step.model, self._world.steps, optional=True)
        self.operations.append(operation)
        try:
            operation.result = await call()
            operation.optional = False
        except KeyError:
            operation.result, operation.optional = ABSENT, False
        except UncertainOutcomeError as error:
            operation.result = _carried(error, UNKNOWN)
            self._world.timeline.append(f"          {process}: {name} -> uncertain")
        except UnavailableError as error:
            operation.no_effect = not error.maybe_applied
        except ConflictError:
            operation.no_effect = True
        except asyncio.CancelledError as error:
            operation.result = _carried(error, UNKNOWN)
            operation.ended = None if operation.result is UNKNOWN else self._world.steps
            raise
        if not operation.optional:
            operation.ended = self._world.steps
            self._world.timeline.append(f"          {process}: {name} -> {operation.result!r}")
        return operation.result

    def note_possible(self, process: str, step: Step) -> None:
        """Note an effect that there may be from now on."""
        self.operations.append(Operation(process, step.name, step.apply, step.model, self._world.steps, optional=True))

    def check(self) -> None:
        """Raise AssertionError unless the history is linearizable."""
        operations = [operation for operation in self.operations if not operation.no_effect]
        if not is_linearizable(operations) or not is_linearizable_by_search(operations):
            lines = "\n".join(f"    {operation}" for operation in self.operations)
            raise AssertionError(f"no order explains\n{lines}")


def _carried(error: BaseException, default: Any) -> Any:
    value = getattr(error, "value", None)
    return default if value is None else value


def is_linearizable_by_search(operations: list[Operation]) -> bool:
    """Return the result of the checker of recorded histories, which shares no code with `is_linearizable`."""
    history = [
        checker.Operation(
            operation.process,
            "k",
            operation.model,
            operation.started,
            None if operation.optional else operation.ended,
            _SPECIAL.get(operation.result, operation.result),
        )
        for operation in operations
    ]
    return checker.find_violation(history) is None


_SPECIAL: dict[Any, Any] = {ABSENT: checker.ABSENT, UNKNOWN: checker.UNKNOWN}


def is_linearizable(operations: list[Operation], initial: Any = ABSENT) -> bool:
    """Return whether some order that respects real time explains every result; by trying all of them."""
    seen: set[tuple[frozenset[int], Any]] = set()

    def search(left: frozenset[int], value: Any) -> bool:
        if all(operations[number].optional for number in left):
            return True
        if (left, value) in seen:
            return False
        seen.add((left, value))
        first_end = min(
            (
                end
                for number in left
                if not operations[number].optional and (end := operations[number].ended) is not None
            ),
            default=None,
        )
        for number in left:
            operation = operations[number]
            if first_end is not None and operation.started > first_end:
                continue
            result, after = operation.apply(value)
            if operation.result in (UNKNOWN, result) and search(left - {number}, after):
                return True
        return False

    return search(frozenset(range(len(operations))), initial)
