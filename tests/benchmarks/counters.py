"""``python -m tests.benchmarks.counters``: additions a second to one key and to counters of several shards.

Concurrent callers add for some seconds to a store whose responses take 20 ms, without a limit and with one write of
each key in a second, as Cloudflare R2 and Google Cloud Storage have. An addition that was given up counts as failed.
The sum is checked against the additions that were reported as done.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from s3dict import Client, ConflictError, Dict, UnavailableError

from ..support.limiter import KeyLimiter
from ..throttling.measure import CREDENTIALS
from . import stub

DELAY = 0.02
SHARDS = (1, 4, 16, 64)
_BODY = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate for this object.</Message></Error>"
_REFUSED = stub.Response(b"429 Too Many Requests", b"Content-Type: application/xml\r\n", _BODY)


@contextmanager
def limited_store(interval: float) -> Iterator[str]:
    """Run the store in a process of its own, with so many seconds between two writes of a key; return its URL."""
    command = [sys.executable, "-m", "tests.benchmarks.counters", "--serve", str(interval)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())}"
        finally:
            process.terminate()


async def serve(interval: float) -> None:
    bucket, admits = stub.Bucket(), KeyLimiter(interval)

    def respond(request: stub.Request) -> stub.Response:
        # Manifests and the like are written in advance.
        if "entries/" in request.key and not admits(request.method.decode(), request.key):
            return _REFUSED
        return stub.respond(bucket, request)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: stub.Connection(respond, DELAY), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def measure(add: Callable[[], Awaitable[Any]], callers: int, seconds: float) -> tuple[int, int, float]:
    """Return how many additions were done and how many failed, and the seconds until the last ended."""
    done = failed = 0
    started_at = time.monotonic()

    async def caller() -> None:
        nonlocal done, failed
        while time.monotonic() - started_at < seconds:
            try:
                await add()
                done += 1
            except (ConflictError, UnavailableError):
                failed += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return done, failed, time.monotonic() - started_at


async def report(url: str, limit: str, callers: int, seconds: float) -> None:
    d: Dict[Any, Any] = Dict.from_name("counters", create_if_missing=True, client=Client("b", endpoint_url=url))
    await d.hydrate.aio()

    def row(what: str, figures: tuple[int, int, float]) -> None:
        done, failed, took = figures
        print(f"| {limit} | {what} | {done / took:.1f} | {failed / took:.1f} |", flush=True)

    figures = await measure(lambda: d.modify.aio("hits", lambda n: n + 1, 0), callers, seconds)
    assert await d.get.aio("hits") == figures[0]
    row("`modify` of one key", figures)
    for shards in SHARDS:
        counter = d.counter(f"hits {shards}", shards)
        figures = await measure(counter.add.aio, callers, seconds)
        assert await counter.value.aio() == figures[0]
        row(f"counter of {shards} shards", figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--serve", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        asyncio.run(serve(arguments.serve))
        return
    os.environ.update(CREDENTIALS)
    print(f"{arguments.callers} callers, {arguments.seconds:g} seconds\n")
    print("| store | target | additions a second | failed a second |\n|---|---|---|---|")
    for interval, limit in ((0.0, "20 ms"), (1.0, "20 ms, one write of a key in a second")):
        with limited_store(interval) as url:
            asyncio.run(report(url, limit, arguments.callers, arguments.seconds))


if __name__ == "__main__":
    main()
