"""What is measured, beside whom, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal

from .catalogue import Kind, all_kinds, kind_named
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
RAW_OF = {OURS: OBSTORE, OURS_ASYNCIO: OBSTORE_ASYNCIO, OURS_BOTO3: BOTO3, OURS_AIOBOTO3: AIOBOTO3}

Comparison = tuple[str, str, Target]
"""Whose, beside whom, and the ratio to reach."""


def cold_start(lab: Lab) -> Iterator[Line]:
    """A fresh interpreter imports, connects and gets one value."""
    comparisons: list[Comparison] = [
        (OURS, BOTO3, at_most(1 / 5)),
        (OURS, OBSTORE, at_most(1.5)),
        (OURS_ASYNCIO, AIOBOTO3, at_most(1 / 5)),
        (OURS_ASYNCIO, OBSTORE_ASYNCIO, at_most(1.5)),
    ]
    job = Job("cold-start", "cold start", "cold_start", folder_of("cold"))
    with Crew(lab.servers.stub) as crew:
        for kind in all_kinds():
            crew.worker(kind).call("put", folder=job.folder(kind), n=1, size=KIB)
        found = lab.measure(crew, job, all_kinds(), repetitions=9)
    yield from _compared(job, lab.servers.stub, found, comparisons, _seconds)


def cpu(lab: Lab) -> Iterator[Line]:
    """CPU time of the client's process for one put, and one get, of 1 KiB."""
    yield from _cpu(lab, lab.servers.stub, all_kinds(), repetitions=7)
    yield from _cpu(lab, lab.servers.seaweedfs, _ours_and_raw(), repetitions=4)


def _cpu(lab: Lab, server: Server, kinds: Iterable[Kind], repetitions: int) -> Iterator[Line]:
    comparisons: list[Comparison] = [
        (OURS, BOTO3, at_most(1 / 5)),
        (OURS, OBSTORE, at_most(1.6)),
        (OURS_ASYNCIO, AIOBOTO3, at_most(1 / 5)),
        (OURS_ASYNCIO, OBSTORE_ASYNCIO, at_most(1.6)),
        (OURS_BOTO3, BOTO3, at_most(1.1)),
        (OURS_AIOBOTO3, AIOBOTO3, at_most(1.1)),
    ]
    with Crew(server) as crew:
        for task in ("put", "get"):
            job = Job("cpu", f"CPU of a {task} of 1 KiB", task, folder_of("cpu"), KIB)
            found = lab.measure_entries(crew, job, kinds, repetitions=repetitions, n=1000, slow_n=150)
            yield from _compared(job, server, found, comparisons, _cpu_seconds)


def bulk(lab: Lab) -> Iterator[Line]:
    """`update` of 10,000 entries of 1 KiB, and `items` over them. The fastest of the peers over boto stands for all."""
    server, n = lab.servers.stub, 10_000
    rivals = [kind.name for kind in all_kinds() if kind.stands_on == SLOW and not kind.is_managed]
    with Crew(server) as crew:
        for method, task in (("update", "put_all"), ("items", "read_all")):
            job = Job("bulk", f"an entry in {method} of {lab.entries(n):,}", task, folder_of("bulk"), KIB)
            found = lab.measure_entries(crew, job, all_kinds(), repetitions=3, n=n, slow_n=500)
            fastest = min((name for name in rivals if name in found), key=lambda name: found[name].seconds)
            comparisons: list[Comparison] = [
                (OURS, fastest, at_least(8)),
                (OURS, OBSTORE, at_least(0.6)),
                (OURS_ASYNCIO, fastest, at_least(8)),
                (OURS_ASYNCIO, OBSTORE_ASYNCIO, at_least(0.6)),
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
            found = lab.measure(crew, job, kinds, repetitions=2, n=n)
            found[ideal] = Medians(n / CONCURRENCY * DELAY, 0, None, 0)
            yield from _compared(job, server, found, comparisons, _seconds)


def listing(lab: Lab) -> Iterator[Line]:
    """`len` and `list(keys())` of 100,000 entries where each answer takes 20 ms."""
    server, n = lab.servers.delayed, lab.entries(100_000)
    comparisons: list[Comparison] = [
        (OURS, BOTO3, at_least(8)),
        (OURS_ASYNCIO, BOTO3, at_least(8)),
        (OURS_BOTO3, BOTO3, at_least(2)),
        (OURS_AIOBOTO3, BOTO3, at_least(2)),
    ]
    kinds = [kind_named(name) for name in (OURS, OURS_ASYNCIO, OURS_BOTO3, OURS_AIOBOTO3, BOTO3, OBSTORE)]
    folder = entries_of(lab.filled_dict(n))
    with Crew(server) as crew:
        for method, task in (("len", "count"), ("keys", "keys")):
            job = Job("listing", f"{method} of {n:,}", task, folder)
            found = lab.measure(crew, job, kinds, repetitions=3, slow_repetitions=1, n=n)
            yield from _compared(job, server, found, comparisons, _seconds)


def memory(lab: Lab) -> Iterator[Line]:
    """What the process grows by at most while `items` goes through 10,000 entries, and 100,000."""
    for ours in (OURS, OURS_ASYNCIO):
        found: StoredObject = {}
        for n in (lab.entries(10_000), lab.entries(100_000)):
            job = Job("memory", "peak memory of items", "read_all", entries_of(lab.filled_dict(n)), KIB)
            # Each time in a process of its own: what one has grown to, it seldom gives back.
            with Crew(lab.servers.stub) as crew:
                measured = lab.measure(crew, job, [kind_named(ours)], repetitions=1, n=n)
            found[f"{ours}: {n:,}"] = measured[ours]
        few, many = found
        yield from _compared(job, lab.servers.stub, found, [(many, few, at_most(1.2))], _peak_bytes)


def large(lab: Lab) -> Iterator[Line]:
    """Putting and getting a NumPy array of 100 MiB: time beside the raw store, memory beside the array's size."""
    size = (16 if lab.quick else 100) * MIB
    raw: list[Comparison] = [(ours, other, at_most(1.1)) for ours, other in RAW_OF.items()]
    array: list[Comparison] = [(ours, "the array", at_most(2.2)) for ours in RAW_OF]
    for server in (lab.servers.stub, lab.servers.seaweedfs):
        with Crew(server) as crew:
            for method in ("put", "get"):
                job = Job("large", f"{method} of {size // MIB} MiB", f"{method}_array", folder_of("large"), size)
                found = lab.measure(crew, job, _ours_and_raw(), repetitions=3)
                found["the array"] = Medians(0, 0, size, 0)
                yield from _compared(job, server, found, raw, _seconds)
                yield from _compared(job, server, found, array, _peak_bytes)


ROWS: dict[str, Callable[[Lab], Iterator[Line]]] = {
    "cold-start": cold_start,
    "cpu": cpu,
    "bulk": bulk,
    "latency": latency,
    "listing": listing,
    "memory": memory,
    "large": large,
}


def _ours_and_raw() -> list[Kind]:
    return [kind_named(name) for names in RAW_OF.items() for name in names]


def _compared(
    job: Job, server: Server, found: StoredObject, comparisons: list[Comparison], quantity: Callable[[Medians], float]
) -> Iterator[Line]:
    unit: Literal["s", "B"] = "B" if quantity is _peak_bytes else "s"
    for ours, other, target in comparisons:
        values = quantity(found[ours]), quantity(found[other])
        yield Line(job.row, job.what, server.name, ours, values[0], other, values[1], unit, target)


def _seconds(medians: Medians) -> float:
    return medians.seconds


def _cpu_seconds(medians: Medians) -> float:
    return medians.cpu_seconds


def _peak_bytes(medians: Medians) -> float:
    if medians.peak_bytes is None:
        raise RuntimeError("Memory is measured by what Linux says of a process in /proc, which is not there")
    return medians.peak_bytes
