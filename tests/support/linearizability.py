"""Decides whether one order of operations explains what several processes saw of the keys they shared.

    assert_linearizable(operations)

An operation takes effect at one instant between its invocation and its return, and returns what a register,
one for each key, returns at that instant. The algorithm is Wing and Gong's, just-in-time as by Lowe: it goes
through the history from front to back with a configuration that explains it so far (what the register holds,
and which of the pending operations have taken effect), lets operations take effect only when one of them
returns, goes back where that leads nowhere, and never looks at a configuration twice.

Two kinds of operations are freer:

- One that did not return (its outcome is uncertain, or its process was killed) takes effect once, at any time
  after its invocation, or never.
- A put that `may_repeat`, since its request is repeated when the answer is lost, takes effect any number of
  times until it returns, at least once.

Values are hashable. The more of them are unique to one write, the less escapes, and the faster the search.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields, replace
from enum import Enum
from math import inf
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
    "UndecidedError",
    "Versioned",
    "Violation",
    "assert_linearizable",
    "find_violation",
]

_SHOWN_OPERATIONS = 30
_MOST_CONFIGURATIONS = 200_000
_LONGEST_CHAIN = 3


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
    writer: Hashable = None
    versions: frozenset[tuple[Hashable, Hashable]] = frozenset()

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
        return State(self.value, self._writer(state, number), state.versions) if writes else state

    def _writer(self, state: State, number: int) -> Hashable:
        """Each effect of a put that repeats is a write of its own, under a version of its own."""
        if not self.may_repeat:
            return number
        return number, sum(isinstance(writer, tuple) and writer[0] == number for writer, _ in state.versions)

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
    """What one process asked of one key, and what it received; times are nanoseconds on one clock for all.

    Without `returned_at` it may have taken effect or not, whenever. If its result is known even so (a pop
    holds the value but cannot tell who deleted it), it had that result or no effect.
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
    """The last that returned; those pending then may have taken effect or not."""

    def __str__(self) -> str:
        start = self.operations[0].invoked_at
        shown = self.operations[-_SHOWN_OPERATIONS:]
        lines = [f"{'>' if each is self.impossible else ' '} {_describe(each, start)}" for each in shown]
        omitted = [f"  … {len(self.operations) - len(shown)} before"] if len(shown) < len(self.operations) else []
        head = f"Key {self.impossible.key!r}: no order of these operations explains the one marked by >"
        return "\n".join([head, *omitted, *lines])


class NotLinearizableError(AssertionError):
    def __init__(self, violation: Violation) -> None:
        super().__init__(str(violation))
        self.violation = violation


class UndecidedError(Exception):
    """A history with too many operations of unknown outcome: it would take too long to tell."""


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
    """Where the history of one key ceases to be linearizable, if it does.

    Raises:
        UndecidedError: it would take too long to tell.
    """
    history = sorted(operations, key=lambda each: each.invoked_at)
    if _is_linearizable(history):
        return None
    returned = [(each.returned_at, each) for each in history if each.returned_at is not None]
    returns = sorted(returned, key=lambda each: each[0])
    first = bisect_left(returns, True, key=lambda each: not _is_linearizable(_prefix(history, each[0])))
    time, impossible = returns[first]
    return Violation(tuple(each for each in history if each.invoked_at <= time), impossible)


def _prefix(history: list[Operation], time: int) -> list[Operation]:
    """What was known of the history at a time."""
    return [
        each
        if each.returned_at is None or each.returned_at <= time
        else replace(each, returned_at=None, result=UNKNOWN)
        for each in history
        if each.invoked_at <= time
    ]


def _is_linearizable(history: list[Operation]) -> bool:
    completed = [each for each in history if each.returned_at is not None or not each.only_reads]
    return _Search(completed, optimistic=True).succeeds() or _Search(completed, optimistic=False).succeeds()


class _Event(NamedTuple):
    """An invocation or a return; of the same time, invocations come first, and so are concurrent."""

    time: int
    returns: bool
    number: int


class _Configuration(NamedTuple):
    """One explanation of the events before `position`."""

    position: int = 0
    state: State = State()
    done: frozenset[int] = frozenset()
    """The pending operations that have taken effect and will return."""
    spent: frozenset[int] = frozenset()
    """The operations that have taken effect and will not return."""

    def has_taken(self, number: int) -> bool:
        return number in self.done or number in self.spent


class _Search:
    """A search, depth first, for a configuration that explains all events.

    An optimistic one takes it that a modify of unknown result did not write what another operation wrote, and
    that few of them followed on each other. It may overlook an explanation, but is faster.
    """

    def __init__(self, history: list[Operation], *, optimistic: bool) -> None:
        self._history = history
        self._events = _events(history)
        self._pending = _pending_before(self._events, history)
        self._future = _Future(history, self._events, optimistic=optimistic)
        self._visited = defaultdict[tuple[int, State, frozenset[int]], list[frozenset[int]]](list)

    def succeeds(self) -> bool:
        agenda = [_Configuration()]
        while agenda:
            configuration = agenda.pop()
            if configuration.position == len(self._events):
                return True
            if self._is_news(configuration):
                agenda.extend(self._successors(configuration))
        return False

    def _is_news(self, configuration: _Configuration) -> bool:
        """False when one was visited that explains whatever this one does: the same, having spent no more."""
        position, state, done, spent = configuration
        visited = self._visited[position, state, done]
        if any(other <= spent for other in visited):
            return False
        visited.append(spent)
        if len(self._visited) > _MOST_CONFIGURATIONS:
            raise UndecidedError(f"Undecided after {_MOST_CONFIGURATIONS} configurations")
        return True

    def _successors(self, configuration: _Configuration) -> list[_Configuration]:
        """What may be next, the likeliest last."""
        event = self._events[configuration.position]
        passed = configuration._replace(position=configuration.position + 1)
        if not event.returns:
            return [self._settle(passed)]
        if event.number not in configuration.done:
            return self._steps(configuration)
        steps = self._steps(configuration) if self._history[event.number].may_repeat else []
        return [*steps, passed._replace(done=configuration.done - {event.number})]

    def _steps(self, configuration: _Configuration) -> list[_Configuration]:
        """Let each pending operation take effect that can."""
        steps = []
        for number in self._pending[configuration.position]:
            if configuration.has_taken(number) and not self._history[number].may_repeat:
                continue
            state = self._apply(configuration.state, number)
            if state is not None and self._future.allows(configuration, state, number):
                steps.append(self._settle(self._mark(configuration._replace(state=state), number)))
        return steps

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
        position, state, done, _ = configuration
        settled = [
            number
            for number in self._pending[position]
            if self._history[number].only_reads and number not in done and self._apply(state, number) is state
        ]
        return configuration._replace(done=done.union(settled)) if settled else configuration


class _Future:
    """Knows from the rest of the history which steps lead nowhere, or nowhere else than without them."""

    def __init__(self, history: list[Operation], events: list[_Event], *, optimistic: bool) -> None:
        self._history = history
        self._ends = _ends(events, history)
        self._readers = _readers(history)
        self._writers = _writers(history, optimistic=optimistic)
        self._modifies = [(number, each.call) for number, each in enumerate(history) if isinstance(each.call, Modify)]
        self._products: dict[Hashable, list[tuple[int, Hashable]]] = {}
        self._compares = [
            (number, each.call.if_version)
            for number, each in enumerate(history)
            if isinstance(each.call, Put) and each.call.if_version is not None
        ]
        self._optimistic = optimistic

    def allows(self, configuration: _Configuration, after: State, number: int) -> bool:
        """Return whether operation `number` shall take effect now, which leads to the state `after`."""
        before = configuration.state
        if after.writer == before.writer:
            return after != before
        if not self._may_leave(configuration, number):
            return False
        is_free_not_to = self._ends[number] == inf or number in configuration.done
        return not is_free_not_to or self._is_noticed(configuration, after, number)

    def _may_leave(self, configuration: _Configuration, number: int) -> bool:
        """False when the value there is still to be read by others, and no process can write it again."""
        value = configuration.state.value
        readers = (reader for reader in self._readers.get(value, ()) if self._ends[reader] < inf)
        if not any(reader != number and self._is_ahead(configuration, reader) for reader in readers):
            return True
        return any(
            self._is_ahead(configuration, writer) or self._repeats(configuration, writer)
            for writer in self._writers[value]
        )

    def _is_ahead(self, configuration: _Configuration, number: int) -> bool:
        """Return whether the operation can take effect after the configuration for the first time."""
        return self._ends[number] >= configuration.position and not configuration.has_taken(number)

    def _repeats(self, configuration: _Configuration, number: int) -> bool:
        return self._history[number].may_repeat and self._ends[number] >= configuration.position

    def _is_noticed(self, configuration: _Configuration, after: State, number: int) -> bool:
        """False when nothing that follows can tell the state after a step from the one before."""
        before = configuration.state
        if ABSENT in (before.value, after.value):
            return True
        if any(
            self._is_ahead(configuration, other) and (before.has_version(seen) or after.has_version(seen))
            for other, seen in self._compares
        ):
            return True
        return self._is_used(configuration, after.value, frozenset({number}))

    def _is_used(self, configuration: _Configuration, value: Hashable, without: frozenset[int]) -> bool:
        """Return whether an operation other than those reads the value, or makes of it one that is used."""
        if any(self._is_ahead(configuration, reader) for reader in self._readers.get(value, ())):
            return True
        return any(
            self._is_observed(number) or self._leads_on(configuration, after, without | {number})
            for number, after in self._products_of(value)
            if number not in without and self._is_ahead(configuration, number)
        )

    def _leads_on(self, configuration: _Configuration, value: Hashable, chain: frozenset[int]) -> bool:
        if not self._optimistic:
            return True
        return len(chain) <= _LONGEST_CHAIN and self._is_used(configuration, value, chain)

    def _products_of(self, value: Hashable) -> list[tuple[int, Hashable]]:
        """The modifies that may have been done on the value, and what they make of it."""
        if value not in self._products:
            products = [(number, modify.function(value)) for number, modify in self._modifies]
            self._products[value] = [
                (number, after) for number, after in products if self._history[number].result in (after, UNKNOWN)
            ]
        return self._products[value]

    def _is_observed(self, number: int) -> bool:
        return self._history[number].result is not UNKNOWN


def _events(history: list[Operation]) -> list[_Event]:
    invocations = [_Event(each.invoked_at, False, number) for number, each in enumerate(history)]
    returns = [
        _Event(each.returned_at, True, number) for number, each in enumerate(history) if each.returned_at is not None
    ]
    return sorted(invocations + returns)


def _pending_before(events: list[_Event], history: list[Operation]) -> list[list[int]]:
    """The operations pending before each event, and after all; the likeliest, the next to return, is last."""
    pending: list[list[int]] = [[]]
    for event in events:
        others = [number for number in pending[-1] if number != event.number]
        numbers = others if event.returns else [*others, event.number]
        pending.append(sorted(numbers, key=lambda number: history[number].returned_at or inf, reverse=True))
    return pending


def _ends(events: list[_Event], history: list[Operation]) -> list[float]:
    """The position of each operation's return."""
    ends = [inf] * len(history)
    for position, event in enumerate(events):
        if event.returns:
            ends[event.number] = position
    return ends


def _readers(history: list[Operation]) -> dict[Hashable, list[int]]:
    """Which operations received which value because the key held it."""
    readers = defaultdict[Hashable, list[int]](list)
    for number, operation in enumerate(history):
        if isinstance(operation.call, Get | Entry | Pop) and operation.result not in (ABSENT, UNKNOWN):
            result = operation.result
            readers[result.value if isinstance(result, Versioned) else result].append(number)
    return readers


def _writers(history: list[Operation], *, optimistic: bool) -> dict[Hashable, list[int]]:
    """Which operations may write which of the values that are read."""
    writers = defaultdict[Hashable, list[int]](list)
    unknown = []
    for number, operation in enumerate(history):
        if isinstance(operation.call, Put):
            writers[operation.call.value].append(number)
        elif isinstance(operation.call, Modify) and operation.result is UNKNOWN:
            unknown.append(number)
        elif isinstance(operation.call, Modify):
            writers[operation.result].append(number)
    return {
        value: writers[value] if optimistic and writers[value] else writers[value] + unknown
        for value in _readers(history)
    }


def _describe(operation: Operation, start: int) -> str:
    invoked = f"{(operation.invoked_at - start) / 1e6:10.3f}"
    returned = "?" if operation.returned_at is None else f"{(operation.returned_at - start) / 1e6:.3f}"
    return f"{invoked} … {returned:>10} ms  {operation.process}: {operation.call} -> {operation.result!r}"
