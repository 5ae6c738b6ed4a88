"""One text, two ways to call it: what the bridge between them promises."""

from __future__ import annotations

import asyncio
import gc
import inspect
import pydoc
import sys
import threading
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._aio import dual_iterator, dual_method
from s3dict._stores.shared.threads import run_blocking


class Suspending:
    """What no blocking store awaits."""

    def __await__(self) -> Generator[None, None, str]:
        yield
        return "resumed"


class Counter:
    """Something with methods of both kinds, and an async variant that shares its log."""

    def __init__(self, mode: str = "blocking", log: list[str] | None = None) -> None:
        self.mode = mode
        self.log: list[str] = [] if log is None else log

    @property
    def _aio(self) -> bool:
        return self.mode == "asyncio"

    @property
    def _async_view(self) -> Counter:
        return Counter("asyncio", self.log)

    @dual_method
    async def add(self, amount: int, *, times: int = 1) -> tuple[str, int]:
        """Says how it was called, and multiplies."""
        return self.mode, amount * times

    @dual_method
    async def fail(self) -> None:
        raise KeyError("planted")

    @dual_method
    async def suspend(self) -> str:
        try:
            return await Suspending()
        finally:
            self.log.append("closed")

    @dual_method
    async def thread(self) -> int:
        return threading.get_ident()

    @dual_iterator
    async def numbers(self, count: int) -> AsyncGenerator[tuple[str, int], None]:
        """Counts."""
        self.log.append("opened")
        try:
            for number in range(count):
                yield self.mode, number
        finally:
            self.log.append("closed")

    @dual_iterator
    async def broken(self) -> AsyncGenerator[int, None]:
        yield 1
        raise KeyError("planted")


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def complaints(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the interpreter could only print, because it happened where no caller could catch it."""
    heard: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: heard.append(repr(unraisable.exc_value)))
    yield heard
    gc.collect()


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def test_coroutine_runs_to_its_end_in_one_step() -> None:
    async def inner() -> int:
        return 40

    async def outer() -> int:
        return await inner() + 2

    assert run_blocking(outer()) == 42


def test_coroutine_that_suspends_is_closed_and_rejected(counter: Counter) -> None:
    async def suspending() -> None:
        try:
            await Suspending()
        finally:
            counter.log.append("closed")

    coroutine = suspending()
    with pytest.raises(RuntimeError, match="a blocking store suspended"):
        run_blocking(coroutine)
    assert counter.log == ["closed"]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_method_that_suspends_is_closed_and_rejected(counter: Counter) -> None:
    with pytest.raises(RuntimeError, match="a blocking store suspended"):
        counter.suspend()
    assert counter.log == ["closed"]


def test_asyncio_method_may_suspend(counter: Counter) -> None:
    assert asyncio.run(counter.suspend.aio()) == "resumed"


def test_method_and_aio_use_their_own_view(counter: Counter) -> None:
    assert counter.add(2, times=3) == ("blocking", 6)
    assert asyncio.run(counter.add.aio(2, times=3)) == ("asyncio", 6)


def test_blocking_call_stays_on_its_thread(counter: Counter) -> None:
    assert counter.thread() == threading.get_ident()


def test_blocking_call_works_where_an_event_loop_runs(counter: Counter) -> None:
    async def both() -> list[tuple[str, int]]:
        return [counter.add(1), await counter.add.aio(1), *counter.numbers(1)]

    assert asyncio.run(both()) == [("blocking", 1), ("asyncio", 1), ("blocking", 0)]


def test_aio_does_nothing_before_it_is_awaited(counter: Counter) -> None:
    coroutine = counter.suspend.aio()
    coroutine.close()
    assert counter.log == []


def test_wrong_arguments_fail_at_the_call(counter: Counter) -> None:
    untyped: Any = counter
    for call in (untyped.add, untyped.add.aio, untyped.numbers, untyped.numbers.aio):
        with pytest.raises(TypeError, match="unexpected keyword"):
            call(1, tims=2)


def test_iterator_works_sync_and_async(counter: Counter) -> None:
    async def collect() -> list[tuple[str, int]]:
        return [item async for item in counter.numbers.aio(2)]

    assert list(counter.numbers(2)) == [("blocking", 0), ("blocking", 1)]
    assert asyncio.run(collect()) == [("asyncio", 0), ("asyncio", 1)]
    assert counter.log == ["opened", "closed"] * 2


def test_iterator_opens_nothing_before_the_first_item(counter: Counter, complaints: list[str]) -> None:
    never_begun = counter.numbers(2)
    del never_begun
    gc.collect()
    assert counter.log == []
    assert complaints == []


def test_breaking_out_of_an_iterator_closes_it_at_once(counter: Counter) -> None:
    for _ in counter.numbers(3):
        break
    assert counter.log == ["opened", "closed"]


def test_error_in_the_loop_closes_the_iterator_at_once(counter: Counter) -> None:
    with pytest.raises(ZeroDivisionError):
        _ = [1 // number for _, number in counter.numbers(3)]
    assert counter.log == ["opened", "closed"]


def test_closing_an_asynchronous_iterator_closes_the_body(counter: Counter) -> None:
    async def take_one() -> tuple[str, int]:
        generator: Any = counter.numbers.aio(3)
        async with aclosing(generator) as numbers:
            first: tuple[str, int] = await anext(numbers)
            return first

    assert asyncio.run(take_one()) == ("asyncio", 0)
    assert counter.log == ["opened", "closed"]


def test_unexhausted_iterator_warns_of_nothing(counter: Counter, complaints: list[str]) -> None:
    left = counter.numbers(3)
    assert next(left) == ("blocking", 0)
    del left
    gc.collect()
    assert counter.log == ["opened", "closed"]
    assert complaints == []


def test_unexhausted_blocking_iterator_in_an_event_loop_warns_of_nothing(
    counter: Counter, complaints: list[str]
) -> None:
    async def leave() -> None:
        for _ in counter.numbers(3):
            break
        next(counter.numbers(3))

    asyncio.run(leave())
    gc.collect()
    assert counter.log == ["opened", "closed"] * 2
    assert complaints == []


def test_two_iterators_of_one_object_do_not_disturb_each_other(counter: Counter) -> None:
    pairs = list(zip(counter.numbers(2), counter.numbers(2), strict=True))
    assert [(("blocking", n), ("blocking", n)) for n in range(2)] == pairs


def test_error_comes_out_as_it_is_with_a_short_traceback(counter: Counter) -> None:
    with pytest.raises(KeyError, match="planted") as caught:
        counter.fail()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    # The body is in this file, as a function that a user passes.
    assert frames(caught.value)[1:] == ["__call__", "run_blocking", "fail"]


def test_error_in_asyncio_keeps_the_frames_of_a_body_that_is_no_part_of_the_package(counter: Counter) -> None:
    async def call() -> None:
        await counter.fail.aio()

    with pytest.raises(KeyError, match="planted") as caught:
        asyncio.run(call())
    assert frames(caught.value)[-3:] == ["call", "_run", "fail"]


def test_error_in_an_iterator_comes_out_after_the_items_before_it(counter: Counter) -> None:
    items = counter.broken()
    assert next(items) == 1
    with pytest.raises(KeyError, match="planted") as caught:
        next(items)
    assert len(frames(caught.value)) <= 5
    assert list(items) == []


def test_signature_is_that_of_the_body_without_self(counter: Counter) -> None:
    assert str(inspect.signature(counter.add)) == "(amount: 'int', *, times: 'int' = 1) -> 'tuple[str, int]'"
    assert list(inspect.signature(counter.numbers).parameters) == ["count"]


def test_method_asked_of_its_class_is_documented(counter: Counter) -> None:
    assert inspect.getdoc(Counter.add) == "Says how it was called, and multiplies."
    assert inspect.getdoc(Counter.numbers) == "Counts."


def public_methods() -> list[str]:
    bodies = {name: getattr(found, "body", None) for name, found in vars(Dict).items()}
    return [
        name
        for name, body in bodies.items()
        if inspect.iscoroutinefunction(body) or inspect.isasyncgenfunction(body)
        if not name.startswith("_")
    ]


def test_public_methods_are_found() -> None:
    assert {"get", "pop", "put", "keys", "items", "update"} <= set(public_methods())


@pytest.mark.parametrize("name", public_methods())
def test_help_shows_the_arguments_and_docstring_of_a_dicts_method(name: str) -> None:
    d = Dict.from_name("d", client=Client("bridge", driver="memory"))
    bound: Callable[..., Any] = getattr(d, name)
    body: Callable[..., Awaitable[Any]] = vars(Dict)[name].body
    assert inspect.getdoc(bound) == inspect.getdoc(body)
    assert list(inspect.signature(bound).parameters) == list(inspect.signature(body).parameters)[1:]
    shown = pydoc.plain(pydoc.render_doc(bound))
    assert str(inspect.getdoc(body)).splitlines()[0] in shown
    assert "class Method" not in shown


def test_repr_of_a_method_names_method_and_object() -> None:
    d = Dict.from_name("d", client=Client("bridge", driver="memory"))
    assert repr(d.put) == "<bound method Dict.put of Dict.from_name('d')>"
