"""What dicts of millions of entries take: a model, a simulation of listings, and measurements that confirm them.

    python -m tests.benchmarks.scale_model --measure 1000000

It writes the tables of `terraform/README.md`: the model alone, or with ``--measure`` also what was measured up to so
many entries, against the stub server with its delay.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import time
import urllib.request
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

from s3dict import Client, Dict
from s3dict._core import listing
from s3dict._stores.base import PAGE_SIZE, ObjectMeta, Page, ServerTime
from s3dict._stores.shared.events import RequestEvent
from s3dict._stores.shared.threads import run_blocking

from ..support.reports import replace_block
from .peers.peer import REGION
from .report import machine, moment
from .servers import DELAY, Server, running_stub

T = TypeVar("T")
R = TypeVar("R")

PAGE = Path(__file__).parents[2] / "terraform" / "README.md"
NUMBERS = (10**6, 10**8, 10**10)
STEPS = (10**4, 10**5, 10**6)
RANGES = (16, 32, 64)


@dataclass(frozen=True, slots=True)
class Model:
    """A process with obstore, blocking, and a store that S3's documented limits hold for.

    `latency` is that of each request; the limits are those of one partition, in requests a second. The CPU times are
    those of the client, for one entry, on the machine of the benchmarks: Python code runs in one thread at a time.
    """

    latency: float = 0.02
    reads: float = 5500
    writes: float = 3500
    partitions: int = 1
    concurrency: int = 64
    ranges: int = listing.MAX_RANGES
    cpu_len: float = 7e-6
    cpu_keys: float = 11e-6
    cpu_items: float = 180e-6
    cpu_update: float = 185e-6
    cpu_delete: float = 3e-6

    def pages(self, n: int) -> int:
        """Requests of a listing, at most: each range may end in a page that is not full."""
        return 1 if n <= PAGE_SIZE else math.ceil(n / PAGE_SIZE) + self.ranges

    def listing(self, n: int, cpu: float) -> float:
        """Rounds of requests side by side, each followed by the work on its pages."""
        rounds = 1 + math.ceil(max(0, self.pages(n) - 1) / self.ranges)
        return max(rounds * self.latency + n * cpu, self.pages(n) / (self.reads * self.partitions))

    def single(self, n: int, cpu: float, limit: float) -> float:
        """A request for each entry, `concurrency` at a time."""
        return max(n * self.latency / self.concurrency, n * cpu, n / (limit * self.partitions))

    def deletions(self, n: int) -> float:
        """One request for each thousand, one after the other. S3 counts each object against its limit."""
        return max(n / PAGE_SIZE * self.latency + n * self.cpu_delete, n / (self.writes * self.partitions))


@dataclass(frozen=True, slots=True)
class Operation:
    """Seconds, and requests by their price: listings and writes, and reads."""

    name: str
    seconds: Callable[[Model, int], float]
    listings_and_writes: Callable[[Model, int], float]
    reads: Callable[[int], float] = lambda _: 0

    def dollars(self, model: Model, n: int) -> float:
        return (self.listings_and_writes(model, n) * 5 + self.reads(n) * 0.4) / 1e6


def _items(model: Model, n: int) -> float:
    return model.listing(n, 0) + model.single(n, model.cpu_items, model.reads)


OPERATIONS = (
    Operation("`update`", lambda m, n: m.single(n, m.cpu_update, m.writes), lambda _, n: n),
    Operation("`len`, `stats`", lambda m, n: m.listing(n, m.cpu_len), lambda m, n: m.pages(n)),
    Operation("`keys`", lambda m, n: m.listing(n, m.cpu_keys), lambda m, n: m.pages(n)),
    Operation("`items`, `values`, `s3dict export`", _items, lambda m, n: m.pages(n), lambda n: n),
    Operation("`s3dict gc --expired`, nothing expired", _items, lambda m, n: m.pages(n), lambda n: n),
    Operation("`clear`", lambda m, n: m.listing(n, m.cpu_len) + m.deletions(n), lambda m, n: m.pages(n)),
    Operation(
        "`s3dict gc` of a deleted dict",
        lambda m, n: 2 * m.listing(n, m.cpu_len) + m.deletions(n),
        lambda m, n: 2 * m.pages(n),
    ),
)


def model_table(model: Model) -> str:
    rows = [["Operation", *(_power(n) for n in NUMBERS)]]
    rows += [
        [
            operation.name,
            *(f"{_duration(operation.seconds(model, n))}, {_dollars(operation.dollars(model, n))}" for n in NUMBERS),
        ]
        for operation in OPERATIONS
    ]
    stored = [f"{_dollars(n * 1250 / 1e9 * 0.023)} a month" for n in NUMBERS]
    return _markdown([*rows, ["storage, of values of 1 KiB", *stored]])


def ranges_table() -> str:
    """Listings of a million entries by the simulation, with other numbers of ranges."""
    rows = [["Ranges", "Requests", *(f"`keys` at {1000 * latency:.0f} ms" for latency in (DELAY, 0.1))]]
    paths = sorted_paths(10**6)
    for ranges in RANGES:
        requests, rounds = simulate_scan(paths, ranges)
        seconds = [f"{rounds * latency + len(paths) * Model().cpu_keys:.1f} s" for latency in (DELAY, 0.1)]
        rows.append([str(ranges), f"{requests:,}", *seconds])
    return _markdown(rows)


def simulate_scan(paths: list[str], ranges: int) -> tuple[int, int]:
    """Run the listing of the library over these sorted paths; return its requests, and how many take place in turn."""
    store: Any = _ListedStore(paths)

    async def scan() -> int:
        return sum([len(page.objects) async for page in listing.scan(store, "entries/", ranges)])

    with patch.object(listing, "MAX_RANGES", ranges):
        listed = run_blocking(scan())
    assert listed == len(paths), f"{listed} of {len(paths)} were listed"
    return store.requests, store.rounds


class _ListedStore:
    """Answers listings of sorted paths, and counts rounds of requests that are made side by side."""

    def __init__(self, paths: list[str]) -> None:
        self.runtime = SimpleNamespace(map=self._map)
        self.requests = self.rounds = 0
        self._paths = paths
        self._in_round = False

    def paced(self) -> _ListedStore:
        return self

    async def list_page(self, _: str, *, start_after: str = "", end_before: str | None = None) -> Page:
        self.requests += 1
        self.rounds += not self._in_round
        first = bisect_right(self._paths, start_after)
        found = self._paths[first : first + PAGE_SIZE]
        wanted = found if end_before is None else found[: bisect_left(found, end_before)]
        now = datetime(2026, 1, 1, tzinfo=UTC)
        objects = tuple(ObjectMeta(path, "", 100, now) for path in wanted)
        return Page(objects, len(found) == PAGE_SIZE and len(wanted) == len(found), ServerTime(now))

    async def _map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int, *, ordered: bool = False
    ) -> AsyncGenerator[R, None]:
        """Requests of one item follow one another; the longest sequence is the time of the round."""
        longest = 0
        for item in items:
            before, self._in_round = self.requests, True
            result = await function(item)
            self._in_round, longest = False, max(longest, self.requests - before)
            yield result
        self.rounds += longest


def sorted_paths(n: int) -> list[str]:
    numbers = random.Random(0)
    return sorted(f"entries/{numbers.getrandbits(64):016x}" for _ in range(n))


@dataclass(frozen=True, slots=True)
class Measurement:
    operation: str
    n: int
    requests: int
    predicted_requests: int
    seconds: float
    cpu_seconds: float
    predicted_seconds: float
    peak_bytes: int | None


def measure(limit: int) -> Iterator[Measurement]:
    """Measure against the stub, whose entries it makes itself."""
    model = Model()
    with running_stub() as (at_once, delayed):
        for n in (step for step in STEPS if step <= limit):
            folder = _fill(at_once, n)
            yield _measured(delayed, folder, n, "`len`", model.pages(n), model.listing(n, model.cpu_len))
            yield _measured(delayed, folder, n, "`keys`", model.pages(n), model.listing(n, model.cpu_keys))
            if n <= 10**5:
                yield _measured(delayed, folder, n, "`items`", model.pages(n) + n, _items(model, n))
            seconds = model.listing(n, model.cpu_len) + n / PAGE_SIZE * model.latency + n * model.cpu_delete
            yield _measured(delayed, folder, n, "`clear`", model.pages(n) + math.ceil(n / PAGE_SIZE), seconds)


def _fill(server: Server, n: int) -> str:
    """Return the name of a dict of n entries."""
    client = _client(server, lambda _: None)
    folder = f"scale-{n}"
    d: Dict[str, int] = Dict.from_name(folder, create_if_missing=True, client=client)
    prefix = run_blocking(d._open()).paths.entries
    request = urllib.request.Request(f"{server.endpoint}/{server.bucket}?fill={n}&prefix={prefix}", method="POST")
    with urllib.request.urlopen(request) as response:
        response.read()
    return folder


def _client(server: Server, on_request: Callable[[RequestEvent], object]) -> Client:
    return Client(
        server.bucket,
        endpoint_url=server.endpoint,
        region_name=REGION,
        driver="obstore",
        on_request=on_request,
        session=_session(server),
    )


def _session(server: Server) -> Any:
    import boto3

    return boto3.Session(server.access_key, server.secret_key, region_name=REGION)


def _measured(
    server: Server, folder: str, n: int, operation: str, predicted_requests: int, predicted_seconds: float
) -> Measurement:
    counted = Counter[str]()
    client = _client(server, lambda event: counted.update([event.operation]))
    d: Dict[str, int] = Dict.from_name(folder, client=client)
    d.hydrate()
    counted.clear()
    baseline = _reset_peak()
    cpu, began = time.process_time(), time.perf_counter()
    _run(d, operation, n)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    peak = None if baseline is None else _memory("VmHWM") - baseline
    return Measurement(operation, n, counted.total(), predicted_requests, seconds, cpu_seconds, predicted_seconds, peak)


def _run(d: Dict[str, int], operation: str, n: int) -> None:
    if operation == "`clear`":
        d.clear()
        return
    found = d.len() if operation == "`len`" else sum(1 for _ in (d.keys() if operation == "`keys`" else d.items()))
    assert found == n, f"{operation} found {found} of {n}"


def _reset_peak() -> int | None:
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    reset.write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def measured_table(measurements: Iterable[Measurement]) -> str:
    rows = [["Operation", "n", "Requests, at most", "Measured", "Time", "Measured", "of it CPU", "Peak memory"]]
    rows += [
        [
            one.operation,
            _power(one.n),
            f"{one.predicted_requests:,}",
            f"{one.requests:,}",
            _duration(one.predicted_seconds),
            _duration(one.seconds),
            _duration(one.cpu_seconds),
            "" if one.peak_bytes is None else f"{one.peak_bytes / 1024**2:.0f} MiB",
        ]
        for one in measurements
    ]
    return f"{_markdown(rows)}\n\nMeasured: {machine()}; {moment()}."


def _markdown(rows: list[list[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def _power(n: int) -> str:
    return "10" + str(round(math.log10(n))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}" if seconds >= 10 * size else f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def _dollars(amount: float) -> str:
    return f"${amount:,.0f}" if amount >= 10 else f"${amount:.2f}" if amount >= 0.01 else "under $0.01"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale_model", description=__doc__)
    parser.add_argument("--measure", type=int, default=0, metavar="N", help="also measure, up to so many entries")
    limit = parser.parse_args().measure
    replace_block(PAGE, "scale", model_table(Model()))
    replace_block(PAGE, "ranges", ranges_table())
    if limit:
        replace_block(PAGE, "scale-measured", measured_table(measure(limit)))


if __name__ == "__main__":
    main()
