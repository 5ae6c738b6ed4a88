"""The model of large dicts, and the page that shows it."""

from __future__ import annotations

import pytest

from ..support.reports import read_block
from .scale_model import PAGE, Model, model_table, simulate_scan, sorted_paths


def test_page_shows_the_model() -> None:
    assert read_block(PAGE, "scale") == model_table(Model())


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 16_500, 40_000])
def test_listing_takes_no_more_requests_than_the_model_says(n: int) -> None:
    requests, _ = simulate_scan(sorted_paths(n), Model().ranges)
    # With obstore, a page that is full is followed by one that may be empty.
    assert requests <= Model().pages(n) + (n == 1000)


def test_rounds_of_a_listing_are_those_of_the_model() -> None:
    n, latency = 100_000, 1.0
    _, rounds = simulate_scan(sorted_paths(n), Model().ranges)
    assert rounds == pytest.approx(Model(latency=latency).listing(n, cpu=0), abs=2)


def test_limits_of_a_partition_hold_for_each() -> None:
    one, many = Model(), Model(partitions=64, concurrency=64 * 64)
    assert one.deletions(10**8) == 10**8 / 3500
    assert many.deletions(10**8) < one.deletions(10**8)
