"""Many processes ask for a value that no process has computed: one computes it, or another if that one fails."""

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
    """What each of the callers received, round by round."""

    def ask(fate: Failure, rounds: int) -> list[Any]:
        return workers.run(CALLERS, compute, place.make(), directory=tmp_path, rounds=rounds, fate=fate)

    return ask


def test_one_worker_computes_for_all(scale: RunSize, ask: Ask, tmp_path: Path) -> None:
    rounds = scale.of(50, 5)
    returned = ask(Failure.WELL, rounds)
    for number in range(rounds):
        assert len({answers[number] for answers in returned}) == 1
        assert len(_computers(tmp_path, number)) == 1


def test_killed_computer_is_replaced(ask: Ask, tmp_path: Path) -> None:
    returned = ask(Failure.KILLED, 1)
    computers = _computers(tmp_path, 0)
    assert len(computers) == 2
    assert [number for number, answers in enumerate(returned) if answers is KILLED] == [computers[0]]
    assert len({answers[0] for answers in returned if answers is not KILLED}) == 1


def test_exception_reaches_its_caller_and_another_computes(scale: RunSize, ask: Ask, tmp_path: Path) -> None:
    rounds = scale.of(50, 5)
    returned = ask(Failure.RAISES, rounds)
    for number in range(rounds):
        computers = _computers(tmp_path, number)
        assert len(computers) == 2
        raised = [caller for caller, answers in enumerate(returned) if answers[number] == "ZeroDivisionError"]
        assert [computers[0]] == raised
        assert len({answers[number] for answers in returned}) == 2


def _computers(directory: Path, number: int) -> list[int]:
    """The numbers of the workers that began to compute, in that order."""
    return list(map(int, (directory / f"round-{number}").read_text().split()))
