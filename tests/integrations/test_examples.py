"""The examples of the adapters as a user runs them: two processes that share a Dict on a real S3."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.request import HTTPCookieProcessor, build_opener
from uuid import uuid4

import pytest

from ..support.modes import Endpoint

Start = Callable[[str], str]


@pytest.fixture
def start(seaweedfs: Endpoint, tmp_path: Path) -> Iterator[Start]:
    """Start the example of that name, and return its URL; two of one test share a bucket and a prefix."""
    settings = {"S3DICT_BUCKET": seaweedfs.bucket, "S3DICT_ENDPOINT_URL": seaweedfs.url, "S3DICT_PREFIX": uuid4().hex}
    with ExitStack() as running:

        def start(name: str) -> str:
            command = [sys.executable, "-u", "-m", f"s3dict.examples.{name}", "--port", str(_free_port())]
            process = subprocess.Popen(
                command, cwd=tmp_path, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True
            )
            running.callback(process.wait)
            running.callback(process.kill)
            assert process.stdout is not None
            running.callback(process.stdout.close)
            line = process.stdout.readline()
            [url] = re.findall(r"http://\S+", line)
            return str(url)

        yield start


def test_django_sites_share_cache_and_sessions(start: Start) -> None:
    first, second = start("django_site"), start("django_site")
    browser, other = (build_opener(HTTPCookieProcessor(CookieJar())) for _ in range(2))

    def visit(opener: Any, url: str) -> Any:
        with opener.open(url, timeout=30) as response:
            return json.load(response)

    assert visit(browser, first) == {"all": 1, "yours": 1}
    assert visit(browser, second) == {"all": 2, "yours": 2}
    assert visit(other, second) == {"all": 3, "yours": 1}


def test_flask_apps_share_results(start: Start) -> None:
    def get(url: str) -> Any:
        with build_opener().open(url + "sales", timeout=30) as response:
            return json.load(response)

    first, second = start("flask_app"), start("flask_app")
    assert get(first) == get(second)


def test_mcp_servers_share_notes(start: Start) -> None:
    from fastmcp import Client

    async def use(first: str, second: str) -> str:
        await _connected(first, "remember", {"name": "tea", "text": "at four"})
        return await _connected(second, "recall", {"name": "tea"})

    async def _connected(url: str, tool: str, arguments: dict[str, str]) -> str:
        for _ in range(300):
            try:
                async with Client(url) as client:
                    return str((await client.call_tool(tool, arguments)).data)
            except Exception:
                # The server prints its address before it listens.
                await asyncio.sleep(0.1)
        raise AssertionError(f"{url} does not respond")

    assert asyncio.run(use(start("mcp_server"), start("mcp_server"))) == "at four"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
