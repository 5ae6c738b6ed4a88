"""obstore as it comes, in asyncio; many at a time under a semaphore."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import obstore
from obstore.store import S3Store

from .peer import REGION, Peer, Place, serve

NAME = "raw obstore, asyncio"
STANDS_ON = "obstore"
REQUIREMENTS = ()


class RawObstoreAsyncio(Peer):
    cold_start = """
import asyncio, obstore
from obstore.store import S3Store
async def main():
    store = S3Store("{bucket}", endpoint="{endpoint}", client_options=dict(allow_http=True))
    answer = await obstore.get_async(store, "{key}")
    print(len(await answer.bytes_async()), flush=True)
asyncio.run(main())
"""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.store = S3Store(place.bucket, endpoint=place.endpoint, region=REGION, client_options={"allow_http": True})
        self.gate = asyncio.Semaphore(place.concurrency)

    async def put(self, folder: str, key: str, value: bytes) -> None:
        await obstore.put_async(self.store, f"{folder}/{key}", value)

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
        answer = await obstore.get_async(self.store, path)
        return bytes(await answer.bytes_async())

    async def _paths(self, folder: str) -> AsyncIterator[str]:
        async for page in obstore.list(self.store, f"{folder}/", chunk_size=1000):
            for line in page:
                yield line["path"]


if __name__ == "__main__":
    serve(RawObstoreAsyncio)
