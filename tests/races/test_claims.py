"""Many processes want one key. No mock can show who wins: only a server decides, between requests that overlap."""

from __future__ import annotations

from .environment import Environment, RunSize
from .workers import Workers
from .workloads import claim


def test_one_of_sixteen_claims_each_round(place: Environment, scale: RunSize, workers: Workers) -> None:
    d, rounds = place.make(), scale.of(200, 5)
    won = workers.run(16, claim, d, rounds=rounds)
    winners = [[number for number, mine in enumerate(won) if mine[n]] for n in range(rounds)]
    assert [1] * rounds == list(map(len, winners))
    assert [winner for [winner] in winners] == [d["round", n] for n in range(rounds)]
    assert d.len() == rounds
