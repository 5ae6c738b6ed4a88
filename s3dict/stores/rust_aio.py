"""Requests in asyncio with obstore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import obstore

from .base import PAGE_SIZE, Body, Found, Store
from .rust import LARGE, RustRequests
from .tasks import Tasks

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta, PutMode, PutResult

    from .rust_connection import Connection


class AsyncRustStore(Tasks, RustRequests):
    """One bucket through obstore, in one event loop. Connections outlive the loop, and serve the next one."""

    def __init__(self, connection: Connection, make_boto_store: Callable[[], Store]) -> None:
        Tasks.__init__(self)
        RustRequests.__init__(self, connection, make_boto_store)

    async def _get(self, path: str, options: GetOptions) -> Found:
        result = await obstore.get_async(self._connection.store(), path, options=options)
        meta = result.meta
        body = await _joined(result) if meta["size"] > LARGE else (await result.bytes_async()).to_bytes()
        return self._found(body, meta)

    async def _head(self, path: str) -> ObjectMeta:
        return await obstore.head_async(self._connection.store(), path)

    async def _put(self, path: str, body: Body, mode: PutMode) -> PutResult:
        return await obstore.put_async(self._connection.store(len(body)), path, body, mode=mode, use_multipart=False)

    async def _delete(self, paths: Sequence[str]) -> None:
        await obstore.delete_async(self._connection.store(), paths)

    async def _list(self, prefix: str, after: str | None) -> Sequence[ObjectMeta]:
        lines = obstore.list(self._connection.store(), prefix, offset=after, chunk_size=PAGE_SIZE)
        try:
            return await anext(lines)
        except StopAsyncIteration:
            return ()


async def _joined(result: GetResult) -> bytes:
    return b"".join([part async for part in result.stream(LARGE)])
