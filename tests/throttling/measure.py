"""One measurement of bulk operations, with a server of its own. The environment has to contain credentials."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from s3dict import Client, Dict
from s3dict._stores.shared.rate_control import HasPacedView

from ..support.modes import Driver, Mode
from .server import LimitedServer, limited_server

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
ROUNDS = 9


@dataclass(frozen=True, slots=True)
class Way:
    """How a dict is used: by which driver, blocking or in asyncio."""

    name: str
    driver: Driver
    mode: Mode
    in_threads: bool = False


WAYS = (
    Way("obstore, blocking", "obstore", Mode.SYNC),
    Way("obstore, asyncio", "obstore", Mode.ASYNCIO),
    Way("boto3, blocking", "boto3", Mode.SYNC),
    Way("aioboto3", "boto3", Mode.ASYNCIO),
    Way("boto3 in threads, asyncio", "boto3", Mode.ASYNCIO, in_threads=True),
)


@dataclass(frozen=True, slots=True)
class Job:
    """An `update` of so many entries, on a store that admits `limit` writes a second, or any number for 0."""

    way: Way
    limit: int
    bursts: bool
    entries: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Entries a second, and refused requests for each entry."""

    rate: float
    refused: float


@dataclass(frozen=True, slots=True)
class Ratios:
    """What paced bulk operations take where nothing is throttled, as a multiple of unpaced ones."""

    operation: str
    times: tuple[float, ...]
    cpu: tuple[float, ...]
    requests: float


def measure(job: Job) -> Figures:
    """Write the entries into a new dict; return what was reached."""
    with limited_server() as server:
        call = _caller(job.way)
        d = _new_dict(server, job.way)
        server.limit(job.limit, job.bursts)
        values = {n: n for n in range(job.entries)}
        started_at = time.monotonic()
        call(d.update, values)
        seconds, counts = time.monotonic() - started_at, server.limit(0)
        assert d.len() == job.entries
    return Figures(job.entries / seconds, counts["refused"] / job.entries)


def compare(way: Way, entries: int) -> list[Ratios]:
    """Run bulk operations with and without pacing, in turns, where nothing is throttled."""
    with limited_server() as server:
        call, d = _caller(way), _new_dict(server, way)
        values = {n: n for n in range(entries)}
        return [
            _ratios(server, "update", lambda: call(d.update, values)),
            _ratios(server, "get_many", lambda: call(d.get_many, values)),
            _ratios(server, "len", lambda: call(d.len)),
        ]


def _ratios(server: LimitedServer, name: str, operation: Callable[[], object]) -> Ratios:
    paced, unpaced = HasPacedView.paced, lambda self: self
    samples: dict[Any, list[tuple[float, float]]] = {paced: [], unpaced: []}
    requests = dict.fromkeys(samples, 0)
    operation()
    server.limit(0)
    try:
        for round_number in range(ROUNDS):
            for view in (paced, unpaced) if round_number % 2 else (unpaced, paced):
                HasPacedView.paced = view  # type: ignore[method-assign]
                started = time.monotonic(), time.process_time()
                operation()
                samples[view].append((time.monotonic() - started[0], time.process_time() - started[1]))
                requests[view] += server.limit(0)["requests"]
    finally:
        HasPacedView.paced = paced  # type: ignore[method-assign]
    times, cpu = ([a[i] / b[i] for a, b in zip(*samples.values(), strict=True)] for i in range(2))
    return Ratios(name, _spread(times), _spread(cpu), requests[paced] / requests[unpaced])


def _spread(values: list[float]) -> tuple[float, float, float]:
    """Return the median and the quartiles."""
    first, median, third = statistics.quantiles(values, n=4)
    return median, first, third


def _caller(way: Way) -> Callable[..., Any]:
    """Return what calls a method of a dict; all asynchronous calls are made in one event loop."""
    if way.in_threads:
        sys.modules["s3dict._client"].__dict__["is_installed"] = lambda package: package != "aioboto3"
    if way.mode is Mode.SYNC:
        return lambda method, *args: method(*args)
    runner = asyncio.Runner()

    async def awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return await coroutine

    return lambda method, *args: runner.run(awaited(method.aio(*args)))


def _new_dict(server: LimitedServer, way: Way) -> Dict[int, int]:
    client = Client("b", prefix=f"p-{time.monotonic_ns()}", endpoint_url=server.url, driver=way.driver)
    return Dict.from_name("d", create_if_missing=True, client=client).hydrate()
