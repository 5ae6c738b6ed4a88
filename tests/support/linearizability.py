"""Decides whether one order of operations explains what several processes saw of the keys they shared.

    assert_linearizable(operations)

An operation takes effect at one instant between its invocation and its return, and returns what a register,
one for each key, returns at that instant. The algorithm is Wing and Gong's, just-in-time as by Lowe: it reads
the history from front to back and keeps all configurations that explain it so far (what the register holds, and
which of the pending operations have taken effect). Operations are made to take effect only when one of them
returns, so configurations stay few, and the first return that leaves none ends the shortest prefix without an
explanation.

Two kinds of operations are freer:

- One that did not return (its outcome is uncertain, or its process was killed) takes effect once, at any time
  after its invocation, or never.
- A put that `may_repeat`, since its request is sent again when the answer is lost, takes effect any number of
  times until it returns, at least once.

Values are hashable. The more of them are unique to one write, the less escapes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, Final, NamedTuple

__all__ = [
    "ABSENT",
    "UNKNOWN",
    "Call",
    "Contains",
    "Entry",
    "Get",
    "Modify",
    "NotLinearizableError",
    "Operation",
    "Pop",
    "Put",
    "Versioned",
    "Violation",
    "assert_linearizable",
    "find_violation",
]

_SHOWN_OPERATIONS = 30


class Special(Enum):
    ABSENT = "absent"
    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return self.value


ABSENT: Final = Special.ABSENT
"""What a key without an entry holds, and what is read from it."""
UNKNOWN: Final = Special.UNKNOWN
"""The result of an operation that did not return."""


class Versioned(NamedTuple):
    """What `entry` returned. Two versions are equal exactly if they are of the same write."""

    value: Hashable
    version: Hashable


class State(NamedTuple):
    """What a key holds, the number of the operation that wrote it, and the versions seen of all writes."""

    value: Hashable = ABSENT
    writer: int | None = None
    versions: frozenset[tuple[int | None, Hashable]] = frozenset()

    def has_version(self, version: Hashable) -> bool:
        return (self.writer, version) in self.versions

    def with_version(self, version: Hashable) -> State | None:
        """This state, its version now known; None if its write has another, or another write has this."""
        if self.has_version(version):
            return self
        if any(writer == self.writer or seen == version for writer, seen in self.versions):
            return None
        return self._replace(versions=self.versions | {(self.writer, version)})


@dataclass(frozen=True, slots=True)
class Call:
    """An operation and its arguments."""

    def apply(self, state: State, number: int, result: Any) -> State | None:
        """The state after operation `number` has taken effect; None if it cannot have had this result."""
        raise NotImplementedError

    def __str__(self) -> str:
        values = ((field, getattr(self, field.name)) for field in fields(self))
        arguments = (f"{field.name}={value!r}" for field, value in values if value != field.default)
        return f"{type(self).__name__.lower()}({', '.join(arguments)})"


@dataclass(frozen=True, slots=True)
class Get(Call):
    """Returns the value or ABSENT."""

    def apply(self, state: State, number: int, result: Any) -> State | None:
        return state if result == state.value else None


@dataclass(frozen=True, slots=True)
class Contains(Call):
    """Returns whether there is a value."""

    def apply(self, state: State, number: int, result: Any) -> State | None:
        return state if result == (state.value is not ABSENT) else None


@dataclass(frozen=True, slots=True)
class Entry(Call):
    """Returns a `Versioned`, or ABSENT."""

    def apply(self, state: State, number: int, result: Any) -> State | None:
        if state.value is ABSENT or result is ABSENT:
            return state if result is state.value else None
        return state.with_version(result.version) if result.value == state.value else None


@dataclass(frozen=True, slots=True)
class Put(Call):
    """Returns whether it wrote."""

    value: Hashable
    skip_if_exists: bool = False
    if_version: Hashable = None
    may_repeat: bool = False

    def apply(self, state: State, number: int, result: Any) -> State | None:
        writes = self._writes(state)
        if result not in (writes, UNKNOWN):
            return None
        return State(self.value, number, state.versions) if writes else state

    def _writes(self, state: State) -> bool:
        if self.skip_if_exists:
            return state.value is ABSENT
        return self.if_version is None or state.has_version(self.if_version)


@dataclass(frozen=True, slots=True)
class Pop(Call):
    """Returns the value it removed, or ABSENT."""

    def apply(self, state: State, number: int, result: Any) -> State | None:
        if result not in (state.value, UNKNOWN):
            return None
        return state if state.value is ABSENT else State(ABSENT, number, state.versions)


@dataclass(frozen=True, slots=True)
class Modify(Call):
    """Returns the new value, or ABSENT if there was none to modify and no default.

    `function` has to return the same for the same, and to be picklable when histories are recorded.
    """

    function: Callable[[Any], Hashable]
    default: Hashable = ABSENT

    def apply(self, state: State, number: int, result: Any) -> State | None:
        before = self.default if state.value is ABSENT else state.value
        after = ABSENT if before is ABSENT else self.function(before)
        if result not in (after, UNKNOWN):
            return None
        return state if after is ABSENT else State(after, number, state.versions)


@dataclass(frozen=True, slots=True)
class Operation:
    """What one process asked of one key, and what it was told; times are nanoseconds on one clock for all.

    Without `returned_at` it may have taken effect or not, whenever. If its result is known even so (a pop holds
    the value but cannot tell who deleted it), it had that result or no effect.
    """

    process: str
    key: str
    call: Call
    invoked_at: int
    returned_at: int | None = None
    result: Any = UNKNOWN

    @property
    def may_repeat(self) -> bool:
        return isinstance(self.call, Put) and self.call.may_repeat

    @property
    def only_reads(self) -> bool:
        """Whether it cannot have changed anything, given its result."""
        return isinstance(self.call, Get | Contains | Entry) or self.result is False or self.result is ABSENT


@dataclass(frozen=True, slots=True)
class Violation:
    """The shortest prefix of a key's history that has no explanation."""

    operations: tuple[Operation, ...]
    """What was invoked until then, in that order."""
    impossible: Operation
    """The last that returned."""
    values: tuple[Hashable, ...]
    """What the key may have held before the operations took effect that were pending then."""

    def __str__(self) -> str:
        start = self.operations[0].invoked_at
        shown = self.operations[-_SHOWN_OPERATIONS:]
        lines = [f"{'>' if each is self.impossible else ' '} {_describe(each, start)}" for each in shown]
        omitted = (
            [f"  … {len(self.operations) - len(shown)} before"] if len(shown) < len(self.operations) else []
        )
        return "\n".join(
            [
                f"Key {self.impossible.key!r}: no order of these operations explains the result marked by >;",
                f"without those pending then, the key would hold {' or '.join(map(repr, self.values))}",
                *omitted,
                *lines,
            ]
        )


class NotLinearizableError(AssertionError):
    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


def assert_linearizable(operations: Iterable[Operation]) -> None:
    """Check a history key by key, which is enough: linearizability composes.

    Raises:
        NotLinearizableError: it is not; the message shows the shortest prefix that has no explanation.
    """
    histories = defaultdict[str, list[Operation]](list)
    for operation in operations:
        histories[operation.key].append(operation)
    for history in histories.values():
        if violation := find_violation(history):
            raise NotLinearizableError(violation)


def find_violation(operations: Iterable[Operation]) -> Violation | None:
    """Where the history of one key ceases to be linearizable, if it does."""
    history = sorted(
        (each for each in operations if not _tells_nothing(each)), key=lambda each: each.invoked_at
    )
    search = _Search(history)
    for time, returns, number in _events(history):
        if not returns:
            search.invoke(number)
        elif not search.complete(number):
            prefix = tuple(each for each in history if each.invoked_at <= time)
            return Violation(prefix, history[number], search.values)
    return None


def _tells_nothing(operation: Operation) -> bool:
    return operation.returned_at is None and operation.only_reads


def _events(history: list[Operation]) -> list[tuple[int, bool, int]]:
    """Invocations and returns by time; of the same time, invocations come first, and so are concurrent."""
    invocations = [(each.invoked_at, False, number) for number, each in enumerate(history)]
    returns = [
        (each.returned_at, True, number)
        for number, each in enumerate(history)
        if each.returned_at is not None
    ]
    return sorted(invocations + returns)


class _Configuration(NamedTuple):
    """One explanation of a history so far."""

    state: State = State()
    done: frozenset[int] = frozenset()
    """Operations that have taken effect and will return."""
    spent: frozenset[int] = frozenset()
    """Operations that have taken effect and will not return."""


class _Search:
    """All the configurations that explain the events so far."""

    def __init__(self, history: list[Operation]) -> None:
        self._history = history
        self._pending: set[int] = set()
        self._pending_reads: set[int] = set()
        self._configurations = {_Configuration()}
        self.values: tuple[Hashable, ...] = ()

    def invoke(self, number: int) -> None:
        self._pending.add(number)
        if self._history[number].only_reads:
            self._pending_reads.add(number)
            self._configurations = {self._settle(each) for each in self._configurations}

    def complete(self, number: int) -> bool:
        """Let an operation return, having taken effect; False when it cannot have."""
        self.values = tuple({each.state.value: None for each in self._configurations})
        reached = self._with_effect_of(number)
        self._pending.discard(number)
        self._pending_reads.discard(number)
        self._configurations = _least_spent(each._replace(done=each.done - {number}) for each in reached)
        return bool(reached)

    def _with_effect_of(self, number: int) -> set[_Configuration]:
        """The configurations in which the operation has just taken effect, or had before."""
        reached = {each for each in self._configurations if number in each.done}
        repeats = self._history[number].may_repeat
        agenda = list(self._configurations if repeats else self._configurations - reached)
        seen = set(agenda)
        while agenda:
            for step, successor in self._successors(agenda.pop()):
                happened = step == number if repeats else number in successor.done
                if happened:
                    reached.add(successor)
                if successor not in seen and (repeats or not happened):
                    seen.add(successor)
                    agenda.append(successor)
        return reached

    def _successors(self, configuration: _Configuration) -> Iterator[tuple[int, _Configuration]]:
        """Each pending operation that can take effect next, and the configuration after it."""
        for number in self._pending - configuration.spent:
            if number in configuration.done and not self._history[number].may_repeat:
                continue
            state = self._apply(configuration.state, number)
            if state is not None:
                yield number, self._settle(self._mark(configuration._replace(state=state), number))

    def _apply(self, state: State, number: int) -> State | None:
        operation = self._history[number]
        return operation.call.apply(state, number, operation.result)

    def _mark(self, configuration: _Configuration, number: int) -> _Configuration:
        operation = self._history[number]
        if operation.returned_at is not None:
            return configuration._replace(done=configuration.done | {number})
        if operation.may_repeat:
            return configuration  # it can take effect again whenever it likes
        return configuration._replace(spent=configuration.spent | {number})

    def _settle(self, configuration: _Configuration) -> _Configuration:
        """Let every pending read take effect that can: it changes nothing, so now is as good as later."""
        state, done = configuration.state, configuration.done
        settled = [number for number in self._pending_reads - done if self._apply(state, number) is state]
        return configuration._replace(done=done.union(settled)) if settled else configuration


def _least_spent(configurations: Iterable[_Configuration]) -> set[_Configuration]:
    """Drop those that another surpasses by having spent less: it explains whatever they explain."""
    kept = defaultdict[tuple[State, frozenset[int]], list[_Configuration]](list)
    for each in sorted(configurations, key=lambda each: len(each.spent)):
        rivals = kept[each.state, each.done]
        if not any(rival.spent <= each.spent for rival in rivals):
            rivals.append(each)
    return {each for rivals in kept.values() for each in rivals}


def _describe(operation: Operation, start: int) -> str:
    invoked = f"{(operation.invoked_at - start) / 1e6:10.3f}"
    returned = "?" if operation.returned_at is None else f"{(operation.returned_at - start) / 1e6:.3f}"
    return f"{invoked} … {returned:>10} ms  {operation.process}: {operation.call} -> {operation.result!r}"
