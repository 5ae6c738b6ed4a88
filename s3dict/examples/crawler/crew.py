"""Crew: the worker processes, some of which are killed."""

from __future__ import annotations

import itertools
import random
import signal
from multiprocessing.context import ForkServerProcess

from ..processes import process_context
from .frontier import Crawl
from .worker import work


class Crew:
    """A constant number of workers: a killed one is replaced."""

    def __init__(self, crawl: Crawl, site: tuple[str, int], count: int) -> None:
        self._crawl = crawl
        self._site = site
        self._numbers = itertools.count(1)
        self._context = process_context()
        self._working = [self._start() for _ in range(count)]
        self.killed: set[str] = set()

    def _start(self) -> ForkServerProcess:
        name = f"worker-{next(self._numbers)}"
        process = self._context.Process(target=work, args=(self._crawl, self._site, name), name=name, daemon=True)
        process.start()
        return process

    def kill_one(self) -> None:
        """Kill a random worker without cleanup, as a power failure would."""
        index = random.randrange(len(self._working))
        victim = self._working[index]
        victim.kill()
        victim.join()
        if victim.exitcode == -signal.SIGKILL:  # not if it had just exited by itself
            self.killed.add(victim.name)
            self._working[index] = self._start()

    def is_working(self) -> bool:
        """Return whether any worker is running. Raises RuntimeError if one has failed."""
        failed = [process.name for process in self._working if process.exitcode]
        if failed:
            raise RuntimeError(f"{failed[0]} failed; its traceback is printed above")
        return any(process.exitcode is None for process in self._working)

    def kill(self) -> None:
        """Kill the workers that are still running."""
        for process in self._working:
            process.kill()
            process.join()
