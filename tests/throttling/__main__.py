"""``python -m tests.throttling``: `update` against a server that admits so many writes in any second.

It writes 20 seconds' worth of entries with each driver, blocking and in asyncio, and prints which part of the limit was
reached and how many requests were refused for each entry. Exit code 1 when it is less than 0.9, or more than 0.2.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from dataclasses import dataclass
from typing import get_args

from s3dict import Client, Dict

from ..support.modes import Driver, Mode
from .server import LimitedServer, limited_server

SECONDS = 20
LEAST_RATE = 0.9
MOST_REFUSED = 0.2
LIMITS = (50, 60, 200, 500, 1000, 2000)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What one `update` has reached: entries a second, and refused requests for each entry."""

    rate: float
    refused: float


def measure(server: LimitedServer, driver: Driver, mode: Mode, limit: int, entries: int) -> Figures:
    """Write so many entries into a new dict while the server has that limit; 0 is no limit."""
    client = Client("b", prefix=f"p-{time.monotonic_ns()}", endpoint_url=server.url, driver=driver)
    d: Dict[int, int] = Dict.from_name("d", create_if_missing=True, client=client)
    d.hydrate()
    server.limit(limit)
    started_at = time.monotonic()
    values = {n: n for n in range(entries)}
    if mode is Mode.SYNC:
        d.update(values)
    else:
        asyncio.run(d.update.aio(values))
    seconds, refused = time.monotonic() - started_at, server.limit(0)
    assert d.len() == entries
    return Figures(entries / seconds, refused / entries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limits", type=int, nargs="+", default=LIMITS, help="writes a second")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="so many seconds' worth of entries")
    parser.add_argument("--drivers", nargs="+", choices=get_args(Driver), default=get_args(Driver))
    arguments = parser.parse_args()
    os.environ.update(CREDENTIALS)
    missed = 0
    print("| driver | mode | writes a second | reached | refused for each entry | without a limit |")
    print("|---|---|---|---|---|---|")
    with limited_server() as server:
        for driver in arguments.drivers:
            for mode in Mode:
                free = measure(server, driver, mode, 0, 2000).rate
                for limit in arguments.limits:
                    figures = measure(server, driver, mode, limit, limit * arguments.seconds)
                    # A client that is slower than the limit without one cannot reach it.
                    reached = figures.rate / min(limit, free)
                    missed += reached < LEAST_RATE or figures.refused > MOST_REFUSED
                    print(
                        f"| {driver} | {mode.value} | {limit} | {figures.rate / limit:.2f} | {figures.refused:.3f} "
                        f"| {free:.0f} a second |",
                        flush=True,
                    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
