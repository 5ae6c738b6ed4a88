"""Lock, Semaphore and HeldLock: what `Dict.lock` and `Dict.semaphore` return, and what acquiring them returns."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from ._aio import dual_method, report_blocking_call
from ._core.locks import (
    Holding,
    Lease,
    LockTarget,
    adopt,
    check_lease,
    enter,
    hold,
    holder_of,
    release_owned,
    take_away,
)
from ._duration import Duration, to_seconds
from ._pickle import restore
from ._stores.base import ObjectStore
from ._stores.shared.threads import run_blocking
from .errors import Error, InvalidError, LockLostError, LockTimeoutError, shorten_traceback, shortened_traceback


class HasLocks(Protocol):
    """What a lock needs of the Dict that it belongs to."""

    async def _locate_lock(
        self, kind: str, name: str, owner: str | None, *, aio: bool, permit: int = 0, permits: int = 0
    ) -> LockTarget:
        """Return where the lock is, over a store for asyncio or a blocking one."""
        ...

    def _lock_store(self, client: Any, *, aio: bool) -> ObjectStore: ...


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds a lock, as `Lock.holder` returns it.

    ``owner`` is what the holder has called itself: user and host, unless it passed something else to `Dict.lock`.
    ``token`` is its fencing token. ``acquired_at`` is by the holder's clock, and None where release 0.1 acquired the
    lock; ``renewed_at``, and ``expires_at``, when the lock is free unless it is renewed, are by the store's.
    """

    owner: str
    token: int
    acquired_at: datetime | None
    renewed_at: datetime
    expires_at: datetime

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, ("LockHolder", self.owner, self.token, self.acquired_at, self.renewed_at, self.expires_at)


def to_lease(lease: Duration) -> float:
    """Return the seconds. Raises InvalidError for a lease that no lock can have."""
    seconds = to_seconds(lease, "lease")
    check_lease(seconds)
    return seconds


@dataclass(frozen=True, slots=True)
class LockOptions:
    """The arguments of `Dict.lock` or `Dict.semaphore`; `permits` is 0 for a lock."""

    name: str
    lease: float
    timeout: float | None = None
    reentrant: bool = False
    owner: str | None = None
    permits: int = 0


@dataclass(eq=False, slots=True)
class _HeldState:
    """What a HeldLock and its async view share.

    `holding` is None in a process that the lock was handed over to, until it renews the lease.
    """

    owner: str
    token: int
    permit: int
    """Which permit of a semaphore it is; 0 for a lock."""
    holding: Holding | None = None


class _Leavable:
    """A context manager that leaves what was acquired, whatever a signal handler raises."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Nothing is called before the `try`: there, an exception of a signal handler would leave the lock held.
        leaving = None
        try:
            leaving = self._to_leave()
            if leaving is not None:
                run_blocking(leaving.lock._leave(leaving.holding, error))
        except Error as failure:
            if error is None:
                shorten_traceback(failure)
                raise
            # Released inside, as by a signal handler that ends the process: the exception says more.
        except BaseException:
            # Perhaps before anything was left.
            with suppress(Error):
                leaving = leaving or self._to_leave()
                if leaving is not None:
                    run_blocking(leaving.holding.abandon(leaving.lock._store(leaving.holding), leaving.depth))
            raise

    def _to_leave(self) -> _Leaving | None:
        """Return what to leave; None if nothing is left to do."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class _Leaving:
    lock: _Acquirable
    holding: Holding
    depth: int


class _Acquirable(_Leavable):
    """What locks and semaphores have in common: how they are acquired and released."""

    __slots__ = ("__weakref__", "_aio", "_dict", "_holdings", "_options")

    _KIND: ClassVar[str]
    _IS_SHARED: ClassVar[bool] = False
    """Whether what several callers hold is equal, so that any of it may be released for any of them."""

    def __init__(self, d: HasLocks, options: LockOptions) -> None:
        self._dict = d
        self._options = options
        self._aio = False
        self._holdings: list[Holding] = []

    @property
    def name(self) -> str:
        """Its name."""
        return self._options.name

    @dual_method
    async def acquire(self, blocking: bool = True, timeout: Duration | None = None) -> HeldLock | None:
        """Acquire it, and renew its lease until `release`; return None if it was not free.

        Args:
            blocking: Whether to wait for it.
            timeout: Seconds or timedelta to wait for it; None is the timeout that was passed to `Dict.lock`.

        Raises:
            InvalidError: The timeout is negative, or there is nothing to wait for; or this thread or task holds the
                lock already, it is not reentrant, and the call would wait for itself.
            UnavailableError: The store throttled or did not respond, so it is unknown whether it is free.

        Requests:
            2 when it is free, 1 for each poll of a lock that is held. A reentrant lock that is held here: none.
        """
        seconds = None if timeout is None else to_seconds(timeout, "timeout")
        if seconds is not None and (not blocking or seconds < 0):
            raise InvalidError(f"Invalid timeout: {timeout!r}. It is 0 or more, and only for blocking=True")
        chosen = self._options.timeout if seconds is None else seconds
        try:
            return await self._enter(chosen if blocking else 0, [])
        except LockTimeoutError:
            return None

    @dual_method
    async def release(self) -> None:
        """Release it. Any thread or task may do that, of this process; see `HeldLock` for other processes.

        Raises:
            LockLostError: The lock was lost before.
            InvalidError: It was not acquired with this object; or in several threads or tasks, and not in this one.

        Requests:
            1.
        """
        holding = self._own_holding()
        if not holding.is_of_this_process:
            raise InvalidError(f"The {self._KIND} {self.name!r} was acquired by the parent process, before it forked")
        await self._leave(holding)

    def __enter__(self) -> HeldLock:
        report_blocking_call()
        entered: list[Holding] = []
        try:
            return run_blocking(self._enter(self._options.timeout, entered))
        except BaseException as error:
            # A signal handler may raise at any line, also when the lock has just been acquired.
            self._undo(entered)
            shorten_traceback(error)
            raise

    async def __aenter__(self) -> HeldLock:
        with shortened_traceback():
            return await self._async_view._enter(self._options.timeout, [])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        view = self._async_view
        with shortened_traceback():
            try:
                holding = view._own_holding()
            except InvalidError:
                if error is None:
                    raise
            else:
                await view._leave(holding, error)

    def __reduce__(self) -> tuple[Any, ...]:
        return (restore, ("AsyncView", self._view(aio=False))) if self._aio else (restore, self._pickled())

    @property
    def _async_view(self) -> Self:
        return self._view(aio=True)

    def _view(self, *, aio: bool) -> Self:
        if self._aio is aio:
            return self
        view = type(self)(self._dict, self._options)
        view._aio = aio
        view._holdings = self._holdings
        return view

    def _pickled(self) -> tuple[Any, ...]:
        """Return the arguments of `restore`."""
        raise NotImplementedError

    async def _locate(self, permit: int = 0) -> LockTarget:
        """Return where the lock, or a permit of the semaphore, is."""
        raise NotImplementedError

    async def _enter(self, timeout: float | None, entered: list[Holding]) -> HeldLock:
        """Acquire it, and note in `entered` what a caller that is interrupted has to leave."""
        raise NotImplementedError

    def _to_leave(self) -> _Leaving:
        holding = self._own_holding()
        return _Leaving(self, holding, holding.depth)

    def _undo(self, entered: list[Holding]) -> None:
        for holding in entered:
            with suppress(Error):
                run_blocking(holding.abandon(self._store(holding), holding.depth))

    def _own_holding(self) -> Holding:
        """Return what this thread or task holds; or else the only holding of any, which may be left elsewhere."""
        caller = self._store().runtime.caller_id()
        held = [holding for holding in self._holdings if not holding.lease.is_released]
        own = [holding for holding in held if holding.caller == caller]
        # The latest of each caller: one that it lost may have come before.
        own = own or list({holding.caller: holding for holding in held}.values())
        if not own or (own[-1].caller != caller and len(own) > 1 and not self._IS_SHARED):
            raise InvalidError(
                f"The {self._KIND} {self.name!r} is not held through this object: it was released before, or acquired "
                "in several threads or tasks, and not in the one that leaves it"
            )
        return own[-1]

    async def _leave(self, holding: Holding, error: BaseException | None = None) -> None:
        """Leave what was acquired; an exception from inside says more than that the lock was lost as well."""
        depth = holding.depth
        try:
            with suppress(ValueError):
                self._holdings.remove(holding)
            with suppress(*([] if error is None else [Error])):
                await holding.leave(self._store(holding))
        except Error:
            raise
        except BaseException:
            with suppress(Error):
                await holding.abandon(self._store(holding), depth)
            raise

    def _held(self, holding: Holding, permit: int = 0) -> HeldLock:
        self._holdings.append(holding)
        state = _HeldState(holding.lease.owner, holding.lease.token, permit, holding)
        return HeldLock(self._view(aio=False), state)

    def _store(self, holding: Holding | None = None) -> ObjectStore:
        """Return a store of the handle's client; to leave what was acquired, of the client that acquired it."""
        return self._dict._lock_store(None if holding is None else holding.target.client, aio=self._aio)


class Lock(_Acquirable):
    """A lock that all processes share. Make one with `Dict.lock`.

    ::

        with d.lock("job", lease=30) as held:
            write_elsewhere(fencing_token=held.token)

        lock = d.lock("job")
        if (held := lock.acquire(blocking=False)):
            ...
            lock.release()

    It is a lease: while the lock is held, a heartbeat renews it every third of its length; if the holder dies, another
    process acquires the lock once the lease has expired by the store's clock. A holder that was disconnected or
    stopped for longer finds ``held.lost`` true, and gets ``LockLostError`` when it releases the lock. ``held.token``
    is a fencing token: it grows with every acquisition, so a resource that rejects tokens smaller than the largest one
    it has seen is protected also from a holder that does not know yet that it lost the lock.

    A Lock may be shared by threads and tasks, and pickled; a pickle contains its name and options, not what is held.

    Requests:
        2 to acquire a free lock, 1 for each poll of a lock that is held, 3 renewals per lease, 1 to release it.

    Raises:
        LockTimeoutError: On entering, when it was not free within the timeout.
        LockLostError: On leaving, when the lock was lost.
        InvalidError: The lease is not valid; or this thread or task holds the lock already, and it is not reentrant.
    """

    __slots__ = ()
    _KIND = "lock"

    @dual_method
    async def locked(self) -> bool:
        """Return whether a process holds the lock: any process, this one included. 1 request."""
        return await holder_of(await self._locate()) is not None

    @dual_method
    async def holder(self) -> LockHolder | None:
        """Return who holds the lock, since when and until when; None when it is free. 1 request."""
        found = await holder_of(await self._locate())
        if found is None:
            return None
        record, renewed_at = found
        acquired_at = record.details.acquired_at
        return LockHolder(
            record.details.holder,
            record.token,
            datetime.fromtimestamp(acquired_at, UTC) if acquired_at else None,
            renewed_at,
            renewed_at + timedelta(seconds=record.lease),
        )

    @dual_method
    async def force_release(self) -> bool:
        """Take the lock away from its holder, which finds it lost; return whether there was one.

        The fencing token grows, so what the old holder still writes elsewhere can be rejected. It may go on until its
        next renewal, a third of its lease later: make sure that it has stopped.

        Requests:
            2, or 1 when the lock is free.
        """
        return await take_away(await self._locate()) is not None

    def __repr__(self) -> str:
        return f"{self._dict!r}.lock({self.name!r})"

    def _pickled(self) -> tuple[Any, ...]:
        options = self._options
        arguments = options.name, options.lease, options.timeout, options.reentrant, options.owner
        return "Lock", self._dict, *arguments

    async def _locate(self, permit: int = 0) -> LockTarget:  # noqa: ARG002 (of a semaphore)
        return await self._dict._locate_lock("lock", self.name, self._options.owner, aio=self._aio)

    async def _enter(self, timeout: float | None, entered: list[Holding]) -> HeldLock:
        options = self._options
        target = await self._locate()
        return self._held(await enter(target, options.lease, timeout, entered, reentrant=options.reentrant))


class Semaphore(_Acquirable):
    """A limit for how many callers are inside at a time, in all processes. Make one with `Dict.semaphore`.

    ::

        with d.semaphore("downloads", permits=5):
            ...

    Each permit is a lease like a `Lock`: one whose holder dies is free when its lease has expired. A thread or task
    may hold several permits. Where another thread or task leaves than has entered, as with a generator that a framework
    ends in a thread of its choice, any permit that was acquired with the same object is released: they are equal.

    Requests:
        2 to acquire one where the first that is tried is free, as many as there are permits for each poll when none
        is; 3 renewals per lease, 1 to release it.

    Raises:
        LockTimeoutError: On entering, when no permit was free within the timeout.
        LockLostError: On leaving, when the permit was lost.
        InvalidError: The lease is not valid; or the semaphore has another number of permits.
    """

    __slots__ = ()
    _KIND = "semaphore"
    _IS_SHARED = True

    @property
    def permits(self) -> int:
        """How many callers may be inside."""
        return self._options.permits

    def __repr__(self) -> str:
        return f"{self._dict!r}.semaphore({self.name!r}, {self.permits})"

    def _pickled(self) -> tuple[Any, ...]:
        options = self._options
        arguments = options.name, self.permits, options.lease, options.timeout, options.owner
        return "Semaphore", self._dict, *arguments

    async def _locate(self, permit: int = 0) -> LockTarget:
        return await self._dict._locate_lock(
            "semaphore", self.name, self._options.owner, aio=self._aio, permit=permit, permits=self.permits
        )

    async def _enter(self, timeout: float | None, entered: list[Holding]) -> HeldLock:
        from ._core.semaphores import enter

        targets = [await self._locate(permit) for permit in range(self.permits)]
        permit, holding = await enter(targets, self._options.lease, timeout, entered)
        return self._held(holding, permit)


class HeldLock(_Leavable):
    """A lock while it is held: what a `Lock` returns when it is acquired.

    It may be pickled and sent to another process, which is then able to release the lock or to go on holding it, since
    it knows the random id of the acquisition. ``with held:`` holds it there::

        held = d.lock("import").acquire()
        held.detach()                       # the heartbeat ends here, and the lease goes on
        queue.put(held)

        with queue.get() as held:           # in the other process, before the lease has expired
            ...

    There, ``lost`` is true until `renew` or ``with held:`` has shown that the lock is still held.

    Requests:
        1 to renew or release it, 2 for the first of these in another process.
    """

    __slots__ = ("__weakref__", "_aio", "_lock", "_state")

    def __init__(self, lock: _Acquirable, state: _HeldState, *, aio: bool = False) -> None:
        self._lock = lock
        self._state = state
        self._aio = aio

    @property
    def token(self) -> int:
        """The fencing token: greater than that of every earlier holder. Pass it on with what the lock protects."""
        return self._state.token

    @property
    def lost(self) -> bool:
        """Whether another process may hold the lock. Once the lock was lost or released, it stays true."""
        return self._holding is None or self._holding.lease.lost

    @property
    def remaining(self) -> float:
        """The seconds of the lease that are certainly left; 0 or less when it may have expired."""
        return 0.0 if self._holding is None else self._holding.lease.remaining

    @dual_method
    async def renew(self) -> bool:
        """Start the lease again, as the heartbeat does; return False when the lock is lost.

        In a process that the lock was handed over to, this starts the heartbeat as well.

        Requests:
            1, or 2 at first in another process.
        """
        if self._holding is not None:
            return await self._holding.lease.renew()
        try:
            await self._adopt([])
        except LockLostError:
            return False
        return True

    @dual_method
    async def release(self) -> None:
        """Release the lock.

        Raises:
            LockLostError: It was lost before: its lease expired and another process acquired it, or it was released.

        Requests:
            1, or 2 in another process that has not renewed it.
        """
        lock, holding = self._lock_view, self._holding
        if holding is None:
            self._require_unreleased()
            await release_owned(await lock._locate(self._state.permit), self._state.owner)
        else:
            await lock._leave(holding)

    @dual_method
    async def detach(self) -> None:
        """Stop renewing the lease here, without releasing the lock: it is free when its lease has expired. No request.

        A process that this object is sent to goes on holding it.
        """
        lock, holding = self._lock_view, self._holding
        if holding is not None:
            lock._holdings.remove(holding)
            await holding.stop(lock._store(holding))

    def __enter__(self) -> HeldLock:
        report_blocking_call()
        entered: list[Holding] = []
        try:
            if self._holding is None:
                run_blocking(self._adopt(entered))
            return self
        except BaseException as error:
            self._lock._undo(entered)
            shorten_traceback(error)
            raise

    async def __aenter__(self) -> HeldLock:
        if self._holding is None:
            with shortened_traceback():
                await self._async_view._adopt([])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        holding = self._holding
        if holding is not None:
            with shortened_traceback():
                await self._async_view._lock_view._leave(holding, error)

    def __repr__(self) -> str:
        return f"<HeldLock {self._lock.name!r}, token {self.token}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._aio:
            return restore, ("AsyncView", HeldLock(self._lock, self._state))
        return restore, ("HeldLock", self._lock, self._state.owner, self._state.token, self._state.permit)

    @property
    def _async_view(self) -> HeldLock:
        return self if self._aio else HeldLock(self._lock, self._state, aio=True)

    @property
    def _lock_view(self) -> _Acquirable:
        return self._lock._view(aio=self._aio)

    @property
    def _holding(self) -> Holding | None:
        """What this process holds, and has not released or handed over."""
        holding = self._state.holding
        is_held = holding is not None and holding.is_of_this_process and not holding.lease.is_released
        return holding if is_held and holding in self._lock._holdings else None

    def _to_leave(self) -> _Leaving | None:
        # Released or handed over inside of the context, nothing is left to do.
        holding = self._holding
        return None if holding is None else _Leaving(self._lock_view, holding, holding.depth)

    def _require_unreleased(self) -> None:
        """Raise LockLostError where this process has released it, or is doing so: the store may have it as held yet."""
        holding = self._state.holding
        if holding is not None and holding.is_of_this_process and holding.lease.is_released:
            raise LockLostError(f"{holding.target.label} was released before")

    async def _adopt(self, entered: list[Holding]) -> None:
        self._require_unreleased()
        lock = self._lock_view
        target = await lock._locate(self._state.permit)

        async def adopt_it(acquired: list[Lease]) -> tuple[LockTarget, Lease]:
            acquired.append(await adopt(target, self._state.owner))
            return target, acquired[0]

        holding = await hold(adopt_it, entered)
        lock._holdings.append(holding)
        self._state.holding = holding


def unpickle_lock(d: Any, name: str, lease: float, timeout: float | None, reentrant: bool, owner: str | None) -> Lock:
    lock: Lock = d.lock(name, lease, timeout, reentrant=reentrant, owner=owner)
    return lock


def unpickle_semaphore(
    d: Any, name: str, permits: int, lease: float, timeout: float | None, owner: str | None
) -> Semaphore:
    semaphore: Semaphore = d.semaphore(name, permits, lease, timeout, owner=owner)
    return semaphore


def unpickle_held(lock: Lock | Semaphore, owner: str, token: int, permit: int = 0) -> HeldLock:
    return HeldLock(lock, _HeldState(owner, token, permit))


for _public in (Lock, HeldLock, LockHolder, Semaphore):
    # As of the other public names: what users import.
    _public.__module__ = "s3dict"
