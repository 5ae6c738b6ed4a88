"""The pytest plugin: fixtures that provide an empty client for each test.

It is installed as a top-level module, ``_s3dict_pytest``: pytest loads it for every suite in an environment that has
s3dict, and most of them do not use it. So it must not load the package, which would cost each about 40 ms.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from s3dict import Client
    from s3dict.testing.seaweedfs import LocalServer


_BUCKET = "S3DICT_BUCKET"
_HIDDEN = pytest.StashKey[str | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("s3dict")
    group.addoption(
        "--s3dict",
        choices=("memory", "local"),
        default="memory",
        help="where s3dict_client is: in this process's memory (the default), or on a real local S3, SeaweedFS",
    )
    group.addoption(
        "--s3dict-shell-bucket",
        action="store_true",
        help="let tests use the bucket that S3DICT_BUCKET of the shell names; it is hidden from them by default",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Hide the bucket of the shell: a test without the fixture must not write to it. A conftest may set another one."""
    if not early_config.known_args_namespace.s3dict_shell_bucket:
        early_config.stash[_HIDDEN] = os.environ.pop(_BUCKET, None)


def pytest_unconfigure(config: pytest.Config) -> None:
    hidden = config.stash.get(_HIDDEN, None)
    if hidden is not None:
        os.environ.setdefault(_BUCKET, hidden)


@pytest.fixture
def s3dict_client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """An empty s3dict.Client, which the environment describes while the test runs.

    In memory, or with --s3dict=local on a real local S3 (extra "local"). Code that passes no client uses it, handles
    at module level included; the variables S3DICT_* are set for the test, and with --s3dict=local AWS_* as well.
    """
    from s3dict.testing.isolation import local_client, memory_client

    is_local = request.config.getoption("--s3dict") == "local"
    with local_client(request.getfixturevalue("_s3dict_server")) if is_local else memory_client() as client:
        yield client


@pytest.fixture
def s3dict_memory_client() -> Iterator[Client]:
    """s3dict_client for tests that move time or inject faults (s3dict.testing): always in memory."""
    from s3dict.testing.isolation import memory_client

    with memory_client() as client:
        yield client


@pytest.fixture(scope="session")
def _s3dict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    from s3dict.testing.seaweedfs import LocalServer

    server = LocalServer(tmp_path_factory.mktemp("s3dict"))
    try:
        yield server.start()
    finally:
        server.kill()  # quicker than a clean shutdown, and pytest removes its data
