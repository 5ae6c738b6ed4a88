"""One computation for many processes: an expensive function behind ``@memoize``.

Run it with ``python -m s3dict.examples.cache``. Many processes request the same few reports at once. One process
computes each report; concurrent callers wait for it, and later callers read it.
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
from .bucket import example_bucket, run_example
from .processes import process_context

NAME = "s3dict-example-cache"

results: Dict[tuple[object, ...], str] = Dict.from_name(NAME, create_if_missing=True)
computed_here: list[int] = []


@memoize(results)
def report(year: int, seconds: float) -> str:
    """Return the report of a year: a stand-in for an expensive computation, which sleeps."""
    computed_here.append(year)
    time.sleep(seconds)
    return f"The report of {year}"


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """What one process measured."""

    calls: int
    computed: tuple[int, ...]
    seconds: float


def call_repeatedly(years: list[int], rounds: int, seconds: float) -> ProcessResult:
    """Request every report `rounds` times, each time in a random order."""
    already_computed, started = len(computed_here), time.monotonic()
    for _ in range(rounds):
        for year in random.sample(years, len(years)):
            assert report(year, seconds) == f"The report of {year}"
    return ProcessResult(rounds * len(years), tuple(computed_here[already_computed:]), time.monotonic() - started)


def requested_years(options: Namespace) -> list[int]:
    return [2000 + number for number in range(options.reports)]


def run_processes(options: Namespace) -> list[ProcessResult]:
    years = requested_years(options)
    with ProcessPoolExecutor(options.processes, mp_context=process_context()) as pool:
        futures = [
            pool.submit(call_repeatedly, years, options.rounds, options.seconds) for _ in range(options.processes)
        ]
        return [future.result() for future in futures]


def show(process_results: list[ProcessResult], options: Namespace) -> bool:
    """Print the totals, and return whether each report was computed exactly once."""
    computations = Counter(year for result in process_results for year in result.computed)
    calls, computed = sum(result.calls for result in process_results), computations.total()
    uncached, cached = calls * options.seconds, sum(result.seconds for result in process_results)
    table = Table(show_header=False, title=f"{options.reports} reports, requested by {options.processes} processes")
    table.add_row("calls", f"{calls}")
    table.add_row("computations", f"{computed}")
    table.add_row("hit rate", f"{1 - computed / calls:.1%}")
    table.add_row("time without the cache", f"{uncached:.1f} s")
    table.add_row("time with the cache", f"{cached:.1f} s")
    table.add_row("saved", f"{uncached - cached:.1f} s")
    Console().print(table)
    return sorted(computations.elements()) == requested_years(options)


def main() -> None:
    parser = ArgumentParser(prog="python -m s3dict.examples.cache", description="One computation for many processes.")
    parser.add_argument("--processes", type=int, default=8, help="number of concurrent processes (8)")
    parser.add_argument("--reports", type=int, default=5, help="number of different results (5)")
    parser.add_argument("--rounds", type=int, default=20, help="how often each process requests each report (20)")
    parser.add_argument("--seconds", type=float, default=0.5, help="duration of a computation in seconds (0.5)")
    options = parser.parse_args()
    with example_bucket():
        Dict.objects.delete(NAME, allow_missing=True)
        try:
            each_computed_once = show(run_processes(options), options)
        finally:
            Dict.objects.delete(NAME, allow_missing=True)
    if not each_computed_once:
        sys.exit("A report was computed more than once.")


if __name__ == "__main__":
    run_example(main)
