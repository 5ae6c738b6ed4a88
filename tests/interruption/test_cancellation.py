"""Cancelled calls of asyncio: by the task, more than once, by a timeout, and by a scope of anyio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import anyio
import pytest

from s3dict import Client, Dict
from s3dict.errors import NotFoundError

from .gates import Gate

Handle = Dict[Any, Any]
Side = Literal["before", "after"]
Interruption = Literal["cancelled", "cancelled twice", "timeout", "anyio"]
INTERRUPTIONS: tuple[Interruption, ...] = ("cancelled", "cancelled twice", "timeout", "anyio")


async def interrupt(
    call: Callable[[], Coroutine[Any, Any, Any]], gate: Gate, interruption: Interruption
) -> BaseException | None:
    """Run a call, interrupt it at the gate, and return what it raised; None where anyio's scope has taken that."""
    caught: list[BaseException] = []

    async def in_task() -> None:
        try:
            if interruption == "timeout":
                async with asyncio.timeout(None) as deadline:
                    deadlines.append(deadline)
                    await call()
            elif interruption == "anyio":
                with anyio.CancelScope() as scope:
                    scopes.append(scope)
                    await call()
            else:
                await call()
        except BaseException as error:
            caught.append(error)
            if not isinstance(error, TimeoutError):
                raise

    deadlines: list[asyncio.Timeout] = []
    scopes: list[anyio.CancelScope] = []
    task = asyncio.create_task(in_task())
    await gate.until_reached()
    if interruption == "timeout":
        deadlines[0].reschedule(0)
    elif interruption == "anyio":
        scopes[0].cancel()
    else:
        task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    if interruption == "cancelled twice":
        task.cancel()
        await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(task, return_exceptions=True)
    return caught[0] if caught else None


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("side", ["before", "after"])
async def test_cancelled_pop_puts_the_value_back(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, side: Side, interruption: Interruption
) -> None:
    await handle.put.aio("k", "precious")
    gate = Gate(monkeypatch, "delete", "/entries/", side)
    error = await interrupt(lambda: handle.pop.aio("k"), gate, interruption)
    assert interruption == "anyio" or isinstance(
        error, TimeoutError if interruption == "timeout" else asyncio.CancelledError
    )
    assert await handle.get.aio("k") == "precious"


async def test_cancelled_pop_carries_a_value_whose_place_is_taken(
    handle: Handle, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await handle.put.aio("k", "precious")
    gate = Gate(monkeypatch, "delete", "/entries/", "after")

    async def pop_beside_a_writer() -> None:
        popping = asyncio.create_task(handle.pop.aio("k"))
        await gate.until_reached()
        await Dict.from_name("d", client=client).put.aio("k", "newer")
        popping.cancel()
        await asyncio.sleep(0)
        gate.open()
        await popping

    with pytest.raises(asyncio.CancelledError) as caught:
        await pop_beside_a_writer()
    assert getattr(caught.value, "value", None) == "precious"
    assert await handle.get.aio("k") == "newer"


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_cancelled_pop_many_puts_all_values_back(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, interruption: Interruption
) -> None:
    values = {number: f"value {number}" for number in range(20)}
    await handle.update.aio(values)
    gate = Gate(monkeypatch, "delete", "/entries/", "after")
    await interrupt(lambda: handle.pop_many.aio(values), gate, interruption)
    assert await handle.get_many.aio(values) == values


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_cancelled_removal_of_which_nothing_was_sent_does_nothing(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, interruption: Interruption
) -> None:
    await handle.put.aio("k", 1)
    gate = Gate(monkeypatch, "get", "/entries/")
    deletes = Gate(monkeypatch, "delete", "/entries/")
    await interrupt(lambda: handle.pop.aio("k"), gate, interruption)
    assert deletes.requests == 0


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_cancelled_update_sends_nothing_afterwards(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, interruption: Interruption
) -> None:
    gate = Gate(monkeypatch, "put", "/entries/")
    await interrupt(lambda: handle.update.aio((number, 0) for number in range(500)), gate, interruption)
    sent = gate.requests
    await asyncio.sleep(0.02)
    assert gate.requests == sent
    assert sent < 500


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("side", ["before", "after"])
async def test_lock_is_free_after_a_cancelled_acquisition(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, side: Side, interruption: Interruption
) -> None:
    async def acquire() -> None:
        async with handle.lock("job", lease=600):
            pass

    await interrupt(acquire, Gate(monkeypatch, "put", "/locks/", side), interruption)
    async with handle.lock("job", timeout=0):
        pass


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_lock_is_free_after_a_cancelled_body(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, interruption: Interruption
) -> None:
    async def work() -> None:
        async with handle.lock("job", lease=600):
            await handle.get.aio("k")

    await interrupt(work, Gate(monkeypatch, "get", "/entries/"), interruption)
    async with handle.lock("job", timeout=0):
        pass


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_lock_is_free_after_a_cancelled_release(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, interruption: Interruption
) -> None:
    gates: list[Gate] = []

    class Later(Gate):
        """Up only once the lock is held."""

        def __init__(self) -> None:
            self.up = asyncio.Event()

        async def until_reached(self) -> None:
            await self.up.wait()
            await gates[0].until_reached()

        def open(self) -> None:
            gates[0].open()

    later = Later()

    async def work() -> None:
        async with handle.lock("job", lease=600):
            gates.append(Gate(monkeypatch, "put", "/locks/"))
            later.up.set()

    await interrupt(work, later, interruption)
    async with handle.lock("job", timeout=0):
        pass


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_cancelled_computation_leaves_the_next_caller_to_compute(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, interruption: Interruption
) -> None:
    async def compute() -> str:
        await handle.get.aio("input")
        return "computed"

    gate = Gate(monkeypatch, "get", "/entries/")
    await interrupt(lambda: handle.get_or_compute.aio("k", compute, lease=600), gate, interruption)
    async with asyncio.timeout(20):
        assert await handle.get_or_compute.aio("k", compute) == "computed"


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize("method", ["put", "delete"])
async def test_cancelled_ephemeral_dict_is_deleted(
    client: Client, monkeypatch: pytest.MonkeyPatch, method: Literal["put", "delete"], interruption: Interruption
) -> None:
    ids: list[str] = []

    async def use() -> None:
        async with Dict.ephemeral(client=client) as scratch:
            ids.append(scratch.object_id)

    await Dict.from_name("d", create_if_missing=True, client=client).hydrate.aio()
    await interrupt(use, Gate(monkeypatch, method, "/ephemeral/"), interruption)
    for dict_id in ids:
        with pytest.raises(NotFoundError):
            await Dict.from_id(dict_id, client=client).hydrate.aio()


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_cancelled_modify_is_applied_once_at_most(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, interruption: Interruption
) -> None:
    await handle.put.aio("k", 0)
    gate = Gate(monkeypatch, "put", "/entries/", "after")
    await interrupt(lambda: handle.modify.aio("k", lambda n: n + 1), gate, interruption)
    assert await handle.get.aio("k") == 1
    assert gate.requests == 1


@pytest.mark.parametrize("side", ["before", "after"])
async def test_cancelled_setdefault_is_applied_once_at_most(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, side: Side
) -> None:
    gate = Gate(monkeypatch, "put", "/entries/", side)
    await interrupt(lambda: handle.setdefault.aio("k", "default"), gate, "cancelled twice")
    assert await handle.get.aio("k") == ("default" if side == "after" else None)
    assert gate.requests == 1


@pytest.mark.parametrize("side", ["before", "after"])
async def test_cancelled_touch_is_applied_once_at_most(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, side: Side
) -> None:
    await handle.put.aio("k", "kept")
    gate = Gate(monkeypatch, "put", "/entries/", side)
    await interrupt(lambda: handle.touch.aio("k", 3600), gate, "cancelled twice")
    entry = await handle.entry.aio("k")
    assert entry is not None
    assert entry.value == "kept"
    assert (entry.expires_at is not None) is (side == "after")
    assert gate.requests == 1


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize(
    ("method", "side"), [("list_page", "after"), ("delete_many", "before"), ("delete_many", "after")]
)
async def test_cancelled_clear_removes_some_entries_and_sends_nothing_afterwards(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, method: Any, side: Side, interruption: Interruption
) -> None:
    await handle.update.aio((number, number) for number in range(50))
    gate = Gate(monkeypatch, method, "/entries/", side)
    deletions = Gate(monkeypatch, "delete_many", "/entries/")
    deletions.reached.set()
    await interrupt(handle.clear.aio, gate, interruption)
    sent = deletions.requests
    left = await handle.len.aio()
    assert sent <= 1
    assert left == (0 if (method, side) == ("delete_many", "after") else 50) or sent == 1
    await asyncio.sleep(0.01)
    assert deletions.requests == sent
    assert {key: value async for key, value in handle.items.aio()} == await handle.get_many.aio(range(50))


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
@pytest.mark.parametrize(
    ("method", "part", "side"),
    [("delete", ".json", "before"), ("delete", ".json", "after"), ("delete_many", "/entries/", "before")],
)
async def test_cancelled_deletion_of_a_dict_whose_request_was_sent_has_happened(
    handle: Handle,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    method: Any,
    part: str,
    side: Side,
    interruption: Interruption,
) -> None:
    await handle.put.aio("k", 1)
    gate = Gate(monkeypatch, method, part, side)
    await interrupt(lambda: Dict.objects.delete.aio("d", client=client), gate, interruption)
    with pytest.raises(NotFoundError):
        await Dict.from_name("d", client=client).hydrate.aio()
    with pytest.raises(NotFoundError):
        await Dict.from_id(handle.object_id, client=client).hydrate.aio()


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
async def test_cancelled_read_ends_without_its_response(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, interruption: Interruption
) -> None:
    await handle.put.aio("k", 1)
    gate = Gate(monkeypatch, "get", "/entries/", "after")
    await interrupt(lambda: handle.get.aio("k"), gate, interruption)
    assert gate.requests == 1


async def test_no_further_attempt_follows_a_cancellation(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The removal in flight is awaited; that it fails then starts no other."""
    from s3dict._stores import memory
    from s3dict.errors import UnavailableError

    await handle.put.aio("k", "precious")
    started, attempts = asyncio.Event(), []

    async def failing(store: Any, path: str, **options: Any) -> Any:
        attempts.append(path)
        started.set()
        await asyncio.sleep(0.01)
        raise UnavailableError("the response was lost")

    monkeypatch.setattr(memory._MemoryRequests, "delete", failing)
    popping = asyncio.create_task(handle.pop.aio("k"))
    await started.wait()
    popping.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await popping
    assert len(attempts) == 1
    assert getattr(caught.value, "value", None) == "precious"
