"""One computation for many processes: an expensive function behind ``@memoize``.

Run it with ``python -m s3dict.examples.cache``. Many processes ask for the same few reports at once. Each report is
made by one of them; those that come meanwhile wait for it, and those that come later read it.
"""

from __future__ import annotations

import random
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from .. import Dict, memoize
from .bucket import some_bucket
from .processes import processes

NAME = "s3dict-example-cache"

results: Dict[tuple[object, ...], str] = Dict.from_name(NAME, create_if_missing=True)
computed_here: list[int] = []


@memoize(results)
def report(year: int, seconds: float) -> str:
    """The expensive function. It waits, as if for a slow service."""
    computed_here.append(year)
    time.sleep(seconds)
    return f"The report of {year}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one process saw."""

    calls: int
    computed: tuple[int, ...]
    seconds: float


def ask(years: list[int], rounds: int, seconds: float) -> Asked:
    """Asks for every report, again and again, each time in an order of its own."""
    before, began = len(computed_here), time.monotonic()
    for _ in range(rounds):
        for year in random.sample(years, len(years)):
            assert f"The report of {year}" == report(year, seconds)
    return Asked(rounds * len(years), tuple(computed_here[before:]), time.monotonic() - began)


def years_of(options: Namespace) -> list[int]:
    return [2000 + number for number in range(options.reports)]


def ask_in_many_processes(options: Namespace) -> list[Asked]:
    years = years_of(options)
    with ProcessPoolExecutor(options.processes, mp_context=processes()) as pool:
        asking = [pool.submit(ask, years, options.rounds, options.seconds) for _ in range(options.processes)]
        return [future.result() for future in asking]


def show(asked: list[Asked], options: Namespace) -> bool:
    """Prints what happened; tells whether each report was made once."""
    times_made = Counter(year for one in asked for year in one.computed)
    calls, made = sum(one.calls for one in asked), times_made.total()
    alone, spent = calls * options.seconds, sum(one.seconds for one in asked)
    table = Table(show_header=False, title=f"{options.reports} reports, wanted by {options.processes} processes")
    table.add_row("calls", f"{calls}")
    table.add_row("computations", f"{made}")
    table.add_row("hit rate", f"{1 - made / calls:.1%}")
    table.add_row("waiting without the cache", f"{alone:.1f} s")
    table.add_row("waiting with it", f"{spent:.1f} s")
    table.add_row("saved", f"{alone - spent:.1f} s")
    Console().print(table)
    return sorted(times_made.elements()) == years_of(options)


def main() -> None:
    parser = ArgumentParser(prog="python -m s3dict.examples.cache", description="One computation for many processes.")
    parser.add_argument("--processes", type=int, default=8, help="how many ask at once (8)")
    parser.add_argument("--reports", type=int, default=5, help="how many different results there are (5)")
    parser.add_argument("--rounds", type=int, default=20, help="how often each process asks for each (20)")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a computation takes (0.5)")
    options = parser.parse_args()
    with some_bucket():
        Dict.objects.delete(NAME, allow_missing=True)
        try:
            each_once = show(ask_in_many_processes(options), options)
        finally:
            Dict.objects.delete(NAME, allow_missing=True)
    if not each_once:
        sys.exit("A report was made more than once.")


if __name__ == "__main__":
    main()
