"""The servers and the processes of the races."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from ..support.modes import Endpoint
from .environment import Environment, RunSize
from .workers import Workers


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    with Workers() as started:
        yield started


@pytest.fixture
def place(race_backend: str, serve: Callable[[str], Endpoint], request: pytest.FixtureRequest) -> Environment:
    """An empty place of its own on a server.

    Each of the usual two has a driver of its own: boto3 on the one, obstore, where there is one, on the other.
    """
    name = race_backend.removesuffix("-rust")
    driver: Literal["boto3", "auto"] = (
        "auto" if race_backend == "seaweedfs" or race_backend.endswith("-rust") else "boto3"
    )
    return Environment(name, serve(name), f"races-{os.getpid()}-{request.node.name}", driver)


@pytest.fixture
def scale(place: Environment, request: pytest.FixtureRequest) -> RunSize:
    """SeaweedFS and others are as right as MiniStack, but let contenders for one key queue, or are slow at it."""
    is_full = request.config.getoption("--races", "short") == "full"
    return RunSize(full=is_full and place.name == "ministack", gentle=place.name != "ministack")
