"""Ceph, and one place on it for all tests of this package."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ..support.ceph import CephGateway
from .environment import DAY_SECONDS, Environment


@pytest.fixture(scope="session")
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, _environment: None
) -> Iterator[CephGateway]:
    if not request.config.getoption("--ceph", default=False):
        pytest.skip("a real lifecycle takes minutes and an installation: pytest --ceph tests/ceph")
    with CephGateway(
        tmp_path_factory.mktemp("ceph"),
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        day_seconds=DAY_SECONDS,
    ) as started:
        yield started


@pytest.fixture(scope="session")
def place(gateway: CephGateway) -> Iterator[Environment]:
    with Environment(gateway) as provisioned:
        yield provisioned
