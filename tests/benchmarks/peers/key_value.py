"""py-key-value-aio's S3Store. It lists nothing, and its `put_many` and `get_many` are one request after the other, so
many at a time go under a semaphore."""

# pyright: reportMissingImports=false
# (it is installed in an environment of its own)

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack

from key_value.aio.stores.s3 import S3Store

from .peer import REGION, Peer, Place, serve

NAME = "py-key-value"
STANDS_ON = "botocore"
REQUIREMENTS = ("py-key-value-aio[s3]>=0.4",)


class KeyValue(Peer):
    cold_start = """
import asyncio
from key_value.aio.stores.s3 import S3Store
async def main():
    async with S3Store(bucket_name="{bucket}", endpoint_url="{endpoint}") as store:
        folder, _, key = "{key}".partition("/")
        print(len((await store.get(key, collection=folder))["text"]), flush=True)
asyncio.run(main())
"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.stack = AsyncExitStack()
        self.gate = asyncio.Semaphore(place.concurrency)
        self.written: dict[str, list[str]] = {}

    async def open(self) -> None:
        store = S3Store(bucket_name=self.place.bucket, endpoint_url=self.place.endpoint, region_name=REGION)
        self.store = await self.stack.enter_async_context(store)

    async def close(self) -> None:
        await self.stack.aclose()

    async def put(self, folder: str, key: str, value: bytes) -> None:
        await self.store.put(key, {"text": value.decode()}, collection=folder)

    async def get(self, folder: str, key: str) -> bytes:
        value = await self.store.get(key, collection=folder)
        assert value is not None
        text: str = value["text"]
        return text.encode()

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        async def put(key: str, value: bytes) -> str:
            async with self.gate:
                await self.put(folder, key, value)
                return key

        self.written[folder] = await asyncio.gather(*(put(key, value) for key, value in pairs))

    async def read_all(self, folder: str) -> int:
        """Of the keys that `put_all` has put, since it cannot list them."""

        async def read(key: str) -> int:
            async with self.gate:
                return len(await self.get(folder, key))

        return sum(await asyncio.gather(*map(read, self.written[folder])))


if __name__ == "__main__":
    serve(KeyValue)
