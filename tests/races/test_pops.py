"""Many processes take out the same entries: each entry goes to one of them, and none goes nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from ..support.proxy import Proxy
from .environment import Environment, RunSize, faulty
from .workers import Job, Workers
from .workloads import Popped, pop_all, pop_in_batches

POPPERS = 8


@pytest.fixture(params=["conditional delete", "tombstones"])
def _removal(request: pytest.FixtureRequest, place: Environment) -> None:
    if request.param == "tombstones":
        place.without_conditional_delete()


@pytest.mark.certain_outcomes
@pytest.mark.usefixtures("_removal")
@pytest.mark.parametrize(("job", "options"), [(pop_all, {}), (pop_in_batches, {"batch": 10})], ids=["pop", "pop_many"])
def test_each_entry_is_popped_once(
    place: Environment, scale: RunSize, workers: Workers, job: Job, options: dict[str, Any]
) -> None:
    d, entries = place.make(), _entries(scale.of(500, 30))
    d.update(entries)
    loots: list[Popped] = workers.run(POPPERS, job, d, entries=len(entries), seed=1, **options)
    assert sorted(entries.items()) == sorted(pair for loot in loots for pair in loot.certain)
    assert d.len() == 0


@pytest.mark.usefixtures("_removal")
def test_no_entry_is_popped_twice_or_lost_when_requests_fail(
    place: Environment, scale: RunSize, workers: Workers
) -> None:
    """Where it is unknown who took an entry, all who may have hold its value."""
    entries = _entries(scale.of(200, 20))
    place.make().update(entries)
    with Proxy(place.endpoint.url, seed=5) as proxy:
        d = place.make(proxy)
        with faulty(proxy) as hits:
            loots: list[Popped] = workers.run(POPPERS, pop_all, d, entries=len(entries), seed=2)
    certain = [pair for loot in loots for pair in loot.certain]
    uncertain = [pair for loot in loots for pair in loot.uncertain]
    left = list(place.make().items())
    assert len(certain) == len(set(certain))
    assert not set(left) & set(certain)
    assert set(entries.items()) == {*certain, *uncertain, *left}
    print(f"{len(certain)} certain, {len(uncertain)} uncertain; {hits.total()} faults: {dict(hits)}")


def _entries(count: int) -> dict[int, str]:
    return {n: f"value of {n}" for n in range(count)}
