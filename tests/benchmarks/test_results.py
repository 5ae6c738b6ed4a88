"""What a line of the benchmarks says of its turns."""

from __future__ import annotations

import pytest

from .results import Line, Target, at_least, at_most


def _line(target: Target, *ratios: float) -> Line:
    return Line("row", "what", "stub", "s3dict", 1.0, "raw", 1.0, "s", target, ratios)


@pytest.mark.parametrize(
    ("target", "ratios", "verdict"),
    [
        (at_most(1.5), (1.2, 1.3, 1.4, 1.3), "reached"),
        (at_most(1.5), (1.8, 1.9, 2.0, 1.9), "missed"),
        (at_most(1.5), (1.2, 1.3, 1.7, 1.8), "within noise"),
        (at_least(8), (9.0, 8.5), "reached"),
        (at_least(8), (7.0, 8.5), "within noise"),
        (at_least(8), (5.0, 7.9), "missed"),
    ],
)
def test_verdict_depends_on_the_spread(target: Target, ratios: tuple[float, ...], verdict: str) -> None:
    assert _line(target, *ratios).verdict == verdict


def test_ratio_is_the_median_of_the_turns() -> None:
    assert _line(at_most(1), 0.9, 5.0, 1.1).ratio == 1.1


def test_one_disturbed_turn_does_not_change_the_verdict() -> None:
    assert _line(at_most(1.5), 1.2, 1.3, 9.0, 1.3, 1.2, 1.4, 1.3).verdict == "reached"
