"""``python -m tests.simulation``: explore the schedules of all workloads."""

from __future__ import annotations

import argparse
import sys
import time

from .explore import SimulationError
from .workloads import PAIRS, RANDOM

BATCH = 50


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--schedules", type=int, default=10_000, help="how many schedules are explored")
    parser.add_argument("--first-seed", type=int, default=0, help="the first seed of each workload")
    parser.add_argument("--only", choices=RANDOM, help="one workload")
    arguments = parser.parse_args()
    workloads = [RANDOM[arguments.only]] if arguments.only else list(RANDOM.values())
    started, explored, violations, seed = time.monotonic(), 0, 0, arguments.first_seed
    if not arguments.only:
        explored += sum(workload.explore_all(BATCH * BATCH) for workload in PAIRS.values())
    while explored < arguments.schedules:
        for workload in workloads:
            try:
                workload.explore_seeds(range(seed, seed + BATCH))
            except SimulationError as error:
                violations += 1
                print(error, file=sys.stderr)
            explored += BATCH
        seed += BATCH
        print(f"{explored} schedules, {violations} violations, {time.monotonic() - started:.0f} s", flush=True)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
