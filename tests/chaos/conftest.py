"""The environment of the scenarios: a server for each, and processes that all share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..races.conftest import workers
from ..races.workers import Workers
from ..support.modes import Endpoint
from .runner import Lab

__all__ = ["lab", "workers"]

SHORT_SECONDS, FULL_SECONDS = 1.0, 60.0


@pytest.fixture
def lab(workers: Workers, seaweedfs: Endpoint, tmp_path: Path, request: pytest.FixtureRequest) -> Lab:
    is_full = request.config.getoption("--chaos", "short") == "full"
    return Lab(tmp_path, workers, FULL_SECONDS if is_full else SHORT_SECONDS, full=is_full, shared=seaweedfs)
