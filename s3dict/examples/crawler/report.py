"""The result of a crawl, checked against the log of the site's server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from .frontier import Page
from .site import Served


@dataclass(frozen=True, slots=True)
class Report:
    """The records of the workers and the server's log."""

    pages: Mapping[str, Page]
    log: Sequence[Served]
    killed: Set[str]
    seconds: float

    @property
    def unrecorded(self) -> list[Served]:
        """The fetches that were never recorded."""
        return [served for served in self.log if not self._is_recorded(served)]

    def faults(self, site: Set[str]) -> list[str]:
        """Return the violations of the guarantees for a site with these paths, as sentences."""
        fetches = Counter(served.path for served in self.log if self._is_recorded(served))
        found = [
            (site - set(self.pages), "not recorded"),
            (set(self.pages) - set(fetches), "recorded but never fetched"),
            ({path for path, count in fetches.items() if count > 1}, "fetched twice by one claim"),
        ]
        faults = [f"{len(paths)} pages were {what}: {min(paths)}" for paths, what in found if paths]
        unrecorded = Counter(served.worker for served in self.unrecorded if served.worker in self.killed)
        faults += [f"{name}, killed once, fetched {n} unrecorded pages" for name, n in unrecorded.items() if n > 1]
        return faults

    def _is_recorded(self, served: Served) -> bool:
        page = self.pages.get(served.path)
        return page is not None and (page.worker, page.claim) == (served.worker, served.claim)
