"""Where the races take place, and who races."""

from __future__ import annotations

import os
from collections.abc import Iterator

import boto3
import pytest

from ..support.ministack import MiniStack
from ..support.ways import Endpoint
from .place import Place, Scale
from .workers import Workers


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory, _environment: None) -> Iterator[Endpoint]:
    """An S3 server in memory whose requests are atomic. It is quick, also for many contenders of one key."""
    with MiniStack(tmp_path_factory.mktemp("ministack")) as server:
        client = boto3.client("s3", endpoint_url=server.url)
        client.create_bucket(Bucket="s3dict-tests")
        client.close()
        yield Endpoint(server.url, "s3dict-tests")


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    with Workers() as started:
        yield started


@pytest.fixture(params=["ministack", "seaweedfs"])
def place(request: pytest.FixtureRequest) -> Place:
    """An empty place of its own on each of the servers whose conditional requests are atomic."""
    endpoint: Endpoint = request.getfixturevalue(request.param)
    return Place(request.param, endpoint, f"races-{os.getpid()}-{request.node.name}")


@pytest.fixture
def scale(place: Place, request: pytest.FixtureRequest) -> Scale:
    """SeaweedFS is as right as MiniStack, but lets contenders for one key queue: full counts would take hours."""
    is_full = request.config.getoption("--races", "short") == "full"
    return Scale(full=is_full and place.name == "ministack", gentle=place.name == "seaweedfs")
