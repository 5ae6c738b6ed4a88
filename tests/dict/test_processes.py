"""Threads, event loops, forks and fresh interpreters: a Dict works from all of them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from s3dict import Client, Dict

from ..support.modes import Endpoint, client_at
from ..support.proxy import Proxy

pytestmark = pytest.mark.backends("memory", "seaweedfs", "seaweedfs-rust")


on_servers = pytest.mark.backends("seaweedfs", "seaweedfs-rust")


@pytest.fixture
def d(client: Client) -> Dict[Any, Any]:
    return Dict.from_name("d", create_if_missing=True, client=client)


def test_threads_share_a_handle(d: Dict[Any, Any]) -> None:
    def work(number: int) -> bool:
        d[number] = number
        return d[number] == number and d.put("claim", number, skip_if_exists=True)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(40))) == 1
    assert d.len() == 41


async def _work(d: Dict[Any, Any], start: int) -> int:
    async def put(number: int) -> Any:
        await d.put.aio(number, number)
        return await d.get.aio(number)

    return sum(await asyncio.gather(*(put(start + n) for n in range(20))))


def test_event_loops_one_after_the_other(d: Dict[Any, Any]) -> None:
    for _ in range(3):
        assert asyncio.run(_work(d, 0)) == sum(range(20))
    assert d.len() == 20


def test_event_loops_at_once(d: Dict[Any, Any]) -> None:
    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(lambda start: asyncio.run(_work(d, start)), range(0, 80, 20)))
    assert sum(sums) == sum(range(80))


def test_blocking_calls_inside_an_event_loop_work(d: Dict[Any, Any]) -> None:
    async def mixed() -> list[Any]:
        d["blocking"] = 1
        await d.put.aio("asyncio", 2)
        return sorted([await d.get.aio("blocking"), d["asyncio"], *d.values()])

    assert asyncio.run(mixed()) == [1, 1, 2, 2]


@on_servers
def test_many_first_calls_look_the_dict_up_once(client: Client, endpoint: Endpoint) -> None:
    with Proxy(endpoint.url) as proxy:
        counted = client_at(proxy.url, client)
        Dict.objects.create("d", client=client)

        async def many() -> None:
            fresh = Dict.from_name("d", client=counted)
            await asyncio.gather(*(fresh.get.aio(n) for n in range(20)))

        with proxy.recording() as requests:
            asyncio.run(many())
        assert len(requests) == 21
        fresh = Dict.from_name("d", client=counted)
        with proxy.recording() as requests, ThreadPoolExecutor(8) as pool:
            list(pool.map(fresh.get, range(20)))
        assert len(requests) == 21


def test_loop_that_is_not_run_to_its_end_can_be_replaced(d: Dict[Any, Any]) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(d.put.aio("k", 1))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    assert asyncio.run(d.get.aio("k")) == 1
    gc.collect()


@on_servers
def test_clients_that_are_dropped_inside_a_loop_close_their_connections(client: Client) -> None:
    async def many_clients() -> None:
        for number in range(5):
            passing = client_at(str(client.endpoint_url), client)
            d: Dict[Any, Any] = Dict.from_name("d", create_if_missing=True, client=passing)
            await d.put.aio(number, number)
            del d, passing
            gc.collect()
            await asyncio.sleep(0)

    asyncio.run(many_clients())
    gc.collect()
    assert Dict.from_name("d", client=client).len() == 5


def test_cancelling_leaves_the_handle_usable(d: Dict[Any, Any]) -> None:
    async def cancelled() -> Any:
        await d.update.aio({n: n for n in range(50)})
        task = asyncio.create_task(_all(d))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await d.get.aio(7)

    assert asyncio.run(cancelled()) == 7


async def _all(d: Dict[Any, Any]) -> list[Any]:
    while True:
        _ = [item async for item in d.items.aio()]


def test_no_thread_is_left_behind_by_a_broken_iteration(d: Dict[Any, Any]) -> None:
    d.update({n: n for n in range(50)})
    before = _threads()
    for _ in range(5):
        for _ in d.items():
            break
    # The pool's own threads are kept, up to `concurrency`; nothing else stays.
    assert len(_threads() - before) <= 64


def _threads() -> set[threading.Thread]:
    """Return the threads of s3dict, and not those of a server in this process."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("s3dict")}


def _child(d: Dict[Any, Any], answers: Any) -> None:
    answers.put(("claim", d.put("claim", os.getpid(), skip_if_exists=True)))
    answers.put(("loop", asyncio.run(_work(d, 100))))
    d["from the child"] = os.getpid()


@on_servers
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_handle_works_in_child_processes(d: Dict[Any, Any], method: str) -> None:
    d["k"] = 1
    d.update({n: n for n in range(20)})  # threads exist now, which a fork does not take along
    context: Any = multiprocessing.get_context(method)
    answers = context.Queue()
    children = [context.Process(target=_child, args=(d, answers)) for _ in range(3)]
    for child in children:
        child.start()
    got = [answers.get(timeout=60) for _ in range(6)]
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 3
    assert sorted(won for what, won in got if what == "claim") == [False, False, True]
    assert [total for what, total in got if what == "loop"] == [sum(range(100, 120))] * 3
    assert d["k"] == 1
    assert d["claim"] in {child.pid for child in children}


@on_servers
def test_fresh_interpreter_reaches_the_dict_through_the_environment(client: Client, endpoint: Endpoint) -> None:
    Dict.from_name("d", create_if_missing=True, client=client)["k"] = [1, 2]
    program = textwrap.dedent("""
        import asyncio
        from s3dict import Dict

        d = Dict.from_name("d")
        print(d["k"], asyncio.run(d.get.aio("k")), d.put("k", 0, skip_if_exists=True))
    """)
    environment = {
        "S3DICT_BUCKET": endpoint.bucket,
        "S3DICT_ENDPOINT_URL": endpoint.url,
        "S3DICT_PREFIX": client.prefix,
    }
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.stdout, run.stderr, run.returncode) == ("[1, 2] [1, 2] False\n", "", 0)


def test_pickles_hold_no_secret(seaweedfs: Endpoint) -> None:
    import boto3

    session = boto3.Session(aws_access_key_id="AKSECRET", aws_secret_access_key="hunter2hunter2")
    client = Client(seaweedfs.bucket, session=session, signing_keys=["a signing key of some length"])
    for thing in (client, Dict.from_name("d", client=client)):
        pickled = pickle.dumps(thing)
        for secret in (b"AKSECRET", b"hunter2", b"signing key"):
            assert secret not in pickled
        assert "signing key" not in repr(thing)
    again = pickle.loads(pickle.dumps(client))
    assert (client.bucket, client.prefix, client.endpoint_url) == (again.bucket, again.prefix, again.endpoint_url)
    assert again is pickle.loads(pickle.dumps(client))
