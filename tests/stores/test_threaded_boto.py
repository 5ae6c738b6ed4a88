"""boto3 in asyncio: in which threads it runs, and what a cancellation does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from s3dict import Client, Dict
from s3dict._stores.boto.aio import AioBotoStore
from s3dict._stores.boto.blocking import BotoStore
from s3dict._stores.boto.threaded import ThreadedBotoStore
from s3dict._stores.shared.connection import Connection, ConnectionArguments
from s3dict._stores.shared.messages import S3Request, S3Response

from ..support.modes import Endpoint

CONCURRENCY = 3


@pytest.fixture
def without_aioboto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3dict._client.is_installed", lambda package: package != "aioboto3")


@pytest.fixture
def threaded_client(seaweedfs: Endpoint, without_aioboto3: None) -> Client:
    return Client(
        seaweedfs.bucket, prefix="threads", endpoint_url=seaweedfs.url, driver="boto3", concurrency=CONCURRENCY
    )


class UnusableExecutor(ThreadPoolExecutor):
    def submit(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the default executor of the loop was used")


class Recorder:
    """Records the names of the threads in which boto3 stores send requests."""

    def __init__(self) -> None:
        self.threads: set[str] = set()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder, execute = Recorder(), BotoStore._execute

    async def recording(store: BotoStore, request: S3Request) -> S3Response:
        recorder.threads.add(threading.current_thread().name)
        return await execute(store, request)

    monkeypatch.setattr(BotoStore, "_execute", recording)
    return recorder


async def test_requests_run_in_bounded_threads_and_not_in_the_default_executor(
    threaded_client: Client, recorded: Recorder
) -> None:
    asyncio.get_running_loop().set_default_executor(UnusableExecutor(1))
    d: Dict[int, int] = Dict.from_name("bounded", create_if_missing=True, client=threaded_client)
    await d.update.aio((number, number) for number in range(40))
    assert await asyncio.gather(*(d.get.aio(number) for number in range(40))) == list(range(40))
    assert all(name.startswith("s3dict-boto3") for name in recorded.threads)
    assert len(recorded.threads) <= CONCURRENCY


async def test_event_loops_share_threads(threaded_client: Client, recorded: Recorder) -> None:
    d: Dict[str, int] = Dict.from_name("shared", create_if_missing=True, client=threaded_client)

    def use_other_loop(number: int) -> None:
        asyncio.run(d.put.aio(f"key {number}", number))

    await asyncio.gather(*(asyncio.to_thread(use_other_loop, number) for number in range(8)))
    assert await d.len.aio() == 8
    assert len(recorded.threads) <= CONCURRENCY


@pytest.mark.parametrize("operation", ["pop", "copy"])
async def test_obstore_sends_conditional_deletes_and_copies_from_threads(
    operation: str, seaweedfs: Endpoint, recorded: Recorder
) -> None:
    client = Client(seaweedfs.bucket, prefix=f"obstore-{operation}", endpoint_url=seaweedfs.url, driver="obstore")
    d: Dict[str, int] = Dict.from_name("d", create_if_missing=True, client=client)
    await d.put.aio("k", 1)
    recorded.threads.clear()
    if operation == "pop":
        assert await d.pop.aio("k") == 1
    else:
        await client._store(aio=True).copy("missing", source_if_match='"a"', if_match='"b"')
    assert recorded.threads
    assert all(name.startswith("s3dict-boto3") for name in recorded.threads)


async def test_driver_boto3_uses_aioboto3_where_it_is_installed(seaweedfs: Endpoint) -> None:
    pytest.importorskip("aioboto3")
    client = Client(seaweedfs.bucket, endpoint_url=seaweedfs.url, driver="boto3")
    assert isinstance(client._store(aio=True), AioBotoStore)


async def test_driver_boto3_uses_threads_without_aioboto3(threaded_client: Client) -> None:
    assert isinstance(threaded_client._store(aio=True), ThreadedBotoStore)


class HeldBotoStore(BotoStore):
    """Sends nothing; its requests end when the test says so."""

    def __init__(self) -> None:
        super().__init__(Connection(ConnectionArguments("b")))
        self.started = threading.Semaphore(0)
        self.release = threading.Event()
        self.finished: list[str] = []

    async def _execute(self, request: S3Request) -> S3Response:
        self.started.release()
        assert self.release.wait(60)
        self.finished.append(request.method)
        return S3Response({"ETag": '"e"', "ResponseMetadata": {"HTTPHeaders": {}}})


@pytest.fixture
def held() -> Iterator[HeldBotoStore]:
    store = HeldBotoStore()
    yield store
    store.release.set()


@pytest.fixture
def threads(held: HeldBotoStore) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor
        held.release.set()


async def start(store: HeldBotoStore, call: Any) -> asyncio.Task[Any]:
    task = asyncio.create_task(call)
    await asyncio.to_thread(store.started.acquire)
    return task


async def test_cancelled_read_ends_at_once(held: HeldBotoStore, threads: ThreadPoolExecutor) -> None:
    task = await start(held, ThreadedBotoStore(Connection(ConnectionArguments("b")), held, threads).get("p"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held.finished == []


async def test_cancelled_write_waits_for_its_response(held: HeldBotoStore, threads: ThreadPoolExecutor) -> None:
    task = await start(held, ThreadedBotoStore(Connection(ConnectionArguments("b")), held, threads).put("p", b"body"))
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not task.done()
    held.release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert held.finished == ["put_object"]


async def test_cancelled_write_that_no_thread_has_started_is_not_sent(
    held: HeldBotoStore, threads: ThreadPoolExecutor
) -> None:
    store = ThreadedBotoStore(Connection(ConnectionArguments("b")), held, threads)
    first = await start(held, store.put("first", b"body"))
    queued = asyncio.create_task(store.put("queued", b"body"))
    await asyncio.sleep(0)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    held.release.set()
    await first
    assert held.finished == ["put_object"]


async def test_shorter_timeout_has_threads_of_its_own(held: HeldBotoStore, threads: ThreadPoolExecutor) -> None:
    store = ThreadedBotoStore(Connection(ConnectionArguments("b")), held, threads)
    blocked = await start(held, store.put("p", b"body"))
    renewal = store.with_timeout(2)
    assert renewal.timeout == 2
    assert renewal._threads is not threads
    held.release.set()
    await blocked
