"""Asynchronous generators that are used by others, and those that users get."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar

from .errors import Error, shorten_traceback

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def unregistered(step: Callable[[], R]) -> R:
    """Call the first `__anext__` of a generator that the running event loop is not to close at its end."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None)
    try:
        return step()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def nested_context(
    function: Callable[P, AsyncGenerator[T, None]],
) -> Callable[P, AbstractAsyncContextManager[T]]:
    """`contextlib.asynccontextmanager`, for a context whose end others decide: the event loop does not close it.

    At its end a loop closes all generators that it knows. One of these may be inside of the context, and end it at the
    same time: Python would report "asynchronous generator is already running". And what a blocking call has entered
    lasts for longer than the loop that happened to run in its thread.
    """

    @functools.wraps(function)
    def generator(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[T, None]:
        return _Unregistered(function(*args, **kwargs))

    return asynccontextmanager(generator)


class _Unregistered(AsyncGenerator[T, None], Generic[T]):
    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self._generator = generator

    def __anext__(self) -> Coroutine[Any, Any, T]:
        return unregistered(self._generator.__anext__)

    def asend(self, value: None) -> Coroutine[Any, Any, T]:
        return self._generator.asend(value)

    def athrow(self, *error: Any) -> Coroutine[Any, Any, T]:
        return self._generator.athrow(*error)

    def aclose(self) -> Coroutine[Any, Any, None]:
        return self._generator.aclose()


class aclosing(AsyncIterator[T], Generic[T]):  # noqa: N801 (in place of that of contextlib)
    """`contextlib.aclosing`, for a generator inside of another one: the event loop does not know it.

    At its end a loop closes all generators that it knows, side by side. If it closed the inner one while the outer one
    does, Python would report "asynchronous generator is already running".
    """

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self._generator = generator
        self._started = False

    async def __aenter__(self) -> AsyncIterator[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._generator.aclose()

    def __anext__(self) -> Awaitable[T]:
        if self._started:
            return self._generator.__anext__()
        # A generator takes the hooks of its loop when its first item is requested.
        self._started = True
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(None, None)
        try:
            return self._generator.__anext__()
        finally:
            sys.set_asyncgen_hooks(*hooks)


class QuietGenerator(AsyncGenerator[T, None], Generic[T]):
    """An asynchronous generator that may be left unfinished in a loop that is closed at once.

    The loop closes a generator to which nothing refers any more by a task. If that never gets to run, because the loop
    is closed before, Python would report "Task was destroyed but it is pending". At its end, the loop does not close
    it: a generator of the user that is closed then may be inside of it.
    """

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self._generator = generator
        self._started = False

    async def __anext__(self) -> T:
        try:
            return await self._start(self._generator.__anext__)
        except (Error, KeyError) as error:
            shorten_traceback(error)
            raise

    def asend(self, value: None) -> Coroutine[Any, Any, T]:
        return self._start(lambda: self._generator.asend(value))

    def athrow(self, *error: Any) -> Coroutine[Any, Any, T]:
        return self._generator.athrow(*error)

    def aclose(self) -> Coroutine[Any, Any, None]:
        return self._generator.aclose()

    def _start(self, step: Callable[[], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]:
        # Nothing is imported for it: where a loop is running, asyncio is loaded.
        asyncio = sys.modules.get("asyncio")
        loop = None if asyncio is None or self._started else asyncio._get_running_loop()
        if loop is None:
            return step()
        # As in `aclosing`.
        self._started = True
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=_closer(loop))
        try:
            return step()
        finally:
            sys.set_asyncgen_hooks(*hooks)


class _Closing(Coroutine[Any, Any, None]):
    """``generator.aclose()``, of which Python does not report that its loop was closed before its first step."""

    def __init__(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generator = generator
        self._closing: Any = None

    def send(self, value: Any) -> Any:
        if self._closing is None:
            self._closing = self._generator.aclose()
        return self._closing.send(value)

    def throw(self, error: Any, *_: Any) -> Any:
        if self._closing is None:
            raise error
        return self._closing.throw(error)

    def close(self) -> None:
        if self._closing is not None:
            self._closing.close()

    def __await__(self) -> Any:
        raise NotImplementedError


def _closer(loop: Any) -> Callable[[AsyncGenerator[Any, Any]], None]:
    """Return what closes a generator in this event loop when nothing refers to it any more."""

    def close(generator: AsyncGenerator[Any, Any]) -> None:
        task: Any = loop.create_task(_Closing(generator))
        task._log_destroy_pending = False

    def finalize(generator: AsyncGenerator[Any, Any]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(close, generator)

    return finalize
