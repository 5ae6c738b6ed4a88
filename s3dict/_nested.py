"""Asynchronous generators that are used by others."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


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
