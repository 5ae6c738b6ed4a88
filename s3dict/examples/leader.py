"""Leader election: a lock says who leads, and its fencing token keeps out those who led before.

Run it with ``python -m s3dict.examples.leader``. Some candidates wait for one lock; its holder leads, and writes into
a journal. One leader in three resigns, one is killed, and one is stopped (as by a long garbage collection, or by the
migration of its virtual machine) between its last look at the lock and a write. When it goes on it believes that it
still leads, and no check of its own can help it: time may pass after any check. The journal can help. It refuses a
token that is smaller than one it has seen.
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
from .bucket import some_bucket
from .processes import processes

_WRITES_PER_TERM = 3
_PAUSE = 0.05
_LAST_LINE = "closes the journal"


class Fate(Enum):
    """How a leader's time ends."""

    KILLED = "killed"
    STOPPED = "stopped, and deposed"
    RESIGNED = "resigned"


@dataclass(frozen=True, slots=True)
class Line:
    """What a leader writes, with the token by which it leads."""

    token: int
    pid: int
    text: str


@dataclass(frozen=True, slots=True)
class Journal:
    """The resource that must never be written by a deposed leader: it takes no token smaller than one it has seen."""

    accepted: tuple[Line, ...] = ()
    refused: tuple[Line, ...] = ()

    def offered(self, line: Line) -> Journal:
        if line.token < self.highest_token:
            return replace(self, refused=(*self.refused, line))
        return replace(self, accepted=(*self.accepted, line))

    @property
    def highest_token(self) -> int:
        return self.accepted[-1].token if self.accepted else 0

    @property
    def tokens(self) -> list[int]:
        """Those of all leaders so far, in the order of their terms."""
        return list(dict.fromkeys(line.token for line in self.accepted))

    @property
    def is_closed(self) -> bool:
        return bool(self.accepted) and self.accepted[-1].text == _LAST_LINE


@dataclass(frozen=True, slots=True)
class Election:
    """What the candidates share: a Dict, with a lock beside its entries."""

    d: Dict[str, Journal]
    terms: int
    lease: float

    def write(self, token: int, text: str) -> Journal:
        """Offers a line to the journal, which looks at the token and takes the line, or does not, in one step."""
        line = Line(token, os.getpid(), text)
        return self.d.modify("journal", lambda journal: journal.offered(line), default=Journal())

    def journal(self) -> Journal:
        return self.d.get("journal", Journal())


def campaign(election: Election) -> None:
    """A candidate: waits to lead, leads, and waits again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    while not election.journal().is_closed:
        # A leader that was stopped for longer than its lease gets the error when it leaves, and runs again.
        with suppress(LockLostError), election.d.lock("leader", lease=election.lease) as held:
            lead(election, held.token)


def lead(election: Election, token: int) -> None:
    journal = election.journal()
    past_terms = len(journal.tokens)
    if journal.is_closed:
        return
    if past_terms >= election.terms:
        election.write(token, _LAST_LINE)
        return
    for number in range(_WRITES_PER_TERM):
        election.write(token, f"write {number + 1}")
        time.sleep(_PAUSE)
    meet(list(Fate)[past_terms % len(Fate)], election, token)


def meet(fate: Fate, election: Election, token: int) -> None:
    election.write(token, fate.value)
    if fate is Fate.KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if fate is Fate.STOPPED:
        os.kill(os.getpid(), signal.SIGSTOP)
        # Here somebody has let it go on, and it has not had a chance yet to notice how late it is.
        election.write(token, "goes on as if nothing had happened")


class Candidates:
    """The processes. Who is killed is replaced; who is stopped may go on when there is another leader."""

    def __init__(self, election: Election, count: int) -> None:
        self._election = election
        self._context = processes()
        self._running = [self._start() for _ in range(count)]
        self._continued: set[Line] = set()

    def _start(self) -> ForkServerProcess:
        process = self._context.Process(target=campaign, args=(self._election,), daemon=True)
        process.start()
        return process

    def attend(self) -> bool:
        """Looks after them; False when all have ended by themselves."""
        journal = self._election.journal()
        for line in journal.accepted:
            if line.text == Fate.STOPPED.value and line.token < journal.highest_token and line not in self._continued:
                self._continued.add(line)
                os.kill(line.pid, signal.SIGCONT)
        for index, process in enumerate(self._running):
            if process.exitcode == -signal.SIGKILL:
                self._running[index] = self._start()
            elif process.exitcode:
                raise RuntimeError("A candidate has failed: its traceback is above")
        return any(process.exitcode is None for process in self._running)

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.join()


def elect(election: Election, count: int) -> Journal:
    """Has the candidates lead, one after the other, until all terms are over; gives what was written."""
    candidates = Candidates(election, count)
    try:
        while candidates.attend():
            time.sleep(0.1)
    finally:
        candidates.end()
    return election.journal()


def show(journal: Journal) -> None:
    table = Table("term", "token", "leader", "writes taken", "refused", "its end", title="Leaders")
    for term, token in enumerate(journal.tokens[:-1], start=1):
        lines = [line for line in journal.accepted if line.token == token]
        refused = sum(line.token == token for line in journal.refused)
        table.add_row(str(term), str(token), f"pid {lines[0].pid}", str(len(lines)), str(refused or ""), lines[-1].text)
    Console().print(table)


def is_right(journal: Journal, terms: int) -> bool:
    """Whether no deposed leader's line was taken, and each that was stopped has tried."""
    written = [line.token for line in journal.accepted]
    stopped = {line.token for line in journal.accepted if line.text == Fate.STOPPED.value}
    tried = {line.token for line in journal.refused}
    return written == sorted(written) and terms + 1 == len(journal.tokens) and stopped <= tried


def arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m s3dict.examples.leader", description="Leader election with fencing.")
    parser.add_argument("--candidates", type=int, default=4, help="how many processes want to lead (4)")
    parser.add_argument("--terms", type=int, default=6, help="how many leaders there are, one after the other (6)")
    parser.add_argument("--lease", type=float, default=2.0, help="seconds after which a dead leader is replaced (2)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    with some_bucket(), Dict.ephemeral() as d:
        journal = elect(Election(d, options.terms, options.lease), options.candidates)
    show(journal)
    if not is_right(journal, options.terms):
        sys.exit("The journal is not what it has to be.")
    print("No write of a deposed leader was taken.")


if __name__ == "__main__":
    main()
