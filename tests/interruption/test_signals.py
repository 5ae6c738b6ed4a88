"""Blocking calls, and signal handlers that raise or that use the same handle."""

from __future__ import annotations

import ctypes
import linecache
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any
from uuid import uuid4

import pytest

from s3dict import Client, Dict, _preload
from s3dict._core.bulk import remove_many
from s3dict._core.locks import _held_here
from s3dict._lock import unpickle_held
from s3dict._stores.shared.threads import run_blocking
from s3dict.errors import InvalidError, LockTimeoutError, NotFoundError

from .gates import Gate

pytestmark = [
    pytest.mark.skipif(
        threading.current_thread() is not threading.main_thread() or sys.platform == "win32",
        reason="signal handlers run in the main thread, and there are few signals on Windows",
    ),
    # A handler that raises inside of `Thread.start` makes Python end the new thread with a KeyError of its own.
    pytest.mark.filterwarnings("ignore:Exception ignored in thread started by:pytest.PytestUnraisableExceptionWarning"),
]

Handle = Dict[Any, Any]

TRACED = ("/locks.py", "/_lock.py", "/semaphores.py", "/bulk.py", "/threads.py", "/conditional.py", "/_retry.py")


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
                # Repeatedly: one that arrives just before a thread begins to wait for a lock is handled after it.
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


def test_worker_is_waited_for_although_its_start_was_interrupted(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle["k"] = "precious"
    gate = Gate(monkeypatch, "delete", "/entries/", "after")
    submit = ThreadPoolExecutor.submit

    def interrupted(pool: ThreadPoolExecutor, /, *arguments: Any) -> Any:
        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        submit(pool, *arguments)
        gate.reached.wait(20)
        threading.Timer(0.1, gate.open).start()
        raise StopError

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted)
    with pytest.raises(StopError):
        handle.pop_many(["k"])
    assert handle["k"] == "precious"


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


def _hold(handle: Handle) -> None:
    with handle.lock("job", lease=600):
        pass


def _hold_twice(handle: Handle) -> None:
    lock = handle.lock("job", lease=600, reentrant=True)
    with lock, lock:
        pass


def _hold_twice_by_two_locks(handle: Handle) -> None:
    with handle.lock("job", lease=600, reentrant=True), handle.lock("job", lease=600, reentrant=True):
        pass


def _hold_permit(handle: Handle) -> None:
    with handle.semaphore("job", 1, lease=600):
        pass


LEAVING = {
    "lock": _hold,
    "reentrant lock": _hold_twice,
    "two objects of a reentrant lock": _hold_twice_by_two_locks,
    "semaphore": _hold_permit,
}


FIRST_USE = """
import os, signal, sys, threading
from s3dict import Client, Dict

driver, module, bucket, prefix, url = sys.argv[1:]
client = Client(bucket, prefix=prefix, endpoint_url=url or None, driver=driver)
d = Dict.from_name("first", create_if_missing=True, client=client)
interrupted = threading.Event()

def handle(*_):
    interrupted.set()
    d["from the handler"] = [1]

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == module and not interrupted.is_set():
            os.kill(os.getpid(), signal.SIGUSR1)
            interrupted.wait()

signal.signal(signal.SIGUSR1, handle)
sys.meta_path.insert(0, Interrupting)
d["work"] = [2]
print(interrupted.is_set(), d["from the handler"], d["work"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("driver", "module"),
    [("memory", "cloudpickle.cloudpickle"), ("boto3", "botocore.endpoint"), ("obstore", "obstore.store")],
)
def test_signal_handler_may_interrupt_the_imports_of_the_first_call(
    driver: str, module: str, request: pytest.FixtureRequest
) -> None:
    """A module that this thread is importing is not complete before the handler returns."""
    server = None if driver == "memory" else request.getfixturevalue("seaweedfs")
    place = ("b", "p", "") if server is None else (server.bucket, f"first-{uuid4().hex}", server.url)
    arguments = [sys.executable, "-W", "error", "-c", FIRST_USE, driver, module, *place]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "True [1] [2]\n", done.stderr


FORKED_DURING_IMPORTS = """
import math, os, signal, sys
from s3dict import Client, Dict, _preload

signal.signal(signal.SIGUSR1, lambda *_: None)
_preload._MAX_SECONDS = math.inf
d = Dict.from_name("forked", create_if_missing=True, client=Client("b", driver="memory"))
children = []

def handle(*_):
    child = os.fork()
    if child == 0 and sys.argv[1] == "another call":
        d["k"] = 1
        os._exit(0)
    children.append(child)

def fork_and_go_on(name):
    if not children:
        os.kill(os.getpid(), signal.SIGUSR1)
        while not children:
            pass

signal.signal(signal.SIGUSR1, handle)
_preload.import_module = fork_and_go_on
d["k"] = 1
if children[0] == 0:
    os._exit(0)
print(os.waitpid(children[0], 0)[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("calls", ["another call", "the interrupted call"])
def test_child_that_is_forked_during_the_imports_does_not_wait_for_their_thread(calls: str) -> None:
    arguments = [sys.executable, "-c", FORKED_DURING_IMPORTS, calls]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "0\n", done.stderr


def test_import_that_fails_does_not_end_the_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ValueError("a broken module")

    monkeypatch.setattr(_preload, "import_module", fail)
    names, imported = _preload._MODULES["memory"], list[str]()
    _preload._load(names, imported)
    assert imported == list(names)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", LEAVING)
def test_exception_at_any_line_leaves_no_lock_behind(handle: Handle, name: str) -> None:
    """As if Ctrl-C were pressed at each line in turn of what acquires and releases it."""
    hold = LEAVING[name]
    lines = _interrupted_at(sys.maxsize, lambda: hold(handle))
    for line in range(lines):
        _interrupted_at(line, lambda: hold(handle))
        free = handle.semaphore("job", 1, timeout=0) if hold is _hold_permit else handle.lock("job", timeout=0)
        with free:
            pass


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_exception_at_any_line_of_another_thread_leaves_no_lock_behind(handle: Handle) -> None:
    """As time limits of Dramatiq and RQ raise it."""

    def interrupted_at(line: int) -> int:
        return _interrupted_at(line, lambda: _hold(handle))

    with ThreadPoolExecutor(1) as pool:
        for line in range(pool.submit(interrupted_at, sys.maxsize).result()):
            pool.submit(interrupted_at, line).result()
            with handle.lock("job", timeout=0):
                pass


def test_pop_in_another_thread_that_is_interrupted_puts_the_value_back(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle["k"] = "v"
    gate = Gate(monkeypatch, "delete", "/entries/", "after")
    with ThreadPoolExecutor(1) as pool:
        identity = pool.submit(threading.get_ident).result()
        popping = pool.submit(handle.pop, "k")
        assert gate.reached.wait(60)
        raised = ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(StopError))
        gate.open()
        with pytest.raises(StopError):
            popping.result()
    assert raised == 1
    assert handle["k"] == "v"


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_release_that_is_interrupted_at_any_line_is_done_or_can_be_repeated(handle: Handle) -> None:
    lock = handle.lock("job", lease=600)
    lock.acquire()
    lines = _interrupted_at(sys.maxsize, lock.release)
    for line in range(lines):
        lock.acquire()
        _interrupted_at(line, lock.release)
        with suppress(InvalidError):
            lock.release()
        with handle.lock("job", timeout=0):
            pass


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_holder_of_a_lock_that_was_handed_over_does_not_go_on_renewing_it(
    handle: Handle, client: Client
) -> None:
    """Between the arrival of the lock and its first renewal it is left to its lease."""

    def hold() -> None:
        with held:
            pass

    lines, line = 1, -1
    while line < lines:
        acquired = handle.lock("job", lease=600).acquire()
        assert acquired is not None
        acquired.detach()
        held = unpickle_held(handle.lock("job"), acquired._state.owner, acquired.token)
        ran = _interrupted_at(sys.maxsize if line < 0 else line, hold)
        lines, line = max(lines, ran), line + 1
        held_here = [holding for (path, _), holding in _held_here.items() if _ulid(handle) in path]
        assert all(holding.lease.is_released for holding in held_here)
        handle.lock("job").force_release()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_pop_many_that_is_interrupted_at_any_line_loses_no_value(handle: Handle) -> None:
    values = {number: f"value {number}" for number in range(3)}
    found: dict[Any, Any] = {}

    def pop_many() -> None:
        try:
            remove_many(run_blocking(handle._open()), values).send(None)
        except StopIteration as stop:
            found.update(stop.value)
        except KeyboardInterrupt as interruption:
            found.update(getattr(interruption, "completed", {}))
            raise

    lines, line = 1, -1
    while line < lines:
        handle.update(values)
        found.clear()
        ran = _interrupted_at(sys.maxsize if line < 0 else line, pop_many)
        lines, line = max(lines, ran), line + 1
        assert handle.get_many(values) | found == values


def test_interrupted_waiter_leaves_the_lock_to_the_thread_that_acquired_it(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share the object: what the other has acquired since is not undone."""
    lock = handle.lock("job", lease=600)
    gate = Gate(monkeypatch, "get", "/locks/", "after")
    held: list[Any] = []

    def stop_behind_another() -> None:
        thread = threading.Thread(target=lambda: held.append(lock.acquire()))
        thread.start()
        thread.join()
        raise StopError

    with signalled_at(gate, stop_behind_another), pytest.raises(StopError), lock:
        pass
    assert held[0].lost is False
    with pytest.raises(LockTimeoutError), handle.lock("job", timeout=0):
        pass
    held[0].release()


def _ulid(handle: Handle) -> str:
    """Return the part of the paths of a Dict that no other has."""
    return handle.object_id.partition(":")[0].removeprefix("di-")


NOT_INTERRUPTED = ("try:", "leaving = None", "holdings.append(held)", "_this_thread.in_worker", "with ", "async with ")
"""How lines begin before which Python handles no signal: it does so after a call, and as a function begins. A `with` is
traced again where it ends."""


def _interrupted_at(limit: int, function: Callable[[], object]) -> int:
    """Call the function, and raise KeyboardInterrupt after so many lines of s3dict; return how many it ran.

    Not in the bucket in memory, whose lock would not be released at every line either.
    """
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith(TRACED):
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and not line.startswith(NOT_INTERRUPTED):
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
