"""Everything works without obstore and without aioboto3, with the driver that `auto` then chooses."""

from __future__ import annotations

import os
import subprocess
import sys

from ..support.modes import Endpoint

PROGRAM = """
import asyncio, sys

# A module that is None cannot be imported, and is not found.
sys.modules["obstore"] = sys.modules["aioboto3"] = None

from s3dict import Client, Dict

client = Client.from_env()
assert client.driver == "boto3"
d = Dict.from_name("d", create_if_missing=True)
d.update({"a": 1, "b": 2})
assert d.pop("a") == 1
assert d.modify("b", lambda value: value + 1) == 3
with d.lock("l"):
    assert sorted(d.items()) == [("b", 3)]

async def main():
    await d.put.aio("c", 4)
    async with d.lock("l"):
        assert await d.pop.aio("b") == 3
    assert [key async for key in d.keys.aio()] == ["c"]
    await d.clear.aio()
    assert await d.len.aio() == 0

asyncio.run(main())
print("done")
"""


def test_dict_works_without_obstore_and_aioboto3(seaweedfs: Endpoint) -> None:
    environment = {
        **os.environ,
        "S3DICT_BUCKET": seaweedfs.bucket,
        "S3DICT_ENDPOINT_URL": seaweedfs.url,
        "S3DICT_PREFIX": f"without-{os.getpid()}",
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr
