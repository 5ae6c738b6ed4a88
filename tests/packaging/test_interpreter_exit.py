"""A program that ends while requests are under way ends well: its output arrives, and its exit status is its own."""

from __future__ import annotations

import os
import subprocess
import sys

from s3dict import Client, Dict

from ..support.modes import Driver, Endpoint

PROGRAM = """
import asyncio, sys
from s3dict import Client, Dict

async def main(bucket, prefix, url, driver):
    client = Client(bucket, prefix=prefix, endpoint_url=url, driver=driver)
    d = Dict.from_name("d", client=client)
    gets = [asyncio.ensure_future(d.get.aio("k")) for _ in range(400)]
    done, _ = await asyncio.wait(gets, return_when=asyncio.FIRST_COMPLETED)
    print(done.pop().result())

asyncio.run(main(*sys.argv[1:]))
sys.exit(7)
"""
RUNS = 8
"""Of runs that did not wait for what obstore's threads hold, two in five crashed."""


def test_interpreter_exit_does_not_hang_on_abandoned_requests(driver: Driver, seaweedfs: Endpoint) -> None:
    client = Client(seaweedfs.bucket, prefix="exit", endpoint_url=seaweedfs.url)
    Dict.from_name("d", create_if_missing=True, client=client)["k"] = "v"
    command = [sys.executable, "-c", PROGRAM, client.bucket, client.prefix, seaweedfs.url, driver]
    for _ in range(RUNS if driver == "obstore" else 1):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ)
        assert (done.returncode, done.stdout) == (7, "v\n"), done.stderr
