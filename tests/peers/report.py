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


def table(rows: Iterable[Row]) -> str:
    lines = ["| Tests | Back end | Run | Passed | Not applicable |", "|---|---|---|---|---|"]
    for row in rows:
        excluded = "; ".join(f"`{name}`: {reason}" for name, reason in row.peer.not_applicable.items())
        counted = ("not run", row.reason.splitlines()[0]) if row.counts is None else (row.counts.run, row.counts.passed)
        lines.append(
            f"| {row.peer.title} {_release(row.peer)} | {row.backend} | {counted[0]} | {counted[1]} | {excluded} |"
        )
    return "\n".join(lines)


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
