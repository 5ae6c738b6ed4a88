"""Back ends and modes: a test with the fixture `d` or `harness` runs once for each combination.

A back end is a store (memory, moto, SeaweedFS) and the driver that sends it requests (boto3, or obstore: "…-rust"). The
modes are blocking and asyncio.
"""

from __future__ import annotations

import asyncio
import compileall
import gc
import importlib.util
import inspect
import itertools
import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

import s3dict
from s3dict import Client, Dict
from s3dict._stores.memory import memory_bucket
from s3dict._stores.shared.threads import run_blocking

from .ceph.options import pytest_addoption as add_ceph
from .chaos.options import pytest_addoption as add_chaos
from .races.options import pytest_addoption as add_races
from .simulation.options import pytest_addoption as add_simulation
from .support.backends import add_servers, pytest_collection_modifyitems, pytest_generate_tests, server_of
from .support.modes import Driver, Endpoint, Harness, Mode
from .support.proxy import Proxy
from .support.retries import throttled_policies, with_retries
from .support.servers import ACCESS_KEY, SECRET_KEY, running

__all__ = ["SECRET_KEY", "pytest_collection_modifyitems", "pytest_generate_tests"]

_numbers = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    for add in (add_races, add_ceph, add_chaos, add_simulation, add_servers):
        add(parser)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        # For the processes that tests start: where PYTHONDONTWRITEBYTECODE is set, each would compile the package.
        compileall.compile_dir(Path(s3dict.__file__).parent, quiet=2)
    config.addinivalue_line("markers", "backends(name, ...): where the test runs unless --servers says otherwise")
    config.addinivalue_line("markers", "memory_only: examines the in-memory store, and runs on no other")
    config.addinivalue_line("markers", 'slow: left out by -m "not slow", the quick subset')
    config.addinivalue_line("markers", "unprobed: creates the first dict under its prefix, which probes the store")
    config.addinivalue_line("markers", "removes_by_delete: counts requests or faults of DELETE If-Match")
    config.addinivalue_line("markers", "certain_outcomes: expects every outcome to be known, though many contend")
    config.addinivalue_line(
        "markers",
        "unthrottled: counts requests or faults, or moves the clock or plants an object between two writes of a key",
    )
    config.addinivalue_line(
        "markers", "puts_whole_objects: kills the process that puts, which some servers take for the end"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """Keep what was collected out of garbage collections: those that tests call would take a second each."""
    gc.freeze()
    try:
        return (yield)
    finally:
        gc.unfreeze()


@pytest.fixture(scope="module")
def frozen_heap() -> None:
    """Keep what earlier tests have left and imported out of the garbage collections of a module with many of them."""
    gc.collect()
    gc.freeze()  # until `pytest_runtestloop` ends


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests: over a blocking store without an event loop, otherwise in a new one."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    coroutine = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if pyfuncitem.funcargs.get("mode") is Mode.SYNC:
        run_blocking(coroutine)
    else:
        asyncio.run(coroutine)
    return True


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "S3DICT_"))}


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """Replace the variables of AWS and s3dict that the shell has set by the tests' own credentials."""
    saved = dict(os.environ)
    for name in _settings():
        del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID=ACCESS_KEY,
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )
    # The default session keeps the credentials that it finds first: those of a test that sets others would be used by
    # all that follow it.
    boto3.DEFAULT_SESSION = boto3.Session()
    boto3.DEFAULT_SESSION.get_credentials()
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture(autouse=True)
def _unchanged_settings(_environment: None) -> Iterator[None]:
    """Fail a test that leaves a variable of AWS or s3dict changed: those that follow would have other credentials."""
    before = _settings()
    yield
    after = _settings()
    for name in after.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
    assert after == before


@pytest.fixture(autouse=True)
def _unchanged_signal_handlers() -> Iterator[None]:
    """Restore the handlers that a command sets for its process, where a test calls it in this one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory, _environment: None) -> Iterator[Callable[[str], Endpoint]]:
    """Return a function that returns the server of a name, which it starts on first use."""
    started: dict[str, Endpoint] = {}
    with ExitStack() as servers:

        def serve(name: str) -> Endpoint:
            if name not in started:
                started[name] = servers.enter_context(running(name, tmp_path_factory.mktemp(name)))
            return started[name]

        yield serve


@pytest.fixture(scope="session")
def seaweedfs(serve: Callable[[str], Endpoint]) -> Endpoint:
    """A real S3 server, which checks signatures and keeps its data on disk."""
    return serve("seaweedfs")


@pytest.fixture(scope="session")
def moto(serve: Callable[[str], Endpoint]) -> Endpoint:
    """moto's S3 behind one lock. It checks no signature, and keeps everything in memory."""
    return serve("moto")


@pytest.fixture(scope="session")
def nanio(serve: Callable[[str], Endpoint]) -> Endpoint:
    """A real S3 server without conditional writes, started as its users would."""
    if importlib.util.find_spec("nanio") is None:
        pytest.skip("nanio is not installed")
    return serve("nanio")


@pytest.fixture
def backend(backend_name: str) -> str:
    """The name of the back end that `tests/support/backends.py` selects."""
    return backend_name


@pytest.fixture
def endpoint(backend: str, serve: Callable[[str], Endpoint]) -> Endpoint:
    """The server of the back end, whichever the driver."""
    return serve(server_of(backend))


@pytest.fixture
def proxied_url(endpoint: Endpoint) -> str:
    """The server behind `proxy`: that of the back end, unless a module overrides it."""
    return endpoint.url


@pytest.fixture
def proxy(proxied_url: str) -> Iterator[Proxy]:
    """A proxy that records requests and injects faults."""
    with Proxy(proxied_url) as proxy:
        yield proxy


@pytest.fixture(params=["boto3", "obstore"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """Each driver of a real store, for tests that start their own server.

    A test that is parametrized with `DRIVERS_AND_THREADS` also runs with boto3 in threads in asyncio.
    """
    if request.param == "threads":
        request.getfixturevalue("boto3_in_threads")
        return "boto3"
    return here(request.param)


@pytest.fixture
def boto3_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver boto3 use threads in asyncio, as it does where aioboto3 is not installed."""
    monkeypatch.setattr("s3dict._client.is_installed", lambda package: package != "aioboto3")


def here(driver: Driver) -> Driver:
    if driver == "obstore" and importlib.util.find_spec("obstore") is None:
        pytest.skip("obstore is not installed")
    return driver


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver obstore read the store's clock each time, for tests that move that clock."""
    monkeypatch.setattr("s3dict._stores.obstore.server_clock.RESYNC_AFTER", 0)
    monkeypatch.setattr("s3dict._stores.obstore.server_clock.MAX_SIGNATURE_SKEW", timedelta(days=3650))


@pytest.fixture(params=list(Mode), ids=lambda mode: mode.value)
def mode(request: pytest.FixtureRequest) -> Mode:
    parameter: Mode = request.param
    return parameter


@pytest.fixture(scope="session")
def record_capabilities() -> Callable[[Endpoint, str], None]:
    """Record under a prefix what the store supports, as the probe of the first prefix of this server found it.

    A probe is two thirds of the requests of a typical test.
    """
    records: dict[str, tuple[Any, bytes]] = {}

    def probe(endpoint: Endpoint) -> tuple[Any, bytes]:
        prefix = f"probed-{os.getpid()}"
        Dict.from_name(
            "d",
            create_if_missing=True,
            client=Client(endpoint.bucket, prefix=prefix, endpoint_url=endpoint.url, driver="boto3"),
        ).hydrate()
        s3 = boto3.client("s3", endpoint_url=endpoint.url)
        return s3, s3.get_object(Bucket=endpoint.bucket, Key=f"{prefix}/store.json")["Body"].read()

    def record_capabilities(endpoint: Endpoint, prefix: str) -> None:
        if endpoint.url not in records:
            records[endpoint.url] = probe(endpoint)
        s3, record = records[endpoint.url]
        if endpoint.bucket.endswith("--x-s3"):
            # A test may have ended the session that this client has opened in a directory bucket.
            s3 = boto3.client("s3", endpoint_url=endpoint.url)
        s3.put_object(Bucket=endpoint.bucket, Key=f"{prefix}/store.json", Body=record)

    return record_capabilities


@pytest.fixture
def client(backend: str, request: pytest.FixtureRequest) -> Client:
    """A client with a prefix of its own on the back end, probed unless the test is marked `unprobed`."""
    prefix = f"t{os.getpid()}-{next(_numbers)}"
    if backend.startswith("memory"):
        memory_bucket(f"memory-{prefix}").ordered_listing = backend != "memory-unordered"
        return Client(f"memory-{prefix}", prefix=prefix, driver="memory")
    endpoint: Endpoint = request.getfixturevalue("endpoint")
    if request.node.get_closest_marker("unprobed") is None:
        request.getfixturevalue("record_capabilities")(endpoint, prefix)
    if backend.endswith("-threads"):
        request.getfixturevalue("boto3_in_threads")
    driver = here("obstore" if backend.endswith("-rust") else "boto3")
    client = Client(endpoint.bucket, prefix=prefix, endpoint_url=endpoint.url, driver=driver)
    return with_retries(client, throttled_policies()) if server_of(backend) == "limited" else client


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Client:
    """A client for an empty in-memory bucket, which the environment variables configure."""
    monkeypatch.setenv("S3DICT_DRIVER", "memory")
    monkeypatch.setenv("S3DICT_BUCKET", f"configured-{os.getpid()}-{next(_numbers)}")
    return Client.from_env()


@pytest.fixture
def harness(client: Client, mode: Mode) -> Harness:
    """The whole API, called in the mode."""
    return Harness(client, mode)


@pytest.fixture
def d(harness: Harness) -> Any:
    """An empty dict named "d". Its methods are awaited in both modes."""
    return harness.in_mode(Dict.from_name("d", create_if_missing=True, client=harness.client))
