"""What a run comes to: figures, which were measured, and lines, which compare two of them with what must be reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .workers import Medians

__all__ = ["Figure", "Line", "Target", "at_least", "at_most"]


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians of one peer doing one thing."""

    row: str
    what: str
    server: str
    peer: str
    n: int
    """How many entries, or for single values their size in bytes."""
    medians: Medians


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio to reach: of our figure to the other, at most; or of the other to ours, at least."""

    ratio: float
    times_better: bool

    def measured(self, ours: float, other: float) -> float:
        return other / ours if self.times_better else ours / other

    def is_reached(self, ours: float, other: float) -> bool:
        measured = self.measured(ours, other)
        return measured >= self.ratio if self.times_better else measured <= self.ratio

    def __str__(self) -> str:
        return f"{'≥' if self.times_better else '≤'} {self.ratio:g}"


def at_most(ratio: float) -> Target:
    """Ours takes at most so many times what the other takes."""
    return Target(ratio, times_better=False)


def at_least(ratio: float) -> Target:
    """Ours is at least so many times as fast as the other."""
    return Target(ratio, times_better=True)


@dataclass(frozen=True, slots=True)
class Line:
    row: str
    what: str
    server: str
    subject: str
    ours: float
    against: str
    other: float
    unit: Literal["s", "B"]
    target: Target
    note: str = ""

    @property
    def ratio(self) -> float:
        return self.target.measured(self.ours, self.other)

    @property
    def passed(self) -> bool:
        return self.target.is_reached(self.ours, self.other)
