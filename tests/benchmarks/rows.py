"""What is measured, beside whom, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal

from .catalogue import Kind, all_kinds, kind_named
from .peers.peer import Measured
from .results import Line, Target, at_least, at_most
from .runner import SLOW, Job, Lab, StoredObject, entries_of, folder_of
from .servers import DELAY, Server
from .workers import CONCURRENCY, Crew, Medians

__all__ = ["ROWS"]

KIB, MIB = 1024, 1024**2

OURS, OURS_ASYNCIO = "s3dict", "s3dict, asyncio"
OURS_BOTO3, OURS_AIOBOTO3 = "s3dict on boto3", "s3dict on aioboto3"
BOTO3, AIOBOTO3 = "raw boto3", "raw aioboto3"
OBSTORE, OBSTORE_ASYNCIO = "raw obstore", "raw obstore, asyncio"
OBSERVED, UNPACED = "s3dict, on_request", "s3dict, without rate control"
RAW_OF = {OURS: OBSTORE, OURS_ASYNCIO: OBSTORE_ASYNCIO, OURS_BOTO3: BOTO3, OURS_AIOBOTO3: AIOBOTO3}

Comparison = tuple[str, str, Target]
"""Whose, beside whom, and the ratio to reach."""


def cold_start(lab: Lab) -> Iterator[Line]:
    """A fresh interpreter imports, connects and gets one value: its CPU time, and its instructions."""
    comparisons: list[Comparison] = [
        (OURS, BOTO3, at_most(1 / 5)),
        (OURS, OBSTORE, at_most(1.8)),
        (OURS_ASYNCIO, AIOBOTO3, at_most(1 / 5)),
        (OURS_ASYNCIO, OBSTORE_ASYNCIO, at_most(1.5)),
    ]
    job = Job("cold-start", "CPU of a cold start", "cold_start", folder_of("cold"))
    counted = Job("cold-start-instructions", "instructions of a cold start", "cold_start_instructions", job.folder)
    with Crew(lab.servers.stub) as crew:
        for kind in all_kinds():
            crew.worker(kind).call("put", folder=job.folder(kind), n=1, size=KIB)
        found = lab.measure(crew, job, all_kinds(), repetitions=9)
        yield from _compared(job, lab.servers.stub, found, comparisons, _cpu_seconds)
        found = lab.measure(crew, counted, _ours_and_raw(), repetitions=1)
        if found:
            yield from _compared(counted, lab.servers.stub, found, comparisons, _instructions)


def cpu(lab: Lab) -> Iterator[Line]:
    """CPU time of the client's process for one put, and one get, of 1 KiB."""
    yield from _cpu(lab, lab.servers.stub, all_kinds(), repetitions=7)
    yield from _cpu(lab, lab.servers.seaweedfs, _ours_and_raw(), repetitions=4)


def _cpu(lab: Lab, server: Server, kinds: Iterable[Kind], repetitions: int) -> Iterator[Line]:
    comparisons: list[Comparison] = [
        (OURS, BOTO3, at_most(1 / 5)),
        (OURS_ASYNCIO, AIOBOTO3, at_most(1 / 5)),
        (OURS_ASYNCIO, OBSTORE_ASYNCIO, at_most(1.6)),
        (OURS_BOTO3, BOTO3, at_most(1.1)),
        (OURS_AIOBOTO3, AIOBOTO3, at_most(1.1)),
    ]
    with Crew(server) as crew:
        for task, target in (("put", at_most(1.4)), ("get", at_most(1.5))):
            job = Job("cpu", f"CPU of a {task} of 1 KiB", task, folder_of("cpu"), KIB)
            found = lab.measure_entries(crew, job, kinds, repetitions=repetitions, n=1000, slow_n=150)
            yield from _compared(job, server, found, [(OURS, OBSTORE, target), *comparisons], _cpu_seconds)


def overhead(lab: Lab) -> Iterator[Line]:
    """What a callable for `on_request` costs, and what the rate controller does where no store throttles."""
    server, n = lab.servers.stub, 10_000
    ours, observed, unpaced = map(kind_named, (OURS, OBSERVED, UNPACED))
    with Crew(server) as crew:
        for task in ("put", "get"):
            job = Job("overhead", f"CPU of a {task} of 1 KiB, observed", task, folder_of("overhead"), KIB)
            found = lab.measure_entries(crew, job, [ours, observed], repetitions=9, n=1000, slow_n=0)
            yield from _compared(job, server, found, [(OBSERVED, OURS, at_most(1.15))], _cpu_seconds)
        for method, task in (("update", "put_all"), ("items", "read_all")):
            job = Job("overhead", f"CPU of an entry in {method}, paced", task, folder_of("overhead-bulk"), KIB)
            found = lab.measure_entries(crew, job, [ours, unpaced], repetitions=7, n=n, slow_n=0)
            yield from _compared(job, server, found, [(OURS, UNPACED, at_most(1.1))], _cpu_seconds)


def release(lab: Lab) -> Iterator[Line]:
    """Everything that an earlier release can do too, beside it: the option `--release`."""
    if lab.release is None:
        return
    for name in (OURS, OURS_ASYNCIO, OURS_BOTO3, OURS_AIOBOTO3):
        kind = kind_named(name)
        pair = [kind, kind.of_release(lab.release)]
        target: list[Comparison] = [(name, pair[1].name, at_most(1.0))]
        with Crew(lab.servers.stub) as crew:
            yield from _release_single(lab, crew, pair, target)
            yield from _release_bulk(lab, crew, pair, target)


def _release_single(lab: Lab, crew: Crew, pair: list[Kind], target: list[Comparison]) -> Iterator[Line]:
    server = lab.servers.stub
    for task in ("put", "get"):
        job = Job("release", f"CPU of a {task} of 1 KiB", task, folder_of("release"), KIB)
        found = lab.measure_entries(crew, job, pair, repetitions=9, n=500, slow_n=100)
        yield from _compared(job, server, found, target, _cpu_seconds)
    job = Job("release", "CPU of a cold start", "cold_start", job.folder)
    yield from _compared(job, server, lab.measure(crew, job, pair, repetitions=9), target, _cpu_seconds)
    for task in ("put_array", "get_array"):
        job = Job("release", f"{task[:3]} of 32 MiB", task, folder_of("release-large"), 32 * MIB)
        found = lab.measure(crew, job, pair, repetitions=7)
        yield from _compared(job, server, found, target, _seconds)
        yield from _compared(job, server, found, target, _peak_bytes)


def _release_bulk(lab: Lab, crew: Crew, pair: list[Kind], target: list[Comparison]) -> Iterator[Line]:
    server, n = lab.servers.stub, lab.entries(500 if pair[0].stands_on == SLOW else 5000)
    for method, task in (("update", "put_all"), ("len", "count"), ("keys", "keys"), ("items", "read_all")):
        size = None if task in ("count", "keys") else KIB
        job = Job("release", f"CPU of {method} of {n:,}", task, folder_of("release-bulk"), size)
        found = lab.measure(crew, job, pair, repetitions=5, n=n)
        yield from _compared(job, server, found, target, _cpu_seconds)


def bulk(lab: Lab) -> Iterator[Line]:
    """`update` of 10,000 entries of 1 KiB, and `items` over them. The fastest of the peers over boto stands for all."""
    server, n = lab.servers.stub, 10_000
    rivals = [kind.name for kind in all_kinds() if kind.stands_on == SLOW and not kind.is_managed]
    with Crew(server) as crew:
        for method, task in (("update", "put_all"), ("items", "read_all")):
            job = Job("bulk", f"an entry in {method} of {lab.entries(n):,}", task, folder_of("bulk"), KIB)
            found = lab.measure_entries(crew, job, all_kinds(), repetitions=5, n=n, slow_n=500)
            fastest = min((name for name in rivals if name in found), key=lambda name: found[name].seconds)
            comparisons: list[Comparison] = [
                (OURS, fastest, at_least(8)),
                (OURS, OBSTORE, at_least(0.8)),
                (OURS_ASYNCIO, fastest, at_least(8)),
                (OURS_ASYNCIO, OBSTORE_ASYNCIO, at_least(0.8)),
            ]
            for line in _compared(job, server, found, comparisons, _seconds):
                yield replace(line, note="" if line.against != fastest else f"with {found[fastest].entries:,}")


def latency(lab: Lab) -> Iterator[Line]:
    """`update` and `items` where each answer takes 20 ms: how well the requests are kept in flight."""
    server, n = lab.servers.delayed, lab.entries(10_000)
    ideal = f"{n:,} / {CONCURRENCY} turns of {1000 * DELAY:.0f} ms"
    comparisons: list[Comparison] = [(ours, ideal, at_most(1.3)) for ours in (OURS, OURS_ASYNCIO)]
    kinds = [kind_named(name) for name in (OURS, OURS_ASYNCIO, OBSTORE, OBSTORE_ASYNCIO)]
    with Crew(server) as crew:
        for method, task in (("update", "put_all"), ("items", "read_all")):
            job = Job("latency", f"{method} of {n:,}", task, folder_of("latency"), KIB)
            found = lab.measure(crew, job, kinds, repetitions=3, n=n)
            found[ideal] = Medians.exactly(seconds=n / CONCURRENCY * DELAY)
            yield from _compared(job, server, found, comparisons, _seconds)


def listing(lab: Lab) -> Iterator[Line]:
    """`len` and `list(keys())` of 100,000 entries where each answer takes 20 ms."""
    server, n = lab.servers.delayed, lab.entries(100_000)
    kinds = [kind_named(name) for name in (OURS, OURS_ASYNCIO, OURS_BOTO3, OURS_AIOBOTO3, BOTO3, OBSTORE)]
    folder = entries_of(lab.filled_dict(n))
    with Crew(server) as crew:
        for method, task, times in (("len", "count", 8), ("keys", "keys", 9)):
            comparisons: list[Comparison] = [(ours, BOTO3, at_least(times)) for ours in (OURS, OURS_ASYNCIO)]
            comparisons += [(ours, BOTO3, at_least(2)) for ours in (OURS_BOTO3, OURS_AIOBOTO3)]
            job = Job("listing", f"{method} of {n:,}", task, folder)
            found = lab.measure(crew, job, kinds, repetitions=4, slow_repetitions=2, n=n)
            yield from _compared(job, server, found, comparisons, _seconds)


def memory(lab: Lab) -> Iterator[Line]:
    """What the process grows by at most while `items` goes through 100,000 entries, and ten times through 10,000.

    Equal work, because the allocator's share grows with the work that a process has done, whatever the number of
    entries.
    """
    sizes = [(lab.entries(10_000), 10), (lab.entries(100_000), 1)]
    jobs = [
        Job("memory", "peak memory of items", "read_all", entries_of(lab.filled_dict(n)), KIB, passes)
        for n, passes in sizes
    ]
    for ours in (OURS, OURS_ASYNCIO):
        turns: dict[str, list[Measured]] = {}
        for _ in range(1 if lab.max_turns else 2):
            for (n, passes), job in zip(sizes, jobs, strict=True):
                # Each time in a process of its own: what one has grown to, it seldom gives back.
                with Crew(lab.servers.stub) as crew:
                    measured = lab.measure(crew, job, [kind_named(ours)], repetitions=1, n=n)
                turns.setdefault(f"{ours}: {passes} pass{'es' if passes > 1 else ''} over {n:,}", []).extend(
                    measured[ours].turns
                )
        found = {name: Medians.of(all_of_it) for name, all_of_it in turns.items()}
        few, many = found
        yield from _compared(jobs[-1], lab.servers.stub, found, [(many, few, at_most(1.2))], _peak_bytes)


def large(lab: Lab) -> Iterator[Line]:
    """Putting and getting a NumPy array of 100 MiB: time beside the raw store, memory beside the array's size."""
    size = (16 if lab.quick else 100) * MIB
    raw: list[Comparison] = [(ours, other, at_most(1.3)) for ours, other in RAW_OF.items()]
    array: list[Comparison] = [(ours, "the array", at_most(2.2)) for ours in RAW_OF]
    for server in (lab.servers.stub, lab.servers.seaweedfs):
        with Crew(server) as crew:
            for method in ("put", "get"):
                job = Job("large", f"{method} of {size // MIB} MiB", f"{method}_array", folder_of("large"), size)
                found = lab.measure(crew, job, _ours_and_raw(), repetitions=5)
                found["the array"] = Medians.exactly(peak_bytes=size)
                yield from _compared(job, server, found, raw, _seconds)
                yield from _compared(job, server, found, array, _peak_bytes)


Quantity = Callable[[Measured | Medians], float]
ROWS: dict[str, Callable[[Lab], Iterator[Line]]] = {
    "cold-start": cold_start,
    "cpu": cpu,
    "bulk": bulk,
    "latency": latency,
    "listing": listing,
    "memory": memory,
    "large": large,
    "overhead": overhead,
    "release": release,
}


def _ours_and_raw() -> list[Kind]:
    return [kind_named(name) for names in RAW_OF.items() for name in names]


def _compared(
    job: Job, server: Server, found: StoredObject, comparisons: list[Comparison], quantity: Quantity
) -> Iterator[Line]:
    unit: Literal["s", "B", "I"] = "B" if quantity is _peak_bytes else "I" if quantity is _instructions else "s"
    for ours, other, target in comparisons:
        turns = found[ours].turns, found[other].turns or (found[other],)
        # What took long was done in fewer turns.
        pairs = [(one, turns[1][min(turn, len(turns[1]) - 1)]) for turn, one in enumerate(turns[0])]
        ratios = tuple(target.measured(quantity(one), quantity(beside)) for one, beside in pairs)
        values = quantity(found[ours]), quantity(found[other])
        yield Line(job.row, job.what, server.name, ours, values[0], other, values[1], unit, target, ratios)


def _seconds(measured: Measured | Medians) -> float:
    return measured.seconds


def _cpu_seconds(measured: Measured | Medians) -> float:
    return measured.cpu_seconds


def _instructions(measured: Measured | Medians) -> float:
    assert measured.instructions is not None
    return measured.instructions


def _peak_bytes(measured: Measured | Medians) -> float:
    if measured.peak_bytes is None:
        raise RuntimeError("Memory is measured by what Linux says of a process in /proc, which is not there")
    return measured.peak_bytes
