"""The checkboxes example without a browser: bitmaps, the board that servers contend on, and the WebSocket."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from s3dict import Client, ConflictError, Dict, Error, UnavailableError, UncertainOutcomeError
from s3dict.examples.checkboxes import board as board_module
from s3dict.examples.checkboxes.bitmaps import BOXES_PER_CHUNK, EMPTY, count_checked, is_checked, with_boxes
from s3dict.examples.checkboxes.board import Board, Watcher, shared_boxes
from s3dict.examples.checkboxes.web import make_app

from ..support.modes import Endpoint

TWO_CHUNKS = 2 * BOXES_PER_CHUNK
_numbers = itertools.count()


@pytest.fixture
def shared() -> Dict[int, bytes]:
    client = Client(f"checkboxes-{os.getpid()}-{next(_numbers)}", driver="memory")
    return Dict.from_name("checkboxes", create_if_missing=True, codec="bytes", client=client)


def checked_boxes(bitmap: bytes) -> set[int]:
    return {place for place in range(BOXES_PER_CHUNK) if is_checked(bitmap, place)}


# ---- Bitmaps


def test_empty_chunk_has_room_for_each_box_and_none_is_checked() -> None:
    assert checked_boxes(EMPTY) == set()
    assert count_checked(EMPTY) == 0


def test_boxes_are_checked_and_cleared_and_the_others_stay() -> None:
    some = with_boxes(EMPTY, {0: True, 7: True, 8: True, BOXES_PER_CHUNK - 1: True})
    assert checked_boxes(some) == {0, 7, 8, BOXES_PER_CHUNK - 1}
    assert checked_boxes(with_boxes(some, {7: False, 8: False, 9: True})) == {0, 9, BOXES_PER_CHUNK - 1}
    assert count_checked(some) == 4


def test_setting_a_box_twice_is_idempotent() -> None:
    wanted = {3: True, 4: False}
    once = with_boxes(with_boxes(EMPTY, {4: True}), wanted)
    assert with_boxes(once, wanted) == once


def test_page_reads_bitmaps_as_they_are_written() -> None:
    # page.js: (bitmap[place >> 3] >> (place & 7)) & 1
    assert with_boxes(EMPTY, {1: True, 15: True})[:2] == bytes([0b0000_0010, 0b1000_0000])


# ---- The board


async def test_boxes_are_stored_in_their_chunks(shared: Dict[int, bytes]) -> None:
    board = Board(shared, TWO_CHUNKS)
    await asyncio.gather(*(board.set(box, True) for box in (1, 9_999, 10_000, 19_999)), board.set(1, False))
    stored = await shared.get_many.aio([0, 1, 2])
    assert {chunk: checked_boxes(bitmap) for chunk, bitmap in stored.items()} == {0: {9_999}, 1: {0, 9_999}}
    assert board.checked == 3


async def test_clicks_that_come_while_a_chunk_is_written_are_written_together(shared: Dict[int, bytes]) -> None:
    board = Board(shared, TWO_CHUNKS)
    first = {board.set(box, True) for box in range(100)}
    await asyncio.sleep(0)  # the write begins
    second = {board.set(box, True) for box in range(100, 200)}
    await asyncio.gather(*first, *second)
    assert (len(first), len(second)) == (1, 1)
    assert checked_boxes(await shared.get.aio(0, EMPTY)) == set(range(200))


async def test_page_receives_clicks_of_another_server(shared: Dict[int, bytes]) -> None:
    here, there = Board(shared, TWO_CHUNKS), Board(shared, TWO_CHUNKS)
    page = Watcher()
    here.watchers.add(page)
    await here.show(page, [0])
    assert await page.changed_chunks(1) == {0}  # as it is at first
    await there.set(5, True)
    await there.set(10_005, True)
    await here.refresh([0, 1])
    assert await page.changed_chunks(1) == {0}
    assert checked_boxes(here.bitmap(0)) == {5}
    assert here.checked == 2


async def test_polling_reaches_chunks_that_no_page_shows(
    shared: Dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "POLL_SECONDS", 0)
    await shared.put.aio(1, with_boxes(EMPTY, {0: True}))
    board = Board(shared, TWO_CHUNKS)
    page = Watcher()
    page.shown = frozenset({0})
    board.watchers.add(page)
    following = asyncio.create_task(board.poll())
    while not board.checked:
        await page.changed_chunks(timeout=60)
    following.cancel()
    assert board.checked == 1


class Standing:
    """Stands in for a method of a Dict."""

    def __init__(self, aio: Callable[..., Awaitable[Any]]) -> None:
        self.aio = aio


class Interposed:
    """A Dict in front of which a test does what a network or another process might do."""

    def __init__(self, shared: Dict[int, bytes], **methods: Callable[..., Awaitable[Any]]) -> None:
        self._shared = shared
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return Standing(self._methods[name]) if name in self._methods else getattr(self._shared, name)


async def test_poll_started_before_a_click_does_not_undo_it(shared: Dict[int, bytes]) -> None:
    go_on = asyncio.Event()

    async def read_and_dawdle(chunks: Any) -> dict[int, bytes]:
        found = await shared.get_many.aio(chunks)
        await go_on.wait()
        return found

    board = Board(Interposed(shared, get_many=read_and_dawdle), TWO_CHUNKS)  # type: ignore[arg-type]
    looking = asyncio.create_task(board.refresh([0]))
    await asyncio.sleep(0)
    await board.set(5, True)
    go_on.set()
    await looking
    assert checked_boxes(board.bitmap(0)) == {5}


@pytest.mark.parametrize("error", [UncertainOutcomeError("Lost"), ConflictError("Others were faster")])
async def test_click_with_uncertain_outcome_is_retried(shared: Dict[int, bytes], error: Error) -> None:
    failures = [error, error]

    async def modify(*arguments: Any) -> bytes:
        stored = await shared.modify.aio(*arguments)
        if failures:
            raise failures.pop()
        return stored

    board = Board(Interposed(shared, modify=modify), TWO_CHUNKS)  # type: ignore[arg-type]
    await board.set(5, True)
    assert checked_boxes(await shared.get.aio(0, EMPTY)) == {5}
    assert not board.is_failing


async def test_pages_are_notified_of_failures_and_recovery(
    shared: Dict[int, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: Any) -> bytes:
        raise UnavailableError("No answer", maybe_applied=True)

    board = Board(Interposed(shared, modify=fail), TWO_CHUNKS)  # type: ignore[arg-type]
    with pytest.raises(UnavailableError):
        await board.set(5, True)
    is_failing = [board.is_failing]
    await board.refresh([0])
    assert [*is_failing, board.is_failing] == [True, False]
    assert capsys.readouterr().err == "Request failed: No answer\nThe bucket is reachable again.\n"


CONTENDERS = 3
CHECKED_AT_FIRST, CHECKED_AT_LAST = range(500, 600), range(100)


def click_as_one_of(contender: int) -> int:
    """What one server process does: its share of both ranges, some clicks at a time. Gives how many it made."""

    async def click() -> int:
        board = Board(shared_boxes(), BOXES_PER_CHUNK)
        wanted = dict.fromkeys(CHECKED_AT_FIRST[contender::CONTENDERS], False)
        wanted |= dict.fromkeys(CHECKED_AT_LAST[contender::CONTENDERS], True)
        clicks = list(wanted.items())
        for some in range(0, len(clicks), 8):
            await asyncio.gather(*(board.set(*click) for click in clicks[some : some + 8]))
        return len(clicks)

    return asyncio.run(click())


def test_servers_that_contend_for_a_chunk_lose_no_click(seaweedfs: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DICT_BUCKET", seaweedfs.bucket)
    monkeypatch.setenv("S3DICT_ENDPOINT_URL", seaweedfs.url)
    monkeypatch.setenv("S3DICT_PREFIX", f"checkboxes-{os.getpid()}")
    shared = shared_boxes()
    shared[0] = with_boxes(EMPTY, dict.fromkeys(CHECKED_AT_FIRST, True))
    with ProcessPoolExecutor(CONTENDERS, mp_context=get_context("spawn")) as processes:
        made = list(processes.map(click_as_one_of, range(CONTENDERS)))
    assert sum(made) == len(CHECKED_AT_FIRST) + len(CHECKED_AT_LAST)
    assert checked_boxes(shared[0]) == set(CHECKED_AT_LAST)


# ---- The WebSocket


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("S3DICT_DRIVER", "memory")
    monkeypatch.setenv("S3DICT_BUCKET", f"checkboxes-{os.getpid()}-{next(_numbers)}")
    with TestClient(make_app(TWO_CHUNKS), base_url="http://boxes") as client:
        yield client


@contextmanager
def connected(web: TestClient, origin: str = "http://boxes") -> Iterator[Any]:
    with web.websocket_connect("ws://boxes/live", headers={"Origin": origin}) as page:
        yield page


def test_page_receives_its_boxes_and_the_confirmation_of_a_click(web: TestClient) -> None:
    with connected(web) as page:
        page.send_json({"show": [1]})
        assert page.receive_bytes() == (1).to_bytes(4, "big") + EMPTY
        assert page.receive_json() == {"checked": 0, "trouble": False, "saved": [], "failed": []}
        page.send_json({"box": 10_005, "checked": True})
        assert (1).to_bytes(4, "big") + with_boxes(EMPTY, {5: True}) == page.receive_bytes()
        assert page.receive_json() == {"checked": 1, "trouble": False, "saved": [[10_005, True]], "failed": []}


@pytest.mark.parametrize(
    "message",
    [
        *("nonsense", "[]", "7", "{}", '{"box": 1}', '{"box": "1", "checked": true}', '{"box": 1, "checked": 1}'),
        *('{"box": -1, "checked": true}', '{"box": 20000, "checked": true}', '{"box": true, "checked": true}'),
        *('{"show": 1}', '{"show": ["0"]}', '{"show": [0,1,2,3,4,5,6,7,8]}'),
    ],
)
def test_malformed_message_closes_the_connection(web: TestClient, message: str) -> None:
    with connected(web) as page:
        page.send_text(message)
        with pytest.raises(WebSocketDisconnect) as ended:
            page.receive_text()
    assert ended.value.code == 1003


def test_pages_of_other_sites_may_not_connect(web: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, connected(web, origin="http://elsewhere"):
        pass
    assert refused.value.code == 1008


def test_page_and_all_that_it_needs_come_from_the_server(web: TestClient) -> None:
    page = web.get("/")
    assert page.status_code == 200
    assert "<h1>20,000 checkboxes</h1>" in page.text
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert [web.get(path).status_code for path in ("/page.css", "/page.js", "/web.py")] == [200, 200, 404]
    assert dict(web.cookies) == {}


# ---- The command


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "s3dict.examples.checkboxes", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_number_of_boxes_that_fills_no_chunks_is_rejected() -> None:
    answer = run("--boxes=10001")
    assert answer.returncode == 2
    assert "10,001 is not a multiple of 10,000" in answer.stderr


def test_busy_port_is_reported_on_one_line(seaweedfs: Endpoint) -> None:
    port = seaweedfs.url.rpartition(":")[2]
    answer = run(f"--port={port}")
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"s3dict: Cannot listen on 127.0.0.1:{port}")
    assert answer.stderr.count("\n") == 1
