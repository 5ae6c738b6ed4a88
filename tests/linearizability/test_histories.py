"""Histories of several processes on one dict are linearizable, also when requests fail.

The promise is about requests that overlap, of which some are lost and some are repeated: no single process can
see it broken, and no mock can break it. So processes of both ways do anything at random, through a proxy that makes
requests fail, and a checker looks for the order.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ..races.environment import Environment, faulty
from ..races.workers import Workers
from ..support.history import load_history
from ..support.linearizability import NotLinearizableError, Operation, assert_linearizable
from ..support.proxy import Proxy
from .workloads import BUGS, live, understood

PROCESSES = 4
OPERATIONS = 40
"""Of each process."""
TRIES = 8
"""Within how many histories a planted bug has to show."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        seeds: Any = metafunc.config.getoption("--histories", 1)
        metafunc.parametrize("seed", range(seeds))


@pytest.fixture(params=["conditional delete", "tombstones"])
def _removal(request: pytest.FixtureRequest, place: Environment) -> None:
    if request.param == "tombstones":
        place.without_conditional_delete()


@pytest.mark.usefixtures("_removal")
def test_one_order_explains_what_all_saw(place: Environment, workers: Workers, tmp_path: Path, seed: int) -> None:
    history = _record(place, workers, tmp_path, seed)
    assert len(history) >= PROCESSES * OPERATIONS
    assert_linearizable(history)


@pytest.mark.parametrize("race_backend", ["ministack"])
@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug])
def test_planted_bug_is_found(place: Environment, workers: Workers, tmp_path: Path, bug: str) -> None:
    """The checker can fail, and does, for each of the mistakes that would be easiest to make."""
    for seed in range(TRIES):
        directory = tmp_path / str(seed)
        directory.mkdir()
        try:
            assert_linearizable(_record(place, workers, directory, seed, bug))
        except NotLinearizableError:
            return
    pytest.fail(f"{bug}: not found in {TRIES} histories")


def _record(
    place: Environment, workers: Workers, directory: Path, seed: int, bug: str | None = None
) -> list[Operation]:
    with Proxy(place.endpoint.url, seed=seed) as proxy:
        d = place.make(proxy)
        with faulty(proxy) as hits:
            workers.run(
                PROCESSES, live, d, directory=directory, seed=f"{place.label}/{seed}", operations=OPERATIONS, bug=bug
            )
    history = [understood(operation) for operation in load_history(directory)]
    outcomes = Counter("certain" if each.returned_at else "uncertain" for each in history)
    print(f"{len(history)} operations, {dict(outcomes)}, {hits.total()} faults: {dict(hits)}")
    return history
