"""The S3 server of the benchmarks, with a limit on the writes of a second.

    python -m tests.throttling.server

It prints its port and ends when its input does. `PUT /-/limit?writes=200&bursts=1` sets another limit and returns how
many requests there were since the last, and how many of them were refused. With bursts it admits so many writes in any
second, in whatever order; without, it is a token bucket that keeps those of 20 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request as HttpRequest
from urllib.request import urlopen

from ..benchmarks import stub
from ..support.limiter import RateLimiter, TokenBucket

__all__ = ["LimitedServer", "limited_server"]

_BODY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_REFUSED = stub.Response(b"503 Slow Down", b"Content-Type: application/xml\r\n", _BODY)


class _Limit:
    """The bucket of the server behind a limiter that can be replaced."""

    def __init__(self) -> None:
        self.limiter: RateLimiter | TokenBucket = RateLimiter()
        self._requests = 0
        self._bucket = stub.Bucket()

    def respond(self, request: stub.Request) -> stub.Response:
        if request.key == "limit":
            counts = {"requests": self._requests, "refused": self.limiter.refused}
            writes = int(request.query["writes"])
            self.limiter = RateLimiter(writes or None) if request.query["bursts"] == "1" else TokenBucket(writes)
            self._requests = 0
            return stub.Response(b"200 OK", b"", json.dumps(counts).encode())
        self._requests += 1
        if not self.limiter(request.method.decode(), request.key):
            return _REFUSED
        return stub.respond(self._bucket, request)


class LimitedServer:
    """The server, in a process of its own."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def limit(self, writes: int, bursts: bool = True) -> dict[str, int]:
        """Set the limit, 0 for none; return how many requests there were since the last call, and were refused."""
        url = f"{self.url}/-/limit?writes={writes}&bursts={int(bursts)}"
        with urlopen(HttpRequest(url, data=b"", method="PUT")) as response:
            counts: dict[str, int] = json.loads(response.read())
            return counts


@contextmanager
def limited_server() -> Iterator[LimitedServer]:
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield LimitedServer(json.loads(process.stdout.readline())["port"])
        finally:
            process.terminate()


async def _serve() -> None:
    limit, loop = _Limit(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: stub.Connection(limit.respond, 0), "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    asyncio.run(_serve())
