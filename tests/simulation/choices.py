"""Choosers of the next event: a replayed list, an enumeration of all lists, or a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Option:
    """A possible next event.

    `weight` is how often a seeded schedule prefers it to the others.
    """

    label: str
    run: Callable[[], None]
    weight: float = 1.0


class Chooser(Protocol):
    """Chooses one of some options; 0 is the ordinary one: the oldest request is responded to, and nothing fails."""

    def choose(self, options: Sequence[Option]) -> int: ...


class Replay:
    """Follows a list of choices, and goes on with the ordinary ones after its end."""

    def __init__(self, choices: Sequence[int] = ()) -> None:
        self._choices = choices
        self.taken: list[int] = []
        self.widths: list[int] = []

    def choose(self, options: Sequence[Option]) -> int:
        number = len(self.taken)
        choice = self._choices[number] if number < len(self._choices) else 0
        choice = min(choice, len(options) - 1)
        self.taken.append(choice)
        self.widths.append(len(options))
        return choice


class Seeded:
    """Chooses at random, by weight."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.taken: list[int] = []

    def choose(self, options: Sequence[Option]) -> int:
        weights = [option.weight for option in options]
        choice = self._random.choices(range(len(options)), weights)[0]
        self.taken.append(choice)
        return choice


def all_schedules() -> Iterator[Replay]:
    """Yield choosers that between them make every list of choices: depth first, each after the one before has run."""
    prefix: list[int] | None = []
    while prefix is not None:
        replay = Replay(prefix)
        yield replay
        prefix = _successor(replay)


def _successor(replay: Replay) -> list[int] | None:
    """Return the next list in the order of a depth-first search: the last choice that can be increased is."""
    for number in reversed(range(len(replay.taken))):
        if replay.taken[number] + 1 < replay.widths[number]:
            return [*replay.taken[:number], replay.taken[number] + 1]
    return None


def shrunk(choices: Sequence[int], fails: Callable[[Sequence[int]], bool], attempts: int = 400) -> list[int]:
    """Return a list of fewer extraordinary choices that still fails.

    Args:
        choices: A list that fails.
        fails: Whether a list fails.
        attempts: How many lists are tried at most.
    """
    best = list(choices)
    improved = True
    while improved:
        improved = False
        for candidate in _simpler(best):
            if not attempts:
                return best
            attempts -= 1
            if fails(candidate):
                best, improved = candidate, True
                break
    return best


def _simpler(choices: list[int]) -> Iterator[list[int]]:
    """Yield lists without an end, without one choice, or with an ordinary choice in its place; the shortest first."""
    end = max((number for number, choice in enumerate(choices) if choice), default=-1) + 1
    if end < len(choices):
        yield choices[:end]
    for length in (end // 2, 3 * end // 4, end - 1):
        if 0 <= length < end:
            yield choices[:length]
    for number in reversed(range(end)):
        if choices[number]:
            yield [*choices[:number], 0, *choices[number + 1 : end]]
            yield [*choices[:number], *choices[number + 1 : end]]
