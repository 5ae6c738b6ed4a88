"""aioboto3 as it comes; many at a time under a semaphore, as people write it by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig

from .peer import REGION, Peer, Place, serve

NAME = "raw aioboto3"
STANDS_ON = "botocore"
REQUIREMENTS = ()


class RawAioboto3(Peer):
    cold_start = """
import asyncio, aioboto3
async def main():
    async with aioboto3.Session().client("s3", endpoint_url="{endpoint}") as client:
        answer = await client.get_object(Bucket="{bucket}", Key="{key}")
        print(len(await answer["Body"].read()), flush=True)
asyncio.run(main())
"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.stack = AsyncExitStack()
        self.gate = asyncio.Semaphore(place.concurrency)

    async def open(self) -> None:
        config = AioConfig(max_pool_connections=self.place.concurrency)
        opening: Any = aioboto3.Session().client(
            "s3", endpoint_url=self.place.endpoint, region_name=REGION, config=config
        )
        self.client = await self.stack.enter_async_context(opening)

    async def close(self) -> None:
        await self.stack.aclose()

    async def put(self, folder: str, key: str, value: bytes) -> None:
        await self.client.put_object(Bucket=self.place.bucket, Key=f"{folder}/{key}", Body=value)

    async def get(self, folder: str, key: str) -> bytes:
        return await self._body(f"{folder}/{key}")

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        async def put(key: str, value: bytes) -> None:
            async with self.gate:
                await self.put(folder, key, value)

        await asyncio.gather(*(put(key, value) for key, value in pairs))

    async def read_all(self, folder: str) -> int:
        async def read(path: str) -> int:
            async with self.gate:
                return len(await self._body(path))

        return sum(await asyncio.gather(*[read(path) async for path in self._paths(folder)]))

    async def count(self, folder: str) -> int:
        return len(await self.keys(folder))

    async def keys(self, folder: str) -> list[str]:
        return [path async for path in self._paths(folder)]

    async def _body(self, path: str) -> bytes:
        answer = await self.client.get_object(Bucket=self.place.bucket, Key=path)
        async with answer["Body"] as stream:
            body: bytes = await stream.read()
            return body

    async def _paths(self, folder: str) -> AsyncIterator[str]:
        paginator = self.client.get_paginator("list_objects_v2")
        async for page in paginator.paginate(Bucket=self.place.bucket, Prefix=f"{folder}/"):
            for line in page.get("Contents", ()):
                yield line["Key"]


if __name__ == "__main__":
    serve(RawAioboto3)
