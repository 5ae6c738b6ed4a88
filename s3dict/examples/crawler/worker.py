"""A worker: claim a part, fetch and record its open pages one by one, and repeat until the stop signal."""

from __future__ import annotations

import random
import re
import signal
import time
from contextlib import closing, suppress
from http.client import HTTPConnection

from ... import LockLostError, LockTimeoutError
from .frontier import Crawl, Page, is_complete, part_of
from .site import CLAIM, WORKER

_IDLE_SECONDS = 0.2


class Worker:
    """One worker in its own process."""

    def __init__(self, crawl: Crawl, http: HTTPConnection, name: str) -> None:
        self._crawl = crawl
        self._http = http
        self._name = name
        self._known: frozenset[str] = frozenset()

    def work(self) -> None:
        earlier = self._crawl.survey()
        while not (survey := self._crawl.survey()).stopped:
            if is_complete(earlier, survey):
                self._crawl.stop()
            parts = sorted(set(map(part_of, survey.open)))
            # Each worker starts with a different part, so that they rarely contend for a claim.
            random.shuffle(parts)
            if not any(map(self._crawl_part, parts)):
                time.sleep(random.uniform(0, _IDLE_SECONDS))
            earlier = survey

    def _crawl_part(self, part: int) -> bool:
        """Crawl a part, and return whether it had open pages and no other worker held the claim."""
        has_read = False
        # A worker that was suspended for longer than its lease learns on leaving that it has lost its claim. That is
        # harmless: of two records of a page, only the first is stored.
        with suppress(LockTimeoutError, LockLostError), self._crawl.claim(part) as held:
            survey = self._crawl.survey()
            self._known |= survey.found
            for path in survey.open:
                if part_of(path) == part and not held.lost:
                    self._read(path, held.token)
                    has_read = True
        return has_read

    def _read(self, path: str, claim: int) -> None:
        html = self._fetch(path, claim)
        links = set(re.findall(r'href="([^"]+)"', html))
        self._crawl.find(links - self._known)
        self._known |= links
        title = re.search("<title>(.*)</title>", html)
        self._crawl.record(path, Page(title[1] if title else "", len(links), self._name, claim))

    def _fetch(self, path: str, claim: int) -> str:
        self._http.request("GET", path, headers={WORKER: self._name, CLAIM: str(claim)})
        with self._http.getresponse() as response:
            return response.read().decode()


def work(crawl: Crawl, site: tuple[str, int], name: str) -> None:
    """Run a worker; the entry point of its process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    with closing(HTTPConnection(*site)) as http:
        Worker(crawl, http, name).work()
