"""Leader election: a lock elects the leader, and its fencing token stops deposed leaders from writing.

Run it with ``python -m s3dict.examples.leader``. Several candidates wait for one lock; its holder leads, and writes to
a journal. Of every three leaders one is killed, one is suspended between its last check of the lock and a write (as by
a long garbage collection or the migration of its virtual machine), and one resigns. When the suspended process resumes
it believes that it still leads. No check of its own can prevent that, because time may pass after any check. The
journal can: it rejects a token that is smaller than the highest one it has accepted.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from multiprocessing.context import ForkServerProcess

from rich.console import Console
from rich.table import Table

from .. import Dict, LockLostError
from .bucket import example_bucket, run_example
from .processes import process_context

_WRITES_PER_TERM = 3
_WRITE_INTERVAL = 0.05
_CLOSING_LINE = "closes the journal"


class Ending(Enum):
    """How a leader's term ends."""

    KILLED = "killed"
    SUSPENDED = "suspended and deposed"
    RESIGNED = "resigned"


@dataclass(frozen=True, slots=True)
class Line:
    """One write of a leader, with its fencing token."""

    token: int
    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class Journal:
    """The fenced resource: it rejects a token that is smaller than the highest accepted one."""

    accepted: tuple[Line, ...] = ()
    rejected: tuple[Line, ...] = ()

    def with_line(self, line: Line) -> Journal:
        if line.token < self.highest_token:
            return replace(self, rejected=(*self.rejected, line))
        return replace(self, accepted=(*self.accepted, line))

    @property
    def highest_token(self) -> int:
        return self.accepted[-1].token if self.accepted else 0

    @property
    def tokens(self) -> list[int]:
        """The tokens of all leaders so far, in the order of their terms."""
        return list(dict.fromkeys(line.token for line in self.accepted))

    @property
    def is_closed(self) -> bool:
        return bool(self.accepted) and self.accepted[-1].text == _CLOSING_LINE


@dataclass(frozen=True, slots=True)
class Election:
    """What the candidates share: a Dict with the journal, and its lock "leader"."""

    d: Dict[str, Journal]
    terms: int
    lease: float

    def write(self, token: int, text: str) -> Journal:
        """Append a line to the journal; checking the token and appending are one atomic `modify`."""
        line = Line(token, os.getpid(), text)
        return self.d.modify("journal", lambda journal: journal.with_line(line), default=Journal())

    def journal(self) -> Journal:
        return self.d.get("journal", Journal())


def campaign(election: Election) -> None:
    """Run as a candidate: wait for the lock, lead, and repeat until the journal is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent process
    while not election.journal().is_closed:
        # A leader that was suspended for longer than its lease gets LockLostError on leaving, and campaigns again.
        with suppress(LockLostError), election.d.lock("leader", lease=election.lease) as held:
            lead(election, held.token)


def lead(election: Election, token: int) -> None:
    journal = election.journal()
    past_terms = len(journal.tokens)
    if journal.is_closed:
        return
    if past_terms >= election.terms:
        election.write(token, _CLOSING_LINE)
        return
    for number in range(_WRITES_PER_TERM):
        election.write(token, f"write {number + 1}")
        time.sleep(_WRITE_INTERVAL)
    end_term(list(Ending)[past_terms % len(Ending)], election, token)


def end_term(ending: Ending, election: Election, token: int) -> None:
    election.write(token, ending.value)
    if ending is Ending.KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if ending is Ending.SUSPENDED:
        os.kill(os.getpid(), signal.SIGSTOP)
        # Resumed by `Candidates.supervise`, and not yet aware that its lease has expired.
        election.write(token, "resumes as if nothing had happened")


class Candidates:
    """The processes: a killed one is replaced, a suspended one is resumed once another leader was elected."""

    def __init__(self, election: Election, count: int) -> None:
        self._election = election
        self._context = process_context()
        self._running = [self._start() for _ in range(count)]
        self._resumed: set[Line] = set()

    def _start(self) -> ForkServerProcess:
        process = self._context.Process(target=campaign, args=(self._election,), daemon=True)
        process.start()
        return process

    def supervise(self) -> bool:
        """Replace and resume processes, and return whether any is still running."""
        journal = self._election.journal()
        for line in journal.accepted:
            if line.text == Ending.SUSPENDED.value and line.token < journal.highest_token and line not in self._resumed:
                self._resumed.add(line)
                os.kill(line.pid, signal.SIGCONT)
        for index, process in enumerate(self._running):
            if process.exitcode == -signal.SIGKILL:
                self._running[index] = self._start()
            elif process.exitcode:
                raise RuntimeError("A candidate failed; its traceback is printed above")
        return any(process.exitcode is None for process in self._running)

    def kill(self) -> None:
        for process in self._running:
            process.kill()
            process.join()


def elect(election: Election, count: int) -> Journal:
    """Run the candidates until all terms are over, and return the journal."""
    candidates = Candidates(election, count)
    try:
        while candidates.supervise():
            time.sleep(0.1)
    finally:
        candidates.kill()
    return election.journal()


def show(journal: Journal) -> None:
    table = Table("term", "token", "leader", "accepted writes", "rejected", "ending", title="Leaders")
    for term, token in enumerate(journal.tokens[:-1], start=1):
        lines = [line for line in journal.accepted if line.token == token]
        rejected = sum(line.token == token for line in journal.rejected)
        table.add_row(
            str(term), str(token), f"pid {lines[0].pid}", str(len(lines)), str(rejected or ""), lines[-1].text
        )
    Console().print(table)


def is_expected(journal: Journal, terms: int) -> bool:
    """Return whether no deposed leader's write was accepted, and each suspended leader has attempted one."""
    accepted = [line.token for line in journal.accepted]
    suspended = {line.token for line in journal.accepted if line.text == Ending.SUSPENDED.value}
    rejected = {line.token for line in journal.rejected}
    return accepted == sorted(accepted) and len(journal.tokens) == terms + 1 and suspended <= rejected


def arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m s3dict.examples.leader", description="Leader election with fencing.")
    parser.add_argument("--candidates", type=int, default=4, help="number of candidate processes (4)")
    parser.add_argument("--terms", type=int, default=6, help="number of leaders to elect, one after the other (6)")
    parser.add_argument("--lease", type=float, default=2.0, help="seconds until a dead leader is replaced (2)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with example_bucket(), Dict.ephemeral() as d:
        journal = elect(Election(d, options.terms, options.lease), options.candidates)
    show(journal)
    if not is_expected(journal, options.terms):
        sys.exit("The journal accepted a write of a deposed leader, or a term is missing.")
    print("No write of a deposed leader was accepted.")


if __name__ == "__main__":
    run_example(main)
