"""``python -m s3dict.examples.crawler``: serve the site, start the workers, kill some, and show the progress."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ... import Dict
from ..bucket import example_bucket, run_example
from .crew import Crew
from .frontier import Crawl
from .report import Report
from .site import Site

_POLL_SECONDS = 0.25


def crawl_site(crawl: Crawl, site: Site, options: Namespace, console: Console) -> Report:
    """Crawl the site and kill workers at regular intervals of the progress; Ctrl-C stops the crawl cleanly."""
    crawl.find(["/0"])
    started = time.monotonic()
    crew = Crew(crawl, site.address, options.workers)
    try:
        watch(crew, crawl, options, console)
    except KeyboardInterrupt:
        crawl.stop()
        while crew.is_working():
            time.sleep(_POLL_SECONDS)
    finally:
        crew.kill()
    seconds = time.monotonic() - started
    return Report(crawl.pages(), tuple(site.log), crew.killed, seconds)


def watch(crew: Crew, crawl: Crawl, options: Namespace, console: Console) -> None:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}")
    started = time.monotonic()
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("crawling", total=options.pages, rate="")
        while crew.is_working():
            done = len(crawl.survey().done)
            rate = f"{done / (time.monotonic() - started):.0f} pages/s"
            progress.update(bar, completed=done, rate=f"{rate}, {len(crew.killed)} workers killed")
            if done > options.pages * (len(crew.killed) + 1) / (options.kills + 1) and len(crew.killed) < options.kills:
                crew.kill_one()
            time.sleep(_POLL_SECONDS)


def show(report: Report, console: Console) -> None:
    rate = len(report.pages) / report.seconds
    console.print(f"{len(report.pages)} pages recorded in {report.seconds:.1f} s: {rate:.0f} pages per second.")
    console.print(f"The server served {len(report.log)} pages; {len(report.killed)} workers were killed.")
    for served in report.unrecorded:
        why = "killed" if served.worker in report.killed else "suspended for longer than its lease"
        console.print(f"{served.path} was fetched again: {served.worker} was {why} before it recorded the page.")


def arguments() -> Namespace:
    parser = ArgumentParser(prog="python -m s3dict.examples.crawler", description="Workers crawl a site together.")
    parser.add_argument("--pages", type=int, default=2000, help="number of pages of the site (2000)")
    parser.add_argument("--workers", type=int, default=4, help="number of worker processes (4)")
    parser.add_argument("--kills", type=int, default=3, help="number of workers to kill (3)")
    parser.add_argument("--lease", type=float, default=5.0, help="seconds until a dead worker's claim expires (5)")
    return parser.parse_args()


def main() -> None:
    options, console = arguments(), Console()
    with example_bucket(), Site(options.pages) as site, Dict.ephemeral() as d:
        report = crawl_site(Crawl(d, options.lease), site, options, console)
    show(report, console)
    faults = report.faults(site.paths)
    if faults:
        sys.exit("\n".join(faults))
    console.print("Each page was recorded exactly once.")


run_example(main)
