"""Crew: the worker processes, of which some are killed on the way."""

from __future__ import annotations

import itertools
import random
import signal
from multiprocessing.context import ForkServerProcess

from ..processes import processes
from .frontier import Crawl
from .worker import work


class Crew:
    """So many workers at work at any time: who is killed is replaced."""

    def __init__(self, crawl: Crawl, site: tuple[str, int], count: int) -> None:
        self._crawl = crawl
        self._site = site
        self._numbers = itertools.count(1)
        self._context = processes()
        self._working = [self._start() for _ in range(count)]
        self.killed: set[str] = set()

    def _start(self) -> ForkServerProcess:
        name = f"worker-{next(self._numbers)}"
        process = self._context.Process(target=work, args=(self._crawl, self._site, name), name=name, daemon=True)
        process.start()
        return process

    def kill_one(self) -> None:
        """As a power cut would: nothing is cleaned up, and nobody is told."""
        index = random.randrange(len(self._working))
        victim = self._working[index]
        victim.kill()
        victim.join()
        if victim.exitcode == -signal.SIGKILL:  # and not ended just before
            self.killed.add(victim.name)
            self._working[index] = self._start()

    def is_working(self) -> bool:
        """Whether any of them is. Raises RuntimeError when one has failed."""
        failed = [process.name for process in self._working if process.exitcode]
        if failed:
            raise RuntimeError(f"{failed[0]} has failed: its traceback is above")
        return any(process.exitcode is None for process in self._working)

    def end(self) -> None:
        """Those who are still at work are killed."""
        for process in self._working:
            process.kill()
            process.join()
