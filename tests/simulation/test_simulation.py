"""No schedule that is explored breaks a promise; and those of a library with a planted bug do."""

from __future__ import annotations

import pytest

from . import history
from .choices import Option, Replay, Seeded, all_schedules, shrunk
from .explore import SimulationError
from .history import ABSENT, UNKNOWN, Operation, Step, is_linearizable, is_linearizable_by_search
from .options import FULL, SHORT
from .planted_bugs import PLANTED_BUGS, planted
from .programs import add, create, discard, get, pop, put
from .workloads import PAIRS, RANDOM

MAX_SCHEDULES = 2000


@pytest.mark.parametrize("name", PAIRS)
def test_all_schedules_of_two_operations_are_linearizable(name: str) -> None:
    explored = PAIRS[name].explore_all(MAX_SCHEDULES)
    assert explored < MAX_SCHEDULES


@pytest.mark.parametrize("name", RANDOM)
def test_seeded_schedules_keep_every_promise(name: str, request: pytest.FixtureRequest) -> None:
    seeds = FULL if request.config.getoption("--simulation") == "full" else SHORT
    assert RANDOM[name].explore_seeds(range(seeds)) == seeds


@pytest.mark.parametrize("name", PLANTED_BUGS)
def test_planted_mistake_is_found(name: str) -> None:
    bug = PLANTED_BUGS[name]
    with planted(bug):
        assert RANDOM[bug.found_by].finds_problem(range(SHORT))


@pytest.mark.parametrize("oracle", ["is_linearizable", "is_linearizable_by_search"])
@pytest.mark.parametrize(
    "name",
    [
        "creation is repeated after a lost response",
        "creation is rejected while its request may arrive",
        "modify does not notice that it lost",
        "a removal has no condition",
    ],
)
def test_each_oracle_finds_the_mistake(name: str, oracle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bug = PLANTED_BUGS[name]
    monkeypatch.setattr(history, oracle, lambda _: True)
    with planted(bug):
        assert RANDOM[bug.found_by].finds_problem(range(SHORT))


def test_failing_schedule_is_shrunk_and_replayed() -> None:
    bug = PLANTED_BUGS["creation is repeated after a lost response"]
    workload = RANDOM[bug.found_by]
    with planted(bug):
        with pytest.raises(SimulationError) as caught:
            workload.explore_seeds(range(SHORT))
        failure = caught.value.failure
        problem, world = workload.run(Replay(failure.choices))
        seeded = Seeded(failure.seed or 0)
        workload.run(seeded)
    assert problem == failure.problem
    assert len(world.timeline) == len(failure.timeline)
    assert len(failure.choices) <= len(seeded.taken)
    assert "FAULT" in str(failure)


def test_all_schedules_yields_every_list_of_choices() -> None:
    taken = []
    for chooser in all_schedules():
        widths = [2, 3] if chooser.choose(_options(2)) else [2]
        for width in widths[1:]:
            chooser.choose(_options(width))
        taken.append(tuple(chooser.taken))
    assert taken == [(0,), (1, 0), (1, 1), (1, 2)]


def test_shrunk_leaves_only_what_fails() -> None:
    assert shrunk([0, 3, 0, 2, 1, 1, 0], lambda choices: 2 in choices) == [0, 0, 0, 2]


def _options(number: int) -> list[Option]:
    return [Option(str(each), lambda: None) for each in range(number)]


def _operation(step: Step, started: int, ended: int | None, result: object, *, optional: bool = False) -> Operation:
    return Operation("A", step.name, step.apply, step.model, started, ended, result, optional)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([_operation(put(1), 0, 1, True), _operation(get(), 2, 3, 1)], True),
        ([_operation(put(1), 0, 1, True), _operation(get(), 2, 3, ABSENT)], False),
        ([_operation(put(1), 0, 3, True), _operation(get(), 2, 4, ABSENT)], True),
        ([_operation(create(1), 0, 1, True), _operation(create(2), 2, 3, True)], False),
        ([_operation(add(1), 0, 9, 1), _operation(add(1), 0, 9, 1)], False),
        ([_operation(add(1), 0, 9, 2), _operation(add(1), 0, 9, 1)], True),
        ([_operation(put(1), 0, None, UNKNOWN, optional=True), _operation(get(), 2, 3, ABSENT)], True),
        ([_operation(put(1), 0, None, UNKNOWN, optional=True), _operation(get(), 2, 3, 1)], True),
        ([_operation(put(1), 0, 1, True), _operation(pop(), 2, 3, 1), _operation(pop(), 2, 3, 1)], False),
        ([_operation(put(1), 0, 1, True), _operation(discard(), 2, 3, True), _operation(get(), 4, 5, ABSENT)], True),
        ([_operation(put(1), 0, 1, True), _operation(discard(), 2, 3, False)], False),
    ],
)
def test_is_linearizable(operations: list[Operation], expected: bool) -> None:
    assert is_linearizable(operations) is expected
    assert is_linearizable_by_search(operations) is expected
