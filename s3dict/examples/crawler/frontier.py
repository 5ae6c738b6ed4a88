"""Crawl: what the workers know together, in one Dict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from ... import Dict, UncertainOutcomeError
from ..._lock import Lock

PARTS = 32
_FOUND, _PAGE, _STOP = "found", "page", "stop"


@dataclass(frozen=True, slots=True)
class Page:
    """What is kept of a page, and of who fetched it by which claim."""

    title: str
    links: int
    worker: str
    claim: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a listing showed."""

    found: frozenset[str]
    done: frozenset[str]
    stopped: bool

    @property
    def open(self) -> frozenset[str]:
        """The frontier: what was found and is not done."""
        return self.found - self.done


@dataclass(frozen=True, slots=True)
class Crawl:
    """The frontier, the visited pages and the stop signal, as keys of one Dict.

    - ``("found", path)`` is put when a link to the page is seen, and stays.
    - ``("page", path)`` has what was read, by whoever was first (`skip_if_exists`): the set of visited pages. What is
      found and has no page is the frontier.
    - ``("stop",)`` tells all workers to stop.

    All that is small, and in the keys, so that a listing (1 request for a thousand keys) shows the whole state. Each
    step is one write that may be repeated, in an order in which a crash between two of them loses nothing: the links
    of a page are put before the page.

    The site has parts, and a claim is the Dict's lock of a part: a lease, which passes to another worker if the first
    one dies. To claim single pages would take twice the requests for each.
    """

    d: Dict[tuple[str, ...], Any]
    lease: float

    def survey(self) -> Survey:
        by_kind: dict[str, set[str]] = {_FOUND: set(), _PAGE: set(), _STOP: set()}
        for kind, *path in self.d.keys():  # noqa: SIM118 (a Dict is no mapping)
            by_kind[kind].add("".join(path))
        return Survey(frozenset(by_kind[_FOUND]), frozenset(by_kind[_PAGE]), bool(by_kind[_STOP]))

    def find(self, paths: Iterable[str]) -> None:
        """Puts pages into the frontier, all at once. To find one again changes nothing."""
        self.d.update(((_FOUND, path), None) for path in paths)

    def claim(self, part: int) -> Lock:
        """Entered, it is the right to fetch pages of the part; `LockTimeoutError` if another worker has it.

        A survey that is begun then shows all that earlier holders have recorded.
        """
        return self.d.lock(f"part {part}", lease=self.lease, timeout=0)

    def record(self, path: str, page: Page) -> None:
        """Keeps what was read; if there is a record already, that one counts."""
        while True:
            try:
                self.d.put((_PAGE, path), page, skip_if_exists=True)
                return
            except UncertainOutcomeError:
                # An answer was lost. Nobody ever removes a page, so to ask again cannot bring one back.
                continue

    def pages(self) -> dict[str, Page]:
        return {path[0]: page for (kind, *path), page in self.d.items() if kind == _PAGE}

    def stop(self) -> None:
        self.d[(_STOP,)] = None


def part_of(path: str) -> int:
    """The same in every process, as `hash` is not."""
    return crc32(path.encode()) % PARTS


def is_complete(earlier: Survey, later: Survey) -> bool:
    """Whether all is done, by two listings one after the other.

    One is not enough: it is no snapshot. While it goes on, a worker may put a link where it has looked already, and
    then the link's page, which it still sees; and all that it sees is done. But what was not done when the first
    listing ended had been put by then, and the second one shows it.
    """
    return not later.open and earlier == later
