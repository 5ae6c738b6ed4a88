"""What processes did with one key of a dict that is being swept, and whether a dict with a ttl may answer so.

The check is exact where intervals tell the order of two visits, and lenient where they overlap: it reports nothing
that could be right. All times are those of one clock, in days; every value is written once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["ABSENT", "PRESENT", "Rules", "State", "Visit", "violations"]


class _Sight(Enum):
    ABSENT = "no entry"
    PRESENT = "an entry, its value unseen"

    def __repr__(self) -> str:
        return self.name


ABSENT: Final = _Sight.ABSENT
PRESENT: Final = _Sight.PRESENT
State = str | _Sight


@dataclass(frozen=True, slots=True)
class Visit:
    """One call, or what one bulk call did with this key."""

    start: float
    end: float
    saw: State | None = None
    """None when it did not look."""
    made: State | None = None
    """None when it left the key as it was."""
    renews: bool = False
    """Whether it counts as reading what it saw."""
    certain: bool = True
    """False when it is unknown whether, or when, what it made or renewed took place."""

    @property
    def settled(self) -> float:
        """When what it made or renewed was there."""
        return self.end if self.certain else math.inf


@dataclass(frozen=True, slots=True)
class Rules:
    """How long an entry lives after it was last read or written at least, and at most."""

    least: float
    most: float


def violations(visits: Sequence[Visit], rules: Rules) -> Iterator[str]:
    """What no dict may do to a key that these are all visits of."""
    ordered = sorted(visits, key=lambda visit: visit.start)
    key = _Key(ordered, _protecting(ordered, rules), rules)
    for visit in ordered:
        fault = key.fault(visit)
        if fault:
            yield f"{fault}: {visit}"
    taken = [visit.saw for visit in ordered if visit.made is ABSENT and visit.certain]
    yield from (f"taken twice: {value}" for value in set(taken) if taken.count(value) > 1)


def _protecting(ordered: Sequence[Visit], rules: Rules) -> list[Visit]:
    """The visits from which an entry has to last: writes, and reads that came within the time of such a visit."""
    protecting: list[Visit] = []
    for visit in ordered:
        reads = visit.renews and any(visit.end <= past.start + rules.least for past in protecting)
        if visit.certain and (reads or _writes(visit)):
            protecting.append(visit)
    return protecting


def _writes(visit: Visit) -> bool:
    return isinstance(visit.made, str)


@dataclass(frozen=True, slots=True)
class _Key:
    visits: Sequence[Visit]
    protecting: Sequence[Visit]
    rules: Rules

    def fault(self, visit: Visit) -> str | None:
        if visit.saw is ABSENT:
            return None if self._may_be_absent(visit) else "lost"
        candidates = [past for past in self.visits if past is not visit and _writes(past) and past.start <= visit.end]
        if isinstance(visit.saw, str):
            candidates = [past for past in candidates if past.made == visit.saw]
        if visit.saw is None or any(self._fault_of(past, visit) is None for past in candidates):
            return None
        return self._fault_of(candidates[-1], visit) if candidates else "never written"

    def _may_be_absent(self, visit: Visit) -> bool:
        if not any(_writes(past) and past.certain and past.end < visit.start for past in self.visits):
            return True
        removed = (past for past in self.visits if past.made is ABSENT and past.start <= visit.end)
        if any(not self._overtaken(removal, visit) for removal in removed):
            return True
        protected = max((past.start for past in self.protecting if past.end <= visit.start), default=-math.inf)
        return visit.end > protected + self.rules.least

    def _fault_of(self, written: Visit, visit: Visit) -> str | None:
        """What is wrong with seeing at this visit what that one has written."""
        if self._overtaken(written, visit):
            return "undone"
        reads = [
            past for past in self.visits if past is not visit and past.renews and past.saw in (written.made, PRESENT)
        ]
        touched = max(past.settled for past in (written, *reads) if past.start < visit.end)
        if visit.start > touched + self.rules.most:
            return "late"
        return "resurrected" if any(self._misses(gap, written, reads, visit) for gap in self.visits) else None

    def _overtaken(self, made: Visit, visit: Visit) -> bool:
        """Return whether something else was made between the two for certain."""
        return any(
            past.made is not None and past is not made and past.start > made.settled and past.settled < visit.start
            for past in self.visits
        )

    def _misses(self, gap: Visit, written: Visit, reads: Sequence[Visit], visit: Visit) -> bool:
        """Return whether the entry was seen to be absent before the visit, though no process wrote it again.

        A read that is in flight at that moment may have seen it just before, and renew it just after.
        """
        is_between = gap.saw is ABSENT and gap.start > written.settled and gap.end < visit.start
        return is_between and not any(read.start <= gap.end and read.end >= gap.start for read in reads)
