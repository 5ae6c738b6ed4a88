"""``python -m tests.races.contention``: how many requests `pop` and `discard` make beside writers of the same key.

The guide states the numbers. The writers put the key without any pause, so that most attempts to remove what was read
are refused.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from s3dict import Client, Dict

from ..support.servers import ACCESS_KEY, SECRET_KEY, running

KEY = "k"


@contextmanager
def writing(d: Dict[Any, Any], writers: int) -> Iterator[None]:
    """Have so many threads put the key, each without any pause."""
    stopped = threading.Event()

    def write() -> None:
        while not stopped.is_set():
            d[KEY] = 0

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def measure(
    make_client: Callable[..., Client], remove: Callable[[Dict[Any, Any]], object], writers: int, calls: int
) -> tuple[list[int], list[float]]:
    """Return how many requests and seconds each of the calls took, and make sure that each removed something."""
    requests: list[object] = []
    writer: Dict[Any, Any] = Dict.from_name("contention", create_if_missing=True, client=make_client()).hydrate()
    d: Dict[Any, Any] = Dict.from_name("contention", client=make_client(on_request=requests.append))
    d.hydrate()
    counts: list[int] = []
    seconds: list[float] = []
    with writing(writer, writers):
        while len(counts) < calls:
            requests.clear()
            began = time.perf_counter()
            if remove(d):
                seconds.append(time.perf_counter() - began)
                counts.append(len(requests))
    return counts, seconds


REMOVALS: dict[str, Callable[[Dict[Any, Any]], object]] = {
    "pop": lambda d: d.pop(KEY, None) is not None,
    "del": lambda d: d.discard(KEY),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.races.contention", description=__doc__)
    parser.add_argument("--calls", type=int, default=25, help="how many removals are measured")
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 2], help="how many threads write the key")
    parser.add_argument("--driver", choices=["boto3", "obstore"], default="obstore")
    arguments = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY)
    with tempfile.TemporaryDirectory() as folder, running("seaweedfs", Path(folder)) as server:

        def make_client(**settings: Any) -> Client:
            return Client(
                server.bucket, prefix="contention", endpoint_url=server.url, driver=arguments.driver, **settings
            )

        print(
            "| Operation | Writers | Requests, median | Requests, maximum | Seconds, maximum |\n|---|---|---|---|---|"
        )
        for name, remove in REMOVALS.items():
            for writers in arguments.writers:
                counts, seconds = measure(make_client, remove, writers, arguments.calls)
                print(
                    f"| `{name}` | {writers} | {median(counts):.0f} | {max(counts)} | {max(seconds):.1f} |", flush=True
                )


if __name__ == "__main__":
    main()
