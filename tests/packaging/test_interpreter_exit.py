"""A program that ends while requests are in flight ends well: its output arrives, and its exit status is its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

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


SILENT = {
    "iterators left unfinished": """
        d.update({i: i for i in range(20)})
        left = [d.items(), d.keys(), d.values(), iter(d.as_mapping().items())]
        for iterator in left:
            next(iterator)
    """,
    "asynchronous iterators left unfinished": """
        async def main():
            await d.update.aio({i: i for i in range(20)})
            left.append(d.items.aio())
            await anext(left[0])
        left = []
        asyncio.run(main())
    """,
    "break out of an asynchronous iterator, and the loop closed at once": """
        async def main():
            async for key in d.keys.aio():
                break
        d.update({i: i for i in range(20)})
        for _ in range(2):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
    """,
    "asynchronous iterators left with reads in flight, and the loop closed at once": """
        async def main():
            async for item in d.items.aio():
                break
            left.append(d.values.aio())
            await anext(left[-1])
        left = []
        d.update({i: i for i in range(200)})
        for _ in range(2):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
    """,
    "loop closed inside of a lock and an ephemeral dict": """
        async def main():
            await d.lock(f"l{len(left)}").__aenter__()
            left.append(Dict.ephemeral(client=client))
            await left[-1].__aenter__()
        left = []
        for _ in range(2):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
    """,
    "loop closed without shutdown_asyncgens": """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(d.put.aio("a", 1))
        loop.close()
    """,
    "next loop after one that was closed without shutdown_asyncgens": """
        for _ in range(2):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(d.put.aio("a", 1))
            loop.close()
    """,
    "client closed": """
        with client:
            d["a"] = 1
        async def main():
            async with client:
                await d.put.aio("a", 1)
            await d.put.aio("b", 1)
        asyncio.run(main())
        d["c"] = 1
        client.close()
        client.close()
    """,
}


@pytest.mark.parametrize("case", SILENT)
def test_program_ends_in_silence(driver: Driver, seaweedfs: Endpoint, case: str) -> None:
    # A prefix for each driver: the second would wait for the lock that the first has left held.
    program = (
        "import asyncio, sys\n"
        "from s3dict import Client, Dict\n"
        "bucket, url, driver = sys.argv[1:]\n"
        "client = Client(bucket, prefix='silent-' + driver, endpoint_url=url, driver=driver)\n"
        "d = Dict.from_name('d', create_if_missing=True, client=client)\n" + textwrap.dedent(SILENT[case])
    )
    command = [sys.executable, "-W", "error", "-c", program, seaweedfs.bucket, seaweedfs.url, driver]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_interpreter_exit_deletes_an_ephemeral_dict_that_is_left_open() -> None:
    program = """
        import atexit
        from s3dict import Client, Dict
        from s3dict._stores.memory import memory_bucket

        def print_objects():
            print([path.rpartition("/")[2] for path in memory_bucket("b").objects])

        atexit.register(print_objects)
        context = Dict.ephemeral(client=Client("b", driver="memory"))
        context.__enter__()["a"] = 1
        assert len(memory_bucket("b").objects) == 3
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['store.json']\n", "")


@pytest.mark.skipif(
    sys.version_info >= (3, 13),
    reason="timedelta crashes where modules are torn down: https://github.com/python/cpython/issues/132413",
)
def test_pop_by_a_destructor_at_exit_ends() -> None:
    program = """
        from s3dict import Client, Dict

        class Worker:
            def __init__(self):
                self.d = Dict.from_name("d", create_if_missing=True, client=Client("b", driver="memory"))
                self.d["state"] = "running"

            def __del__(self):
                print(self.d.pop("state"))

        worker = Worker()
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "running\n", "")
