"""One text for blocking and asyncio: ``await d.get("k")`` calls ``d.get("k")`` or awaits ``d.get.aio("k")``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from s3dict import Client, Dict
from s3dict._core.locks import Held
from s3dict._lock import Lock

__all__ = ["Driver", "Endpoint", "InWay", "Way", "World", "by_way_of", "hold", "listed", "locked"]


Driver = Literal["boto3", "obstore"]


class Way(Enum):
    BLOCKING = "blocking"
    ASYNCIO = "asyncio"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a back end serves, and the bucket made for the tests."""

    url: str
    bucket: str


class InWay:
    """An object of ours whose methods are all awaited, and whose iterators are all asynchronous, in either way."""

    def __init__(self, wrapped: Any, way: Way) -> None:
        self.wrapped = wrapped
        self._way = way

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.wrapped, name)
        if not hasattr(attribute, "aio"):
            return attribute
        if name in ("keys", "values", "items"):
            return lambda: self._iterate(attribute)
        return lambda *args, **kwargs: self._call(attribute, args, kwargs)

    async def _call(self, method: Any, args: Any, kwargs: Any) -> Any:
        if self._way is Way.BLOCKING:
            return method(*args, **kwargs)
        return await method.aio(*args, **kwargs)

    async def _iterate(self, method: Any) -> AsyncIterator[Any]:
        if self._way is Way.BLOCKING:
            for item in method():
                yield item
        else:
            async for item in method.aio():
                yield item


@dataclass(frozen=True, slots=True)
class World:
    """A client, and the way to call what it reaches."""

    client: Client
    way: Way

    def call_in_way(self, wrapped: Any) -> Any:
        return InWay(wrapped, self.way)

    @property
    def objects(self) -> Any:
        return InWay(Dict.objects, self.way)

    def named(self, name: str, **options: Any) -> Any:
        return self.call_in_way(Dict.from_name(name, client=self.client, **options))

    def with_id(self, dict_id: str) -> Any:
        return self.call_in_way(Dict.from_id(dict_id, self.client))

    @asynccontextmanager
    async def ephemeral(self) -> AsyncIterator[Any]:
        if self.way is Way.BLOCKING:
            with Dict.ephemeral(client=self.client) as made:
                yield self.call_in_way(made)
        else:
            async with Dict.ephemeral(client=self.client) as made:
                yield self.call_in_way(made)


@asynccontextmanager
async def locked(lock: Lock, way: Way) -> AsyncIterator[Held]:
    """The lock, held in either way."""
    if way is Way.BLOCKING:
        with lock as held:
            yield held
    else:
        async with lock as held:
            yield held


async def hold(lock: Lock, way: Way) -> None:
    """Takes the lock and lets it go."""
    async with locked(lock, way):
        pass


def by_way_of(url: str, client: Client) -> Client:
    """The same place and driver, through another address."""
    return Client(client.bucket, prefix=client.prefix, endpoint_url=url, driver=client.driver)


async def listed(iterator: AsyncIterator[Any]) -> list[Any]:
    """All that an iterator gives."""
    return [item async for item in iterator]
