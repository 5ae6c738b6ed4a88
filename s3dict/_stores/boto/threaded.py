"""Requests in asyncio with boto3, which blocks: each runs in a thread of a bounded pool.

For environments without aioboto3, and for the requests of asyncio that obstore cannot send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..shared.connection import Connection
from ..shared.messages import S3Request, S3Response
from ..shared.tasks import TaskRuntime, wait_through_cancellation
from ..shared.threads import run_blocking
from .blocking import BotoStore
from .requests import S3Requests

R = TypeVar("R")

_READS = frozenset({"get_object", "head_object", "list_objects_v2"})


class ThreadedBotoStore(S3Requests):
    """One bucket through boto3, in one event loop.

    Args:
        connection: The connection of `blocking`, maybe with a shorter timeout.
        blocking: Sends the requests. Event loops may share it.
        threads: Run `blocking`. They are the client's own: in the loop's default executor, other libraries' calls could
            occupy all threads.
    """

    def __init__(self, connection: Connection, blocking: BotoStore, threads: ThreadPoolExecutor) -> None:
        super().__init__(connection, TaskRuntime())
        self._blocking = blocking
        self._threads = threads

    def _with_timeout(self, timeout: float) -> ThreadedBotoStore:
        # With threads of its own, so that the renewal of a lock does not queue behind a bulk operation.
        threads = new_threads(self._connection.concurrency)
        return ThreadedBotoStore(self._connection.with_timeout(timeout), self._blocking, threads)

    async def _run(self, function: Callable[[], R]) -> R:
        return await asyncio.to_thread(function)

    async def _execute(self, request: S3Request) -> S3Response:
        submitted = self._threads.submit(self._execute_blocking, request)
        response = asyncio.wrap_future(submitted)
        try:
            await asyncio.wait({response})
            return response.result()
        except asyncio.CancelledError:
            # A request in flight cannot be interrupted. The response of a read is not needed any more; but a write must
            # not be sent after the cancelled call has ended, so the call waits for its response or timeout.
            if submitted.cancel() or request.method in _READS:
                response.cancel()
            else:
                await wait_through_cancellation({response})
                response.exception()  # retrieved, or asyncio would report it
            raise
        finally:
            # They hold the request's exception, whose traceback refers to this frame: the cycle would keep the
            # request's body until it is collected.
            del submitted, response

    def _execute_blocking(self, request: S3Request) -> S3Response:
        # Here and not on the event loop's thread, since it may load boto3 and make a session.
        return run_blocking(self._blocking.with_timeout(self.timeout)._execute(request))


def new_threads(limit: int) -> ThreadPoolExecutor:
    """Return a pool of up to `limit` threads, each of which starts when it is first needed."""
    return ThreadPoolExecutor(limit, thread_name_prefix="s3dict-boto3")
