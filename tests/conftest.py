"""Back ends and ways: every test that asks for `d` or `world` runs once for each of them, from one text.

A back end is a store (memory, moto, a real SeaweedFS) and the driver that reaches it (boto3, or obstore: "…-rust"); a
way is how it is called (blocking, asyncio).
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import itertools
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest

from s3dict import Client, Dict
from s3dict.cli.seaweed import LocalServer
from s3dict.stores.threads import run_blocking

from .ceph.options import pytest_addoption as add_ceph
from .chaos.options import pytest_addoption as add_chaos
from .races.options import pytest_addoption as add_races
from .support.ministack import MiniStack
from .support.moto_server import MotoServer
from .support.ways import Driver, Endpoint, Way, World

ACCESS_KEY, SECRET_KEY = "tests-access-key", "tests-secret-key"
_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    for add in (add_races, add_ceph, add_chaos):
        add(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs coroutine tests: over a blocking store without an event loop, otherwise in a new one."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    coroutine = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if pyfuncitem.funcargs.get("way") is Way.BLOCKING:
        run_blocking(coroutine)
    else:
        asyncio.run(coroutine)
    return True


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """What the shell has set must not reach the tests; the tests' own credentials must."""
    saved = dict(os.environ)
    for name in saved:
        if name.startswith(("AWS_", "S3DICT_")):
            del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory, _environment: None) -> Iterator[Endpoint]:
    """A real S3 server, which checks signatures and keeps its data on disk."""
    directory = tmp_path_factory.mktemp("seaweedfs")
    # As if it had run here before: it keeps the credentials it finds, and all servers of the tests have the same.
    keys = {"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}
    admin = {"name": "admin", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (directory / "identities.json").write_text(json.dumps({"identities": [admin]}))
    with LocalServer(directory, bucket="s3dict-tests") as server:
        yield Endpoint(server.endpoint_url, server.bucket)


@pytest.fixture(scope="session")
def moto(_environment: None) -> Iterator[Endpoint]:
    """moto's S3 behind one lock. It checks no signature, and keeps everything in memory."""
    with MotoServer() as server:
        boto3.client("s3", endpoint_url=server.url).create_bucket(Bucket="s3dict-tests")
        yield Endpoint(server.url, "s3dict-tests")


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory, _environment: None) -> Iterator[Endpoint]:
    """An S3 server in memory whose requests are atomic. It is quick, also for many contenders of one key."""
    with MiniStack(tmp_path_factory.mktemp("ministack")) as server:
        client = boto3.client("s3", endpoint_url=server.url)
        client.create_bucket(Bucket="s3dict-tests")
        client.close()
        yield Endpoint(server.url, "s3dict-tests")


@pytest.fixture(params=["memory", "moto", "seaweedfs", "seaweedfs-rust"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def endpoint(backend: str, request: pytest.FixtureRequest) -> Endpoint:
    """The server of the back end, whichever driver reaches it."""
    found: Endpoint = request.getfixturevalue(backend.removesuffix("-rust"))
    return found


@pytest.fixture(params=["boto3", "obstore"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each driver of a real store, for tests that have a server of their own."""
    return here(request.param)


def here(driver: Driver) -> Driver:
    if driver == "obstore" and importlib.util.find_spec("obstore") is None:
        pytest.skip("obstore is for Python 3.11 and later, and so not installed here")
    return driver


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that move the store's clock and not ours, as no real clock does: obstore's driver asks it each time."""
    monkeypatch.setattr("s3dict.stores.clock.TRUSTED_SECONDS", 0)
    monkeypatch.setattr("s3dict.stores.clock.SIGNED_WITHIN", timedelta(days=3650))


@pytest.fixture(params=list(Way), ids=lambda way: way.value)
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture
def client(backend: str, request: pytest.FixtureRequest) -> Client:
    """An empty place of its own on the back end."""
    prefix = f"t{os.getpid()}-{next(_numbers)}"
    if backend == "memory":
        return Client(f"memory-{prefix}", prefix=prefix, driver="memory")
    endpoint: Endpoint = request.getfixturevalue("endpoint")
    driver = here("obstore" if backend.endswith("-rust") else "boto3")
    return Client(endpoint.bucket, prefix=prefix, endpoint_url=endpoint.url, driver=driver)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Client:
    """An empty place in memory, which the environment variables lead to."""
    monkeypatch.setenv("S3DICT_DRIVER", "memory")
    monkeypatch.setenv("S3DICT_BUCKET", f"configured-{os.getpid()}-{next(_numbers)}")
    return Client.from_env()


@pytest.fixture
def world(client: Client, way: Way) -> World:
    """The whole API, called in one way or the other by the same text."""
    return World(client, way)


@pytest.fixture
def d(world: World) -> Any:
    """An empty dict named "d"; its methods are awaited in either way."""
    return world.call_in_way(Dict.from_name("d", create_if_missing=True, client=world.client))
