"""Blocking requests with obstore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import obstore

from ..base import PAGE_SIZE, Body, ObjectStore, StoredObject
from ..shared.threads import ThreadRuntime
from .requests import STREAM_ABOVE, LargeBody, ObstoreRequests

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ListResult, ObjectMeta, PutMode, PutResult

    from .clients import ObstoreClients
    from .requests import Listing


class ObstoreStore(ObstoreRequests):
    """One bucket through obstore, for blocking calls."""

    def __init__(self, clients: ObstoreClients, make_boto_fallback: Callable[[], ObjectStore]) -> None:
        super().__init__(clients, make_boto_fallback, ThreadRuntime(clients.connection.arguments.concurrency))

    def _with_timeout(self, timeout: float) -> ObstoreStore:
        return ObstoreStore(self._clients.with_timeout(timeout), self._make_boto_fallback)

    async def _get(self, path: str, options: GetOptions) -> StoredObject:
        result = obstore.get(self._clients.store(), path, options=options)
        meta = result.meta
        body = _read_all(result) if meta["size"] > STREAM_ABOVE else result.bytes().to_bytes()
        return self._stored_object(body, meta)

    async def _head(self, path: str) -> ObjectMeta:
        return obstore.head(self._clients.store(), path)

    async def _put(self, path: str, body: Body, mode: PutMode) -> PutResult:
        return obstore.put(self._clients.store(len(body)), path, body, mode=mode, use_multipart=False)

    async def _delete(self, paths: Sequence[str]) -> None:
        obstore.delete(self._clients.store(), paths)

    def _listing(self, prefix: str, start_after: str | None) -> Listing:
        return obstore.list(self._clients.store(), prefix, offset=start_after, chunk_size=PAGE_SIZE)

    async def _next_page(self, listing: Listing) -> Sequence[ObjectMeta]:
        return next(listing, ())

    async def _list_folder(self, prefix: str) -> ListResult[Sequence[ObjectMeta]]:
        return obstore.list_with_delimiter(self._clients.store(), prefix)


def _read_all(result: GetResult) -> Body:
    body = LargeBody(result.range)
    for part in result.stream(STREAM_ABOVE):
        body.append(part)
    return body.finish()
