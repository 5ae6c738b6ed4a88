"""Many processes take one lock, and one in five is killed while it holds it: they never overlap."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from .environment import Environment, RunSize
from .workers import KILLED, Workers
from .workloads import DYING, LEASE, LockInterval, Log, hold


@pytest.mark.timeout(900)
def test_holders_never_overlap(place: Environment, scale: RunSize, workers: Workers, tmp_path: Path) -> None:
    d, fives = place.make(), scale.of(2, 1)
    for wave in range(scale.of(10, 1)):
        path = tmp_path / f"ledger-{wave}"
        outcomes = workers.run(5 * fives, hold, d, path=path, times=3)
        killed = [number for number, each in enumerate(outcomes) if each is KILLED]
        assert [number for number in range(5 * fives) if number % 5 == DYING] == killed
        _check(Log(path).lines(), [each for each in outcomes if each is not KILLED], killed=len(killed))


def _check(lines: list[tuple[int, str, float]], holdings: list[LockInterval], *, killed: int) -> None:
    assert (sum(each.fenced for each in holdings), sum(each.lost for each in holdings)) == (0, 0)
    visits = list(zip(lines[::2], lines[1::2], strict=True))
    assert [enter for (_, enter, _), _ in visits] == ["enter"] * len(visits)
    assert [token for (token, _, _), _ in visits] == [token for _, (token, _, _) in visits]
    assert {leave for _, (_, leave, _) in visits} == {"exit", "die"}
    tokens = [token for (token, _, _), _ in visits]
    assert all(earlier < later for earlier, later in pairwise(tokens))
    assert {token for each in holdings for token in each.tokens} <= set(tokens)
    assert sum(leave == "die" for _, (_, leave, _) in visits) == killed
    for (_, (_, leave, left_at)), ((_, _, entered_at), _) in pairwise(visits):
        if leave == "die":
            assert LEASE - 0.5 < entered_at - left_at < 10 * LEASE
