"""Requests in asyncio with obstore."""

from __future__ import annotations

import asyncio
import atexit
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

import obstore

from ..base import PAGE_SIZE, Body, ObjectStore, StoredObject
from ..shared.tasks import TaskRuntime
from .clients import usable_in_this_process
from .requests import STREAM_ABOVE, LargeBody, ObstoreRequests

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ListResult, ObjectMeta, PutMode, PutResult

    from .clients import ObstoreClients
    from .requests import Listing

A = TypeVar("A", bound="Awaitable[object]")
R = TypeVar("R")

DRAIN_TIMEOUT = 2.0
"""The longest wait, in seconds, at interpreter exit for requests that no caller waits for any more."""
_in_flight: WeakSet[Awaitable[object]] = WeakSet()


def _track(awaitable: A) -> A:
    """Register an awaitable of obstore until obstore has released it."""
    _in_flight.add(awaitable)
    return awaitable


@atexit.register
def _drain_at_exit() -> None:
    """Wait until obstore's threads have released the Python objects that they hold.

    A thread of obstore that delivers a response, or learns that it was cancelled, needs the interpreter, and still does
    when the coroutine has gone on with the response. Before Python 3.14, an interpreter that is exiting ends such a
    thread, and that aborts the process: its exit status and its last output are lost. The awaitable is what they
    release last. https://github.com/PyO3/pyo3-async-runtimes/issues/40
    """
    from obstore.store import MemoryStore

    deadline = time.monotonic() + DRAIN_TIMEOUT
    while _in_flight and usable_in_this_process() and time.monotonic() < deadline:
        time.sleep(0.001)
        MemoryStore()  # Any call into obstore releases what its threads dropped without the interpreter.


class AsyncObstoreStore(ObstoreRequests):
    """One bucket through obstore, in one event loop. Connections outlive the loop, and serve the next one."""

    def __init__(self, clients: ObstoreClients, make_boto_fallback: Callable[[], ObjectStore]) -> None:
        super().__init__(clients, make_boto_fallback, TaskRuntime())

    def _with_timeout(self, timeout: float) -> AsyncObstoreStore:
        return AsyncObstoreStore(self._clients.with_timeout(timeout), self._make_boto_fallback)

    async def _run(self, function: Callable[[], R]) -> R:
        return await asyncio.to_thread(function)

    async def _get(self, path: str, options: GetOptions) -> StoredObject:
        result = await _track(obstore.get_async(self._clients.store(), path, options=options))
        meta = result.meta
        body = (
            await _read_all(result) if meta["size"] > STREAM_ABOVE else (await _track(result.bytes_async())).to_bytes()
        )
        return self._stored_object(body, meta)

    async def _head(self, path: str) -> ObjectMeta:
        return await _track(obstore.head_async(self._clients.store(), path))

    async def _put(self, path: str, body: Body, mode: PutMode) -> PutResult:
        store = self._clients.store(len(body))
        return await _track(obstore.put_async(store, path, body, mode=mode, use_multipart=False))

    async def _delete(self, paths: Sequence[str]) -> None:
        await _track(obstore.delete_async(self._clients.store(), paths))

    def _listing(self, prefix: str, start_after: str | None) -> Listing:
        return obstore.list(self._clients.store(), prefix, offset=start_after, chunk_size=PAGE_SIZE)

    async def _next_page(self, listing: Listing) -> Sequence[ObjectMeta]:
        try:
            return await _track(anext(listing))
        except StopAsyncIteration:
            return ()

    async def _list_folder(self, prefix: str) -> ListResult[Sequence[ObjectMeta]]:
        return await _track(obstore.list_with_delimiter_async(self._clients.store(), prefix))


async def _read_all(result: GetResult) -> Body:
    body, stream = LargeBody(result.range), result.stream(STREAM_ABOVE)
    with suppress(StopAsyncIteration):
        while True:
            body.append(await _track(anext(stream)))
    return body.finish()
