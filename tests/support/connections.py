"""Requests through each driver in each mode, with a server and an environment for one test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from s3dict import Client
from s3dict._stores.shared.threads import run_blocking
from s3dict.errors import Error

from .recording_server import Recorded, RecordingServer, Response, not_found, recording_server
from .retries import quick

DRIVERS: tuple[Literal["boto3", "obstore"], ...] = ("boto3", "obstore")
WAYS: list[tuple[Any, bool]] = [(driver, aio) for driver in DRIVERS for aio in (False, True)]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3DICT_")) or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID0EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with recording_server(open_session) as server:
        yield server


def open_session(recorded: Recorded) -> Response:
    """Open a session of a directory bucket; there is nothing else."""
    if not recorded.path.endswith("?session"):
        return not_found(recorded)
    names = {"AccessKeyId": "ASIA0EXAMPLE", "SecretAccessKey": "s", "SessionToken": "SESSION0"}
    fields = {**names, "Expiration": "2100-01-01T00:00:00Z"}
    return 200, {}, "".join(f"<{name}>{text}</{name}>" for name, text in fields.items()).encode()


def perform(client: Client, aio: bool, request: Callable[[Any], Any]) -> Any:
    """Send one request through the client's store, and return its result or error."""

    quick(client)

    async def send() -> Any:
        try:
            return await request(client._store(aio=aio))
        except Error as failure:
            return failure

    return asyncio.run(send()) if aio else run_blocking(send())


def get(store: Any) -> Any:
    return store.get("s3dict/k")


def put(store: Any) -> Any:
    return store.put("s3dict/k", b"v")


def copy(store: Any) -> Any:
    return store.copy("s3dict/k", source_if_match='"e"', if_match='"e"')


def delete_if(store: Any) -> Any:
    return store.delete("s3dict/k", if_match='"e"')


def delete_many(store: Any) -> Any:
    return store.delete_many(["s3dict/k"])


def list_page(store: Any) -> Any:
    return store.list_page("s3dict/")


REQUESTS = (get, put, copy, delete_if, delete_many, list_page)


def signed_for(recorded: Recorded) -> str:
    return recorded.headers["authorization"].partition("Credential=")[2].split(",")[0]


def sent(server: RecordingServer, aio: bool, driver: Any, request: Any, **options: Any) -> Recorded:
    """Return the signed request that was recorded."""
    server.requests.clear()
    client = Client("bucket", driver=driver, timeout=timedelta(seconds=3), **options)
    perform(client, aio, request)
    return next(recorded for recorded in server.requests if "authorization" in recorded.headers)
