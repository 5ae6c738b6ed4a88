"""An exception that was handled leaves nothing behind: no cycle keeps a request's body until it is collected."""

from __future__ import annotations

import asyncio
import gc
import queue
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._stores.base import Runtime
from s3dict._stores.memory import forget_memory_bucket
from s3dict._stores.shared.tasks import TaskRuntime
from s3dict._stores.shared.threads import ThreadRuntime, run_blocking
from s3dict.errors import Error, UnavailableError
from s3dict.testing import faults

from ..support.retries import quick


class Body(bytearray):
    """Bytes that a weak reference can observe."""


class Calls:
    """Calls that fail while they have a body."""

    def __init__(self) -> None:
        self.bodies: list[weakref.ref[Body]] = []

    async def fail(self, number: int = 0) -> None:
        body = Body(b"body")
        self.bodies.append(weakref.ref(body))
        raise UnavailableError(f"request {number} failed with {body!r}")

    def left(self) -> int:
        return sum(body() is not None for body in self.bodies)


@pytest.fixture(autouse=True)
def _no_collection(frozen_heap: None) -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _shielded(runtime: Runtime, calls: Calls) -> None:
    await runtime.shielded(calls.fail)


async def _first(runtime: Runtime, calls: Calls) -> None:
    async for _ in runtime.map(calls.fail, range(4), 4):
        pass


async def _ordered(runtime: Runtime, calls: Calls) -> None:
    async for _ in runtime.map(calls.fail, range(4), 4, ordered=True):
        pass


@pytest.mark.parametrize("use", [_shielded, _first, _ordered])
@pytest.mark.parametrize("aio", [False, True])
def test_failed_call_leaves_no_body_behind(use: Callable[[Runtime, Calls], Awaitable[None]], aio: bool) -> None:
    calls = Calls()

    async def run(runtime: Runtime) -> None:
        with suppress(UnavailableError):
            await use(runtime, calls)

    if aio:
        asyncio.run(run(TaskRuntime()))
    else:
        run_blocking(run(ThreadRuntime(4)))
    assert calls.bodies
    assert calls.left() == 0


@pytest.mark.timeout(30)
def test_exception_of_a_queue_in_a_call_is_not_taken_for_that_of_the_runtime() -> None:
    async def fail(number: int) -> None:
        raise queue.Empty(number)

    async def use() -> None:
        async for _ in ThreadRuntime(2).map(fail, range(4), 2):
            pass

    with pytest.raises(queue.Empty):
        run_blocking(use())


OPERATIONS: dict[str, Callable[[Dict[Any, Any]], object]] = {
    "get": lambda d: d.get("k"),
    "put": lambda d: d.put("k", 1),
    "modify": lambda d: d.modify("k", lambda n: n + 1),
    "pop": lambda d: d.pop("k"),
    "setdefault": lambda d: d.setdefault("new", 1),
    "get_or_compute": lambda d: d.get_or_compute("new", lambda: 1),
    "update": lambda d: d.update({number: number for number in range(10)}),
    "pop_many": lambda d: d.pop_many(range(10)),
    "lock": lambda d: d.lock("job", timeout=0).acquire(),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("kind", ["lost-request", "lost-response"])
def test_retried_operation_leaves_no_cycle(name: str, kind: Any, times: int | None) -> None:
    client = quick(Client("cycles", driver="memory"))
    d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=client)
    d.update({"k": 1, **{str(number): 0 for number in range(10)}})
    gc.collect()
    with faults(client, kind, times=times) as fault, suppress(Error):
        OPERATIONS[name](d)
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    frames = [each.f_code.co_qualname for each in gc.garbage if isinstance(each, FrameType)]
    gc.garbage.clear()
    forget_memory_bucket("cycles")
    assert fault.hits
    assert frames == []
