"""The check of visits itself: it accepts what may be, and finds each thing that may not."""

from __future__ import annotations

import pytest

from .visits import ABSENT, PRESENT, Rules, State, Visit, violations

RULES = Rules(least=7, most=8)


def put(at: float, value: str = "v", *, certain: bool = True) -> Visit:
    return Visit(at, at + 0.1, made=value, certain=certain)


def get(at: float, saw: State = "v", *, certain: bool = True) -> Visit:
    return Visit(at, at + 0.1, saw=saw, renews=True, certain=certain)


def pop(at: float, saw: str = "v") -> Visit:
    return Visit(at, at + 0.1, saw=saw, made=ABSENT)


def create(at: float, value: str = "w") -> Visit:
    return Visit(at, at + 0.1, saw=ABSENT, made=value)


def found(*visits: Visit) -> list[str]:
    return [violation.partition(":")[0] for violation in violations(visits, RULES)]


@pytest.mark.parametrize(
    "visits",
    [
        [get(0, ABSENT), put(1), get(2)],
        [put(0), get(6), get(12), get(18)],
        [put(0), get(6), get(13.2, ABSENT)],
        [put(0), get(7.5, ABSENT)],
        [put(0), get(7.5), get(8, ABSENT)],
        [put(0), pop(1), get(2, ABSENT), create(3), get(4, "w")],
        [put(0), put(1, "w"), get(1.05), get(1.05, "w")],
        [put(0), put(1, "w", certain=False), get(9, "w"), get(10, "w")],
        [put(0), get(5, certain=False), get(9), get(15)],
        [put(0), get(5, certain=False), get(9, ABSENT)],
        [put(0), Visit(1, 1.1, saw=PRESENT, renews=True), get(8)],
        [put(0), Visit(7.9, 8.3, saw="v", renews=True), get(8.1, ABSENT), get(9)],
    ],
)
def test_possible_visits_are_accepted(visits: list[Visit]) -> None:
    assert found(*visits) == []


@pytest.mark.parametrize(
    ("fault", "visits"),
    [
        ("lost", [put(0), get(6, ABSENT)]),
        ("lost", [put(0), get(6), get(12, ABSENT)]),
        ("lost", [put(0), pop(1), put(2, "w"), get(3, ABSENT)]),
        ("lost", [put(0), create(6)]),
        ("lost", [put(0), Visit(6, 6.1, saw=PRESENT, renews=True), get(12, ABSENT)]),
        ("late", [put(0), get(8.2)]),
        ("late", [put(0), Visit(9, 9.1, saw=PRESENT)]),
        ("undone", [put(0), pop(1), get(2)]),
        ("undone", [put(0), put(1, "w"), get(2)]),
        ("resurrected", [put(0), get(7.5, ABSENT), get(7.8)]),
        ("never written", [put(0), get(1, "x")]),
        ("taken twice", [put(0), Visit(1, 2, saw="v", made=ABSENT), Visit(1, 2, saw="v", made=ABSENT)]),
    ],
)
def test_impossible_visits_are_reported(fault: str, visits: list[Visit]) -> None:
    assert found(*visits) == [fault]
