"""A gate before or behind one request to a bucket in memory, so that a test can interrupt its caller there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from s3dict._stores import memory
from s3dict._stores.shared.tasks import TaskRuntime


class Gate:
    """Stops the first request of a kind until it is opened.

    Args:
        monkeypatch: Puts the gate up.
        method: The kind of request.
        part: What its path contains.
        side: Whether it is stopped before it takes effect, or after it.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        method: Literal["get", "put", "delete", "delete_many", "list_page"],
        part: str,
        side: Literal["before", "after"] = "before",
    ) -> None:
        self.reached = threading.Event()
        self.requests = 0
        """How many requests of the kind have been made."""
        self._opened = threading.Event()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._side = side
        original: Callable[..., Awaitable[Any]] = getattr(memory._MemoryRequests, method)

        async def gated(store: Any, path: Any, *args: Any, **options: Any) -> Any:
            if part not in str(path):
                return await original(store, path, *args, **options)
            self.requests += 1
            if self.reached.is_set():
                return await original(store, path, *args, **options)
            if side == "after":
                result = await original(store, path, *args, **options)
                await self._wait(store)
                return result
            await self._wait(store)
            return await original(store, path, *args, **options)

        monkeypatch.setattr(memory._MemoryRequests, method, gated)

    def open(self) -> None:
        self._opened.set()
        for loop, event in self._waiters:
            loop.call_soon_threadsafe(event.set)

    async def until_reached(self) -> None:
        while not self.reached.is_set():  # noqa: ASYNC110 (the blocking calls of other tests reach it as well)
            await asyncio.sleep(0)

    async def _wait(self, store: Any) -> None:
        if isinstance(store.runtime, TaskRuntime):
            event = asyncio.Event()
            self._waiters.append((asyncio.get_running_loop(), event))
            self.reached.set()
            await event.wait()
        else:
            self.reached.set()
            self._opened.wait()
