"""Requests in asyncio with obstore."""

from __future__ import annotations

import atexit
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

import obstore

from ..._retry import DEFAULT_POLICIES, RetryPolicies
from ..base import PAGE_SIZE, Body, ObjectStore, StoredObject
from ..shared.tasks import TaskRuntime
from ..shared.timeouts import TimeoutVariants
from .clients import usable_in_this_process
from .requests import STREAM_ABOVE, ObstoreRequests

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta, PutMode, PutResult

    from .clients import ObstoreClients

A = TypeVar("A", bound="Awaitable[object]")

DRAIN_TIMEOUT = 2.0
"""For so long at most, the end of the interpreter waits for requests that nobody waits for any more."""
_in_flight: WeakSet[Awaitable[object]] = WeakSet()


def _track(answer: A) -> A:
    """Keeps in view what obstore has promised, until obstore has let go of the promise."""
    _in_flight.add(answer)
    return answer


@atexit.register
def _drain_at_exit() -> None:
    """Waits until obstore's threads have put down what they hold of Python.

    A thread of theirs that hands over an answer, or learns that nobody wants it any more, needs the interpreter, and
    still does when the coroutine has gone on with the answer. Before Python 3.14, an interpreter on its way out ends
    such a thread, and that aborts the process: its exit status is lost, and what it has printed last.
    The promise is what they put down last. https://github.com/PyO3/pyo3-async-runtimes/issues/40
    """
    from obstore.store import MemoryStore

    deadline = time.monotonic() + DRAIN_TIMEOUT
    while _in_flight and usable_in_this_process() and time.monotonic() < deadline:
        time.sleep(0.001)
        MemoryStore()  # Any call into obstore counts what its threads have dropped without the interpreter.


class AsyncObstoreStore(ObstoreRequests):
    """One bucket through obstore, in one event loop. Connections outlive the loop, and serve the next one."""

    def __init__(
        self,
        connection: ObstoreClients,
        make_boto_store: Callable[[], ObjectStore],
        *,
        retries: RetryPolicies = DEFAULT_POLICIES,
    ) -> None:
        super().__init__(connection, make_boto_store, TaskRuntime(), retries)
        self._hurried = TimeoutVariants[AsyncObstoreStore]()

    def with_timeout(self, seconds: float) -> AsyncObstoreStore:
        return self if seconds >= self.timeout else self._hurried.of(seconds, self._with_timeout)

    def _with_timeout(self, timeout: float) -> AsyncObstoreStore:
        return AsyncObstoreStore(self._connection.with_timeout(timeout), self._make_boto_fallback, retries=self.retries)

    async def _get(self, path: str, options: GetOptions) -> StoredObject:
        result = await _track(obstore.get_async(self._connection.store(), path, options=options))
        meta = result.meta
        body = (
            await _read_all(result) if meta["size"] > STREAM_ABOVE else (await _track(result.bytes_async())).to_bytes()
        )
        return self._found(body, meta)

    async def _head(self, path: str) -> ObjectMeta:
        return await _track(obstore.head_async(self._connection.store(), path))

    async def _put(self, path: str, body: Body, mode: PutMode) -> PutResult:
        store = self._connection.store(len(body))
        return await _track(obstore.put_async(store, path, body, mode=mode, use_multipart=False))

    async def _delete(self, paths: Sequence[str]) -> None:
        await _track(obstore.delete_async(self._connection.store(), paths))

    async def _list(self, prefix: str, start_after: str | None) -> Sequence[ObjectMeta]:
        lines = obstore.list(self._connection.store(), prefix, offset=start_after, chunk_size=PAGE_SIZE)
        try:
            return await _track(anext(lines))
        except StopAsyncIteration:
            return ()


async def _read_all(result: GetResult) -> bytes:
    stream = result.stream(STREAM_ABOVE)
    parts = []
    with suppress(StopAsyncIteration):
        while True:
            parts.append(await _track(anext(stream)))
    return b"".join(parts)
