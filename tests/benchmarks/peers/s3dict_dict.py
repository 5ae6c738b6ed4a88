"""s3dict's Dict, blocking and asyncio. The drivers' files, which begin with its name too, say which is which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from s3dict import Client, Dict

from .peer import REGION, Peer, Place

_LARGEST = 2**30
_COLD_START = """
from s3dict import Client, Dict
client = Client("{{bucket}}", endpoint_url="{{endpoint}}", driver="{driver}")
folder, _, key = "{{key}}".partition("/")
"""


def blocking_cold_start(driver: str) -> str:
    return _COLD_START.format(driver=driver) + "print(len(Dict.from_name(folder, client=client)[key]), flush=True)\n"


def asyncio_cold_start(driver: str) -> str:
    return f"""
import asyncio
{_COLD_START.format(driver=driver)}
async def main():
    print(len(await Dict.from_name(folder, client=client).get.aio(key)), flush=True)
asyncio.run(main())
"""


class S3Dict(Peer):
    driver: ClassVar[Any]
    on_request: ClassVar[Any] = None

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.client = Client(
            place.bucket,
            endpoint_url=place.endpoint,
            region_name=REGION,
            driver=self.driver,
            concurrency=place.concurrency,
            max_value_bytes=_LARGEST,
            on_request=self.on_request,
        )
        self.dicts: dict[str, Dict[str, Any]] = {}

    def dict(self, folder: str) -> Dict[str, Any]:
        if folder not in self.dicts:
            self.dicts[folder] = Dict.from_name(folder, create_if_missing=True, client=self.client)
        return self.dicts[folder]


class Blocking(S3Dict):
    async def put(self, folder: str, key: str, value: bytes) -> None:
        self.dict(folder).put(key, value)

    async def get(self, folder: str, key: str) -> bytes:
        return bytes(self.dict(folder)[key])

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        self.dict(folder).update(pairs)

    async def read_all(self, folder: str) -> int:
        return sum(len(value) for _, value in self.dict(folder).items())

    async def count(self, folder: str) -> int:
        return self.dict(folder).len()

    async def keys(self, folder: str) -> list[str]:
        return list(self.dict(folder).keys())

    async def put_array(self, folder: str, key: str, array: Any) -> None:
        self.dict(folder).put(key, array)

    async def get_array(self, folder: str, key: str) -> Any:
        return self.dict(folder).get(key)


class Asyncio(S3Dict):
    async def put(self, folder: str, key: str, value: bytes) -> None:
        await self.dict(folder).put.aio(key, value)

    async def get(self, folder: str, key: str) -> bytes:
        return bytes(await self.dict(folder).get.aio(key) or b"")

    async def put_all(self, folder: str, pairs: Iterable[tuple[str, bytes]]) -> None:
        await self.dict(folder).update.aio(pairs)

    async def read_all(self, folder: str) -> int:
        total = 0
        async for _, value in self.dict(folder).items.aio():
            total += len(value)
        return total

    async def count(self, folder: str) -> int:
        return await self.dict(folder).len.aio()

    async def keys(self, folder: str) -> list[str]:
        return [key async for key in self.dict(folder).keys.aio()]

    async def put_array(self, folder: str, key: str, array: Any) -> None:
        await self.dict(folder).put.aio(key, array)

    async def get_array(self, folder: str, key: str) -> Any:
        return await self.dict(folder).get.aio(key)
