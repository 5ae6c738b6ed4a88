"""A short form of the interruptions on a real server, with each driver: the request in flight is held up by a proxy."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from s3dict import Client, Dict

from ..support.modes import Endpoint
from ..support.proxy import Fault, Proxy, Request

Handle = Dict[Any, Any]
SECONDS = 0.1


@pytest.fixture
def proxied_url(seaweedfs: Endpoint) -> str:
    return seaweedfs.url


@pytest.fixture
def handle(seaweedfs: Endpoint, proxy: Proxy, driver: Any) -> Handle:
    client = Client(seaweedfs.bucket, prefix=f"interrupted-{uuid4().hex}", endpoint_url=proxy.url, driver=driver)
    handle: Handle = Dict.from_name("d", create_if_missing=True, client=client)
    handle.update({number: f"value {number}" for number in range(5)})
    return handle


def hold_up(proxy: Proxy, method: str, part: str) -> threading.Event:
    """Delay the next request of the method to such a path; return what is set when it has arrived."""
    arrived = threading.Event()

    def concerns(request: Request) -> bool:
        if request.method != method or part not in request.path:
            return False
        arrived.set()
        return True

    proxy.script(Fault("delay", when=concerns, seconds=SECONDS))
    return arrived


async def cancelled(arrived: threading.Event, call: Any) -> None:
    task = asyncio.ensure_future(call)
    await asyncio.to_thread(arrived.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_pop_puts_the_value_back(handle: Handle, proxy: Proxy) -> None:
    await cancelled(hold_up(proxy, "DELETE", "/entries/"), handle.pop.aio(1))
    assert await handle.get.aio(1) == "value 1"


async def test_cancelled_pop_many_puts_all_values_back(handle: Handle, proxy: Proxy) -> None:
    await cancelled(hold_up(proxy, "DELETE", "/entries/"), handle.pop_many.aio(range(5)))
    assert await handle.len.aio() == 5


async def test_lock_is_free_after_a_cancelled_acquisition(handle: Handle, proxy: Proxy) -> None:
    await cancelled(hold_up(proxy, "PUT", "/locks/"), handle.lock("job", lease=600).acquire.aio())
    async with handle.lock("job", timeout=0):
        pass


@pytest.fixture
def interrupted_at() -> Iterator[Callable[[threading.Event], None]]:
    """Have a signal handler raise KeyboardInterrupt in the main thread once something has happened."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        pytest.skip("signal handlers run in the main thread, and there are few signals on Windows")
    threads: list[threading.Thread] = []

    def interrupted_at(arrived: threading.Event) -> None:
        def send() -> None:
            arrived.wait(20)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

        threads.append(threading.Thread(target=send))
        threads[-1].start()

    before = signal.signal(signal.SIGUSR1, lambda *_: signal.default_int_handler(signal.SIGINT, None))
    yield interrupted_at
    for thread in threads:
        thread.join()
    signal.signal(signal.SIGUSR1, before)


def test_interrupted_pop_puts_the_value_back(
    handle: Handle, proxy: Proxy, interrupted_at: Callable[[threading.Event], None]
) -> None:
    interrupted_at(hold_up(proxy, "DELETE", "/entries/"))
    with pytest.raises(KeyboardInterrupt):
        handle.pop(1)
    assert handle[1] == "value 1"


def test_lock_is_free_after_an_interrupted_acquisition(
    handle: Handle, proxy: Proxy, interrupted_at: Callable[[threading.Event], None]
) -> None:
    interrupted_at(hold_up(proxy, "PUT", "/locks/"))
    with pytest.raises(KeyboardInterrupt):
        handle.lock("job", lease=600).acquire()
    with handle.lock("job", timeout=0):
        pass
