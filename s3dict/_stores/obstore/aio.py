"""Requests in asyncio with obstore."""

from __future__ import annotations

import atexit
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

import obstore

from ..base import PAGE_SIZE, Body, Found, Store
from ..shared.tasks import Tasks
from ..shared.timeouts import Hurried
from .clients import works_here
from .requests import LARGE, RustRequests

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta, PutMode, PutResult

    from .clients import Connection

A = TypeVar("A", bound="Awaitable[object]")

EXIT_SECONDS = 2.0
"""For so long at most, the end of the interpreter waits for requests that nobody waits for any more."""
_under_way: WeakSet[Awaitable[object]] = WeakSet()


def _begun(answer: A) -> A:
    """Keeps in view what obstore has promised, until obstore has let go of the promise."""
    _under_way.add(answer)
    return answer


@atexit.register
def _let_go() -> None:
    """Waits until obstore's threads have put down what they hold of Python.

    A thread of theirs that hands over an answer, or learns that nobody wants it any more, needs the interpreter, and
    still does when the coroutine has gone on with the answer. Before Python 3.14, an interpreter on its way out ends
    such a thread, and that aborts the process: its exit status is lost, and what it has printed last.
    The promise is what they put down last. https://github.com/PyO3/pyo3-async-runtimes/issues/40
    """
    from obstore.store import MemoryStore

    until = time.monotonic() + EXIT_SECONDS
    while _under_way and works_here() and time.monotonic() < until:
        time.sleep(0.001)
        MemoryStore()  # Any call into obstore counts what its threads have dropped without the interpreter.


class AsyncRustStore(Tasks, RustRequests):
    """One bucket through obstore, in one event loop. Connections outlive the loop, and serve the next one."""

    def __init__(self, connection: Connection, make_boto_store: Callable[[], Store]) -> None:
        Tasks.__init__(self)
        RustRequests.__init__(self, connection, make_boto_store)
        self._hurried = Hurried[AsyncRustStore]()

    def hurried(self, seconds: float) -> AsyncRustStore:
        return self if seconds >= self.timeout else self._hurried.of(seconds, self._with_timeout)

    def _with_timeout(self, timeout: float) -> AsyncRustStore:
        return AsyncRustStore(self._connection.with_timeout(timeout), self._make_boto_store)

    async def _get(self, path: str, options: GetOptions) -> Found:
        result = await _begun(obstore.get_async(self._connection.store(), path, options=options))
        meta = result.meta
        body = await _joined(result) if meta["size"] > LARGE else (await _begun(result.bytes_async())).to_bytes()
        return self._found(body, meta)

    async def _head(self, path: str) -> ObjectMeta:
        return await _begun(obstore.head_async(self._connection.store(), path))

    async def _put(self, path: str, body: Body, mode: PutMode) -> PutResult:
        store = self._connection.store(len(body))
        return await _begun(obstore.put_async(store, path, body, mode=mode, use_multipart=False))

    async def _delete(self, paths: Sequence[str]) -> None:
        await _begun(obstore.delete_async(self._connection.store(), paths))

    async def _list(self, prefix: str, after: str | None) -> Sequence[ObjectMeta]:
        lines = obstore.list(self._connection.store(), prefix, offset=after, chunk_size=PAGE_SIZE)
        try:
            return await _begun(anext(lines))
        except StopAsyncIteration:
            return ()


async def _joined(result: GetResult) -> bytes:
    stream = result.stream(LARGE)
    parts = []
    with suppress(StopAsyncIteration):
        while True:
            parts.append(await _begun(anext(stream)))
    return b"".join(parts)
