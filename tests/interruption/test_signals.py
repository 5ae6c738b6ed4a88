"""Blocking calls, and signal handlers that raise or that use the same handle."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict.errors import NotFoundError

from .gates import Gate

pytestmark = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread() or sys.platform == "win32",
    reason="signal handlers run in the main thread, and there are few signals on Windows",
)

Handle = Dict[Any, Any]

TRACED = ("/locks.py", "/_lock.py", "/threads.py", "/conditional.py", "/_retry.py")


class StopError(Exception):
    """Raised by a signal handler."""


@contextmanager
def signalled_at(gate: Gate, handler: Callable[[], None], *, times: int = 1) -> Iterator[None]:
    """Send this process a signal when a request has reached the gate, and open it when the handler has run."""
    wanted: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if wanted:
            wanted.pop()
            handler()

    def send() -> None:
        gate.reached.wait(20)
        for _ in range(times):
            wanted.append(1)
            while wanted:
                # Again and again: one that arrives just before a thread begins to wait for a lock is handled after it.
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                time.sleep(0.01)
        gate.open()

    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        gate.open()
        thread.join()
        signal.signal(signal.SIGUSR1, before)


def stop() -> None:
    raise StopError


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("side", ["before", "after"])
def test_interrupted_pop_puts_the_value_back(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, side: Any, times: int
) -> None:
    handle["k"] = "precious"
    gate = Gate(monkeypatch, "delete", "/entries/", side)
    with signalled_at(gate, stop, times=times), pytest.raises(StopError):
        handle.pop("k")
    assert handle["k"] == "precious"


def test_interrupted_pop_many_puts_all_values_back(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {number: f"value {number}" for number in range(20)}
    handle.update(values)
    with signalled_at(Gate(monkeypatch, "delete", "/entries/", "after"), stop), pytest.raises(StopError):
        handle.pop_many(values)
    assert handle.get_many(values) == values


def test_interrupted_del_is_ended(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    handle["k"] = 1
    with signalled_at(Gate(monkeypatch, "delete", "/entries/"), stop), pytest.raises(StopError):
        del handle["k"]
    assert "k" not in handle


def test_interrupted_update_sends_nothing_afterwards(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "put", "/entries/")
    with signalled_at(gate, stop), pytest.raises(StopError):
        handle.update((number, 0) for number in range(10_000))
    sent = gate.requests
    assert len(handle.get_many(range(10_000))) == sent
    assert gate.requests == sent < 10_000


@pytest.mark.parametrize("side", ["before", "after"])
def test_lock_is_free_after_an_interrupted_acquisition(
    handle: Handle, monkeypatch: pytest.MonkeyPatch, side: Any
) -> None:
    gate = Gate(monkeypatch, "put", "/locks/", side)
    with signalled_at(gate, stop), pytest.raises(StopError), handle.lock("job", lease=600):
        pass
    with handle.lock("job", timeout=0):
        pass


def test_lock_is_free_after_an_interrupted_release(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        with handle.lock("job", lease=600):
            gate = Gate(monkeypatch, "put", "/locks/")
            context.append(signalled_at(gate, stop))
            context[0].__enter__()

    context: list[Any] = []
    with pytest.raises(StopError):
        work()
    context[0].__exit__(None, None, None)
    with handle.lock("job", timeout=0):
        pass


def test_interrupted_computation_leaves_the_next_caller_to_compute(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, "get", "/entries/input")
    with pytest.raises(StopError):
        handle.get_or_compute("k", stop, lease=600)
    assert handle.get_or_compute("k", lambda: "computed") == "computed"
    assert gate.requests == 0


def test_interrupted_ephemeral_dict_is_deleted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    Dict.from_name("d", create_if_missing=True, client=client).hydrate()
    gate = Gate(monkeypatch, "delete", "/ephemeral/")
    dict_id = ""
    with signalled_at(gate, stop), pytest.raises(StopError), Dict.ephemeral(client=client) as scratch:
        dict_id = scratch.object_id
    with pytest.raises(NotFoundError):
        Dict.from_id(dict_id, client=client).hydrate()


@pytest.mark.parametrize(
    "at", [("get", "/named/"), ("get", "/entries/"), ("put", "/entries/"), ("delete", "/entries/")]
)
def test_signal_handler_may_use_the_handle_that_its_thread_is_inside(
    client: Client, monkeypatch: pytest.MonkeyPatch, at: tuple[Any, str]
) -> None:
    Dict.from_name("d", create_if_missing=True, client=client)["k"] = 1
    handle: Handle = Dict.from_name("d", client=client)
    with signalled_at(Gate(monkeypatch, *at), lambda: handle.update({"status": "stopped"})):
        handle.get("k")
        handle["k"] = 2
        handle.pop("k")
    assert handle["status"] == "stopped"


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_exception_at_any_line_leaves_no_lock_behind(handle: Handle) -> None:
    """As if Ctrl-C were pressed at each line in turn of what acquires and releases it."""
    lines = _interrupted_at(sys.maxsize, lambda: _hold(handle))
    for line in range(lines):
        _interrupted_at(line, lambda: _hold(handle))
        with handle.lock("job", timeout=0):
            pass


def _hold(handle: Handle) -> None:
    with handle.lock("job", lease=600):
        pass


def _interrupted_at(limit: int, function: Callable[[], None]) -> int:
    """Call the function, and raise KeyboardInterrupt after so many lines of s3dict; return how many it ran.

    Not in the bucket in memory, whose lock would not be released at every line either.
    """
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        code = frame.f_code
        # Python handles no signal between the first lines of a function.
        if not code.co_filename.endswith(TRACED) or code.co_name == "__exit__":
            return None
        if event == "line":
            count += 1
            if count == limit + 1:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    return count
