"""What a run comes to: figures, which were measured, and lines, which compare two of them with what must be reached."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from .workers import Medians

__all__ = ["Figure", "Line", "Target", "Verdict", "at_least", "at_most"]

Verdict = Literal["reached", "missed", "within noise"]
MIN_TURNS_FOR_QUARTILES = 4


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

    def is_reached(self, measured: float) -> bool:
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
    """Two figures compared. `ratios` are those of the turns, in which both ran one after the other."""

    row: str
    what: str
    server: str
    subject: str
    ours: float
    against: str
    other: float
    unit: Literal["s", "B", "I"]
    target: Target
    ratios: tuple[float, ...]
    note: str = ""

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """Between what the middle half of the turns lies; of fewer than four, all of them."""
        if len(self.ratios) < MIN_TURNS_FOR_QUARTILES:
            return min(self.ratios), max(self.ratios)
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high

    @property
    def verdict(self) -> Verdict:
        """Within noise is what one half of the turns would call reached, and the other one missed."""
        reached = {self.target.is_reached(ratio) for ratio in self.spread}
        if len(reached) > 1:
            return "within noise"
        return "reached" if reached.pop() else "missed"
