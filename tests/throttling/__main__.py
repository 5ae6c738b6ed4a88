"""``python -m tests.throttling``: bulk operations against a server that admits so many writes a second.

It writes 20 seconds' worth of entries by each driver, blocking and in asyncio, and prints which part of the limit was
reached and how many requests were refused for each entry; then what pacing costs where nothing is throttled. With
`--write` the tables go into the guide. Exit code 1 when less than 0.9 is reached, or more than 0.2 are refused.

A limit near to what the client reaches without one, or above, is left out: there the client decides. What needs little
of the machine is measured side by side. All of it takes less than twelve minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from ..support.reports import replace_block
from .measure import CREDENTIALS, WAYS, Figures, Job, Ratios, Way, compare, measure

SECONDS = 20
LEAST_RATE = 0.9
MOST_REFUSED = 0.2
LIMITS = (50, 200, 500, 1000, 2000)
SIDE_BY_SIDE = {50: 4, 200: 2}
"""How many measurements of a limit run at once."""
ENTRIES_WITHOUT_LIMIT = 3000
SECONDS_COMPARED = 0.3
"""How long each operation of the comparison takes."""
PAGE = Path(__file__).parents[2] / "s3dict" / "guide" / "stores.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limits", type=int, nargs="+", default=LIMITS, help="writes a second")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="so many seconds' worth of entries")
    parser.add_argument("--ways", nargs="+", choices=[way.name for way in WAYS], help="by default all")
    parser.add_argument("--write", action="store_true", help="write the tables into the guide")
    options = parser.parse_args()
    os.environ.update(CREDENTIALS)
    started_at, load = time.monotonic(), os.getloadavg()[0]
    ways = [way for way in WAYS if not options.ways or way.name in options.ways]
    free = _run({Job(way, 0, True, ENTRIES_WITHOUT_LIMIT): 1 for way in ways})
    rates = {job.way: figures.rate for job, figures in free.items()}
    jobs = {
        Job(way, limit, bursts, limit * options.seconds): SIDE_BY_SIDE.get(limit, 1)
        for limit in options.limits
        for way in ways
        for bursts in (True, False)
        if rates[way] > 1.2 * limit
    }
    measured = _run(jobs)
    ratios = {way: _compare(way, max(64, int(SECONDS_COMPARED * rates[way]))) for way in ways}
    seconds = time.monotonic() - started_at
    note = (
        f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())} in {seconds / 60:.0f} minutes, at a load average of "
        f"{load:.1f} before it."
    )
    text = "\n\n".join([note, limits_table(measured, rates, options.limits), ratios_table(ratios)])
    print(text)
    if options.write:
        replace_block(PAGE, "throttling", text)
    return int(any(f.rate < LEAST_RATE * j.limit or f.refused > MOST_REFUSED for j, f in measured.items()))


def _run(jobs: dict[Job, int]) -> dict[Job, Figures]:
    """Run jobs, each in a new process; those of a number side by side."""
    measured: dict[Job, Figures] = {}
    for workers in sorted(set(jobs.values()), reverse=True):
        group = [job for job, number in jobs.items() if number == workers]
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
            for job, figures in zip(group, pool.map(measure, group), strict=True):
                measured[job] = figures
                print(_line(job, figures), file=sys.stderr, flush=True)
    return measured


def _compare(way: Way, entries: int) -> list[Ratios]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(compare, way, entries).result()


def _line(job: Job, figures: Figures) -> str:
    if not job.limit:
        return f"{job.way.name}, no limit: {figures.rate:.0f} a second"
    kind = "bursts" if job.bursts else "no bursts"
    return f"{job.way.name}, {job.limit}, {kind}: {figures.rate / job.limit:.2f}, {figures.refused:.3f} refused"


def limits_table(measured: dict[Job, Figures], rates: dict[Way, float], limits: Sequence[int]) -> str:
    """Return a row for each way and kind of limit."""
    rows = [["Driver", "Bursts", *(f"{limit:,} a second" for limit in limits), "no limit"]]
    for way, rate in rates.items():
        for bursts in (True, False):
            found = {job.limit: figures for job, figures in measured.items() if (job.way, job.bursts) == (way, bursts)}
            cells = (
                f"{found[limit].rate / limit:.2f}, {found[limit].refused:.2f}" if limit in found else ""
                for limit in limits
            )
            rows.append([way.name, "yes" if bursts else "no", *cells, f"{rate:,.0f}"])
    return _markdown(rows)


def ratios_table(ratios: dict[Way, list[Ratios]]) -> str:
    """Return a row for each way and operation."""
    rows = [["Driver", "Operation", "Time", "CPU time", "Requests"]]
    for way, measured in ratios.items():
        for each in measured:
            time_and_cpu = ("{:.2f} ({:.2f} to {:.2f})".format(*values) for values in (each.times, each.cpu))
            rows.append([way.name, f"`{each.operation}`", *time_and_cpu, f"{each.requests:.3f}"])
    return _markdown(rows)


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    head, *others = rows
    return "\n".join([_markdown_row(head), "|---" * len(head) + "|", *map(_markdown_row, others)])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
