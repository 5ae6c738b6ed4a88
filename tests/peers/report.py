"""The table of what the suites counted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .catalogue import Peer
from .runs import Counts

__all__ = ["Row", "table", "write"]

PAGE = Path(__file__).parents[2] / "s3dict" / "guide" / "integrations.md"
_BEGIN, _END = "<!-- peers: python -m tests.peers --write -->", "<!-- /peers -->"


@dataclass(frozen=True, slots=True)
class Row:
    """A suite on a back end: what it counted, or why it did not run."""

    peer: Peer
    backend: str
    counts: Counts | None
    reason: str

    def line(self) -> str:
        if self.counts is None:
            return f"{self.peer.name} on {self.backend}: not run: {self.reason}"
        failed = "".join(f"\n  failed: {name}" for name in self.counts.failures)
        return f"{self.peer.name} on {self.backend}: {self.counts.passed} of {self.counts.run} passed{failed}"

    def cell(self) -> str:
        if self.counts is None:
            return f"not run: {self.reason.splitlines()[0]}"
        return f"{self.counts.passed} of {self.counts.run}"


def table(rows: Iterable[Row]) -> str:
    """Return a line for each suite, with a column for each back end: how many of its tests passed."""
    found = list(rows)
    backends = list(dict.fromkeys(row.backend for row in found))
    lines = [f"| Tests | {' | '.join(backends)} | Not applicable |", "|---" * (len(backends) + 2) + "|"]
    for peer in dict.fromkeys(row.peer.name for row in found):
        own = {row.backend: row for row in found if row.peer.name == peer}
        cells = [own[backend].cell() if backend in own else "" for backend in backends]
        shown = next(iter(own.values())).peer
        lines.append(f"| {shown.title} {_release(shown)} | {' | '.join(cells)} | {_excluded(shown)} |")
    return "\n".join(lines)


def _excluded(peer: Peer) -> str:
    return "; ".join(f"{reason}: {_names(tests)}" for reason, tests in peer.not_applicable.items())


def _names(tests: Iterable[str]) -> str:
    return ", ".join(f"`{test.rpartition('::')[2]}`" for test in tests)


def write(rows: Iterable[Row]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    block = f"{_BEGIN}\n{datetime.now(UTC):%Y-%m-%d}\n\n{table(rows)}\n{_END}"
    pattern = re.escape(_BEGIN) + ".*?" + re.escape(_END)
    PAGE.write_text(re.sub(pattern, lambda _: block, page, flags=re.DOTALL), encoding="utf-8")


def _release(peer: Peer) -> str:
    try:
        return version(peer.requires[0]) if peer.requires else ""
    except PackageNotFoundError:
        return ""
