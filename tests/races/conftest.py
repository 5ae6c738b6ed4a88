"""Where the races take place, and who races."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

import pytest

from ..support.ways import Endpoint
from .place import Place, Scale
from .workers import Workers


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    with Workers() as started:
        yield started


@pytest.fixture(params=["ministack", "seaweedfs"])
def place(request: pytest.FixtureRequest) -> Place:
    """An empty place of its own on each of the servers whose conditional requests are atomic.

    Each has a driver of its own: boto3 on the one, obstore, where there is one, on the other.
    """
    endpoint: Endpoint = request.getfixturevalue(request.param)
    driver: Literal["boto3", "auto"] = "boto3" if request.param == "ministack" else "auto"
    return Place(request.param, endpoint, f"races-{os.getpid()}-{request.node.name}", driver)


@pytest.fixture
def scale(place: Place, request: pytest.FixtureRequest) -> Scale:
    """SeaweedFS is as right as MiniStack, but lets contenders for one key queue: full counts would take hours."""
    is_full = request.config.getoption("--races", "short") == "full"
    return Scale(full=is_full and place.name == "ministack", gentle=place.name == "seaweedfs")
