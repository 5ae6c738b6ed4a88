"""One test for blocking and asyncio: ``await d.get("k")`` calls ``d.get("k")`` or awaits ``d.get.aio("k")``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from s3dict import Client, Dict, HeldLock, Lock

from .retries import with_retries

__all__ = ["AnyMode", "Driver", "Endpoint", "Harness", "Mode", "client_at", "collect", "hold", "locked"]


Driver = Literal["boto3", "obstore"]


class Mode(Enum):
    SYNC = "blocking"
    ASYNCIO = "asyncio"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The URL of a server, and its bucket for the tests."""

    url: str
    bucket: str


class AnyMode:
    """An object whose methods are awaited and whose iterators are asynchronous, in either mode."""

    def __init__(self, wrapped: Any, mode: Mode) -> None:
        self.wrapped = wrapped
        self._mode = mode

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.wrapped, name)
        if not hasattr(attribute, "aio"):
            return attribute
        if name in ("keys", "values", "items"):
            return lambda: self._iterate(attribute)
        return lambda *args, **kwargs: self._call(attribute, args, kwargs)

    async def _call(self, method: Any, args: Any, kwargs: Any) -> Any:
        result = method(*args, **kwargs) if self._mode is Mode.SYNC else await method.aio(*args, **kwargs)
        return AnyMode(result, self._mode) if isinstance(result, HeldLock) else result

    async def _iterate(self, method: Any) -> AsyncIterator[Any]:
        if self._mode is Mode.SYNC:
            for item in method():
                yield item
        else:
            async for item in method.aio():
                yield item


@dataclass(frozen=True, slots=True)
class Harness:
    """A client, and the mode in which its dicts are called."""

    client: Client
    mode: Mode

    def in_mode(self, wrapped: Any) -> Any:
        return AnyMode(wrapped, self.mode)

    @property
    def objects(self) -> Any:
        return AnyMode(Dict.objects, self.mode)

    def named(self, name: str, **options: Any) -> Any:
        return self.in_mode(Dict.from_name(name, client=self.client, **options))

    def with_id(self, dict_id: str) -> Any:
        return self.in_mode(Dict.from_id(dict_id, self.client))

    @asynccontextmanager
    async def ephemeral(self) -> AsyncIterator[Any]:
        if self.mode is Mode.SYNC:
            with Dict.ephemeral(client=self.client) as made:
                yield self.in_mode(made)
        else:
            async with Dict.ephemeral(client=self.client) as made:
                yield self.in_mode(made)


@asynccontextmanager
async def locked(lock: Lock, mode: Mode) -> AsyncIterator[Any]:
    """Return the lock as an async context, held in either mode."""
    if mode is Mode.SYNC:
        with lock as held:
            yield AnyMode(held, mode)
    else:
        async with lock as held:
            yield AnyMode(held, mode)


async def hold(lock: Lock, mode: Mode) -> None:
    """Acquire the lock and release it."""
    async with locked(lock, mode):
        pass


def client_at(url: str, client: Client) -> Client:
    """Return a client with the same bucket, prefix and driver at another endpoint."""
    other = Client(client.bucket, prefix=client.prefix, endpoint_url=url, driver=client.driver)
    return with_retries(other, client._retries)


async def collect(iterator: AsyncIterator[Any]) -> list[Any]:
    """Return all that an iterator yields."""
    return [item async for item in iterator]
