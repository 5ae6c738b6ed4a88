"""Many processes modify one entry, also while requests and answers get lost: no update is, and none counts twice."""

from __future__ import annotations

import pytest

from ..support.proxy import Proxy
from .environment import Environment, RunSize, faulty
from .workers import Workers
from .workloads import Increments, increment


@pytest.mark.certain_outcomes
def test_no_increment_is_lost(place: Environment, scale: RunSize, workers: Workers) -> None:
    d, times = place.make(), scale.of(200, 5)
    done = workers.run(8, increment, d, times=times)
    assert [Increments(times, 0)] * 8 == done
    assert d["n"] == 8 * times


def test_no_increment_is_lost_or_doubled_when_requests_fail(
    place: Environment, scale: RunSize, workers: Workers
) -> None:
    times = scale.of(200, 5)
    with Proxy(place.endpoint.url, seed=3) as proxy:
        d = place.make(proxy)
        with faulty(proxy) as hits:
            done = workers.run(8, increment, d, times=times)
    certain, perhaps = sum(each.certain for each in done), sum(each.uncertain for each in done)
    assert 8 * times == certain + perhaps
    counted = place.make()["n"]
    assert certain <= counted <= certain + perhaps
    print(f"{certain} certain, {perhaps} uncertain, {counted} counted; {hits.total()} faults: {dict(hits)}")
