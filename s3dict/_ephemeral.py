"""EphemeralDict: a dict that exists for the duration of a ``with`` or ``async with``."""

from __future__ import annotations

import atexit
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from ._aio import report_blocking_call
from ._client import Client, check_client
from ._config import current_user
from ._core.catalog import DictOptions, ephemeral
from ._handle import HandleState
from ._nested import nested_context
from ._pickle import restore
from ._stores.shared.threads import run_blocking
from .errors import InvalidError, shortened_traceback

H = TypeVar("H")


class EphemeralDict(Generic[H]):
    """The context manager that `Dict.ephemeral` returns. Each can be entered once, and again where that failed."""

    def __init__(self, client: Client | None, new_handle: Callable[[HandleState], H]) -> None:
        self._client = None if client is None else check_client(client)
        self._new_handle = new_handle
        self._context: AbstractAsyncContextManager[H] | None = None
        self._pid = os.getpid()

    def __enter__(self) -> H:
        report_blocking_call()
        with shortened_traceback():
            context = self._enter_once(aio=False)
            try:
                handle = run_blocking(context.__aenter__())
            except BaseException:
                self._context = None
                raise
        _entered.add(self)
        return handle

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._context is not None
        _entered.discard(self)
        if os.getpid() == self._pid:
            with shortened_traceback():
                run_blocking(self._context.__aexit__(kind, error, traceback))

    async def __aenter__(self) -> H:
        with shortened_traceback():
            context = self._enter_once(aio=True)
            try:
                return await context.__aenter__()
            except BaseException:
                self._context = None
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._context is not None
        if os.getpid() == self._pid:
            with shortened_traceback():
                await self._context.__aexit__(kind, error, traceback)

    def __repr__(self) -> str:
        return "Dict.ephemeral()" if self._client is None else f"Dict.ephemeral(client={self._client!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return restore, ("EphemeralDict", self._client)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A pickle of 0.1 contains the attributes that the class had then.
        self.__dict__.update(restore("EphemeralDict", state["_client"]).__dict__)

    def _enter_once(self, *, aio: bool) -> AbstractAsyncContextManager[H]:
        if self._context is not None:
            raise InvalidError("This ephemeral Dict was entered before: call Dict.ephemeral() for another")
        # A forked child leaves the dict to its parent.
        self._pid = os.getpid()
        self._context = context = self._session(aio=aio)
        return context

    @nested_context
    async def _session(self, *, aio: bool) -> AsyncGenerator[H, None]:
        client = self._client or Client.from_env()
        async with ephemeral(client._store(aio=aio), client._layout, DictOptions(), current_user()) as loaded:
            state = HandleState.hydrated(client, loaded)
            try:
                yield self._new_handle(state)
            finally:
                # The dict is about to be deleted: a later use of the handle makes a request, and does not find it.
                state.expire()


_entered: WeakSet[EphemeralDict[Any]] = WeakSet()


@atexit.register
def _exit_entered() -> None:
    """Delete the dicts whose contexts are open at exit: later, when modules are torn down, it would fail."""
    for context in list(_entered):
        with suppress(Exception):
            context.__exit__(None, None, None)
