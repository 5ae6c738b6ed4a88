"""Many processes ask for a value that nobody has computed: one computes it, or another if that one fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .environment import Environment, RunSize
from .workers import KILLED, Workers
from .workloads import Failure, compute

CALLERS = 8

Ask = Callable[[Failure, int], list[Any]]


@pytest.fixture
def ask(place: Environment, workers: Workers, tmp_path: Path) -> Ask:
    """What each of the callers was told, round by round."""

    def ask(fate: Failure, rounds: int) -> list[Any]:
        return workers.run(CALLERS, compute, place.make(), directory=tmp_path, rounds=rounds, fate=fate)

    return ask


def test_one_computes_for_all(scale: RunSize, ask: Ask, tmp_path: Path) -> None:
    rounds = scale.of(50, 5)
    told = ask(Failure.WELL, rounds)
    for number in range(rounds):
        assert 1 == len({answers[number] for answers in told})
        assert 1 == len(_computers(tmp_path, number))


def test_one_that_is_killed_is_replaced(ask: Ask, tmp_path: Path) -> None:
    told = ask(Failure.KILLED, 1)
    computers = _computers(tmp_path, 0)
    assert 2 == len(computers)
    assert [computers[0]] == [number for number, answers in enumerate(told) if answers is KILLED]
    assert 1 == len({answers[0] for answers in told if answers is not KILLED})


def test_an_exception_reaches_its_caller_and_another_computes(scale: RunSize, ask: Ask, tmp_path: Path) -> None:
    rounds = scale.of(50, 5)
    told = ask(Failure.RAISES, rounds)
    for number in range(rounds):
        computers = _computers(tmp_path, number)
        assert 2 == len(computers)
        raised = [caller for caller, answers in enumerate(told) if answers[number] == "ZeroDivisionError"]
        assert [computers[0]] == raised
        assert 2 == len({answers[number] for answers in told})


def _computers(directory: Path, number: int) -> list[int]:
    """The numbers of the workers that began to compute, in that order."""
    return list(map(int, (directory / f"round-{number}").read_text().split()))
