"""Crawl: the state that the workers share, in one Dict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from ... import Dict, Lock, UncertainOutcomeError

PARTS = 32
_FOUND, _PAGE, _STOP = "found", "page", "stop"


@dataclass(frozen=True, slots=True)
class Page:
    """The record of a page, with the worker and the claim that fetched it."""

    title: str
    links: int
    worker: str
    claim: int


@dataclass(frozen=True, slots=True)
class Survey:
    """The state as of one listing."""

    found: frozenset[str]
    done: frozenset[str]
    stopped: bool

    @property
    def open(self) -> frozenset[str]:
        """The frontier: pages that were found and are not recorded."""
        return self.found - self.done


@dataclass(frozen=True, slots=True)
class Crawl:
    """The frontier, the visited pages and the stop signal, as keys of one Dict.

    - ``("found", path)`` is put when a link to the page is seen, and stays.
    - ``("page", path)`` holds the record of the first worker to put it (`skip_if_exists`): the set of visited pages.
      Paths that were found and have no record are the frontier.
    - ``("stop",)`` signals all workers to stop.

    The state is in the keys, so a listing (1 request for 1,000 keys) returns all of it. Each step is one idempotent
    write, ordered so that a crash between two of them loses nothing: the links of a page are put before its record.

    The site is divided into parts, and a claim is the Dict's lock of a part: a lease that passes to another worker if
    the first one dies. Claiming single pages would double the requests per page.
    """

    d: Dict[tuple[str, ...], Any]
    lease: float

    def survey(self) -> Survey:
        by_kind: dict[str, set[str]] = {_FOUND: set(), _PAGE: set(), _STOP: set()}
        for kind, *path in self.d.keys():  # noqa: SIM118 (a Dict is not a Mapping)
            by_kind[kind].add("".join(path))
        return Survey(frozenset(by_kind[_FOUND]), frozenset(by_kind[_PAGE]), bool(by_kind[_STOP]))

    def find(self, paths: Iterable[str]) -> None:
        """Add pages to the frontier, side by side. Idempotent."""
        self.d.update(((_FOUND, path), None) for path in paths)

    def claim(self, part: int) -> Lock:
        """Return the lock of a part. Entering it raises LockTimeoutError while another worker holds it.

        A survey that starts under the lock contains everything that earlier holders recorded.
        """
        return self.d.lock(f"part {part}", lease=self.lease, timeout=0)

    def record(self, path: str, page: Page) -> None:
        """Store the record of a page unless there is one."""
        while True:
            try:
                self.d.put((_PAGE, path), page, skip_if_exists=True)
                return
            except UncertainOutcomeError:
                # The response was lost. No process removes a record, so repeating the write cannot resurrect one.
                continue

    def pages(self) -> dict[str, Page]:
        return {path[0]: page for (kind, *path), page in self.d.items() if kind == _PAGE}

    def stop(self) -> None:
        self.d[(_STOP,)] = None


def part_of(path: str) -> int:
    """Return the part of a path: unlike `hash`, the same in every process."""
    return crc32(path.encode()) % PARTS


def is_complete(earlier: Survey, later: Survey) -> bool:
    """Return whether the crawl is complete, from two consecutive listings.

    One listing is not enough, because it is not a snapshot. During a listing, a worker may put a link in a range that
    was already listed, and then the record of the linking page in a range that is still to be listed: every path in
    that listing is done. But a link that was open when the first listing ended had been put by then, so the second
    listing contains it.
    """
    return not later.open and earlier == later
