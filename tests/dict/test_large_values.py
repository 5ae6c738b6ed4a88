"""Large values: read in parts side by side, whole inside of bulk reads, and in little more memory than they take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from s3dict import Client, ConflictError
from s3dict._core import ranged_get

from ..support.http_wire import HttpResponse
from ..support.modes import Driver, Endpoint, Harness, Mode, collect
from ..support.proxy import Proxy, Request

FIRST, PART = 64 * 1024, 32 * 1024


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that values need not be large to be read in parts."""
    monkeypatch.setattr(ranged_get, "FIRST_RANGE_BYTES", FIRST)
    monkeypatch.setattr(ranged_get, "PART_BYTES", PART)


@pytest.fixture
def proxied_url(seaweedfs: Endpoint) -> str:
    return seaweedfs.url


@pytest.fixture
def distant(client: Client, proxy: Proxy, seaweedfs: Endpoint, driver: Driver, mode: Mode) -> Any:
    """A dict on a real server, with a proxy in between."""
    through = Client(seaweedfs.bucket, prefix=client.prefix, endpoint_url=proxy.url, driver=driver)
    return Harness(through, mode).named("d", create_if_missing=True)


async def test_value_of_any_size_around_the_parts_comes_back(d: Any) -> None:
    overhead = 200
    for size in (FIRST - overhead, FIRST, FIRST + 1, FIRST + PART, FIRST + PART - overhead, 5 * FIRST):
        value = np.random.default_rng(size).bytes(size)
        await d.put("k", value)
        assert await d.get("k") == value
        assert (await d.entry("k")).value == value


async def test_arrays_come_back_aligned_and_may_be_changed(d: Any) -> None:
    arrays = [np.arange(30_000, dtype="f8"), np.arange(3, dtype="i2"), np.zeros((0, 3)), np.ones(100, dtype="c16")]
    await d.put("k", arrays)
    for _ in range(2):
        back = await d.get("k")
        assert [array.tolist() for array in arrays] == [array.tolist() for array in back]
        assert all(array.flags.aligned and array.flags.writeable for array in back)
        back[0][:] = 0


@pytest.mark.parametrize("backend", ["memory"])
async def test_each_further_part_is_one_request(distant: Any, proxy: Proxy) -> None:
    await distant.put("k", bytes(FIRST + 3 * PART))
    with proxy.recording() as sent:
        await distant.get("k")
    assert [request.operation for request in sent] == ["GetObject"] * 5
    assert sent[0].byte_range == f"bytes=0-{FIRST - 1}"


@pytest.mark.parametrize("backend", ["memory"])
async def test_bulk_reads_take_one_request_for_each_value(distant: Any, proxy: Proxy) -> None:
    await distant.update((n, bytes(2 * FIRST)) for n in range(3))
    for read in (lambda: distant.get_many(range(3)), lambda: collect(distant.items())):
        with proxy.recording() as sent:
            assert len(await read()) == 3
        assert sum(request.operation == "GetObject" for request in sent) == 3


@pytest.mark.parametrize("backend", ["memory"])
async def test_value_replaced_between_parts_is_read_again(
    distant: Any, proxy: Proxy, client: Client, seaweedfs: Endpoint
) -> None:
    size = 4 * FIRST
    await distant.put("k", b"a" * size)
    other = Harness(Client(seaweedfs.bucket, prefix=client.prefix, endpoint_url=seaweedfs.url), Mode.SYNC)
    proxy.rewrite = once_after_the_first_part(lambda: other.named("d").wrapped.put("k", b"b" * size))
    assert await distant.get("k") == b"b" * size


@pytest.mark.parametrize("backend", ["memory"])
async def test_value_removed_between_parts_is_missing(
    distant: Any, proxy: Proxy, client: Client, seaweedfs: Endpoint
) -> None:
    await distant.put("k", bytes(4 * FIRST))
    other = Harness(Client(seaweedfs.bucket, prefix=client.prefix, endpoint_url=seaweedfs.url), Mode.SYNC)
    proxy.rewrite = once_after_the_first_part(lambda: other.named("d").wrapped.pop("k"))
    assert await distant.get("k") is None


def once_after_the_first_part(act: Callable[[], object]) -> Callable[[Request, HttpResponse], HttpResponse]:
    acted: list[bool] = []

    def rewrite(request: Request, answer: HttpResponse) -> HttpResponse:
        if not acted and request.operation == "GetObject" and "/entries/" in request.path:
            acted.append(True)
            act()
        return answer

    return rewrite


@pytest.mark.parametrize("backend", ["memory"])
async def test_constantly_changing_value_is_a_conflict(
    distant: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranged_get, "MAX_RESTARTS", 2)
    await distant.put("k", bytes(2 * FIRST))
    changes = iter(range(100))

    def rewrite(request: Request, answer: HttpResponse) -> HttpResponse:
        headers = tuple(
            (name, f'"{next(changes):032x}"' if name.lower() == "etag" else value) for name, value in answer.headers
        )
        return HttpResponse(answer.status, answer.reason, headers, answer.body)

    proxy.rewrite = rewrite
    with pytest.raises(ConflictError, match="kept changing"):
        await distant.get("k")


SIZE = 64 << 20
ALLOWED = 2.2
PROGRAM = """
import asyncio, resource, sys
import numpy as np
from s3dict import Client, Dict

bucket, prefix, url, driver, way, step, size = sys.argv[1:]
client = Client(bucket, prefix=prefix, endpoint_url=url, driver=driver)
d = Dict.from_name("d", create_if_missing=True, client=client)


async def call(method, *args):
    return method(*args) if way == "blocking" else await method.aio(*args)


async def main():
    await call(d.put, "small", np.ones(10))
    await call(d.get, "small")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if step == "put":
        await call(d.put, "large", np.ones(int(size) // 8))
    else:
        assert (await call(d.get, "large")).sum() == int(size) // 8
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


asyncio.run(main())
"""


def test_large_array_takes_little_more_memory_than_itself_and_a_copy(
    seaweedfs: Endpoint, driver: Driver, mode: Mode
) -> None:
    for step in ("put", "get"):
        where = (seaweedfs.bucket, f"large-{driver}-{mode.value}", seaweedfs.url, driver)
        command = [sys.executable, "-c", PROGRAM, *where, mode.value, step, str(SIZE)]
        grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        assert grown <= ALLOWED * SIZE, f"{step}: {grown / SIZE:.2f} times the array"
