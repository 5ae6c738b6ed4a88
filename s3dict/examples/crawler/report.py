"""What the crawl has come to, by what the site's server says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from .frontier import Page
from .site import Served


@dataclass(frozen=True, slots=True)
class Report:
    """The records, and the server's log. Both are compared; neither is taken for the other."""

    pages: Mapping[str, Page]
    log: Sequence[Served]
    killed: Set[str]
    seconds: float

    @property
    def in_vain(self) -> list[Served]:
        """The fetches that were not recorded."""
        return [served for served in self.log if not self._is_recorded(served)]

    def faults(self, site: Set[str]) -> list[str]:
        """What is wrong with the crawl of a site with these paths, in words; nothing, if all is right."""
        fetches = Counter(served.path for served in self.log if self._is_recorded(served))
        found = [
            (site - set(self.pages), "not recorded"),
            (set(self.pages) - set(fetches), "recorded, and never fetched"),
            ({path for path, count in fetches.items() if count > 1}, "fetched twice by one claim"),
        ]
        faults = [f"{len(paths)} pages were {what}: {min(paths)}" for paths, what in found if paths]
        in_vain = Counter(served.worker for served in self.in_vain if served.worker in self.killed)
        faults += [f"{name}, killed once, fetched {n} pages in vain" for name, n in in_vain.items() if n > 1]
        return faults

    def _is_recorded(self, served: Served) -> bool:
        page = self.pages.get(served.path)
        return page is not None and (page.worker, page.claim) == (served.worker, served.claim)
