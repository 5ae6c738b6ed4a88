"""Locks inside of the library: a signal handler finds them held by its own thread, a forked child by one it lacks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from s3dict import Client, Dict, memoize
from s3dict._memoized import Counts
from s3dict._stores.boto.blocking import BotoStore
from s3dict._stores.shared.rate_limit import RateLimit
from s3dict._stores.shared.sessions import SessionCredentials, Sessions

from .test_forks import in_child


def finishes(function: Callable[[], object]) -> bool:
    """Return whether the function ends, which it calls in a thread that may be left behind."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def test_handler_gets_a_session_while_its_thread_opens_one() -> None:
    opened: list[SessionCredentials] = []
    used: list[SessionCredentials] = []

    def open_session(timeout: float) -> SessionCredentials:
        number = len(opened)
        opened.append(SessionCredentials("id", "secret", f"token {number}", 300.0))
        if number == 0:
            used.append(sessions.get(timeout))
        return opened[number]

    sessions = Sessions(open_session)
    assert finishes(lambda: used.append(sessions.get(1.0)))
    assert [each.token for each in used] == ["token 1", "token 0"]


def test_handler_uses_boto3_while_its_thread_makes_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    store: Any = Client("b", endpoint_url="http://127.0.0.1:9", driver="boto3")._store(aio=False)
    made: list[FakeClient] = []

    class FakeClient:
        closed = False

        def close(self) -> None:
            self.closed = True

    def make_client(self: BotoStore) -> FakeClient:
        client = FakeClient()
        made.append(client)
        if len(made) == 1:
            self._client()
        return client

    monkeypatch.setattr(BotoStore, "_make_client", make_client)
    assert finishes(store._client)
    assert store._client() is made[0]
    assert [each.closed for each in made] == [False, True]


def test_handler_sends_requests_while_its_thread_reserves_a_slot() -> None:
    interrupted: list[bool] = []

    def clock() -> float:
        if not interrupted:
            interrupted.append(True)
            limit.accepted(0.0)
        return 0.0

    limit = RateLimit(clock)
    assert finishes(limit.reserve)


def test_handler_calls_a_memoized_function_while_its_thread_counts_a_call(handle: Dict[Any, Any]) -> None:
    @memoize(handle)
    def double(number: int) -> int:
        return 2 * number

    def interrupted() -> None:
        with Counts.lock:
            double(1)

    assert finishes(interrupted)
    assert double.cache_info() == (0, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_child_calls_a_memoized_function_while_a_thread_of_its_parent_counts_a_call(handle: Dict[Any, Any]) -> None:
    @memoize(handle)
    def double(number: int) -> int:
        return 2 * number

    def use() -> None:
        signal.alarm(20)
        assert double(1) == 2

    held, done = threading.Event(), threading.Event()

    def count() -> None:
        with Counts.lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=count)
    thread.start()
    assert held.wait(60)
    try:
        assert in_child(use) == 0
    finally:
        done.set()
        thread.join()
