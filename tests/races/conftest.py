"""Where the races take place, and who races."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from ..support.modes import Endpoint
from .environment import Place, Scale
from .workers import Workers


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    with Workers() as started:
        yield started


@pytest.fixture
def place(raced_on: str, serve: Callable[[str], Endpoint], request: pytest.FixtureRequest) -> Place:
    """An empty place of its own on a server.

    Each of the usual two has a driver of its own: boto3 on the one, obstore, where there is one, on the other.
    """
    name = raced_on.removesuffix("-rust")
    driver: Literal["boto3", "auto"] = "auto" if raced_on == "seaweedfs" or raced_on.endswith("-rust") else "boto3"
    return Place(name, serve(name), f"races-{os.getpid()}-{request.node.name}", driver)


@pytest.fixture
def scale(place: Place, request: pytest.FixtureRequest) -> Scale:
    """SeaweedFS and others are as right as MiniStack, but let contenders for one key queue, or are slow at it."""
    is_full = request.config.getoption("--races", "short") == "full"
    return Scale(full=is_full and place.name == "ministack", gentle=place.name != "ministack")
