"""Lock: what `Dict.lock` returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from ._aio import report_blocking_call
from ._core.locks import HeldLock, LockTarget, holding
from ._stores.shared.threads import run_blocking
from .errors import InvalidError


class Lock:
    """A lock that all processes share, held for the duration of a ``with`` or ``async with``.

    ::

        with d.lock("job", lease=30) as held:
            write_elsewhere(fencing_token=held.token)

    It is a lease: while the context is open, a heartbeat renews it every third of its length; if the holder dies,
    another process acquires the lock once the lease has expired by the store's clock. A holder that was disconnected or
    stopped for longer finds ``held.lost`` true, and gets ``LockLostError`` when it leaves the context. ``held.token``
    is a fencing token: it grows with every acquisition, so a resource that rejects tokens smaller than the largest one
    it has seen is protected also from a holder that does not know yet that it lost the lock.

    Requests:
        2 to acquire a free lock, 1 for each poll of a lock that is held, 3 renewals per lease, 1 to release it.

    Raises:
        LockTimeoutError: It was not free within the timeout.
        LockLostError: On leaving, when the lock was lost.
        InvalidError: The lease is not valid; or this thread or task holds the lock already, since locks are not
            reentrant.
    """

    def __init__(self, target: Callable[[bool], Awaitable[LockTarget]], lease: float, timeout: float | None) -> None:
        self._target = target
        self._lease = lease
        self._timeout = timeout
        self._entered: dict[Hashable, AbstractAsyncContextManager[HeldLock]] = {}
        self._caller_ids: dict[bool, Callable[[], Hashable]] = {}

    def __enter__(self) -> HeldLock:
        report_blocking_call()
        return run_blocking(self._enter(aio=False))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run_blocking(self._exit(False, kind, error, traceback))

    async def __aenter__(self) -> HeldLock:
        return await self._enter(aio=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._exit(True, kind, error, traceback)

    async def _enter(self, *, aio: bool) -> HeldLock:
        target = await self._target(aio)
        context = holding(target, self._lease, self._timeout)
        held = await context.__aenter__()
        # Threads and tasks may share one Lock: each leaves what it has entered.
        self._caller_ids[aio] = target.store.runtime.caller_id
        self._entered[target.store.runtime.caller_id()] = context
        return held

    async def _exit(
        self,
        aio: bool,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        caller_id = self._caller_ids[aio]()
        if caller_id not in self._entered and len(self._entered) == 1:
            # Entered in one thread or task and left in another, as some frameworks do around a request.
            caller_id = next(iter(self._entered))
        if caller_id not in self._entered:
            raise InvalidError("This lock was entered in several threads or tasks, and not in the one that leaves it")
        await self._entered.pop(caller_id).__aexit__(kind, error, traceback)
