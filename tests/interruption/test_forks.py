"""Forks in the middle of things: the child leaves its parent's locks and dicts alone, and never hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from s3dict import Client, Dict
from s3dict._lock import unpickle_held
from s3dict._stores.shared.threads import _WorkerGroup
from s3dict.errors import InvalidError

from ..support.modes import Endpoint

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on Windows"),
    # Python 3.12 warns of every fork in a process that has threads.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]

Handle = Dict[Any, Any]


def in_child(function: Callable[[], object]) -> int:
    """Fork, call the function in the child, and return the child's exit code: 0 when it returned."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        function()
        code = 0
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    except BaseException as error:
        sys.stderr.write(f"in the child: {error!r}\n")
    finally:
        os._exit(code)


def test_child_that_leaves_a_lock_leaves_it_to_its_parent(handle: Handle) -> None:
    """The bucket in memory is copied by the fork, so the child itself looks at what it has done."""

    def leave() -> None:
        lock.__exit__(None, None, None)
        [stored] = [o for path, o in _objects(handle.client).items() if "/locks/" in path]
        assert held._state.owner.encode() in stored.body

    lock = handle.lock("job", lease=30)
    with lock as held:
        assert in_child(leave) == 0
        assert held.lost is False


def test_child_that_leaves_a_lock_that_was_handed_over_leaves_it_to_its_parent(handle: Handle) -> None:
    def leave() -> None:
        held.__exit__(None, None, None)
        [stored] = [o for path, o in _objects(handle.client).items() if "/locks/" in path]
        assert held._state.owner.encode() in stored.body

    acquired = handle.lock("job", lease=30).acquire()
    assert acquired is not None
    acquired.detach()
    with unpickle_held(handle.lock("job"), acquired._state.owner, acquired.token) as held:
        assert in_child(leave) == 0
        assert held.lost is False


def test_child_that_leaves_an_ephemeral_dict_leaves_it_to_its_parent(client: Client) -> None:
    Dict.from_name("d", create_if_missing=True, client=client).hydrate()

    def leave() -> None:
        context.__exit__(None, None, None)
        assert scratch["step"] == 1

    context = Dict.ephemeral(client=client)
    with context as scratch:
        scratch["step"] = 1
        assert in_child(leave) == 0
        assert scratch["step"] == 1


def test_child_does_not_own_the_lock_of_its_parent(handle: Handle) -> None:
    """It has to wait as any other process: for its parent's lock that is no mistake, so no InvalidError."""

    def acquire() -> None:
        with pytest.raises(TimeoutError), handle.lock("job", timeout=0.05):
            pass

    with handle.lock("job", lease=30):
        assert in_child(acquire) == 0


def test_child_of_an_iteration_says_that_it_cannot_go_on(handle: Handle) -> None:
    """With more entries than are read at once: a child that has all of them is given them."""
    handle.update({number: number for number in range(200)})
    items = handle.items()
    next(items)

    def go_on() -> None:
        with pytest.raises(InvalidError, match="begun in the parent process"):
            list(items)

    assert in_child(go_on) == 0
    assert len(list(items)) == 199


def test_child_does_not_wait_for_a_thread_of_its_parent_that_held_the_lock_of_a_call() -> None:
    group: _WorkerGroup[int, int] = _WorkerGroup(int, 1, lambda: pytest.fail("nothing is submitted"))
    is_held, may_release = threading.Event(), threading.Event()

    def hold() -> None:
        with group._guard:
            is_held.set()
            may_release.wait()

    def shut_down() -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        group.shutdown()

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    try:
        assert in_child(shut_down) == 0
    finally:
        may_release.set()
        holder.join()


def test_child_of_an_update_says_that_it_cannot_go_on(handle: Handle) -> None:
    codes: list[int] = []

    def pairs() -> Iterator[tuple[int, int]]:
        for number in range(200):
            if number == 100:
                pid = os.fork()
                if not pid:
                    children.append(pid)
                else:
                    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            yield number, number

    children: list[int] = []
    try:
        handle.update(pairs())
    except InvalidError:
        assert children
        os._exit(0)
    finally:
        if children:
            os._exit(1)
    assert codes == [0]
    assert handle.len() == 200


def test_child_works_with_the_handles_of_its_parent(handle: Handle) -> None:
    handle["k"] = 1

    def use() -> None:
        assert handle["k"] == 1
        assert handle.pop("k") == 1
        handle.update({1: 1, 2: 2})
        with handle.lock("job"):
            pass

    assert in_child(use) == 0


def _objects(client: Client) -> dict[str, Any]:
    from s3dict._stores.memory import memory_bucket

    return memory_bucket(client.bucket).objects


@pytest.fixture
def served(seaweedfs: Endpoint, driver: Any) -> Handle:
    """A Dict on a real server, which has been used over connections of this process."""
    client = Client(seaweedfs.bucket, prefix=f"forks-{uuid4().hex}", endpoint_url=seaweedfs.url, driver=driver)
    served: Handle = Dict.from_name("d", create_if_missing=True, client=client)
    served.update({"k": 1, **{str(number): number for number in range(20)}})
    return served


def test_child_of_a_served_dict_works_over_connections_of_its_own(served: Handle) -> None:
    def use() -> None:
        assert served["k"] == 1
        served.update({number: number for number in range(20)})
        assert asyncio.run(served.get.aio("k")) == 1
        with served.lock("job", timeout=10):
            served["from"] = "the child"

    assert in_child(use) == 0
    assert served["from"] == "the child"


class ForkAndAdd:
    """A function for `modify`, which returns in the process and in a child that it forks."""

    def __init__(self) -> None:
        self.is_child = False
        self.codes: list[int] = []
        """The exit codes of the children."""

    def __call__(self, number: int) -> int:
        pid = os.fork()
        self.is_child = not pid
        if pid:
            self.codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return number + 1


def test_child_of_a_call_does_not_go_on_over_the_connections_of_its_parent(served: Handle) -> None:
    """Both would read each other's responses from one socket; and the threads of obstore are not in the child."""
    add = ForkAndAdd()

    try:
        served.modify("k", add)
    except InvalidError as error:
        os._exit(0 if add.is_child and "begun in the parent process" in str(error) else 1)
    finally:
        if add.is_child:
            os._exit(2)
    assert add.codes == [0]
    assert served["k"] == 2


def test_child_of_a_task_does_not_go_on_over_the_connections_of_its_parent(served: Handle) -> None:
    add = ForkAndAdd()

    async def modify() -> None:
        try:
            await served.modify.aio("k", add)
        except InvalidError:
            os._exit(0 if add.is_child else 1)
        finally:
            if add.is_child:
                os._exit(2)

    asyncio.run(modify())
    assert add.codes == [0]
    assert served["k"] == 2


def test_child_that_leaves_the_lock_of_a_served_dict_leaves_it_to_its_parent(served: Handle) -> None:
    lock = served.lock("job", lease=30)
    with lock as held:
        assert in_child(lambda: lock.__exit__(None, None, None)) == 0
        assert held.renew() is True
